"""The runs of a study side by side: a table for a terminal of 80 columns, and CSV for spreadsheets."""

import csv
import math
from collections.abc import Sequence
from io import StringIO
from typing import Any

from ptyconv_cli.analysis.study import Row, sorted_rows
from ptyconv_cli.results.series import SERIES
from ptyconv_cli.results.text import printable, shortened, told_apart

TABLE_NAME = "convergence_study.csv"

WIDTH, NAME_WIDTH = 80, 28


def table(rows: Sequence[Row], sort: str) -> list[tuple[str, str]]:
    """Return the sorted rows as a table for a terminal of 80 columns: lines, each with the state that it shows.

    Besides the loss it shows the changes of one series: the one it is sorted by, else the phase's foreground, else the
    first one.
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
    """Return the sorted rows as CSV with all series; fields without a value are empty."""
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
    """Return the warnings of all runs, each once, with the names of its runs."""
    of_runs: dict[str, list[str]] = {}
    for row in rows:
        for warning in row.warnings:
            of_runs.setdefault(warning, []).append(row.name)
    return [f"{_names(runs)}: {warning}" for warning, runs in of_runs.items()]


def _names(runs: list[str]) -> str:
    return runs[0] if len(runs) == 1 else f"{runs[0]} and {len(runs) - 1} more"
