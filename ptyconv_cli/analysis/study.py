"""Analyzes the runs of a study, and compares their results. See docs/runs.md."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ptyconv_cli.errors import PtyconvError, SeveralRuns
from ptyconv_cli.quantities import of_object, quantity_of
from ptyconv_cli.results.files import check_writable
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.run_analysis import RunAnalysis


@dataclass(frozen=True)
class Unit:
    """One run of a study: `name`, `folder`, `select` (its number if that holds several), and `place` of its results.

    `inside`: the places of other runs right inside that one.
    """

    name: str
    folder: Path
    select: str | None
    place: Path
    inside: tuple[Path, ...] = ()

    def parts(self, count: int) -> list["Unit"]:
        """Return the `count` runs that the folder turned out to hold; no result goes to the place of another run."""
        called = "run"
        while any(self.place / f"{called}{number}" in self.inside for number in range(1, count + 1)):
            called += "_"
        return [
            Unit(f"{self.name}/{called}{number}", self.folder, str(number), self.place / f"{called}{number}")
            for number in range(1, count + 1)
        ]


@dataclass(frozen=True)
class Row:
    """The result of one run, or the `problem` because of which there is none.

    `changes`: by series key, the last aligned change per iteration, or the raw one where no aligned one was computed;
    `moved`: the object's last change per doubling, in % of its contrast, NaN where it is not known; `keep`: the
    iteration of the checkpoint to keep; `rates`: the last
    learning rates by tensor; `slices` of the object; `note`: text on the folder it is from; `resumed`: whether it could
    be joined to the run before it; `folder` of its checkpoints.
    """

    name: str
    place: Path
    problem: str = ""
    checkpoints: int = 0
    niter: int | None = None
    loss: float = math.nan
    state: str = ""
    since: int | None = None
    moved: float = math.nan
    keep: int | None = None
    rates: dict[str, float] = field(default_factory=dict)
    slices: int | None = None
    changes: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    note: str = ""
    resumed: bool = False
    folder: Path = Path()

    def value(self, sort: str) -> float:
        """Return the value that rows are sorted by."""
        return self.loss if sort == "loss" else self.changes.get(sort, math.nan)


def units_of(root: Path, runs: Sequence[Path], output: Path | None) -> list[Unit]:
    """Return the runs found below `root`; their results go into their folders, or into the same ones below `output`."""
    places = {run: output / run.relative_to(root) if output else run for run in runs}
    inside = dict[Path, list[Path]]()
    for place in places.values():
        inside.setdefault(place.parent, []).append(place)
    return [Unit(_name(run, root), run, None, place, tuple(inside.get(place, ()))) for run, place in places.items()]


def _name(run: Path, root: Path) -> str:
    below = run.relative_to(root)
    return str(below) if below.parts else root.absolute().name


def rows_of(unit: Unit, analyze: Callable[[Unit], RunAnalysis]) -> list[Row]:
    """Analyze a run with `analyze`, which writes its results; return its rows.

    A run that cannot be analyzed gives a row with a problem, and a folder that holds several runs a row for each.
    """
    try:
        return [_row(unit, analyze)]
    except SeveralRuns as several:
        rows = [_row(part, analyze) for part in unit.parts(several.count)]
        return [replace(rows[0], note=several.listing), *rows[1:]]


def _row(unit: Unit, analyze: Callable[[Unit], RunAnalysis]) -> Row:
    try:
        check_writable(unit.place)
        analysis = analyze(unit)
    except PtyconvError as error:
        if isinstance(error, SeveralRuns) and error.folder == unit.folder and unit.select is None:
            raise
        return Row(unit.name, unit.place, problem=str(error))
    except OSError as error:
        return Row(unit.name, unit.place, problem=f"{error.filename or unit.folder}: {error.strerror or error}")
    loss = analysis.engine.loss
    return Row(
        unit.name,
        unit.place,
        checkpoints=len(analysis.checkpoints),
        niter=analysis.checkpoints[-1].niter,
        loss=loss[-1][1] if loss else math.nan,
        state=analysis.verdict.state if analysis.verdict else "",
        since=analysis.verdict.since if analysis.verdict else None,
        moved=_moved(analysis),
        keep=analysis.verdict.keep if analysis.verdict else None,
        rates={name: curve[-1][1] for name, curve in analysis.engine.learning_rates.items() if curve},
        slices=next(
            (shape[1] for name, shape in analysis.checkpoints[-1].shapes.items() if quantity_of(name).is_object), None
        ),
        changes={
            key: _per_iteration(analysis.aligned_points.get(key, points)[-1]) for key, points in analysis.points.items()
        },
        warnings=analysis.warnings,
        resumed=analysis.parent is not None,
        folder=unit.folder,
    )


def _moved(analysis: RunAnalysis) -> float:
    """Return the last change per doubling of phase or amplitude, whichever is larger."""
    doublings = analysis.verdict.doublings if analysis.verdict else {}
    judged = [doublings[name] for name in of_object() if name in doublings and doublings[name].state != "not optimised"]
    last = [found.points[-1] for found in judged if found.points]
    moved = [point.relative for point in last if point.niter == analysis.checkpoints[-1].niter]
    return max(filter(math.isfinite, moved), default=math.nan)


def _per_iteration(point: Point) -> float:
    return point.value / point.interval if point.interval else math.nan


def sorted_rows(rows: Sequence[Row], sort: str) -> list[Row]:
    """Return rows sorted by "name", "loss" or a series; rows without a value, then failed ones, are last."""
    by_name = sorted(rows, key=lambda row: row.name)
    if sort == "name":
        return by_name

    def rank(row: Row) -> tuple[bool, bool, float]:
        value = row.value(sort)
        return bool(row.problem), math.isnan(value), 0.0 if math.isnan(value) else value

    return sorted(by_name, key=rank)
