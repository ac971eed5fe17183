"""Curves over the iterations: changes, what the engine recorded, and distances between checkpoints. Plain numbers."""

from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

from ptyconv_cli.results.engine_settings import EngineSettings

Curve = list[tuple[int, float]]
"""Pairs of (niter, value), in order of iteration."""

LAST_ITERATION = 1 << 53
"""The largest number up to which all whole ones are told apart in float64."""


def is_iteration(value: Any) -> bool:
    """Say whether a value, of any kind, is a whole number from 0 to `LAST_ITERATION`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) <= LAST_ITERATION


@dataclass(frozen=True)
class Point:
    """The change of one series accumulated from iteration `since` to iteration `niter`.

    `voxels` is the number of voxels in the mask, None where the series has none; `since` is None where it is not
    known (a bare `convergence_iters.json` does not say where its first interval began).
    """

    niter: int
    since: int | None
    value: float
    voxels: int | None = None

    @property
    def interval(self) -> int | None:
        """The number of iterations over which the change accumulated, None where it is not known."""
        return None if self.since is None else self.niter - self.since


def points_since(first_since: int | None, curve: Curve) -> list[Point]:
    """Return a curve as points, each measured from the one before, the first from `first_since`."""
    sinces = [first_since, *(niter for niter, _ in curve)]
    return [Point(niter, since, value) for (niter, value), since in zip(curve, sinces, strict=False)]


@dataclass(frozen=True)
class EngineHistories:
    """What the engine itself recorded during the run; empty, or None, where its version recorded nothing.

    `loss`; `learning_rates` by tensor; `tilts` in mrad under `y` and `x`; `slice_thickness` in Å; `convergence`: the
    record of the engine's live monitor by series key, taken with the percentiles `live_percentiles`; `optimised`: by
    tensor, the first and the last iteration at which it is optimised (no first one: never; no last one: to the end);
    `seconds` of compute up to the end of each iteration; `planned`: the iteration at which the run is to end.
    `settings`: what they are called. `loss_of`: what its loss is of, as far as the files tell, by name: "engine", "loss
    function", "data file", "pattern intensity".
    """

    loss: Curve = field(default_factory=list)
    learning_rates: dict[str, Curve] = field(default_factory=dict)
    tilts: dict[str, Curve] = field(default_factory=dict)
    slice_thickness: Curve = field(default_factory=list)
    convergence: dict[str, Curve] = field(default_factory=dict)
    optimised: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    live_percentiles: tuple[float, float] | None = None
    seconds: Curve = field(default_factory=list)
    planned: int | None = None
    settings: EngineSettings = field(default_factory=EngineSettings)
    loss_of: dict[str, str] = field(default_factory=dict)

    def plain(self) -> "EngineHistories":
        """Return the same with all numbers int or float; raise TypeError or ValueError where one cannot be."""

        def curve(pairs: Curve) -> Curve:
            return [(int(niter), float(value)) for niter, value in pairs]

        def curves(found: dict[str, Curve]) -> dict[str, Curve]:
            return {str(name): curve(pairs) for name, pairs in found.items()}

        return replace(
            self,
            loss=curve(self.loss),
            learning_rates=curves(self.learning_rates),
            tilts=curves(self.tilts),
            slice_thickness=curve(self.slice_thickness),
            convergence=curves(self.convergence),
            seconds=curve(self.seconds),
            planned=None if self.planned is None else int(self.planned),
        )

    def followed_by(self, later: "EngineHistories", after: int) -> "EngineHistories":
        """Return these up to iteration `after`, then those of a run that was resumed there and counts from 1."""

        def join(one: Curve, other: Curve) -> Curve:
            return [pair for pair in one if pair[0] <= after] + [(after + niter, value) for niter, value in other]

        def join_all(one: dict[str, Curve], other: dict[str, Curve]) -> dict[str, Curve]:
            return {key: join(one.get(key, []), other.get(key, [])) for key in {**one, **other}}

        before = next((seconds for niter, seconds in reversed(self.seconds) if niter <= after), 0.0)
        same_masks = self.live_percentiles == later.live_percentiles
        return EngineHistories(
            loss=join(self.loss, later.loss),
            learning_rates=join_all(self.learning_rates, later.learning_rates),
            tilts=join_all(self.tilts, later.tilts),
            slice_thickness=join(self.slice_thickness, later.slice_thickness),
            convergence=join_all(self.convergence if same_masks else {}, later.convergence),
            optimised={
                name: _optimised_in_both(self.optimised.get(name), ends, after)
                for name, ends in later.optimised.items()
            },
            live_percentiles=later.live_percentiles,
            seconds=join(self.seconds, [(niter, before + seconds) for niter, seconds in later.seconds]),
            planned=later.planned and after + later.planned,
            settings=later.settings,
            loss_of=later.loss_of,
        )


def _optimised_in_both(
    earlier: tuple[int | None, int | None] | None, later: tuple[int | None, int | None], after: int
) -> tuple[int | None, int | None]:
    """Return the first and the last iteration at which a tensor is optimised by a run, and one resumed `after` it."""
    (start, end), before = later, earlier[0] if earlier else None
    if start is None:  # it stopped with the run before, if it was optimised at all
        return (None, None) if before is None else (before, after)
    return (after + start if before is None else before), end and after + end


LAG = 8
"""Checkpoints that a drift ratio looks back, where there are twice as many."""

MOST_SKETCHED = 1 << 16
"""The most voxels, or positions, of a tensor that are compared with those of all other checkpoints."""

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
