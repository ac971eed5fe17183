"""Many runs analyzed one after the other, and what they came to side by side."""

import csv
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

from ptyconv_cli.errors import PtyconvError, SeveralRuns
from ptyconv_cli.files import check_writable
from ptyconv_cli.history import Point, RunAnalysis
from ptyconv_cli.series import SERIES
from ptyconv_cli.text import printable, shortened, told_apart

TABLE_NAME = "convergence_study.csv"

SORTS = ("name", "loss", *(series.key for series in SERIES))

WIDTH, NAME_WIDTH = 80, 28


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
    `note`: what to say of the folder that it is from.
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


def table(rows: Sequence[Row], sort: str) -> list[tuple[str, str]]:
    """Return a table of the rows, in order, for a terminal of 80 columns: lines, each with the state that it shows.

    Besides the loss it has the changes of one series: the one that it is sorted by, else the phase's foreground, or
    the first that was followed.
    """
    followed = [series for series in SERIES if any(series.key in row.changes for row in rows)]
    wanted = [series for series in followed if series.key == sort] or [s for s in followed if s.key == "objp_fg"]
    shown = (wanted or followed)[:1]
    column = shown[0].key if shown else "change"
    lines = [(f"{'run':<{NAME_WIDTH}}{'at':>6}{'loss':>9}{column[:11]:>12}  {'verdict':<14}{'since':>7}".rstrip(), "")]
    in_order = sorted_rows(rows, sort)
    names = told_apart([row.name for row in in_order], NAME_WIDTH - 2)
    for name, row in zip(names, in_order, strict=True):
        if row.problem:
            lines.append((shortened(f"{name:<{NAME_WIDTH}}failed: {_reason(row)}", WIDTH, at_end=True), "rising"))
            continue
        change = row.changes.get(shown[0].key, math.nan) if shown else math.nan
        since = "" if row.since is None else row.since
        lines.append(
            (
                f"{name:<{NAME_WIDTH}}{row.niter:>6}{_number(row.loss):>9}{_number(change):>12}  "
                f"{row.state or '-':<14}{since:>7}".rstrip(),
                row.state,
            )
        )
    if shown:
        unit = f", in {shown[0].unit}" if shown[0].unit else ""
        lines.append((f"{shown[0].key}: the last change per iteration{unit}", ""))
    return lines


def _reason(row: Row) -> str:
    first_line = printable(row.problem.splitlines()[0])
    return first_line.rpartition(f"{row.name}: ")[2] or first_line


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def table_csv(rows: Sequence[Row], sort: str) -> bytes:
    """Return the rows as CSV with all series; empty where there is no value."""
    content = StringIO()
    keys = [series.key for series in SERIES]
    writer = csv.writer(content, lineterminator="\n")
    fields = ["run", "results", "checkpoints", "niter", "loss", "verdict", "since"]
    writer.writerow([*fields, *(f"{key}_per_iteration" for key in keys), "problem"])
    for row in sorted_rows(rows, sort):
        values: list[Any] = [row.loss, *(row.changes.get(key, math.nan) for key in keys)]
        loss, *changes = ("" if math.isnan(value) else value for value in values)
        writer.writerow(
            [row.name, row.place, row.checkpoints, row.niter, loss, row.state, row.since, *changes, row.problem]
        )
    return content.getvalue().encode(errors="backslashreplace")


def shared_warnings(rows: Sequence[Row]) -> list[str]:
    """Return the warnings of all runs, each once, with the names of the runs that it is of."""
    of_runs: dict[str, list[str]] = {}
    for row in rows:
        for warning in row.warnings:
            of_runs.setdefault(warning, []).append(row.name)
    return [f"{_names(runs)}: {warning}" for warning, runs in of_runs.items()]


def _names(runs: list[str]) -> str:
    return runs[0] if len(runs) == 1 else f"{runs[0]} and {len(runs) - 1} more"
