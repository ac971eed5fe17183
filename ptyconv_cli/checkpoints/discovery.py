"""From a path to the runs below it, and from a run folder to its checkpoint files. Opens no file."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ptyconv_cli.checkpoints.readers import looks_alike, names, number_in_name
from ptyconv_cli.errors import PtyconvError

COLLATED_NAME = re.compile(r"model_error_.*_t\d+.*\.(hdf5|h5|pt)")
"""Of a hypertune study's results: each is the last snapshot of a trial, so no two of them are of one run."""


@dataclass
class Found:
    """What is below a path: folders with checkpoints (`runs`), `collated` files, and `problems` with folders."""

    runs: list[Path] = field(default_factory=list)
    collated: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_runs(path: Path) -> Found:
    """Return the folders with checkpoints at or below a path, in order of name.

    Hidden folders are passed over, links are followed. Raises PtyconvError where the path is no folder to be read.
    """
    found, seen = Found(), set[str]()
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in seen:  # links may lead in a circle
            continue
        seen.add(real)
        try:
            paths = _listing(folder)
        except PtyconvError as error:
            if folder == path:
                raise
            found.problems.append(str(error))
            continue
        if any(number_in_name(path) is not None for path in paths):
            found.runs.append(folder)
        found.collated += [path for path in paths if COLLATED_NAME.fullmatch(path.name)]
        try:
            waiting += [path for path in reversed(paths) if not path.name.startswith(".") and path.is_dir()]
        except OSError as error:
            found.problems.append(f"{folder}: cannot be looked into ({error.strerror})")
    found.runs.sort()
    return found


def holds_checkpoints(folder: Path) -> bool:
    """Say whether checkpoints are right inside a folder; raise PtyconvError as `find_runs`."""
    return any(number_in_name(path) is not None for path in _listing(folder))


def find_checkpoints(run_dir: Path) -> tuple[list[Path], list[Path]]:
    """Return the checkpoint files right inside a run folder, and the lookalikes, each sorted by name.

    Lookalikes have names like `model_iter0010_copy.hdf5`: they are not taken for checkpoints, and the user should
    hear of it. Raises PtyconvError where the folder isn't there or holds no checkpoint.
    """
    paths = _listing(run_dir)
    found = [path for path in paths if number_in_name(path) is not None]
    if not found:
        raise PtyconvError(f"{run_dir}: {no_checkpoint(find_runs(run_dir), run_dir)}")
    return found, [path for path in paths if number_in_name(path) is None and looks_alike(path)]


def no_checkpoint(found: Found, path: Path) -> str:
    """Say what a folder without checkpoints holds instead."""
    if found.runs:
        shown = [str(run.relative_to(path)) for run in found.runs]
        return f"holds no checkpoint; its subfolders do: {', '.join(shown[:3])}" + (
            f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        )
    if found.collated:
        return (
            f"holds {len(found.collated)} collated files (model_error_…), the last snapshots of different trials, "
            "between which no change means anything. For changes within a trial, have its checkpoints saved "
            "(SAVE_ITERS)"
        )
    return f"holds no checkpoint ({names()})"


def _listing(folder: Path) -> list[Path]:
    if not folder.is_dir():
        problem = "is a file; give the folder it is in" if folder.exists() else "there is no such folder"
        raise PtyconvError(f"{folder}: {problem}")
    try:
        return [folder / name for name in sorted(path.name for path in folder.iterdir())]
    except OSError as error:
        raise PtyconvError(f"{folder}: cannot be listed ({error.strerror})") from error
