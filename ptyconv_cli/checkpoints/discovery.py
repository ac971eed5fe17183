"""Which runs and files there are, by their names or their content."""

import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ptyconv_cli.checkpoints.opening import known_by_content, name_files, number_in_name, open_checkpoint, recognised
from ptyconv_cli.checkpoints.readers import (
    Known,
    by_content,
    counts_as_file,
    digits,
    is_one_file,
    looks_alike,
    names,
    usual_number,
)
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.results.text import few

STAR = "*"
"""Stands for the digits of the iteration in a pattern."""

TRIES = 3
"""Files with like names that are looked into before all are taken for something else."""

_KNOWN: dict[Path, tuple[list[Path], str]] = {}
"""By folder, the files that were looked into, and the pattern that was found, so that each is opened once."""


def check_pattern(pattern: str | None) -> str | None:
    """Return a pattern of names; raise ValueError unless it has one star, and no folders."""
    if pattern is not None and (pattern.count(STAR) != 1 or "/" in pattern):
        raise ValueError(f"{pattern!r}: expected a file name with one star for the iteration, as in 'state_iter*.h5'")
    return pattern


def named_by(pattern: str, paths: Sequence[Path]) -> list[Path]:
    """Return the files of a folder that a pattern names, and have `number_in_name` know it."""
    found = [path for path in paths if digits(pattern).fullmatch(path.name)]
    if found:
        name_files(found[0].parent, pattern)
    return found


def found_by_content(paths: Sequence[Path]) -> list[Path]:
    """Return the checkpoints among the files of a folder in which none has a usual name.

    They are files that a reader takes for its own by their content, and, of formats whose files have usual names, files
    whose names differ in exactly one number, which are all of one format, and whose iterations are in the order of
    these numbers; of the latter none where there is doubt.
    """
    candidates = [path for path in paths if looks_alike(path, by_suffix=True) and not path.name.startswith(".")]
    if not candidates:
        return []
    found = _taken_for_own(candidates)
    candidates = [path for path in candidates if path not in found]
    folder = paths[0].parent
    looked_into, pattern = _KNOWN.get(folder, ([], ""))
    grown = bool(pattern) and set(looked_into) <= set(candidates)
    if looked_into != candidates and not grown:
        fitting = [one for one, files in patterns_of(candidates).items() if _are_a_run(one, files)]
        pattern = fitting[0] if len(fitting) == 1 else ""
        _KNOWN[folder] = candidates, pattern
    named = named_by(pattern, candidates) if pattern else []
    return [path for path in paths if path in found or path in named]


def looked_for_patterns(folders: Collection[Path]) -> list[tuple[list[Path], str]]:
    """Return for each of some folders the files of like names that were looked into, and the pattern found, if any."""
    return [known for folder, known in _KNOWN.items() if folder in folders]


def recall_pattern(looked_into: list[Path], pattern: str) -> None:
    """Take the pattern that was found before by looking into some files of a folder, "" for none."""
    if looked_into:
        _KNOWN[looked_into[0].parent] = looked_into, pattern


def _taken_for_own(paths: Sequence[Path]) -> set[Path]:
    """Return the files that a reader takes for its own, and all with like names: those are damaged, or being written.

    Of many files with like names, such as raw data, only the first few are looked into where those are none's.
    """
    found = set[Path]()
    for files in _alike(paths).values():
        if any(recognised(path).known for path in _first(files)):
            found |= set(files)
    return found


def unreadable(paths: Sequence[Path]) -> list[Path]:
    """Return the files that could not be looked into; of many with like names only the first few are tried."""
    tried = {path for files in _alike(paths).values() for path in _first(files)}
    return [path for path in paths if path in tried and recognised(path).problem]


def _first(files: Sequence[Path]) -> list[Path]:
    return sorted(files, key=lambda path: [int(number) for number in _numbers(path)])[:TRIES]


def patterns_of(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the patterns that name several files each, which differ in exactly one number, with these files."""
    found = {}
    for texts, files in _alike(paths).items():
        numbers = list(zip(*(_numbers(path) for path in files), strict=True))
        differing = [place for place, of_files in enumerate(numbers) if len(set(of_files)) > 1]
        if len(differing) == 1:
            parts = [STAR if place in differing else of_files[0] for place, of_files in enumerate(numbers)]
            found["".join(text + part for text, part in zip(texts, [*parts, ""], strict=True))] = files
    return found


def _alike(paths: Sequence[Path]) -> dict[tuple[str, ...], list[Path]]:
    """Return files whose names differ at most in their numbers, by the texts around these."""
    found: dict[tuple[str, ...], list[Path]] = {}
    for path in paths:
        found.setdefault(tuple(re.split(r"\d+", path.name)), []).append(path)
    return found


def _numbers(path: Path) -> list[str]:
    return re.findall(r"\d+", path.name)


def _are_a_run(pattern: str, files: Sequence[Path]) -> bool:
    ordered = sorted(files, key=lambda path: _number(pattern, path))
    formats, niters = set[str](), []
    for path in ordered:
        if number_in_name(path) is not None:
            return False
        try:
            with open_checkpoint(path) as checkpoint:
                formats.add(checkpoint.format)
                niters.append(int(checkpoint.niter))
        except CheckpointError:
            return False
    return len(formats) == 1 and all(one < other for one, other in pairwise(niters))


def _number(pattern: str, path: Path) -> int:
    match = digits(pattern).fullmatch(path.name)
    return int(match[1]) if match else 0


COLLATED_NAME = re.compile(r"model_error_.*_t\d+.*\.(hdf5|h5|pt)")
"""Results of a hypertune study: each is the last checkpoint of a trial, so no two of them are of one run."""

OWN_RESULTS = re.compile(r"(convergence(_\w+)?|trajectory|comparison|maps|frc|report)\.(json|csv|png|pdf|svg|html)")


@dataclass
class Found:
    """What was found below a path: folders with checkpoints (`runs`), `collated` files, `problems` with folders."""

    runs: list[Path] = field(default_factory=list)
    collated: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def runs_at(path: Path, names_like: str | None = None, entering: Callable[[Path], None] = lambda folder: None) -> Found:
    """Return the runs at or below a path, which may be a file; parameters and errors as of `find_runs`."""
    if is_one_file(path):
        return Found([path])
    entering(path)
    return Found([path]) if holds_checkpoints(path, names_like) else find_runs(path, names_like, entering)


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
