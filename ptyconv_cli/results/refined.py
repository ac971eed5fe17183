"""Which tensors a run refined at all, told by the size of their changes. Plain numbers."""

from collections.abc import Iterable, Mapping

from ptyconv_cli.results.history import Point
from ptyconv_cli.results.series import SERIES

ROUNDING = 2.0**-23
"""What stored numbers around 1 (in rad, Å, or dimensionless) are rounded to: float32 has 23 digits in base 2."""


def within_rounding(changes: Iterable[float]) -> bool:
    """Return whether changes are all 0 or rounding of what was stored; of none at all, and of a NaN, it isn't known."""
    sizes = [abs(change) for change in changes]
    return bool(sizes) and all(size <= ROUNDING for size in sizes)


def never_refined(points: Mapping[str, list[Point]]) -> tuple[str, ...]:
    """Return the tensors that no series saw change by more than rounding, in the order of `results.series.TENSORS`.

    `points`: changes between checkpoints by key of the series, not aligned ones: a shift of all positions is a change.
    The 0 of an empty mask tells nothing.
    """
    changes: dict[str, list[float]] = {}
    for series in SERIES:
        measured = [point.value for point in points.get(series.key, []) if point.voxels != 0]
        changes.setdefault(series.tensor, []).extend(measured)
    return tuple(tensor for tensor, values in changes.items() if within_rounding(values))
