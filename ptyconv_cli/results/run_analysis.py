"""All that an analysis of a run found out, and the part of it that pictures are drawn from. Plain numbers."""

from dataclasses import dataclass, field
from pathlib import Path

from ptyconv_cli.results.history import Curve, EngineHistories, Point
from ptyconv_cli.results.region import Region
from ptyconv_cli.results.trajectory import Trajectory
from ptyconv_cli.results.verdict import RunVerdict


@dataclass(frozen=True)
class RemovedAmbiguities:
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
class RunBoundary:
    """Where on the axis of iterations something else begins: after iteration `niter`, in a few words `what`.

    `difference`: what is different in the geometry, so that no change is computed across the boundary; "" where one is.
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
    each change that was removed. `state`, `since` and `worst`, the key of the series that limits it, are the verdict's,
    "" where there is none. `boundaries` in order. `shapes` of the last checkpoint's tensors by name, empty where they
    are not known.
    """

    name: str
    points: dict[str, list[Point]]
    engine: EngineHistories | None
    aligned_points: dict[str, list[Point]] = field(default_factory=dict)
    shares: dict[str, Curve] = field(default_factory=dict)
    trajectories: dict[str, Trajectory] = field(default_factory=dict)
    state: str = ""
    since: int | None = None
    worst: str = ""
    boundaries: list[RunBoundary] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class RunAnalysis:
    """All that an analysis of a run found out.

    `checkpoints` were used, `left_out` not; `not_finite`: by tensor, the iterations at which it held NaN or infinity.
    `points` holds the series of `results.series.SERIES` by key, `aligned_points` the aligned ones, `removed` what they
    are without (by tensor and niter), `trajectories` the distances between the snapshots of each tensor; the latter
    three are empty where they were not asked for, and `verdict` is None then. `region` is the scanned region in object
    pixels and `dx` the pixel size in Å, both of the last checkpoint, as are the `trajectories` from the last boundary
    on across which nothing can be compared; `boundaries` in order. `device`: where the arithmetic ran, `every` the
    iterations asked for (multiples of it, None for all), `select` the files, `known` how many checkpoints an earlier
    analysis had done already; `live_agreement` compares with the engine's own record, by series key.
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
    boundaries: list[RunBoundary]
    left_out: list[LeftOut]
    not_finite: dict[str, list[int]]
    points: dict[str, list[Point]]
    aligned_points: dict[str, list[Point]]
    removed: dict[str, list[tuple[int, RemovedAmbiguities]]]
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
            shares={tensor: [(niter, t.share) for niter, t in found] for tensor, found in self.removed.items()},
            trajectories=self.trajectories,
            state=self.verdict.state if self.verdict else "",
            since=self.verdict.since if self.verdict else None,
            worst=self.verdict.worst if self.verdict else "",
            boundaries=self.boundaries,
            shapes=self.checkpoints[-1].shapes if self.checkpoints else {},
        )
