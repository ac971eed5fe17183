"""Where a percentile stands in the order of the voxels, and the bracket that a sample puts around it."""

import math
from typing import NamedTuple

SAMPLE = 1 << 16
"""Voxels drawn to bracket the percentiles; objects of no more than that are sorted whole."""


class MaskedMean(NamedTuple):
    """A mean over a mask, 0.0 over an empty one, and the number of voxels in it; NaN and None where no mask exists."""

    mean: float
    voxels: int | None


NO_MASK = MaskedMean(math.nan, None)


def rank(count: int, percentile: float) -> tuple[int, int, float]:
    """Return the places of a percentile's two neighbours among `count` ordered values, and the fraction between."""
    place = (count - 1) * (percentile / 100)
    position = math.floor(place)
    return position, min(position + 1, count - 1), place - position


def interpolate(before: float, after: float, fraction: float) -> float:
    """Interpolate from the nearer end, as numpy does, so that rounding falls the same way."""
    step = after - before
    return before + step * fraction if fraction < 0.5 else after - step * (1 - fraction)


def bracket_places(percentile: float, reach: float, drawn: int) -> tuple[int, int]:
    """Places, among `drawn` ordered ones, that a percentile of all should lie between, `reach` standard errors away.

    A place below 0 or from `drawn` on stands for an infinity: beyond the sample's own ends nothing is known.
    """
    share = percentile / 100
    error = reach * math.sqrt(share * (1 - share) * drawn) + reach
    return math.floor(share * (drawn - 1) - error), math.ceil(share * (drawn - 1) + error)
