"""Order statistics: the rank of a percentile among the voxels, and its bracket from a sample."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SAMPLE = 1 << 16
"""Voxels drawn to bracket the percentiles; smaller objects are sorted whole."""

SHARED = SAMPLE // 200
"""A value that is drawn this often counts as shared by many voxels, as in clipped objects."""

REACH = 3.5
"""Standard errors to each side of a bracket: 1 in 1000 misses its percentile, and costs a second pass."""


class Bracket(NamedTuple):
    """An interval, ends included, that should hold a percentile and its two neighbours in the order of the voxels.

    `shared`: values in it that many voxels share. `above`: whether the mean is over the voxels above the percentile.
    """

    low: float
    high: float
    shared: list[float]
    above: bool


class MaskedMean(NamedTuple):
    """The mean change over a mask, 0.0 over an empty one, and the number of voxels in it; NaN, None without a mask.

    `aligned`: the same mean of the residual, None where none was given.
    """

    mean: float
    voxels: int | None
    aligned: float | None = None


def no_mask(aligned: bool) -> MaskedMean:
    """Return the result where no percentile exists; `aligned`: whether a residual was given."""
    return MaskedMean(math.nan, None, math.nan if aligned else None)


def masked_mean(totals: Sequence[float], voxels: int) -> MaskedMean:
    """Return the means from the totals of the change and, where one was given, of the residual."""
    mean, *aligned = (total / voxels if voxels else 0.0 for total in totals)
    return MaskedMean(mean, voxels, *aligned)


def rank(count: int, percentile: float) -> tuple[int, int, float]:
    """Return the ranks of a percentile's two neighbours among `count` ordered values, and the fraction between."""
    place = (count - 1) * (percentile / 100)
    position = math.floor(place)
    return position, min(position + 1, count - 1), place - position


def interpolate(before: float, after: float, fraction: float) -> float:
    """Interpolate from the nearer end, as numpy does, so that rounding agrees."""
    step = after - before
    return before + step * fraction if fraction < 0.5 else after - step * (1 - fraction)


def bracket_places(percentile: float, reach: float, drawn: int) -> tuple[int, int]:
    """Return the ranks in a sample of size `drawn` that bracket a percentile of all, `reach` standard errors away.

    A rank below 0, or of `drawn` or more, stands for an infinity: beyond its ends the sample says nothing.
    """
    share = percentile / 100
    error = reach * math.sqrt(share * (1 - share) * drawn) + reach
    return math.floor(share * (drawn - 1) - error), math.ceil(share * (drawn - 1) + error)


def drawn(count: int) -> NDArray[np.int64]:
    """Return the places of the voxels, out of `count`, that are the sample."""
    # Its own generator: the same draw every time, and the caller's random state is untouched.
    return np.random.default_rng(0).integers(count, size=SAMPLE)


def everything() -> list[Bracket]:
    """Return brackets that cannot miss."""
    return [Bracket(-math.inf, math.inf, [], above) for above in (False, True)]


def brackets(sample: NDArray[np.floating], percentile_range: tuple[float, float], reach: float) -> list[Bracket]:
    """Bracket both percentiles by a sample's, which is in order, `reach` standard errors to each side.

    Find shared values there.
    """
    distinct, drawings = np.unique(sample, return_counts=True)
    shared = distinct[drawings >= SHARED].tolist()
    found = []
    for percentile, above in zip(percentile_range, (False, True), strict=True):
        first, last = bracket_places(percentile, reach, len(sample))
        low = float(sample[first]) if first >= 0 else -math.inf
        high = float(sample[last]) if last < len(sample) else math.inf
        found.append(Bracket(low, high, [value for value in shared if low <= value <= high], above))
    return found
