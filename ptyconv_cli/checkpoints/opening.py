"""Opens files: whose one is, which snapshots it holds, and whether it is still the same."""

import re
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ptyconv_cli.checkpoints.readers import Known, by_content, counts_as_file, digits, known_readers, usual_number
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.results.history import is_iteration
from ptyconv_cli.results.text import shortened


class Fingerprint(NamedTuple):
    """Numbers that change when a file is written or replaced.

    Its device and inode, its `size` in bytes, and in ns when its content was `modified`, and when its status `changed`:
    that tells a file that another one was copied over, though it has the size and time of that one.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    def may_have_its_content(self, other: "Fingerprint") -> bool:
        """Say whether a file of the `other` fingerprint may hold the same: it was linked or given away meanwhile."""
        return self[:-1] == other[:-1]


TICK = 0.02
"""Seconds in which a file may be written twice with one time of modification: file systems count in steps."""

TRIES = 10

_ASKED: ContextVar[dict[Path, Fingerprint] | None] = ContextVar("asked", default=None)
"""What files were found to be in the present look."""


@contextmanager
def one_look() -> Iterator[None]:
    """Within the block, ask for the status of each file once, which takes long on a network mount.

    What is found is as of one moment then. It is for finding files: what is read of one is checked against the file.
    """
    token = _ASKED.set({} if _ASKED.get() is None else _ASKED.get())
    try:
        yield
    finally:
        _ASKED.reset(token)


def fingerprint(path: Path) -> Fingerprint:
    """Return the fingerprint of a file; raise CheckpointError where it cannot be opened or has no content."""
    found = settled(path)
    try:
        if not path.is_dir():
            path.open("rb").close()
    except OSError as error:
        raise CheckpointError(f"{path}: {_reason_of(path, error)}") from error
    return found


def status(path: Path) -> Fingerprint:
    """Return the fingerprint of a file, which is not opened; raise CheckpointError where it is none, or empty."""
    return _asked(path)


def stamp(path: Path) -> Fingerprint | None:
    """Return what `status` does; None where that fails."""
    try:
        return status(path)
    except CheckpointError:
        return None


def settled(path: Path) -> Fingerprint:
    """Return a file's status once a later writing would show in it; soon also of one that is written all the time."""
    for _ in range(TRIES):
        found = _stamp(path)
        now = time.time()
        ages = [age for when in (found.modified, found.changed) if 0 <= (age := now - when / 1e9) < TICK]
        if not ages:
            break
        time.sleep(TICK - min(ages))
    return found


def _asked(path: Path) -> Fingerprint:
    """Return what `_stamp` does, in a look what it did first."""
    look = _ASKED.get()
    if look is None:
        return _stamp(path)
    if path not in look:
        look[path] = _stamp(path)
    return look[path]


def _stamp(path: Path) -> Fingerprint:
    """Return what `stamp` does, of a folder that counts as a file that of all in it."""
    try:
        found = path.stat()
        inside = [found]
        if stat.S_ISDIR(found.st_mode) and counts_as_file(path):
            inside += [one.stat() for one in path.rglob("*")]
            problem = ""
        else:
            problem = _problem(found.st_mode, found.st_size)
    except OSError as error:
        problem = _reason_of(path, error)
    if problem:
        raise CheckpointError(f"{path}: {problem}")
    size, modified = sum(one.st_size for one in inside), max(one.st_mtime_ns for one in inside)
    return Fingerprint(found.st_dev, found.st_ino, size, modified, max(one.st_ctime_ns for one in inside))


def _reason_of(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is a link to a file that does not exist" if path.is_symlink() else "does not exist any more"
    return f"cannot be read ({error.strerror})"


def _problem(mode: int, size: int) -> str:
    if stat.S_ISDIR(mode):
        return "is a folder"
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        return "is not a regular file"
    return "" if size else "is empty (0 bytes)"


if TYPE_CHECKING:
    from ptyconv_cli.checkpoints.checkpoint import Checkpoint


class Source(NamedTuple):
    """Where a snapshot is: in a file, and of several in that by its `name`, which is "" where the file holds one.

    `niter`: its iteration, as the file's name says it, or, where the format is known by its content, that; None where
    neither does. Where the snapshot says another one when it is opened, that is used.
    """

    path: Path
    name: str = ""
    niter: int | None = None


class Recognised(NamedTuple):
    """The reader, out of those that know files by their content, whose a file is, with the iterations of its snapshots.

    `known` is None where the file is none's; `problem`: why that cannot be said, "" where it can.
    """

    known: Known | None = None
    snapshots: Mapping[str, int] = MappingProxyType({})
    problem: str = ""


_RECOGNISED: dict[Path, tuple[Fingerprint, Recognised]] = {}
"""What was recognised, as long as a file is the same, so that each is looked into once."""

_LAST: dict[tuple[Path, str], Known] = {}
"""By folder and suffix, the reader of the last file: it is asked first, for files of a folder are mostly alike."""

_NAMES: dict[Path, str] = {}
"""By folder, the pattern of the names that checkpoints have there, where it is not a usual one."""


def name_files(folder: Path, pattern: str) -> None:
    """Have the files in a folder count whose names are like `pattern`, where a star stands for the digits."""
    _NAMES[folder] = pattern


def number_in_name(path: Path) -> int | None:
    """Return the iteration in a checkpoint's name, None where it is not the name of a checkpoint."""
    usual = usual_number(path)
    if usual is None and path.parent in _NAMES:
        match = digits(_NAMES[path.parent]).fullmatch(path.name)
        return int(match[1]) if match else None
    return usual


def recognised(path: Path) -> Recognised:
    """Say which reader a file belongs to, out of those that know theirs by its content; opens it unless it is known."""
    try:
        now = status(path)
    except CheckpointError as error:
        return Recognised(problem=_reason(path, error))
    before, found = _RECOGNISED.get(path, (None, Recognised()))
    if before != now:
        with suppress(CheckpointError):  # it was removed meanwhile, and cannot be read either
            now = settled(path)
        found = _look_into(path)
        if not found.problem:  # which may be a lock, and so pass
            _RECOGNISED[path] = now, found
    return found


def looked_into(folders: Collection[Path]) -> dict[Path, tuple[Fingerprint, Recognised]]:
    """Return the files in some folders that were looked into: their fingerprints then, and what was recognised."""
    return {path: known for path, known in _RECOGNISED.items() if path.parent in folders}


def recall(path: Path, fingerprint: Fingerprint, found: Recognised) -> None:
    """Take what was recognised of a file before, which is not looked into as long as it has this fingerprint."""
    _RECOGNISED[path] = fingerprint, found


def known_by_content(path: Path) -> Known | None:
    """Return the reader that takes a file for its own by its content; of a file with a usual name none."""
    return None if usual_number(path) is not None else recognised(path).known


def snapshots_in(path: Path) -> list[Source]:
    """Return the snapshots in a file; it is opened where its name is no usual one, unless that was done before."""
    if usual_number(path) is not None:
        return [Source(path, "", number_in_name(path))]
    found = recognised(path)
    if found.known:
        return [Source(path, name, niter) for name, niter in found.snapshots.items()]
    numbers = re.findall(r"\d{1,18}", path.stem)
    number = number_in_name(path)
    return [Source(path, "", int(numbers[-1]) if numbers and number is None else number)]


def order_of(path: Path) -> tuple[int, str]:
    """Return what files are sorted by: the iteration of the last snapshot, then the name."""
    return max(source.niter or 0 for source in snapshots_in(path)), path.name


@contextmanager
def open_checkpoint(path: Path, snapshot: str | None = None) -> "Iterator[Checkpoint]":
    """Open a snapshot of a file, by default the last; raise CheckpointError where that, or the `with` block, fails.

    A file without a usual name is known by its content, and so is one that has such a name, but is not what it says.
    """
    known = next((known for known in known_readers() if known.number(path.name) is not None), None)
    if known:
        try:
            with _explained(known, path):
                opened: Checkpoint = known.reader.open_checkpoint(path)
        except CheckpointError:
            if not recognised(path).known:
                raise
            known, opened = _by_content(path, snapshot)
    else:
        known, opened = _by_content(path, snapshot)
    with _explained(known, path), opened as checkpoint:
        checked_niter(checkpoint.niter, path)
        if not 0 <= checkpoint.began <= checkpoint.niter:
            at = f"iteration {checkpoint.niter}, but its engine began after iteration {checkpoint.began:.6g}"
            raise CheckpointError(f"{path}: is of {at}")
        yield checkpoint


def checked_niter(value: Any, path: Path) -> int:
    """Return the iteration that a file gives; raise CheckpointError where it can be none."""
    if not is_iteration(value):
        said = shortened(f"{value}" if not isinstance(value, int) or abs(value) < 10**100 else "10…", 20)
        raise CheckpointError(f"{path}: its iteration is {said}; expected a whole number from 0 to 2^53")
    return int(value)


def _by_content(path: Path, snapshot: str | None) -> "tuple[Known, Checkpoint]":
    """Open a file with the reader that takes it for its own; raise CheckpointError where none does."""
    found = recognised(path)
    if found.known:
        name = snapshot if snapshot in found.snapshots else list(found.snapshots)[-1]
        with _explained(found.known, path):
            return found.known, found.known.reader.open_checkpoint(path, name)
    errors = [found.problem] if found.problem else []
    for known in known_readers():
        if not known.by_content:
            try:
                return known, known.reader.open_checkpoint(path)
            except (Exception, SystemExit) as error:  # whatever another package's reader stumbles over
                whose = f"{known.engine}: " if known.engine and not found.problem else ""
                errors.append(f"{whose}{_reason(path, error)}")
    reasons = "; ".join(dict.fromkeys(errors))
    raise CheckpointError(f"{path}: is no checkpoint of a known format ({reasons})")


def _look_into(path: Path) -> Recognised:
    place = path.parent, path.suffix
    readers = [known for known in by_content() if known.takes(path)] or by_content()
    problems = []
    for known in sorted(readers, key=lambda known: known != _LAST.get(place)):
        try:
            with _explained(known, path):
                found = known.reader.snapshots(path)
                snapshots = {str(name): checked_niter(niter, path) for name, niter in found.items()}
        except CheckpointError as error:
            problems.append(_reason(path, error))
            continue
        if snapshots:
            _LAST[place] = known
            return Recognised(known, snapshots)
    return Recognised(problem="; ".join(dict.fromkeys(problems)))


@contextmanager
def _explained(known: Known, path: Path) -> Iterator[None]:
    """Turn whatever another package's reader stumbles over into a CheckpointError that names the package."""
    try:
        yield
    except (PtyconvError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if not known.package:
            raise
        problem = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: the reader of {known.package} cannot read it ({problem})") from error


def _reason(path: Path, error: BaseException) -> str:
    return f"{error}".removeprefix(f"{path}: ")
