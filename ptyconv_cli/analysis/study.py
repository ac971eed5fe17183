"""Analyzes all runs in and below a folder, and compares their results. See docs/runs.md."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptyconv_cli.analysis.hyperparameters import hyperparameters_of, names_of, on_collated, settings_of
from ptyconv_cli.analysis.ranking import advice_on, sorted_rows
from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.analysis.study_rows import Row, Unit, rows_of, shared_warnings, units_of
from ptyconv_cli.checkpoints.discovery import check_pattern, no_checkpoint, runs_at
from ptyconv_cli.checkpoints.opening import one_look
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.quantities import all_series
from ptyconv_cli.results.data_frame import data_frame
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.results.text import counted

FIELDS = ("run", "results", "checkpoints", "niter", "loss", "verdict", "since", "keep", "moved_percent")
"""The first columns of a study's table."""

MOST_SHOWN = 12
"""Runs that are shown of a study in a few lines."""


@dataclass(frozen=True, repr=False)
class StudyAnalysis:
    """The runs in and below a folder, side by side.

    `rows`: a `study_rows.Row` for each, in the order asked for; `settings`: by name of a run, those that differ between
    the runs; `advice`: which run to keep, or why that can't be told; `analyses`: by name, of the runs that could be
    analyzed; `warnings` for the user.
    """

    folder: str
    rows: list[Row]
    settings: dict[str, dict[str, str]]
    advice: str
    analyses: dict[str, RunAnalysis]
    warnings: list[str] = field(default_factory=list)

    def to_frame(self) -> Any:
        """Return the table as a pandas DataFrame, a row for each run, in the columns of `convergence_study.csv`.

        What is not known is NaN, or None. Raises PtyconvError where pandas is not installed.
        """
        return data_frame(columns_of(self.settings), [record_of(row, self.settings) for row in self.rows])

    def __repr__(self) -> str:
        head = f"<StudyAnalysis of {self.folder}: {counted(len(self.rows), 'run')}"
        shown = [f"  {row.name}: {_said(row)}" for row in self.rows[:MOST_SHOWN]]
        if len(self.rows) > MOST_SHOWN:
            shown.append(f"  and {len(self.rows) - MOST_SHOWN} more")
        return "\n".join([head, *shown, f"{self.advice}>"])


def _said(row: Row) -> str:
    if row.problem:
        return f"failed ({row.problem.splitlines()[0]})"
    keep = "" if row.keep is None else f", keep {row.keep}"
    return f"{row.state or 'analyzed'} at iteration {row.niter}{keep}"


def analyze_study(
    folder: str | Path,
    *,
    sort: str = "name",
    names: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **settings: Any,
) -> StudyAnalysis:
    """Analyze all runs in and below a folder, and compare them. Writes nothing.

    - `sort`: "name", "loss", "moved" (the object's change per doubling) or the key of a series; the smallest is first.
    - `names`, and further `settings`: as of `analysis.run.analyze_run`, but `select`, `files` and `cache`.
    - `progress`: called with the numbers of runs done and in all.

    A run that cannot be analyzed has a row that says why. Raises ValueError for settings that are not allowed, and
    PtyconvError, with a message for the user, where the folder holds no run.
    """
    check_sort(sort)
    not_here = sorted({"select", "files", "cache"} & set(settings))
    if not_here:
        raise ValueError(f"{', '.join(not_here)}: of one run, see analyze_run")
    if settings.get("tensors") is not None:
        settings["tensors"] = tuple(settings["tensors"])  # which each run takes
    check_pattern(names)
    root = Path(folder)
    with one_look():
        found = runs_at(root, names)
    if not found.runs:
        raise PtyconvError(f"{root}: {no_checkpoint(found, root, names)}")
    analyses = dict[str, RunAnalysis]()

    def analyze(unit: Unit) -> RunAnalysis:
        analyses[unit.name] = analyze_run(unit.folder, names=names, select=unit.select, **settings)
        return analyses[unit.name]

    rows, units = list[Row](), units_of(root, found.runs, None)
    for number, unit in enumerate(units):
        progress(number, len(units))
        rows += rows_of(unit, analyze)
    progress(len(units), len(units))
    told = hyperparameters_of(rows, found.collated)
    aside = on_collated(rows, found.collated, told)
    return StudyAnalysis(
        folder=str(root.resolve()),
        rows=sorted_rows(rows, sort),
        settings=settings_of(rows, told),
        advice=advice_on(rows),
        analyses=analyses,
        warnings=[*found.problems, *filter(None, [aside]), *shared_warnings(rows)],
    )


def check_sort(sort: str) -> None:
    """Raise ValueError where rows cannot be sorted by that."""
    keys = [series.key for series in all_series()]
    if sort not in ("name", "loss", "moved", *keys):
        raise ValueError(f"sort must be name, loss, moved, or one of {', '.join(keys)}; got {sort!r}")


def columns_of(settings: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the columns of a study's table, with a column for each of the settings that differ."""
    changes = [f"{series.key}_per_iteration" for series in all_series()]
    return [*FIELDS, *changes, *names_of(settings), "problem"]


def record_of(row: Row, settings: Mapping[str, Mapping[str, str]]) -> list[Any]:
    """Return a run's row of that table; None of what is not known.

    "moved_percent": the object's change per doubling, in % of its contrast; changes per iteration are in the units of
    `quantities.all_series`.
    """
    known = [row.name, str(row.place), row.checkpoints, row.niter, _known(row.loss), row.state, row.since, row.keep]
    changes = [_known(row.changes.get(series.key, math.nan)) for series in all_series()]
    of_run = settings.get(row.name, {})
    return [*known, _known(row.moved), *changes, *map(of_run.get, names_of(settings)), row.problem]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
