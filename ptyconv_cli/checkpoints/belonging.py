"""Which checkpoints of a folder are of one run: no change between those of different runs means anything."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from ptyconv_cli.checkpoints.discover import number_in_name
from ptyconv_cli.checkpoints.run import Header
from ptyconv_cli.errors import PtyconvError

MOST_NAMES = 4
"""Files of a run that are named one by one."""


def matching(paths: list[Path], select: str | None) -> list[Path]:
    """Return the paths whose names match a selection, if it is a pattern; raise PtyconvError where none does."""
    if select is None or select.isdecimal():
        return paths
    found = [path for path in paths if fnmatchcase(path.name, select)]
    if not found:
        raise PtyconvError(f"{paths[0].parent}: no checkpoint matches --select {select!r}; {paths[0].name} is one")
    return found


def of_one_run(headers: list[Header], tensors: Iterable[str], select: str | None) -> list[Header]:
    """Return the headers of one run: all, if they belong together, or those of the run whose number is selected.

    Raises PtyconvError where they don't belong together and none is selected, and, if nothing is selected at all,
    where a file's name gives another iteration than the file.
    """
    runs = _sorted_out(headers, tuple(tensors))
    if select is not None and select.isdecimal():
        if not 1 <= int(select) <= len(runs):
            raise PtyconvError(
                f"{headers[0].path.parent}: there is no run {select} to select; {_listing(runs, tensors)}"
            )
        return runs[int(select) - 1]
    if len(runs) > 1:
        raise PtyconvError(
            f"{headers[0].path.parent}: {_listing(runs, tensors)}\n"
            "No change from one run to another means anything. Choose a run with --select 1,\n"
            "or files by a pattern of names, such as --select 'model_iter00*'."
        )
    for header in headers:
        if select is None and header.niter != number_in_name(header.path):
            raise PtyconvError(
                f"{header.path}: holds iteration {header.niter}: was it renamed, or copied from another run? "
                f"Move it away, or choose files by a pattern of names that it is to match: --select 'model_iter*'"
            )
    return headers


def _sorted_out(headers: list[Header], tensors: tuple[str, ...]) -> list[list[Header]]:
    runs: list[list[Header]] = []
    for header in headers:
        for run in runs:
            if not difference(header, run[-1], tensors):
                run.append(header)
                break
        else:
            runs.append([header])
    return runs


def difference(one: Header, other: Header, tensors: Iterable[str]) -> str:
    """Say why two checkpoints are not of one run, "" where they may be."""
    if one.niter == other.niter:
        return f"it holds iteration {one.niter} as {other.path.name} does"
    for name in tensors:
        if one.shapes[name] != other.shapes[name]:
            return f"the shape of {name} is {one.shapes[name]}, not {other.shapes[name]}"
    if one.dx != other.dx:
        return f"the pixel size dx is {one.dx:.6g} Å, not {other.dx:.6g} Å"
    if not np.array_equal(one.crop_pos, other.crop_pos):
        return "the scan positions (crop_pos) are others"
    # The file of a run holds its loss from the first iteration on, so that it begins with that of every earlier one.
    shared = min(len(one.loss), len(other.loss))
    if not np.array_equal(one.loss[:shared], other.loss[:shared], equal_nan=True):
        return "the loss history is another one"
    return ""


def _listing(runs: list[list[Header]], tensors: Iterable[str]) -> str:
    lines = ["its checkpoints are of " + (f"{len(runs)} runs:" if len(runs) > 1 else "one run:")]
    for number, run in enumerate(runs, start=1):
        names = [header.path.name for header in run]
        named = ", ".join(names) if len(names) <= MOST_NAMES else f"{names[0]}, …, {names[-1]} ({len(names)} files)"
        why = next(filter(None, (difference(run[0], other, tensors) for other in runs[0])), "") if number > 1 else ""
        lines.append(f"  {number}: {named}" + (f": {why}" if why else ""))
    return "\n".join(lines)
