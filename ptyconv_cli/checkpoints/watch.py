"""Polls the folder of a running job and tells which checkpoints are complete. See docs/runs.md."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ptyconv_cli.checkpoints.discovery import checkpoints_in, find_runs, holds_checkpoints, no_checkpoint
from ptyconv_cli.checkpoints.fingerprint import Fingerprint, one_look, status
from ptyconv_cli.checkpoints.headers import lacking_tensor, read_header
from ptyconv_cli.checkpoints.opening import snapshots_in
from ptyconv_cli.checkpoints.readers import is_one_file, looks_alike
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.quantities import tensor_keys

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
        self._all, self._wanted = tensors is None, tensor_keys() if tensors is None else tuple(tensors)
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
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
