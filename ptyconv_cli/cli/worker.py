"""What a worker does with a run, and what it sends back."""

import os
import platform
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import IO, NamedTuple, Protocol, TypeVar

from ptyconv_cli import __version__
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.workers import cores_shared

if sys.platform != "win32":
    import fcntl

PACKAGES = ("numpy", "torch", "matplotlib")
"""What numbers and pictures depend on, beside ptyconv itself."""

MOST_STARTS = 3
"""A run whose worker died is done again, twice."""

PATIENCE = 3600.0
"""Seconds to wait for another process that writes the results of the same run."""

POLL = 0.2
"""Seconds between two tries to be the only one who writes the results of a run."""

LOOKS = 5
"""How often a path is looked for that does not seem to be there."""

LOCKS_NAME = ".ptyconv-workers"
"""The folder, beside the table of all runs, through which the workers know of each other; it is gone at the end."""

MOST_TRIES = 20
"""How often that folder is made anew where another process, which ends, removes it."""

_ONE_AT_A_TIME = threading.Lock()
"""A process has one working directory, and draws one picture at a time, however many threads its worker has."""

Result = TypeVar("Result")


class Run(Protocol):
    """One of many runs: what is read is in `folder`, which may be a file, what is written below `place`."""

    @property
    def folder(self) -> Path:
        """What is read."""

    @property
    def place(self) -> Path:
        """Where results are written."""


AnyRun = TypeVar("AnyRun", bound=Run)


class Expected(NamedTuple):
    """What a worker must have in common with the process that hands out the runs.

    `versions` of ptyconv and `PACKAGES`; `marker`: a file that only that process's file system has, in a folder for
    locks; `directory`: the working directory that paths are relative to, None where they are not.
    """

    versions: Mapping[str, str]
    marker: Path
    directory: Path | None


@contextmanager
def marked(place: Path) -> Iterator[Path]:
    """Make a file by which workers show that they see the same folder, and remove it in the end."""
    folder, made = place / LOCKS_NAME, not place.exists()
    marker = folder / uuid.uuid4().hex
    try:
        _make(marker)
        yield marker
    finally:
        with suppress(OSError):
            marker.unlink(missing_ok=True)
            folder.rmdir()  # unless a worker still has a lock there
            if made:
                place.rmdir()  # unless anything was written


def _make(marker: Path) -> None:
    """Make an empty file in a folder, which another process may remove as soon as it is empty."""
    for _ in range(MOST_TRIES):
        with suppress(FileNotFoundError):
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
            return
    raise PtyconvError(f"{marker.parent}: is removed again and again")


def relative_to(runs: Sequence[Run]) -> Path | None:
    """Return the working directory, where any of the runs' paths are relative to that."""
    absolute = all(path.is_absolute() for run in runs for path in (run.folder, run.place))
    return None if absolute else Path.cwd()


LONG, BEGIN = 10, 60
"""Seconds of silence after which that is said: of a worker that has been heard, and of one that begins, which loads."""

NO_ANSWER = f"has not answered for {LONG} s: its file system may be stuck. It is waited for; Ctrl-C ends that"
"""What is said of a worker."""


class Silence:
    """For how long nothing has been heard of a worker, in seconds in which somebody listened.

    Time in which whoever listens was stopped, or busy, does not count.
    """

    def __init__(self) -> None:
        self._seconds, self._heard, self._last = 0, False, time.monotonic()

    def broken(self) -> None:
        """Something has been heard."""
        self._seconds, self._heard = 0, True

    def is_long(self) -> bool:
        """Say whether it is time to speak of the silence, once; to be asked all the time."""
        if time.monotonic() - self._last < 1:
            return False
        self._last = time.monotonic()
        self._seconds += 1
        return self._seconds == (LONG if self._heard else BEGIN)


class Unfit(PtyconvError):
    """A worker cannot do the work; the message names it, and says why."""


class NotDone(PtyconvError):
    """A worker could not even begin with a run; the message says why."""


def died(run: Run) -> NotDone:
    """Return the error that says that the workers died that had begun with a run, so often that it is given up."""
    return NotDone(f"{run.folder}: given up after {MOST_STARTS} workers died of it; did they have enough memory?")


def begun(expected: Expected, run: Run) -> int:
    """Return how often workers have begun with a run that they did not end."""
    return _starts(expected.marker.parent / _digest(run.place), expected.marker.name)


def forget(expected: Expected, runs: Sequence[Run]) -> None:
    """Remove the locks of runs that workers had begun with in this study when they were ended."""
    for run in runs:
        path = expected.marker.parent / _digest(run.place)
        if _starts(path, expected.marker.name):
            path.unlink(missing_ok=True)


@cache
def versions() -> dict[str, str]:
    """Return what `Expected.versions` are here; for torch without the build, which says for what device it is."""
    from importlib.metadata import PackageNotFoundError, version  # slow to load

    found = {"ptyconv": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package).partition("+")[0]
        except PackageNotFoundError:
            found[package] = "none"
    return found


def complaint(expected: Expected) -> str:
    """Say why the worker that this runs in cannot do the work, "" where it can."""
    here, why = versions(), ""
    for package, version in expected.versions.items():
        if here[package] != version:
            why = why or f"has {package} {here[package]}, not {version} as here: install the same versions there"
    for path in (expected.directory, expected.marker.parent.parent, expected.marker):
        if path and not _sees(path):
            why = why or f"does not see {path}: all workers must share the file system that the runs are on"
    return why and f"{_called()} {why}"


def _sees(path: Path) -> bool:
    """Say whether a path is there; a network mount is asked again before it is said that it is not."""
    for _ in range(LOOKS):
        with suppress(OSError):  # a folder above it may not be looked into
            if path.exists():
                return True
        time.sleep(POLL)
    return False


def _called() -> str:
    """Return what this worker is called in a message."""
    return f"the worker on {platform.node()} (process {os.getpid()})"


def work_on(function: Callable[[AnyRun], Result], expected: Expected, run: AnyRun) -> Result:
    """Return what `function` does with a run, whose results no other worker writes meanwhile.

    Raises Unfit where this worker can do none, NotDone where it cannot begin with this one, what `function` raises if
    that is a PtyconvError, else a RuntimeError.
    """
    try:
        with _ONE_AT_A_TIME, cores_shared():
            return _work_on(function, expected, run)
    except PtyconvError:
        raise
    except OSError as error:
        raise NotDone(f"{_called()} cannot work on {run.folder} ({error})") from error
    except Exception as error:  # as a text, for not all of it can travel
        text = "".join(traceback.format_exception(error))
    raise RuntimeError(f"{_called()} stumbled over {run.folder}:\n{text}")


def _work_on(function: Callable[[AnyRun], Result], expected: Expected, run: AnyRun) -> Result:
    if why := complaint(expected):
        raise Unfit(why)
    with _in_directory(expected.directory):
        if not _sees(run.folder):
            raise NotDone(f"{_called()} does not see {run.folder.absolute()}")
        with _alone(expected.marker.parent / _digest(run.place), expected.marker.name) as starts:
            if starts > MOST_STARTS:
                raise died(run)
            return function(run)


def _digest(place: Path) -> str:
    return sha256(os.fsencode(place.absolute())).hexdigest()[:32]


@contextmanager
def _in_directory(directory: Path | None) -> Iterator[None]:
    """Work in a directory, for relative paths are to be in messages and caches as they were given."""
    before = Path.cwd() if directory else None
    try:
        if directory:
            os.chdir(directory)
        yield
    finally:
        if before:
            os.chdir(before)


@contextmanager
def _alone(path: Path, study: str) -> Iterator[int]:
    """Be the only process that writes the results of a run; yield how often that was begun in this `study`, now too.

    What was begun and not ended is in the lock file, which a process that is killed leaves behind, unlocked.
    """
    with _locked(path):
        starts = 1 + _starts(path, study)
        path.write_text(f"{study} {starts}")
        try:
            yield starts
        finally:
            path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()  # where who handed out the runs has gone, and no other worker has a lock there


def _starts(path: Path, study: str) -> int:
    """Return how often a run was begun in this `study`, by its lock file."""
    try:
        last, _, count = path.read_text().partition(" ")
    except OSError:
        return 0
    return int(count) if last == study and count.isdigit() else 0


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a file, which is made if need be, against other processes, on all machines if the file system can do that.

    Where it cannot, and on Windows, nothing is locked: two workers would write the same bytes, in the same way.
    """
    if sys.platform == "win32":
        yield
        return
    while True:
        with path.open("ab") as file:
            _wait_for(file, path)
            same = False
            with suppress(FileNotFoundError):  # who had locked it has removed it
                same = os.path.samestat(os.fstat(file.fileno()), path.stat())
            if same:
                yield
                return


def _wait_for(file: IO[bytes], path: Path) -> None:
    if sys.platform == "win32":
        return
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise NotDone(f"{path}: another process has kept this locked for an hour") from error
            time.sleep(POLL)
        except OSError:  # there are no locks on this file system
            return
