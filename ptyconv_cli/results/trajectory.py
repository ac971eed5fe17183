"""The trajectory of a run: the distances between all its checkpoints. Plain numbers. See docs/metrics.md."""

import math
from dataclasses import dataclass

from ptyconv_cli.results.history import Curve

LAG = 8
"""Checkpoints that a drift ratio looks back, where there are at least twice as many."""


def lag_of(checkpoints: int) -> int:
    """Return how many checkpoints a drift ratio looks back in a run of so many; below 2 there is no ratio."""
    return min(LAG, checkpoints // 2)


Triangle = list[list[float]]
"""The distances of each checkpoint, in order of iteration, from all before it: the first has none."""


@dataclass(frozen=True)
class Trajectory:
    """RMS distances between the checkpoints of one tensor, `raw` and `aligned`, in `unit`; `niters` of the checkpoints.

    They are estimated from the same `kept` of `all_voxels` voxels (or positions) of every checkpoint, and exact where
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
        """The checkpoints that the drift ratio looks back; below 2 there is no ratio."""
        return lag_of(len(self.niters))

    def to_last(self, distances: Triangle) -> Curve:
        """Return the distance of every checkpoint to the last, as (niter, distance); that of the last is 0."""
        return list(zip(self.niters, [*distances[-1], 0.0], strict=True))

    def travelled(self, distances: Triangle) -> Curve:
        """Return the distance of every checkpoint from the one `lag` before it, as (niter, distance)."""
        return [
            (niter, of_one[-self.lag])
            for niter, of_one in zip(self.niters[self.lag :], distances[self.lag :], strict=True)
        ]

    def drift_ratio(self, distances: Triangle) -> Curve:
        """Return |x_k - x_(k-lag)| / |x_k - x_(k-1)| as (niter, ratio), NaN where x did not change.

        About 1 for jitter about a fixed point, sqrt(lag) for a random walk, `lag` for a straight line.
        """
        if self.lag < 2:
            return []
        return [
            (niter, of_one[-self.lag] / of_one[-1] if of_one[-1] else math.nan)
            for niter, of_one in zip(self.niters[self.lag :], distances[self.lag :], strict=True)
        ]
