"""Finds the runs below a path, and the checkpoint files in a run folder.

By names alone: files are opened only in a folder where none has a usual name. A folder that counts as a file, such as a
zarr archive, is one here.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ptyconv_cli.checkpoints.naming import found_by_content, named_by, patterns_of, unreadable
from ptyconv_cli.checkpoints.opening import known_by_content, number_in_name, recognised
from ptyconv_cli.checkpoints.readers import Known, by_content, counts_as_file, looks_alike, names, usual_number
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.text import few

COLLATED_NAME = re.compile(r"model_error_.*_t\d+.*\.(hdf5|h5|pt)")
"""Results of a hypertune study: each is the last checkpoint of a trial, so no two of them are of one run."""

OWN_RESULTS = re.compile(r"(convergence(_\w+)?|trajectory|comparison|maps|frc|report)\.(json|csv|png|pdf|svg|html)")


@dataclass
class Found:
    """What was found below a path: folders with checkpoints (`runs`), `collated` files, `problems` with folders."""

    runs: list[Path] = field(default_factory=list)
    collated: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_runs(
    path: Path, names_like: str | None = None, entering: Callable[[Path], None] = lambda folder: None
) -> Found:
    """Return the folders with checkpoints at or below a path, in order of name.

    `names_like`: how they are named, where not as usual, with a star for the digits of the iteration. `entering` is
    called with each folder before any file in it is looked into.

    Hidden folders are skipped, links are followed. A run that lies in two folders is found in the first. Raises
    PtyconvError where the path is not a readable folder.
    """
    found, seen, others = Found(), set[str](), dict[Path, list[Path]]()
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
        entering(folder)
        checkpoints = _checkpoints(paths, names_like)
        if checkpoints:
            others[folder] = _other_folders(checkpoints)
        found.collated += [path for path in paths if COLLATED_NAME.fullmatch(path.name)]
        try:
            folders = [path for path in reversed(paths) if not path.name.startswith(".") and path.is_dir()]
            waiting += [path for path in folders if not counts_as_file(path)]
        except OSError as error:
            found.problems.append(f"{folder}: cannot be read ({error.strerror})")
    elsewhere = set[Path]()
    for run in sorted(others):
        if run.resolve() not in elsewhere:
            found.runs.append(run)
        elsewhere |= {folder.resolve() for folder in others[run]}
    return found


def holds_checkpoints(folder: Path, names_like: str | None = None) -> bool:
    """Say whether checkpoints are right inside a folder; parameters and errors as of `find_runs`."""
    return bool(_checkpoints(_listing(folder), names_like))


def _checkpoints(paths: list[Path], names_like: str | None) -> list[Path]:
    """Return those of a folder's files that are checkpoints by their names, or else by their content."""
    if names_like is not None:
        return named_by(names_like, paths)
    usual = [path for path in paths if usual_number(path) is not None]
    return usual or found_by_content([path for path in paths if _not_recognised(path, by_usual_names=True)])


def checkpoints_in(folder: Path, names_like: str | None = None) -> list[Path]:
    """Return the checkpoint files of the run in a folder, sorted by name, also those that lie in another folder.

    Where the run lies in several folders, those that it has in common may be given, too. Files of the others that
    cannot be read are returned as well, so that it is said. Empty where there is none; parameters and errors as of
    `find_runs`.
    """
    found = _checkpoints(_listing(folder), names_like)
    readers = {known for path in found if (known := known_by_content(path))} if found else by_content()
    for known in readers:
        for other in known.run_folders(folder):
            other = folder if other.resolve() == folder.resolve() else other  # as it was given
            if other.is_dir():
                found += [path for path in _of_reader(known, _listing(other), names_like) if path not in found]
    return found


def _of_reader(known: Known, paths: Sequence[Path], names_like: str | None) -> list[Path]:
    """Return those of a folder's files that are checkpoints of a reader, and those that cannot be read."""
    paths = [path for path in paths if known.takes(path) and _not_recognised(path, by_usual_names=True)]
    checkpoints = _checkpoints(paths, names_like)
    if names_like is not None:
        paths = checkpoints
    others = [path for path in checkpoints if known_by_content(path) not in (known, None)]
    return [path for path in paths if path not in others and (path in checkpoints or recognised(path).problem)]


def _other_folders(checkpoints: Sequence[Path]) -> list[Path]:
    """Return the other folders in which files of the same run lie, as their reader says."""
    readers = {known for path in checkpoints if (known := known_by_content(path))}
    return [folder for known in readers for folder in known.run_folders(checkpoints[0].parent)]


def find_checkpoints(run_dir: Path, names_like: str | None = None) -> tuple[list[Path], list[Path]]:
    """Return the checkpoint files of the run in a folder, and those not recognised, each sorted by name.

    Not recognised are `model_0080.hdf5` or `model_iter0010_copy.hdf5`: files with a checkpoint's suffix, or nearly its
    name, that the user may take for checkpoints. `names_like` as of `find_runs`. Raises PtyconvError where the folder
    isn't there or holds no checkpoint.
    """
    paths = _listing(run_dir)
    found = checkpoints_in(run_dir, names_like)
    if not found:
        raise PtyconvError(f"{run_dir}: {no_checkpoint(find_runs(run_dir, names_like), run_dir, names_like)}")
    suffixes, taken = {path.suffix for path in found}, set(found)
    rest = [path for path in paths if path not in taken and (path.suffix in suffixes or looks_alike(path))]
    rest = [path for path in rest if _not_recognised(path)]
    if all(known_by_content(path) for path in found):
        # Whatever else is in the folder was looked into, and is none, unless it could not be read.
        rest = unreadable(rest)
    return found, rest


def _not_recognised(path: Path, by_usual_names: bool = False) -> bool:
    number = usual_number(path) if by_usual_names else number_in_name(path)
    known = number is not None or COLLATED_NAME.fullmatch(path.name) or OWN_RESULTS.fullmatch(path.name)
    return not known and not path.name.startswith(".")


def not_recognised_text(paths: Sequence[Path]) -> str:
    """Say which files were not recognised as checkpoints, a few of them by name."""
    return f"not named like a checkpoint, so not used: {few(path.name for path in paths)}"


def no_checkpoint(found: Found, path: Path, names_like: str | None = None) -> str:
    """Say what a folder without checkpoints holds instead."""
    if found.runs:
        runs, one = ("a run", "it") if len(found.runs) == 1 else (f"{len(found.runs)} runs", "one of them")
        folders = few(str(run.relative_to(path)) for run in found.runs)
        return f"holds no checkpoint, but {runs} below it, in {folders}: give {one}"
    if found.collated:
        return (
            f"holds {len(found.collated)} collated files (model_error_…), the last checkpoints of different trials: a "
            "change from one to another means nothing. To see the changes within a trial, let it save its checkpoints "
            "(SAVE_ITERS)"
        )
    others = [other for other in _listing(path) if looks_alike(other, by_suffix=True)]
    if names_like is not None:
        held = f"; it holds {few(other.name for other in others)}" if others else ""
        return f"holds no checkpoint named like --names {names_like!r}{held}"
    others = [other for other in others if _not_recognised(other)]
    if not others:
        return f"holds no checkpoint ({names()})"
    example = next(iter(patterns_of(others)), "state_iter*.h5")
    return (
        f"holds no checkpoint ({names()}), as far as can be told of {few(other.name for other in others)}; ptyconv ls "
        "FILE says what one is. If they are files of PtyRAD or phaser, say how they are named, with a star for the "
        f"iteration: --names '{example}'"
    )


def _listing(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(path.name for path in folder.iterdir())]
    except FileNotFoundError as error:
        raise PtyconvError(f"{folder}: there is no such file or folder") from error
    except NotADirectoryError as error:
        raise PtyconvError(f"{folder}: is a file; give the folder it is in") from error
    except OSError as error:
        raise PtyconvError(f"{folder}: cannot be listed ({error.strerror})") from error
