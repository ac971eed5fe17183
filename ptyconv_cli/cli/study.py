"""`ptyconv analyze` of many runs: each into its own folder, and a table that compares them."""

import sys
from pathlib import Path
from typing import Any

from ptyconv_cli.analysis.study import Row, Unit, analyze_all, units_of
from ptyconv_cli.checkpoints.discovery import Found
from ptyconv_cli.cli.console import progress_bar, say, say_coloured
from ptyconv_cli.cli.outputs import analyze_into
from ptyconv_cli.cli.study_table import (
    TABLE_NAME,
    advice_on,
    on_collated,
    settings_of,
    shared_warnings,
    table,
    table_csv,
)
from ptyconv_cli.cli.summary import warnings_text
from ptyconv_cli.errors import SeveralRuns
from ptyconv_cli.results.files import check_writable, write_whole
from ptyconv_cli.results.run_analysis import RunAnalysis


def analyze_study(
    root: Path,
    found: Found,
    output: Path | None,
    options: dict[str, Any],
    sort: str,
    quiet: bool,
    several: SeveralRuns | None,
) -> None:
    """Analyze the runs `found` below a folder and compare them in a table.

    `several`: that the one folder found holds several runs, which is raised where none of them can be analyzed.
    """
    check_writable(output or root)

    def analyze_unit(unit: Unit) -> RunAnalysis:
        selected = {"select": unit.select} if unit.select else {}
        return analyze_into(unit.place, unit.folder, **options | selected)[0]

    units = units_of(root, found.runs, output)
    with progress_bar("runs", hidden=quiet) as progress:
        rows = []
        for number, of_unit in enumerate(analyze_all(units, analyze_unit), 1):
            rows += of_unit
            progress(number, len(units))
    if several and all(row.problem for row in rows):
        raise several
    place, settings = (output or root) / TABLE_NAME, settings_of(rows, found.collated)
    write_whole({place: table_csv(rows, sort, settings)})
    if not quiet:
        for line, state in table(rows, sort, settings):
            say_coloured(line, state)
        aside = on_collated(found.collated)
        say(f"\n{aside}\n" if aside else "")
        resumed = sum(row.resumed for row in rows)
        if resumed:
            which, beside = ("1 of these runs was", "it") if resumed == 1 else (f"{resumed} of these runs were", "them")
            say(f"{which} resumed from a run beside {beside}.\nTo put such runs on one axis: --chain auto\n")
        say(f"wrote {place}\n      and each run's results into {'a folder of its own' if output else 'its folder'}")
    _complain(found.problems, rows)
    if not quiet and not all(row.problem for row in rows):
        say("")
        say(advice_on(rows))


def _complain(problems: list[str], rows: list[Row]) -> None:
    """Print the warnings and errors of a study; exit with code 1 where a run failed."""
    for note in [row.note for row in rows if row.note]:
        say(f"\n{note}", err=True)
    warnings = [*problems, *shared_warnings(rows)]
    if warnings:
        say("\n" + warnings_text(warnings), err=True)
    failures = [row.problem for row in rows if row.problem]
    if failures:
        say("\n" + "\n".join(f"Error: {failure}" for failure in failures), err=True)
        sys.exit(1)
