"""Where a GPU's pass looks for the percentiles: intervals of values, chosen on the host from the sample."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics import order_statistics as order
from ptyconv_cli.metrics.order_statistics import Bracket


class Interval(NamedTuple):
    """The values above `low` up to `high`, None where it has no such end; `shared`: those that many voxels share."""

    low: float | None
    high: float | None
    shared: list[float]


class Plan(NamedTuple):
    """What to look for in the voxels: one interval for both percentiles or one for each, and `room` for their voxels.

    No interval where all voxels are to be put in order.
    """

    intervals: list[Interval]
    room: int

    @property
    def cuts(self) -> list[float]:
        """The ends of the intervals, which cut the values into classes: every second one is an interval."""
        return [end for interval in self.intervals for end in (interval.low, interval.high) if end is not None]

    @property
    def shared(self) -> list[float]:
        """The shared values of all intervals, in order."""
        return [value for interval in self.intervals for value in interval.shared]

    @property
    def beyond(self) -> tuple[int | None, int | None]:
        """The classes below and above all intervals, None where there is none."""
        lowest, highest = self.intervals[0].low, self.intervals[-1].high
        return (None if lowest is None else 0), (None if highest is None else len(self.cuts))

    @property
    def first_inside(self) -> int:
        """The class of the first interval."""
        return 0 if self.intervals[0].low is None else 1


def plan_pass(
    count: int, sample: NDArray[np.floating] | None, percentile_range: tuple[float, float], reach: float
) -> Plan:
    """Plan a pass over `count` voxels; without a sample, and where their brackets hold all, no pass is needed."""
    if sample is None:
        return Plan([], count)
    low, high = (_interval(bracket, sample) for bracket in order.brackets(sample, percentile_range, reach))
    apart = low.high is not None and high.low is not None and low.high <= high.low
    both = Interval(low.low, high.high, sorted({*low.shared, *high.shared}))
    intervals = [low, high] if apart else [both]
    if both.low is both.high is None and not apart:
        return Plan([], count)
    drawn = sum(_drawn_in(interval, sample) for interval in intervals)
    most = (drawn + 6 * math.sqrt(drawn) + 64) / len(sample)  # six standard errors
    return Plan(intervals, min(math.ceil(count * most), count) + 1)


def _interval(bracket: Bracket, sample: NDArray[np.floating]) -> Interval:
    """Return a bracket from the next lower value in the sample on, so that no end belongs to two classes."""
    first = int(np.searchsorted(sample, bracket.low)) if bracket.low > -math.inf else 0
    return Interval(
        float(sample[first - 1]) if first else None, bracket.high if bracket.high < math.inf else None, bracket.shared
    )


def _drawn_in(interval: Interval, sample: NDArray[np.floating]) -> int:
    """Return how many of the sample are in an interval, but for the shared values."""
    first = 0 if interval.low is None else np.searchsorted(sample, interval.low, "right")
    last = len(sample) if interval.high is None else np.searchsorted(sample, interval.high, "right")
    return int(last - first) - int(np.isin(sample[first:last], interval.shared).sum())
