"""From a run folder to its checkpoint files."""

import re
from pathlib import Path

from ptyconv_cli.errors import PtyconvError

CHECKPOINT_NAME = re.compile(r"model_iter(\d+)\.(hdf5|h5|pt)")
LOOKALIKE_NAME = re.compile(r"model_iter.*\.(hdf5|h5|pt)")


def find_checkpoints(run_dir: Path) -> tuple[list[Path], list[Path]]:
    """Return the checkpoint files right inside a run folder, and the lookalikes, each sorted by name.

    Lookalikes have names like `model_iter0010_copy.hdf5`: they are not taken for checkpoints, and the user should
    hear of it. Raises PtyconvError where the folder isn't there or holds no checkpoint.
    """
    if not run_dir.is_dir():
        problem = "is a file; give the folder it is in" if run_dir.exists() else "there is no such folder"
        raise PtyconvError(f"{run_dir}: {problem}")
    try:
        names = sorted(path.name for path in run_dir.iterdir())
    except OSError as error:
        raise PtyconvError(f"{run_dir}: cannot be listed ({error.strerror})") from error
    found = [run_dir / name for name in names if CHECKPOINT_NAME.fullmatch(name)]
    if not found:
        raise PtyconvError(f"{run_dir}: holds no checkpoint (model_iterNNNN.hdf5, .h5 or .pt){_hint(run_dir)}")
    return found, [run_dir / name for name in names if LOOKALIKE_NAME.fullmatch(name) and run_dir / name not in found]


def number_in_name(path: Path) -> int:
    """Return the iteration that a checkpoint's name gives; the one inside the file is the truth where they differ."""
    match = CHECKPOINT_NAME.fullmatch(path.name)
    assert match, f"{path} came from find_checkpoints"
    return int(match[1])


def _hint(run_dir: Path) -> str:
    """Name the subfolders that do hold checkpoints, for a user who gave the folder above."""
    below = sorted({path.parent.name for path in run_dir.glob("*/model_iter*") if CHECKPOINT_NAME.fullmatch(path.name)})
    if not below:
        return ""
    shown = ", ".join(below[:3]) + (f" and {len(below) - 3} more" if len(below) > 3 else "")
    return f"; its subfolders do: {shown}"
