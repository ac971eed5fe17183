"""Which tensors a run refined at all: the changes of the others are 0, or rounding noise. Plain numbers."""

import math
from collections.abc import Iterable, Mapping

from ptyconv_cli.results.history import Point
from ptyconv_cli.results.series import SERIES

ROUNDING = 3e-7
"""Of a value's size: what float32, with 6e-8 for one rounding, makes of a value that stays as it is."""


def within_rounding(changes: Iterable[float], scale: float = 1.0) -> bool:
    """Say whether changes of values whose size is `scale` are all rounding; False of none at all, and of a NaN."""
    sizes = [abs(change) for change in changes]
    return bool(sizes) and all(math.isfinite(size) and size <= ROUNDING * scale for size in sizes)


def never_refined(points: Mapping[str, list[Point]], dx: float) -> tuple[str, ...]:
    """Return the tensors that a run did not refine, in the order of `results.series.TENSORS`.

    `points`: the raw changes by key of the series; averages over an empty mask say nothing. Scan positions are stored
    in px, so that their values are of the size of a pixel, `dx` in Å; all others are of the size of 1: an amplitude, a
    phase in rad, a fraction of the probe's intensity.
    """
    changes: dict[str, list[float]] = {}
    for series in SERIES:
        measured = [point.value for point in points.get(series.key, []) if point.voxels != 0]
        changes.setdefault(series.tensor, []).extend(measured)
    return tuple(
        tensor
        for tensor, values in changes.items()
        if within_rounding(values, dx if tensor == "probe_pos_shifts" else 1.0)
    )
