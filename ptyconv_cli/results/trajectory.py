"""The distances between the checkpoints of a run, and what they say of its way. Plain numbers."""

from dataclasses import dataclass

from ptyconv_cli.results.history import Curve

LAG = 8
"""Checkpoints that a drift ratio looks back, where there are twice as many."""

MOST = 64
"""Checkpoints that distances between all pairs are given of, at most; of more, they are spread evenly over the run."""


def lag_of(checkpoints: int) -> int:
    """Return how many checkpoints a drift ratio looks back in a run of so many; below 2 it says nothing."""
    return min(LAG, checkpoints // 2)


Triangle = list[list[float]]
"""The distances of each checkpoint, in order of iteration, from all before it: the first has none."""


@dataclass(frozen=True)
class Distances:
    """RMS distances between the checkpoints of a `Trajectory`, in its unit; `drift_ratio` of all checkpoints.

    The drift ratio |x_k - x_(k-lag)| / |x_k - x_(k-1)|, as (niter, ratio), NaN where x did not change, is about 1 for
    jitter about a fixed point, √lag for a random walk, `lag` for straight travel.
    """

    between: Triangle
    drift_ratio: Curve


@dataclass(frozen=True)
class Trajectory:
    """How far the checkpoints at `niters` are from each other, in one tensor, `raw` and `aligned`, in `unit`.

    Estimated from `kept` of `all_voxels` voxels (or positions), the same of every checkpoint; exact where all were
    kept. `niters` are up to `MOST` of the run's checkpoints, with the first and the last; `lag`: the checkpoints that
    the drift ratio looks back, below 2 where it says nothing.
    """

    niters: list[int]
    unit: str
    kept: int
    all_voxels: int
    lag: int
    raw: Distances
    aligned: Distances

    def to_last(self, distances: Distances) -> Curve:
        """Return the distance of every checkpoint to the last one, as (niter, distance); the last one's own is 0."""
        return list(zip(self.niters, [*distances.between[-1], 0.0], strict=True))
