"""How steeply a noisy series falls: the Theil-Sen slope and its interval. Plain numbers."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST = 64
"""Points that slopes are taken of; of more, neighbours are put together first, for the pairs grow with the square."""

Z = 1.645
"""Standard errors to each side of a 90 % interval."""


class Slope(NamedTuple):
    """The median of the slopes of all pairs of points, and the 90 % interval that it lies in."""

    median: float
    low: float
    high: float


def theil_sen(x: NDArray[np.float64], y: NDArray[np.float64]) -> Slope:
    """Return the slope of y over x, at least two points with x rising; an outlier in a few doesn't matter.

    Interval: P. K. Sen, J. Am. Stat. Assoc. 63, 1379 (1968), from the variance of Kendall's statistic.
    """
    if len(x) > MOST:
        groups = np.array_split(np.arange(len(x)), MOST)
        x, y = (np.array([np.median(values[group]) for group in groups]) for values in (x, y))
    first, second = np.triu_indices(len(x), 1)
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    spread = Z * math.sqrt(len(x) * (len(x) - 1) * (2 * len(x) + 5) / 18)
    low, high = math.floor((len(slopes) - spread) / 2), math.ceil((len(slopes) + spread) / 2)
    return Slope(
        float(np.median(slopes)),
        float(slopes[low]) if low >= 0 else -math.inf,
        float(slopes[high]) if high < len(slopes) else math.inf,
    )
