"""Checkpoints that are found by what is in them: those of formats without usual names, and of the others where a folder
leaves no doubt.

A folder in which any file has a usual name is never looked at this way.
"""

import re
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path

from ptyconv_cli.checkpoints.opening import name_files, number_in_name, open_checkpoint, recognised
from ptyconv_cli.checkpoints.readers import digits, looks_alike
from ptyconv_cli.errors import CheckpointError

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
