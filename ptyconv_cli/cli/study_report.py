"""`ptyconv report` of several runs: all of them on one page, with the table that compares them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from os.path import commonpath
from pathlib import Path
from typing import Any

from ptyconv_cli.analysis.study import Row, Unit, sorted_rows, units_of
from ptyconv_cli.checkpoints.discovery import Found
from ptyconv_cli.cli.console import progress_bar, say
from ptyconv_cli.cli.options import Where
from ptyconv_cli.cli.run_report import BESIDE, LARGEST, WITH_VIEWER, Made, shown_of
from ptyconv_cli.cli.study import analysis_of, analyze_units, options_of
from ptyconv_cli.cli.study_table import (
    LEGEND,
    advice_on,
    cells,
    heads,
    on_collated,
    reason,
    settings_of,
    shared_warnings,
)
from ptyconv_cli.errors import SeveralRuns
from ptyconv_cli.page.run_page import RunOnPage, sentence
from ptyconv_cli.page.study_page import RowOnPage, study_page
from ptyconv_cli.results.run_analysis import RunAnalysis


def report_study(
    root: Path,
    found: Found,
    output: Path | None,
    options: dict[str, Any],
    quiet: bool,
    several: SeveralRuns | None,
    where: Where | None = None,
) -> Made:
    """Make the page of the runs `found` below a folder, whose results are below `output`, or in their own folders.

    `several`: that the one folder found holds several runs, which is raised where none of them can be analyzed;
    `where`: the cluster that they are analyzed on, None for this process.
    """
    units, analyses = units_of(root, found.runs, output), dict[str, RunAnalysis]()
    options = options | {"pictures": True}
    of_units = analyze_units(units, options, where, output or root, quiet, analyses)
    rows = [row for of_one in of_units for row in of_one]
    by_name = {one.name: one for unit, of_one in zip(units, of_units, strict=True) for one in _parts(unit, of_one)}
    if several and all(row.problem for row in rows):
        raise several
    rows = sorted_rows(rows, "name")
    names = _short_names([row.name for row in rows])
    left, shown = float(LARGEST - BESIDE), list[RunOnPage]()
    equal = left / len(rows)
    with progress_bar("pictures", hidden=quiet) as progress:
        for number, row in enumerate(rows, 1):
            if row.problem:
                shown.append(RunOnPage.failed(number, names[row.name], row.problem))
                continue
            unit = by_name[row.name]
            analysis = analyses.get(row.name) or analysis_of(unit, options)  # which a worker left in the cache
            share = left / (len(rows) - number + 1) if equal >= WITH_VIEWER else equal
            of_one = shown_of(
                analysis, unit.folder, unit.place, options_of(unit, options), share, name=names[row.name], place=number
            )
            shown.append(of_one)
            left -= of_one.size
            progress(number, len(rows))
    settings = settings_of(rows, found.collated)
    table = [
        RowOnPage(
            names[row.name], number, [] if row.problem else cells(row, settings), row.state, row.problem and reason(row)
        )
        for number, row in enumerate(rows, 1)
    ]
    advice = "none of the runs could be analyzed" if all(row.problem for row in rows) else advice_on(rows)
    if not quiet:
        say(advice)
    title = root.absolute().name or str(root)
    notices = [*filter(None, [on_collated(found.collated)]), *found.problems]
    made_of = partial(study_page, title, heads(settings), table, LEGEND, sentence(advice))
    content = made_of(shown, notices)
    if len(content) > LARGEST:
        content = made_of([replace(one, viewer=None, pictures=[], table=None, facts=[]) for one in shown], notices)
    return Made(content, [*found.problems, *shared_warnings(rows)], [row.problem for row in rows if row.problem])


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Return names, which are paths, by themselves, without the folders that all of them are in."""
    common = commonpath([str(Path(name).parent) for name in names])
    return {name: str(Path(name).relative_to(common)) for name in names}


def _parts(unit: Unit, rows: Sequence[Row]) -> list[Unit]:
    """Return what the rows of a folder are of: its run, or the several that it turned out to hold."""
    return [unit] if rows[0].name == unit.name else unit.parts(len(rows))
