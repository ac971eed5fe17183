"""What is known of a run over its iterations: plain numbers, no tensors, no files."""

from dataclasses import dataclass, field
from pathlib import Path

from ptyconv_cli.region import Region
from ptyconv_cli.text import printable

Curve = list[tuple[int, float]]
"""Pairs of (niter, value), in order of iteration."""


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
class EngineHistories:
    """What the engine itself recorded along the way.

    `loss`; `learning_rates` by tensor; `tilts` in mrad under `y` and `x`; `slice_thickness` in Å; `convergence`: the
    live monitor's own record by series key, taken with the percentiles `live_percentiles`. Empty where the engine's
    version recorded nothing.
    """

    loss: Curve = field(default_factory=list)
    learning_rates: dict[str, Curve] = field(default_factory=dict)
    tilts: dict[str, Curve] = field(default_factory=dict)
    slice_thickness: Curve = field(default_factory=list)
    convergence: dict[str, Curve] = field(default_factory=dict)
    live_percentiles: tuple[float, float] | None = None


@dataclass(frozen=True)
class CheckpointInfo:
    """One checkpoint of the run: its file name, its iteration, and the shapes of its tensors by name."""

    file: str
    niter: int
    shapes: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class LeftOut:
    """A checkpoint file that was not used, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Agreement:
    """How far recomputed values are from the live monitor's: over `compared` points, the largest relative difference.

    `max_relative_difference` is None where no point could be compared.
    """

    compared: int
    max_relative_difference: float | None


@dataclass(frozen=True)
class Results:
    """What there is to draw of a run: its `name`, the changes by series key, and the engine's histories.

    `engine` is None where only `convergence_iters.json` was read, which holds none.
    """

    name: str
    points: dict[str, list[Point]]
    engine: EngineHistories | None

    def short_name(self, width: int) -> str:
        """Return the name as it can be shown in at most `width` characters.

        It is shortened in the middle, for engines put all their settings into names; what is not printable becomes "?".
        """
        name = printable(self.name)
        if len(name) <= width:
            return name
        kept = width - 1
        return f"{name[: kept - kept // 2]}…{name[-(kept // 2) :]}"


@dataclass(frozen=True)
class RunAnalysis:
    """All that an analysis of a run found out.

    `checkpoints` were used, `left_out` not; `not_finite`: by tensor, the iterations at which it held NaN or infinity.
    `points` holds the series of `series.SERIES` by key; `region` is the scanned region in object pixels, `dx` the
    pixel size in Å, `device` where the arithmetic ran, `every` the iterations asked for (multiples of it, None for
    all), `select` the files; `live_agreement` compares with the engine's own record, by series key.
    """

    run_dir: str
    ptyconv_version: str
    device: str
    percentile_range: tuple[float, float]
    every: int | None
    select: str | None
    region: Region
    dx: float
    checkpoints: list[CheckpointInfo]
    left_out: list[LeftOut]
    not_finite: dict[str, list[int]]
    points: dict[str, list[Point]]
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
        return Results(Path(self.run_dir).name, self.points, self.engine)
