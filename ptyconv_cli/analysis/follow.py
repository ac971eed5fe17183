"""Follows a running job: which of its files are whole, and what is new."""

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ptyconv_cli.checkpoints.discovery import checkpoints_in, find_runs, holds_checkpoints, no_checkpoint
from ptyconv_cli.checkpoints.grouping import matching
from ptyconv_cli.checkpoints.headers import lacking_tensor, read_header
from ptyconv_cli.checkpoints.opening import Fingerprint, number_in_name, one_look, order_of, snapshots_in, status
from ptyconv_cli.checkpoints.readers import is_one_file, looks_alike
from ptyconv_cli.errors import CheckpointError, PtyconvError, TooFew
from ptyconv_cli.quantities import required_keys
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.verdict.conclusion import exit_code

RETRY = 12
"""Looks between attempts at an unreadable file that doesn't change: a lock on it may have been released."""

Stats = dict[Path, Fingerprint]
"""By file, numbers that change when it does."""


class Watch:
    """The checkpoint files of a run; `names`: how they are named, where not as usual.

    The run is given as a folder, which need not exist yet, one above it, or a file. `tensors` that each must have, None
    for all that its engine gives.

    `run`: the folder or file that is to be analyzed; `files`: those that the last look found; `unchanged`: the number
    of looks since anything changed; `growing`: files that changed since the look before; `problems`: by file, why it is
    not complete; `trouble` with the folder, "" where it could be listed.
    """

    def __init__(self, run_dir: Path, tensors: Iterable[str] | None, names: str | None = None) -> None:
        self.run, self._names = run_dir, names
        self._all, self._wanted = tensors is None, required_keys() if tensors is None else tuple(tensors)
        self.files: Stats = {}
        self.unchanged = 0
        self.growing: list[Path] = []
        self.problems: dict[Path, str] = {}
        self.trouble = ""
        self._whole: Stats = {}
        self._tried: Stats = {}

    def look(self) -> Stats:
        """Return the complete files: unchanged since the last look, with all that is asked for in them."""
        before, self.files = self.files, self._list()
        self.unchanged = self.unchanged + 1 if self.files == before else 0
        self.growing = [path for path, stat in self.files.items() if before.get(path) != stat]
        self.problems = {path: problem for path, problem in self.problems.items() if path in self.files}
        for path, stat in self.files.items():
            if path in self.growing:
                self.problems.pop(path, None)
            elif self._whole.get(path) != stat and (self._tried.get(path) != stat or self.unchanged % RETRY == 0):
                self._try(path)
        return {path: stat for path, stat in self.files.items() if self._whole.get(path) == stat}

    def _list(self) -> Stats:
        """List by file status alone: opening every file at every look would strain a network mount.

        Files without a usual name are looked into once, and again when they change.
        """
        found, self.trouble = Stats(), ""
        try:
            with one_look():
                for path in self._checkpoints():
                    with suppress(FileNotFoundError):  # it was just removed, or is a broken link
                        found[path] = _status(path)
        except PtyconvError as error:  # the mount may be gone for a while
            self.trouble = str(error).removeprefix(f"{self.run}: ")
            if not self.run.exists():
                self.trouble = f"waiting for the {'file' if looks_alike(self.run, by_suffix=True) else 'folder'}"
        return found

    def _checkpoints(self) -> list[Path]:
        """Return the files of the run; where the first ones are below the folder that was given, that is its folder."""
        if is_one_file(self.run):
            holds_many = any(source.name for source in snapshots_in(self.run))
            return [self.run] if holds_many else checkpoints_in(self.run.parent, self._names)
        if not self.files and not holds_checkpoints(self.run, self._names):
            below = find_runs(self.run, self._names)
            if len(below.runs) > 1:
                raise PtyconvError(no_checkpoint(below, self.run))
            self.run = below.runs[0] if below.runs else self.run
        return checkpoints_in(self.run, self._names)

    def _try(self, path: Path) -> None:
        stat = self._tried[path] = self.files[path]
        try:
            header = read_header(snapshots_in(path)[-1], self._wanted)
            missing = [name for name in self._wanted if name not in header.shapes]
            missing = [] if self._all and not header.has_all else missing
            problem = str(lacking_tensor(header, missing[0])) if missing else ""
        except CheckpointError as error:
            problem = str(error)
        if problem:
            self.problems[path] = problem.removeprefix(f"{path}: ")
        else:
            self.problems.pop(path, None)
            self._whole[path] = stat


def _status(path: Path) -> Fingerprint:
    try:
        return status(path)
    except CheckpointError:  # it has no content yet
        found = path.stat()
        return Fingerprint(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


SURE = 3
"""The last checkpoint is final after this many looks without a change: PtyRAD opens it once more to finish it."""


class Ends(NamedTuple):
    """When to end: `converged`: as soon as the object has, or, if `everything` is asked for, all that is optimised.

    `idle`: after this many seconds without anything new.

    In any case when the run reaches its planned last iteration, and when it is broken.
    """

    converged: bool = False
    everything: bool = False
    idle: float | None = None


class Look(NamedTuple):
    """What a look found: the last `analysis`, whether it is `new`, and how many files there are.

    `problem`: why a checkpoint, or the run, cannot be analyzed yet, "" where it can; `growing`: the name of the newest
    file that is being written, "" where none is.
    """

    analysis: RunAnalysis | None
    new: bool
    files: int
    problem: str = ""
    growing: str = ""


def follow(
    watch: Watch,
    analyze: Callable[[Collection[Path] | None], RunAnalysis],
    ends: Ends,
    show: Callable[[Look], None],
    seconds: float,
) -> tuple[RunAnalysis, str]:
    """Look at a run every `seconds` until it ends; return the last analysis, and why it ended.

    `analyze(files)` is called with the complete files whenever one of them is new, and at the end with None for all
    files. `show` is called after every look. While there are too few checkpoints, or none that can be read, it waits;
    where the run cannot be analyzed for another reason, PtyconvError is raised.
    """
    analysis, taken, problem, quiet_since = None, Stats(), "", time.monotonic()
    while True:
        whole = watch.look()
        if not watch.unchanged:
            quiet_since = time.monotonic()
        new = any(taken.get(path) != stat for path, stat in whole.items())
        if new:
            try:
                analysis, taken, problem = analyze(whole), whole, ""
            except (CheckpointError, TooFew) as error:
                taken, problem = whole, str(error)
            quiet_since = time.monotonic()  # what came during a long analysis is found at the next look
        show(_look(watch, analysis, new and not problem, problem))
        why = _why_to_end(watch, taken, analysis, ends, time.monotonic() - quiet_since)
        if why:
            break
        time.sleep(seconds)
    # What is not complete is left out with a warning, as in any analysis.
    if analysis is None or analysis.left_out or (watch.files != taken and not (ends.converged and why == CONVERGED)):
        analysis = analyze(None)
    return analysis, why


CONVERGED = "it has converged"


def _look(watch: Watch, analysis: RunAnalysis | None, new: bool, problem: str) -> Look:
    broken = max(watch.problems, key=order_of, default=None)
    if broken:
        problem = f"{broken.name}: {watch.problems[broken]}"
    growing = max(watch.growing, key=order_of).name if watch.growing else ""
    return Look(analysis, new, len(watch.files), watch.trouble or problem, growing)


def _why_to_end(watch: Watch, taken: Stats, analysis: RunAnalysis | None, ends: Ends, quiet: float) -> str:
    verdict = analysis.verdict if analysis else None
    if verdict and verdict.state == "broken":
        return "the run is broken"
    if verdict and ends.converged and exit_code(verdict, ends.everything) == 0:
        return CONVERGED
    if analysis and analysis.engine.planned is not None and watch.unchanged >= SURE:
        last, planned = _last_and_planned(taken, analysis, analysis.engine.planned)
        if last >= planned:
            return f"the run reached its planned last iteration, {planned}"
    if ends.idle is not None and quiet >= ends.idle:
        return f"no new checkpoint for {ends.idle / 60:.3g} minutes"
    return ""


def _last_and_planned(taken: Stats, analysis: RunAnalysis, planned: int) -> tuple[int, int]:
    """Return the run's last iteration and the planned one, both without the iterations of the runs before it.

    Files that `--every` leaves aside count too, by their names, but not those of another run.
    """
    before = analysis.checkpoints[-1].before
    seen = {found.file for found in analysis.checkpoints} | {file.file for file in analysis.left_out}
    named = [number_in_name(path) or 0 for path in matching(list(taken), analysis.select) if path.name not in seen]
    return max([analysis.checkpoints[-1].niter - before, *named]), planned - before
