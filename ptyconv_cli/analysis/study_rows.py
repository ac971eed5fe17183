"""The runs of a study, and what a table says of each. See docs/runs.md."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ptyconv_cli.errors import PtyconvError, SeveralRuns
from ptyconv_cli.quantities import of_object
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.verdict.comparable import facts_of


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
    iteration of the checkpoint to keep; `rates`: the last learning rates by tensor; `facts`: what it is known to be of,
    by name, see `verdict.comparable`; `note`: text on the folder it is from; `resumed`: whether it could be joined to
    the run before it; `folder` of its checkpoints.
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
    facts: dict[str, str] = field(default_factory=dict)
    changes: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    note: str = ""
    resumed: bool = False
    folder: Path = Path()

    def value(self, sort: str) -> float:
        """Return the value that rows are sorted by."""
        known = {"loss": self.loss, "moved": self.moved}
        return known.get(sort, self.changes.get(sort, math.nan))


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
    """Analyze a run with `analyze`; return its rows.

    A run that cannot be analyzed gives a row with a problem, and a folder that holds several runs a row for each.
    """
    try:
        return [_row(unit, analyze)]
    except SeveralRuns as several:
        rows = [_row(part, analyze) for part in unit.parts(several.count)]
        return [replace(rows[0], note=several.listing), *rows[1:]]


def _row(unit: Unit, analyze: Callable[[Unit], RunAnalysis]) -> Row:
    try:
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
        facts=facts_of(analysis.engine, analysis.checkpoints[-1].shapes),
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


def shared_warnings(rows: Sequence[Row]) -> list[str]:
    """Return the warnings of all runs, each once, with the names of its runs."""
    of_runs: dict[str, list[str]] = {}
    for row in rows:
        for warning in row.warnings:
            of_runs.setdefault(warning, []).append(row.name)
    return [f"{_names(runs)}: {warning}" for warning, runs in of_runs.items()]


def _names(runs: list[str]) -> str:
    return runs[0] if len(runs) == 1 else f"{runs[0]} and {len(runs) - 1} more"
