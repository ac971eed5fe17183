"""The results of analyzing one run: plain numbers, from which files and pictures are made."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ptyconv_cli import results
from ptyconv_cli.results.history import Curve, EngineHistories, Point, Trajectory


class Region(NamedTuple):
    """A half-open range of object pixels in y and in x."""

    y_start: int
    y_stop: int
    x_start: int
    x_stop: int

    @property
    def slices(self) -> tuple[Any, ...]:
        """The index that cuts the region out of the last two axes of an array."""
        return ..., slice(self.y_start, self.y_stop), slice(self.x_start, self.x_stop)

    def shape_in(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the region in an array of the given shape; raise ValueError where that is empty."""
        rows, columns = (len(range(size)[part]) for size, part in zip(shape[-2:], self.slices[1:], strict=True))
        if not rows * columns:
            raise ValueError(f"the scanned region ({self}) holds no voxel of the object, whose shape is {tuple(shape)}")
        return *shape[:-2], rows, columns

    def within(self, shape: Sequence[int]) -> "Region":
        """Return the part of the region that lies in an array of the given shape."""
        height, width = shape[-2:]
        return Region(*(min(bound, size) for bound, size in zip(self, (height, height, width, width), strict=True)))

    def moved(self, away: tuple[int, int], margin: int) -> "Region":
        """Return the region moved by so many px (y, x), with a margin all around."""
        y, x = away
        return Region(
            self.y_start + y - margin, self.y_stop + y + margin, self.x_start + x - margin, self.x_stop + x + margin
        )

    def inside(self, shape: Sequence[int]) -> "Region":
        """Return the part of a region, which may begin before 0, that lies in an array of the given shape."""
        height, width = shape[-2:]
        return Region(max(self.y_start, 0), min(self.y_stop, height), max(self.x_start, 0), min(self.x_stop, width))

    def is_held_by(self, shape: Sequence[int], away: tuple[int, int]) -> bool:
        """Say whether at least half of the region, moved by so many px, lies in an array of the given shape."""
        wanted = self.within(shape).moved(away, 0)
        inside = wanted.inside(shape)
        return inside.holds_any() and 2 * inside.pixels >= wanted.pixels

    @property
    def pixels(self) -> int:
        """How many there are in it."""
        return (self.y_stop - self.y_start) * (self.x_stop - self.x_start)

    def beyond(self, inner: "Region") -> tuple[tuple[int, int], tuple[int, int]]:
        """Return by how many px the region is larger than an inner one, at both ends of y and of x."""
        return (
            (inner.y_start - self.y_start, self.y_stop - inner.y_stop),
            (inner.x_start - self.x_start, self.x_stop - inner.x_stop),
        )

    def holds_any(self) -> bool:
        """Say whether there is any pixel in it."""
        return self.y_start < self.y_stop and self.x_start < self.x_stop

    def __str__(self) -> str:
        return f"y {self.y_start}:{self.y_stop}, x {self.x_start}:{self.x_stop} px"


def scanned_region(crop_pos: np.ndarray, probe_shape: tuple[int, int]) -> Region:
    """Return the region that the probe centres, `crop_pos + (Py // 2, Px // 2)`, span.

    `crop_pos` int (N, 2): top-left corner [y, x] of every probe window in object pixels; `probe_shape` (Py, Px) in px.
    As PtyRAD has it, the Python slice [min - 1 : max] in y and in x, with bounds clamped at 0. Formula:
    docs/metrics.md.
    """
    (y_min, x_min), (y_max, x_max) = crop_pos.min(0).tolist(), crop_pos.max(0).tolist()
    y_half, x_half = probe_shape[0] // 2, probe_shape[1] // 2
    bounds = (y_min + y_half - 1, y_max + y_half, x_min + x_half - 1, x_max + x_half)
    return Region(*(max(bound, 0) for bound in bounds))


TOO_FEW = "too few to align"
"""Why a quantity cannot be judged: the ambiguities explain any change of it."""


@dataclass(frozen=True)
class Doubling:
    """The change from iteration `since` to iteration `niter`, about twice as late.

    `distance` in the tensor's own unit (rad, Å, mrad, or dimensionless), as is `contrast`, what it holds at `niter`;
    `relative`: by how much a doubling changes it, in the quantity's unit: distance / (contrast · log2(niter / since)),
    times 100 where that is %.
    """

    niter: int
    since: int
    distance: float
    relative: float
    contrast: float = math.nan


@dataclass(frozen=True)
class AtIteration:
    """An iteration `niter`, and a change that is of it (`relative`), in the quantity's unit."""

    niter: int
    relative: float


@dataclass(frozen=True)
class Forecast:
    """By how much as many iterations again, up to `niter`, will change it: `relative`, in 90 % from `low` to `high`."""

    niter: int
    relative: float
    low: float
    high: float


@dataclass(frozen=True)
class Doublings:
    """A quantity's changes per doubling, and what they say; `unit` and tolerance as of `quantities.quantity`.

    `contrast`: what the last change is measured by, in the tensor's own unit. `state`: one of
    `verdict.rules.STATES`, with the iteration `since` which it has converged, stopped or been broken. `quietest`:
    of what drifts, where its change per doubling was least; `changed`: where the settings changed during the last
    doubling, the iteration after which, and by how much it changed since; these and `forecast` None where there is
    none. `size`: of what jitters, its scatter about a point, in the same unit as the changes. `growth`: how many
    times the doubling before the last one changed it, NaN where that is not known. `reason`: what is broken, or why
    it cannot be judged at all. `begin`: the iteration from which its iterations count.
    """

    unit: str
    contrast: float
    tolerance: float
    points: list[Doubling]
    state: str
    since: int | None = None
    quietest: AtIteration | None = None
    changed: AtIteration | None = None
    forecast: Forecast | None = None
    size: float | None = None
    growth: float = math.nan
    reason: str = ""
    begin: int = 0

    @property
    def too_few(self) -> bool:
        """Whether there is too little of it to align, so that nothing can be said."""
        return self.reason == TOO_FEW


@dataclass(frozen=True)
class RunVerdict:
    """The verdict on a run: its `state`, out of `verdict.rules.STATES`, in a `sentence`, and what to do (`advice`).

    It is that of the object. `worst`: the key of the quantity that the state is of. `since`: the iteration since which
    the object has converged, or something been broken, None otherwise. `doublings`: what was found of each quantity, by
    key. `remark`: what else there is to know, "" for nothing. `keep`: the iteration of the checkpoint to keep, and
    `keep_because` of what; None where no object was analyzed. `loss_lowest_at`: the iteration of the least loss, None
    where none is recorded. `all_converged`: whether everything that is optimised has.
    """

    state: str
    worst: str
    sentence: str
    advice: str
    since: int | None
    doublings: dict[str, Doublings]
    remark: str = ""
    keep: int | None = None
    keep_because: str = ""
    loss_lowest_at: int | None = None
    all_converged: bool = False

    @property
    def converged_since(self) -> int | None:
        """The iteration since which the object has converged, None where it has not."""
        return self.since if self.state == "converged" else None


@dataclass(frozen=True)
class RemovedAmbiguities:
    """The ambiguities that were removed from a tensor's change, because the data cannot constrain them; whole.

    `share`: the fraction of the change's norm that was removed, from 0 to 1: 1 - ‖aligned‖ / ‖raw‖. `shift` (y, x) in
    Å, by which the tensor moved; None of weights. Phase: `offset` in rad (omode, slice) and `ramp` (y, x) in rad per Å.
    Object amplitude: `scale` (omode, slice), relative to the current checkpoint; probe intensity: [[scale]], relative
    to the previous one. `order`: which mode of the object is which of the first checkpoint, where that changed.
    Formulas: docs/metrics.md.
    """

    share: float
    shift: tuple[float, float] | None = None
    offset: list[list[float]] | None = None
    ramp: tuple[float, float] | None = None
    scale: list[list[float]] | None = None
    order: list[int] | None = None

    @property
    def total_offset(self) -> list[float] | None:
        """The sum of the offsets of all slices, in rad, for each object mode."""
        return None if self.offset is None else [sum(of_slices) for of_slices in self.offset]

    @property
    def total_scale(self) -> list[float] | None:
        """The sum of the scales of all slices, for each object mode."""
        return None if self.scale is None else [sum(of_slices) for of_slices in self.scale]


SLICES, SIZE, MODES = "slices", "size", "modes"
"""What grew at a boundary: the object's slices, its size and nothing else, or the probe's modes, too."""


@dataclass(frozen=True)
class RunBoundary:
    """Where a resumed run, or another stage of the engine, begins: after iteration `niter`; `what`, in a few words.

    `difference`: the difference in geometry because of which no change is computed across the boundary, "" where one
    is computed. `growth`: what grew there, out of `SLICES`, `SIZE`, `MODES`; "" for nothing.
    """

    niter: int
    what: str
    difference: str = ""
    growth: str = ""


@dataclass(frozen=True)
class CheckpointInfo:
    """One checkpoint of the run: its file name, its iteration, and the shapes of its tensors by name.

    `size` of the file in bytes, and when it was last `modified`, in ns since 1970 as its file system says. `before`:
    how many of its iterations are those of the runs that its own was resumed from.
    """

    file: str
    niter: int
    shapes: dict[str, tuple[int, ...]]
    size: int
    modified: int
    before: int = 0


@dataclass(frozen=True)
class LeftOut:
    """A checkpoint file that was not used, and why; `niter`: the iteration that its name gives, if it does.

    `file`: its name; of one of several in a file "name, iteration 10".
    """

    file: str
    reason: str
    niter: int | None = None


@dataclass(frozen=True)
class Agreement:
    """How recomputed values compare with the live monitor's: over `compared` points, the largest relative difference.

    `max_relative_difference` is None where no point could be compared.
    """

    compared: int
    max_relative_difference: float | None


@dataclass(frozen=True)
class Results:
    """What there is to draw of a run: its `name`, the engine's histories, and what is named as in `RunAnalysis`.

    `engine` is None where only `convergence_iters.json` was read, which holds none. `shares`: by tensor, the share of
    each change that was removed. `boundaries` in order. `shapes` of the last checkpoint's tensors by name, empty where
    they are not known, and `dx`: its pixel size in Å, 1 where that is not known. `recorded`: the changes
    are what the engine recorded itself, of a run that was not analyzed.
    """

    name: str
    points: dict[str, list[Point]]
    engine: EngineHistories | None
    aligned_points: dict[str, list[Point]] = field(default_factory=dict)
    shares: dict[str, Curve] = field(default_factory=dict)
    trajectories: dict[str, Trajectory] = field(default_factory=dict)
    verdict: RunVerdict | None = None
    boundaries: list[RunBoundary] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dx: float = 1.0
    recorded: bool = False


@dataclass(frozen=True, repr=False)
class RunAnalysis:
    """All results of analyzing one run.

    - Settings: `device` on which it was computed, `percentile_range`, `every` (multiples of it were asked for, None for
      all), `select` (the files asked for). `known`: how many checkpoints were in the cache.
    - Files: `checkpoints` were used, `left_out` were not. `not_finite`: by tensor, the iterations at which it held NaN
      or infinity.
    - `region`: the scanned region in object pixels, and `dx`: the pixel size in Å, both of the last checkpoint.
    - `points`: the changes by the keys of `quantities.all_series`; `aligned_points`: the aligned changes; `removed`: by
      tensor, (niter, ambiguities removed); `trajectories`: by tensor, the distances between its checkpoints, after the
      last of the `boundaries` across which nothing can be compared. The latter three are empty, and `verdict` is None,
      where they were not asked for.
    - `engine`: the engine's own histories; `live_agreement`: by series key, how the changes compare with its record.
    - `parent_name`: the checkpoint that the run says it was resumed from, as its files name it; "" where it was not,
      or where runs were joined. `parent`: that file, None where it is not found beside the run.
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
    parent_name: str = ""
    parent: Path | None = None

    def __repr__(self) -> str:
        niters = [checkpoint.niter for checkpoint in self.checkpoints]
        between = f", iterations {niters[0]} to {niters[-1]}" if niters else ""
        lines = [f"<RunAnalysis of {self.run_dir}: {len(niters)} checkpoints{between}"]
        if self.verdict:
            keep = "" if self.verdict.keep is None else f"; keep {self.verdict.keep}"
            lines += [f"  {self.verdict.state}{keep}", f"  {self.verdict.sentence}"]
        if self.warnings:
            lines.append(f"  warnings: {len(self.warnings)}")
        return "\n".join(lines) + ">"

    def to_frame(self) -> Any:
        """Return the raw and aligned changes as a pandas DataFrame, in the columns of `convergence.csv`.

        Raises PtyconvError where pandas is not installed.
        """
        from ptyconv_cli.results.data_frame import data_frame

        assert results.rows_of is not None
        return data_frame(*results.rows_of(self))

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows of it: the verdict's sentence, the changes per doubling, and the dashboard."""
        return None if results.html_of is None else results.html_of(self)

    @property
    def convergence_iters(self) -> dict[str, Curve]:
        """The changes as PtyRAD's monitor records them: by key, lists of (niter, value)."""
        return {key: [(point.niter, point.value) for point in points] for key, points in self.points.items()}

    @property
    def results(self) -> Results:
        """The part that figures are drawn from."""
        return Results(
            name=Path(self.run_dir).name,
            points=self.points,
            engine=self.engine,
            aligned_points=self.aligned_points,
            shares={tensor: [(niter, t.share) for niter, t in found] for tensor, found in self.removed.items()},
            trajectories=self.trajectories,
            verdict=self.verdict,
            boundaries=self.boundaries,
            shapes=self.checkpoints[-1].shapes if self.checkpoints else {},
            dx=self.dx,
        )


class Change(NamedTuple):
    """The value of one series at one snapshot, and the number of voxels in its mask (None where it has no mask).

    `aligned`: the value without the ambiguities, and what was `removed`; None where not asked for. `aligned_voxels`:
    the number of voxels in the mask of that, which is another one.
    """

    value: float
    voxels: int | None = None
    aligned: float | None = None
    removed: RemovedAmbiguities | None = None
    aligned_voxels: int | None = None
