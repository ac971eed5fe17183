"""Polls the folder of a running job and tells which checkpoints are complete. See docs/runs.md."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ptyconv_cli.checkpoints.headers import lacking_tensor, read_header
from ptyconv_cli.checkpoints.readers import digits, name_files, number_in_name
from ptyconv_cli.errors import CheckpointError

RETRY = 12
"""Looks between attempts at an unreadable file that doesn't change: a lock on it may have been released."""

Stats = dict[Path, tuple[int, int, int]]
"""By file, numbers that change when it does: inode, size, modification time in ns."""


class Watch:
    """The checkpoint files in a folder, which need not exist yet; `names`: how they are named, where not as usual.

    `files`: those that the last look found; `unchanged`: the number of looks since anything changed; `growing`: files
    that changed since the look before; `problems`: by file, why it is not complete; `trouble` with the folder, "" where
    it could be listed.
    """

    def __init__(self, run_dir: Path, tensors: Iterable[str], names: str | None = None) -> None:
        self._run_dir, self._tensors, self._names = run_dir, tuple(tensors), names
        if names is not None:
            name_files(run_dir, names)
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
        """List by names and file status alone: opening every file at every look would strain a network mount."""
        found, self.trouble = {}, ""
        try:
            for path in self._run_dir.iterdir():
                if (
                    number_in_name(path) is not None
                    if self._names is None
                    else digits(self._names).fullmatch(path.name)
                ):
                    with suppress(FileNotFoundError):  # it was just removed, or is a broken link
                        status = path.stat()
                        found[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
        except FileNotFoundError:
            self.trouble = "waiting for the folder"
        except OSError as error:  # the mount may be gone for a while
            self.trouble = f"cannot be listed ({error.strerror})"
        return found

    def _try(self, path: Path) -> None:
        stat = self._tried[path] = self.files[path]
        try:
            header = read_header(path, self._tensors)
            missing = [name for name in self._tensors if name not in header.shapes]
            problem = str(lacking_tensor(header, missing[0])) if missing else ""
        except CheckpointError as error:
            problem = str(error)
        if problem:
            self.problems[path] = problem.removeprefix(f"{path}: ")
        else:
            self.problems.pop(path, None)
            self._whole[path] = stat
