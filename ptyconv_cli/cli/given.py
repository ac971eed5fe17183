"""The runs that a command is given: as a file, as the folder of one, or as a folder above them."""

from pathlib import Path

from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.checkpoints.discovery import Found, find_runs, holds_checkpoints, no_checkpoint
from ptyconv_cli.checkpoints.fingerprint import one_look
from ptyconv_cli.checkpoints.readers import counts_as_file, is_one_file
from ptyconv_cli.errors import PtyconvError


def runs_at(path: Path, names: str | None, output: Path | None = None, fresh: bool = False) -> Found:
    """Return the runs at or below a path, which may be a file; what earlier analyses knew of the files is known again.

    `names`: how the files are named, where not as usual; `output`: where the results of these analyses are, None where
    they are the runs' own folders; nothing of theirs is used if `fresh`. Raises PtyconvError where there is no such
    path.
    """
    if is_one_file(path):
        return Found([path])

    def recall(folder: Path) -> None:
        for place in {output, output / folder.relative_to(path)} if output else {folder}:
            Cache(place, fresh).recall()

    with one_look():
        recall(path)
        return Found([path]) if holds_checkpoints(path, names) else find_runs(path, names, recall)


def only_run(path: Path, names: str | None, output: Path | None = None) -> Path:
    """Return the run at or below a path, its folder or file; raise PtyconvError where there is none, or several."""
    found = runs_at(path, names, output)
    if len(found.runs) == 1:
        return found.runs[0]
    raise PtyconvError(f"{path}: {no_checkpoint(found, path, names)}")


def place_of(run: Path) -> Path:
    """Return the folder for the results of a run, which is given as a folder or as a file."""
    return run if run.is_dir() and not counts_as_file(run) else run.parent
