"""What grows within a run: an object that is enlarged, slices or probe modes that are added. See docs/runs.md."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.quantities import of_object, quantity_of
from ptyconv_cli.results.run_analysis import MODES, SIZE, SLICES
from ptyconv_cli.results.text import counted

ROUNDING = 1e-6
"""Px by which scan positions that moved as one may differ."""


class Growth(NamedTuple):
    """How a checkpoint's object holds that of an earlier one of its run.

    `away` (y, x): where, in px, the earlier one's pixel (0, 0) lies in it; `what` grew, in words; `kind`: `SLICES`
    where their number is another one, so that the object cannot be compared slice by slice, else `SIZE` or `MODES`.
    """

    away: tuple[int, int]
    what: str
    kind: str


def growth_between(one: Header, other: Header, tensors: Sequence[str]) -> Growth | None:
    """Return how a later checkpoint's tensors grew; None where they did not, or something else is another one, too.

    Pixel size, probe and scan must be the same, and the later object must hold all of the earlier one, which may lie
    elsewhere in it.
    """
    same = one.dx == other.dx and one.probe_shape == other.probe_shape and one.crop_pos.shape == other.crop_pos.shape
    away = _away(one, other) if same else None
    names = dict.fromkeys([*tensors, *of_object()])  # where the object lies tells where the scan does
    pairs = [(quantity_of(name), one.shapes.get(name), other.shapes.get(name)) for name in names]
    grown = [(quantity, before, after) for quantity, before, after in pairs if before and after and before != after]
    if away is None or not grown:
        return None
    objects = [(before, after) for quantity, before, after in grown if quantity.is_object]
    others = [(before, after) for quantity, before, after in grown if not quantity.is_object]
    if not all(_holds(before, after, away) for before, after in objects) or (any(away) and not objects):
        return None
    if not all(len(before) == 3 and before[1:] == after[1:] for before, after in others):  # of probes, the modes
        return None
    said = [*(text for pair in objects for text in _of_object(*pair)), *(_of_probe(*pair) for pair in others)]
    kind = SLICES if any(before[1] != after[1] for before, after in objects) else MODES if others else SIZE
    return Growth(away, " and ".join(dict.fromkeys(said)), kind)


def _away(one: Header, other: Header) -> tuple[int, int] | None:
    """Return by how many px (y, x) all scan positions moved in the object; None where they did not as one."""
    moved = other.scan - one.scan if one.scan.shape == other.scan.shape else None
    if moved is None or not np.isfinite(moved).all():
        return None
    by = np.zeros(2)
    if moved.shape[-1] == 2 and moved.any():  # they are in px, from a corner of the object
        by = np.round(np.median(moved.reshape(-1, 2), axis=0))
        if np.abs(moved - by).max() > ROUNDING:
            return None
    elif moved.any():
        return None
    elif one.object_corner and other.object_corner:  # positions that are refined may walk meanwhile
        by = np.array(one.object_corner) - np.array(other.object_corner)
    elif one.knows_positions and other.knows_positions:  # these are of something else, and windows may be refined
        by = np.median(other.crop_pos - one.crop_pos, axis=0)
    return (round(by[0]), round(by[1])) if np.isfinite(by).all() else None


def _holds(before: Sequence[int], after: Sequence[int], away: tuple[int, int]) -> bool:
    """Say whether an object (omode, slice, y, x) lies in a later one, moved by so many px."""
    sizes = zip(before[2:], after[2:], away, strict=True)
    return before[0] == after[0] and all(0 <= part <= larger - size for size, larger, part in sizes)


def _of_object(before: Sequence[int], after: Sequence[int]) -> list[str]:
    """Return in words what became of an object."""
    said = []
    if before[2:] != after[2:]:
        said.append("the object grew from {} × {} to {} × {} px".format(*before[2:], *after[2:]))
    if before[1] != after[1]:
        said.append(f"the object has {counted(after[1], 'slice')}, not {before[1]}")
    return said


def _of_probe(before: Sequence[int], after: Sequence[int]) -> str:
    return f"the probe has {counted(after[0], 'mode')}, not {before[0]}"
