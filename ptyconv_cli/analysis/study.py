"""Many runs analyzed one after the other, and what they came to side by side."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ptyconv_cli.errors import PtyconvError, SeveralRuns
from ptyconv_cli.results.files import check_writable
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.results.series import SERIES

SORTS = ("name", "loss", *(series.key for series in SERIES))


@dataclass(frozen=True)
class Unit:
    """One run of a study: its `name`, its `folder`, its number there if that holds several, its results' `place`."""

    name: str
    folder: Path
    select: str | None
    place: Path

    def parts(self, count: int, taken: Collection[Path]) -> list["Unit"]:
        """Return the `count` runs that the folder turned out to hold; places that are `taken` are those of others."""
        called = "run"
        while any(self.place / f"{called}{number}" in taken for number in range(1, count + 1)):
            called += "_"
        return [
            Unit(f"{self.name}/{called}{number}", self.folder, str(number), self.place / f"{called}{number}")
            for number in range(1, count + 1)
        ]


@dataclass(frozen=True)
class Row:
    """What a run came to, or the `problem` why it came to nothing.

    `changes`: by series key, the last aligned change per iteration, or the raw one where no aligned one was computed;
    `note`: what to say of the folder that it is from; `resumed`: whether it could be joined to the run before it.
    """

    name: str
    place: Path
    problem: str = ""
    checkpoints: int = 0
    niter: int | None = None
    loss: float = math.nan
    state: str = ""
    since: int | None = None
    changes: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    note: str = ""
    resumed: bool = False

    def value(self, sort: str) -> float:
        """Return what the rows are sorted by."""
        return self.loss if sort == "loss" else self.changes.get(sort, math.nan)


def units_of(root: Path, runs: Sequence[Path], output: Path | None) -> list[Unit]:
    """Return the runs found below a path; their results go into their own folders, or likewise below `output`."""
    units = []
    for run in runs:
        name = run.relative_to(root)
        units.append(
            Unit(str(name) if name.parts else root.absolute().name, run, None, output / name if output else run)
        )
    return units


def analyze_all(
    units: Sequence[Unit],
    analyze: Callable[[Unit], RunAnalysis],
) -> Iterator[list[Row]]:
    """Analyze runs with `analyze`, which writes their results, and give what each unit came to, in order.

    A run that cannot be analyzed is one with a problem, and the others go on. A folder that holds several runs gives a
    row for each.
    """
    places = [unit.place for unit in units]
    for unit in units:
        try:
            yield [_row(unit, analyze)]
        except SeveralRuns as several:
            rows = [_row(part, analyze) for part in unit.parts(several.count, places)]
            yield [replace(rows[0], note=several.listing), *rows[1:]]


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
        changes={
            key: _per_iteration(analysis.aligned_points.get(key, points)[-1]) for key, points in analysis.points.items()
        },
        warnings=analysis.warnings,
        resumed=analysis.parent is not None,
    )


def _per_iteration(point: Point) -> float:
    return point.value / point.interval if point.interval else math.nan


def sorted_rows(rows: Sequence[Row], sort: str) -> list[Row]:
    """Return rows in order of one of `SORTS`, from the smallest on; without a value last, failed ones after them."""
    by_name = sorted(rows, key=lambda row: row.name)
    if sort == "name":
        return by_name

    def rank(row: Row) -> tuple[bool, bool, float]:
        value = row.value(sort)
        return bool(row.problem), math.isnan(value), 0.0 if math.isnan(value) else value

    return sorted(by_name, key=rank)
