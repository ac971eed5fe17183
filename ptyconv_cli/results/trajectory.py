"""The distances between all checkpoints of a run, and what they say of its way. Plain numbers."""

import math
from dataclasses import dataclass

from ptyconv_cli.results.history import Curve

LAG = 8
"""Snapshots that a drift ratio looks back, where there are twice as many."""


def lag_of(snapshots: int) -> int:
    """Return how many snapshots a drift ratio looks back in a run of so many; below 2 it says nothing."""
    return min(LAG, snapshots // 2)


Triangle = list[list[float]]
"""The distances of each snapshot, in order of iteration, from all before it: the first has none."""


@dataclass(frozen=True)
class Trajectory:
    """RMS distances between snapshots of one tensor, `raw` and `aligned`, in `unit`; `niters` of the snapshots.

    They are estimated from `kept` of `all_voxels` voxels (or positions), the same of every snapshot, and exact where
    all were kept.
    """

    niters: list[int]
    unit: str
    kept: int
    all_voxels: int
    raw: Triangle
    aligned: Triangle

    @property
    def lag(self) -> int:
        """The snapshots that the drift ratio looks back; below 2 it says nothing."""
        return lag_of(len(self.niters))

    def to_last(self, distances: Triangle) -> Curve:
        """Return the distance of every snapshot to the last one, as (niter, distance); the last one's own is 0."""
        return list(zip(self.niters, [*distances[-1], 0.0], strict=True))

    def travelled(self, distances: Triangle) -> Curve:
        """Return the distance of every snapshot from the one `lag` before it, as (niter, distance)."""
        return [
            (niter, of_one[-self.lag])
            for niter, of_one in zip(self.niters[self.lag :], distances[self.lag :], strict=True)
        ]

    def drift_ratio(self, distances: Triangle) -> Curve:
        """Return |x_k - x_(k-lag)| / |x_k - x_(k-1)| as (niter, ratio), NaN where x did not change.

        About 1 for jitter about a fixed point, sqrt(lag) for a random walk, `lag` for straight travel.
        """
        if self.lag < 2:
            return []
        return [
            (niter, of_one[-self.lag] / of_one[-1] if of_one[-1] else math.nan)
            for niter, of_one in zip(self.niters[self.lag :], distances[self.lag :], strict=True)
        ]
