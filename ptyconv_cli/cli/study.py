"""`ptyconv analyze` of many runs: each into its own folder, and a table that compares them."""

import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from ptyconv_cli.analysis.study import Row, Unit, rows_of, units_of
from ptyconv_cli.checkpoints.discovery import Found
from ptyconv_cli.cli.console import progress_bar, say, say_coloured
from ptyconv_cli.cli.options import Where
from ptyconv_cli.cli.outputs import analyze_into
from ptyconv_cli.cli.study_table import TABLE_NAME, advice_on, settings_of, shared_warnings, table, table_csv
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
    where: Where | None = None,
) -> None:
    """Analyze the runs `found` below a folder and compare them in a table.

    `several`: that the one folder found holds several runs, which is raised where none of them can be analyzed;
    `where`: the cluster that they are analyzed on, None for this process.
    """
    check_writable(output or root)
    units, of_units = units_of(root, found.runs, output), dict[int, list[Row]]()
    with (
        progress_bar("runs", hidden=quiet) as progress,
        closing(_analyze_all(units, options, where, output or root)) as results,
    ):
        progress(0, len(units))
        for number, of_one in results:
            of_units[number] = of_one
            progress(len(of_units), len(units))
    rows = [row for number in range(len(units)) for row in of_units[number]]
    if several and all(row.problem for row in rows):
        raise several
    place, settings = (output or root) / TABLE_NAME, settings_of(rows, found.collated)
    write_whole({place: table_csv(rows, sort, settings)})
    if not quiet:
        for line, state in table(rows, sort, settings):
            say_coloured(line, state)
        aside = f"{len(found.collated)} collated files were not used: each is the end of a different trial."
        say(f"\n{aside}\n" if found.collated else "")
        resumed = sum(row.resumed for row in rows)
        if resumed:
            which, beside = ("1 of these runs was", "it") if resumed == 1 else (f"{resumed} of these runs were", "them")
            say(f"{which} resumed from a run beside {beside}.\nTo put such runs on one axis: --chain auto\n")
        say(f"wrote {place}\n      and each run's results into {'a folder of its own' if output else 'its folder'}")
    _complain(found.problems, rows)
    if not quiet and not all(row.problem for row in rows):
        say("")
        say(advice_on(rows))


def analyze_unit(unit: Unit, options: dict[str, Any]) -> list[Row]:
    """Analyze a run of a study into its place; return its rows. `options` as of `outputs.analyze_into`."""

    def analyze(one: Unit) -> RunAnalysis:
        selected = {"select": one.select} if one.select else {}
        return analyze_into(one.place, one.folder, **options | selected)[0]

    return rows_of(unit, analyze)


def _analyze_all(
    units: Sequence[Unit], options: dict[str, Any], where: Where | None, place: Path
) -> Generator[tuple[int, list[Row]]]:
    """Analyze runs here, or on a cluster; yield the number of each and its rows as they are done."""
    analyze = partial(analyze_unit, options=options)
    if where is None:
        yield from enumerate(map(analyze, units))
        return
    from ptyconv_cli.cli.cluster import map_runs
    from ptyconv_cli.cli.on_worker import NotDone

    for number, found in map_runs(analyze, units, where, place):
        unit = units[number]
        if not isinstance(found, NotDone):
            yield number, found
        elif unit.folder.exists():
            yield number, [Row(unit.name, unit.place, str(found))]
        else:  # it was removed meanwhile, which is said as it is without workers
            yield number, analyze(unit)


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
