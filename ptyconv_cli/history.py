"""What is known of a run over its iterations: plain numbers, no tensors, no files."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from ptyconv_cli.region import Region

Curve = list[tuple[int, float]]
"""Pairs of (niter, value), in order of iteration."""

LAG = 8
"""Snapshots that a drift ratio looks back, where there are twice as many."""


def lag_of(snapshots: int) -> int:
    """Return how many snapshots a drift ratio looks back in a run of so many; below 2 it says nothing."""
    return min(LAG, snapshots // 2)


Triangle = list[list[float]]
"""The distances of each snapshot, in order of iteration, from all before it: the first has none."""


@dataclass(frozen=True)
class TakenOut:
    """What was taken out of a tensor's change because no diffraction pattern can see it, each to first order.

    `share` of the change's norm, from 0 to 1: 1 - |what is left| / |change|; `shift` (y, x) in Å, by which the tensor
    moved. Of the phase `offset` in rad (omode, slice) and `ramp` (y, x) in rad per Å; of the object's amplitude `scale`
    (omode, slice) relative to the current snapshot, and of the probe's intensity, [[scale]], relative to the one
    before.
    """

    share: float
    shift: tuple[float, float]
    offset: list[list[float]] | None = None
    ramp: tuple[float, float] | None = None
    scale: list[list[float]] | None = None

    @property
    def total_offset(self) -> list[float] | None:
        """The offsets of all slices together, in rad, of each object mode."""
        return None if self.offset is None else [sum(of_slices) for of_slices in self.offset]

    @property
    def total_scale(self) -> list[float] | None:
        """The scales of all slices together, of each object mode."""
        return None if self.scale is None else [sum(of_slices) for of_slices in self.scale]


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
        """The iterations that the change adds up over, None where they are not known."""
        return None if self.since is None else self.niter - self.since


def points_since(first_since: int | None, curve: Curve) -> list[Point]:
    """Return a curve as points, each measured from the one before, the first from `first_since`."""
    sinces = [first_since, *(niter for niter, _ in curve)]
    return [Point(niter, since, value) for (niter, value), since in zip(curve, sinces, strict=False)]


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


@dataclass(frozen=True)
class SeriesVerdict:
    """The `state` of a series, its `reason` in a sentence, and the iteration `since` which it holds.

    Of a series that is improving: `half_life` in iterations, and the iteration at which it `reaches` a tenth of its
    peak, then the earliest and the latest that its scatter allows; None for what is far away or not known.
    """

    state: str
    reason: str
    since: int | None = None
    half_life: float | None = None
    reaches: tuple[int | None, int | None, int | None] | None = None


@dataclass(frozen=True)
class RunVerdict:
    """The verdict on a run: the `state` of its worst series, with its key and `reason`, and those on all `series`.

    `since`: the iteration since which it holds; of a run that has settled, since which the last series has. `remark`:
    what it could not go by, "" where it had all.
    """

    state: str
    worst: str
    reason: str
    since: int | None
    series: dict[str, SeriesVerdict]
    remark: str = ""


@dataclass(frozen=True)
class EngineHistories:
    """What the engine itself recorded along the way.

    `loss`; `learning_rates` by tensor; `tilts` in mrad under `y` and `x`; `slice_thickness` in Å; `convergence`: the
    live monitor's own record by series key, taken with the percentiles `live_percentiles`; `optimised`: by tensor, the
    first and the last iteration at which it is optimised (no first one: never; no last one: to the end); `seconds` of
    compute up to the end of each iteration; `planned`: the iteration at which the run is to end. Empty, or None, where
    the engine's version recorded nothing.
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

    def plain(self) -> "EngineHistories":
        """Return the same in plain numbers; raise TypeError or ValueError where there are others."""

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
        """Return these up to an iteration, and after it those of a run that went on from there, counting from 1."""

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
                name: (start and after + start, end and after + end) for name, (start, end) in later.optimised.items()
            },
            live_percentiles=later.live_percentiles,
            seconds=join(self.seconds, [(niter, before + seconds) for niter, seconds in later.seconds]),
            planned=later.planned and after + later.planned,
        )


@dataclass(frozen=True)
class Seam:
    """Where on the axis of iterations something else begins: after iteration `niter`, in a few words `what`.

    `difference`: what is different in the geometry, so that no change is computed across the seam; "" where one is.
    """

    niter: int
    what: str
    difference: str = ""


@dataclass(frozen=True)
class CheckpointInfo:
    """One checkpoint of the run: its file name, its iteration, and the shapes of its tensors by name.

    `size` of the file in bytes, and when it was last `modified`, in ns since 1970 as its file system says.
    """

    file: str
    niter: int
    shapes: dict[str, tuple[int, ...]]
    size: int
    modified: int


@dataclass(frozen=True)
class LeftOut:
    """A checkpoint file that was not used, and why; `niter`: the iteration that its name gives, if it does."""

    file: str
    reason: str
    niter: int | None = None


@dataclass(frozen=True)
class Agreement:
    """How far recomputed values are from the live monitor's: over `compared` points, the largest relative difference.

    `max_relative_difference` is None where no point could be compared.
    """

    compared: int
    max_relative_difference: float | None


@dataclass(frozen=True)
class Results:
    """What there is to draw of a run: its `name`, the engine's histories, and what is named as in `RunAnalysis`.

    `engine` is None where only `convergence_iters.json` was read, which holds none. `shares`: by tensor, the share of
    each change that was taken out. `state` and `since` are the verdict's, "" where there is none. `seams` in order.
    """

    name: str
    points: dict[str, list[Point]]
    engine: EngineHistories | None
    aligned_points: dict[str, list[Point]] = field(default_factory=dict)
    shares: dict[str, Curve] = field(default_factory=dict)
    trajectories: dict[str, Trajectory] = field(default_factory=dict)
    state: str = ""
    since: int | None = None
    seams: list[Seam] = field(default_factory=list)


@dataclass(frozen=True)
class RunAnalysis:
    """All that an analysis of a run found out.

    `checkpoints` were used, `left_out` not; `not_finite`: by tensor, the iterations at which it held NaN or infinity.
    `points` holds the series of `series.SERIES` by key, `aligned_points` the aligned ones, `taken_out` what they are
    without (by tensor and niter), `trajectories` the distances between the snapshots of each tensor; the latter three
    are empty where they were not asked for, and `verdict` is None then. `region` is the scanned region in object
    pixels and `dx` the pixel size in Å, both of the last checkpoint, as are the `trajectories` from the last seam on
    across which nothing can be compared; `seams` in order. `device`: where the arithmetic ran, `every` the iterations
    asked for (multiples of it, None for all), `select` the files, `known` how many checkpoints an earlier analysis had
    done already; `live_agreement` compares with the engine's own
    record, by series key.
    """

    run_dir: str
    ptyconv_version: str
    device: str
    percentile_range: tuple[float, float]
    every: int | None
    select: str | None
    known: int
    region: Region
    dx: float
    checkpoints: list[CheckpointInfo]
    seams: list[Seam]
    left_out: list[LeftOut]
    not_finite: dict[str, list[int]]
    points: dict[str, list[Point]]
    aligned_points: dict[str, list[Point]]
    taken_out: dict[str, list[tuple[int, TakenOut]]]
    trajectories: dict[str, Trajectory]
    verdict: RunVerdict | None
    engine: EngineHistories
    live_agreement: dict[str, Agreement]
    warnings: list[str]

    @property
    def convergence_iters(self) -> dict[str, Curve]:
        """The changes as PtyRAD's monitor records them: by key, lists of (niter, value)."""
        return {key: [(point.niter, point.value) for point in points] for key, points in self.points.items()}

    @property
    def results(self) -> Results:
        """What there is to draw."""
        return Results(
            name=Path(self.run_dir).name,
            points=self.points,
            engine=self.engine,
            aligned_points=self.aligned_points,
            shares={tensor: [(niter, t.share) for niter, t in found] for tensor, found in self.taken_out.items()},
            trajectories=self.trajectories,
            state=self.verdict.state if self.verdict else "",
            since=self.verdict.since if self.verdict else None,
            seams=self.seams,
        )
