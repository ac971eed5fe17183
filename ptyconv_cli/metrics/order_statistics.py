"""Order statistics: the rank of a percentile among the voxels, and its bracket from a sample."""

import math
from collections.abc import Sequence
from typing import NamedTuple

SAMPLE = 1 << 16
"""Voxels drawn to bracket the percentiles; smaller objects are sorted whole."""


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
