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
from ptyconv_cli.cli.options import DASK, Where
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
from ptyconv_cli.errors import PtyconvError, SeveralRuns
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
    units = units_of(root, found.runs, output)
    rows = [row for of_one in analyze_units(units, options, where, output or root, quiet) for row in of_one]
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


def analyze_units(
    units: Sequence[Unit],
    options: dict[str, Any],
    where: Where | None,
    place: Path,
    quiet: bool,
    kept: dict[str, RunAnalysis] | None = None,
) -> list[list[Row]]:
    """Analyze runs into their places, here or on a cluster; return the rows of each, with a progress bar meanwhile.

    `options` as of `outputs.analyze_into`; `place`: the folder that the results are below; `kept`: takes the analyses
    that are made here, by name of the row.
    """
    of_units = dict[int, list[Row]]()
    with (
        progress_bar("runs", hidden=quiet) as progress,
        closing(_analyze_all(units, options, where, place, kept)) as results,
    ):
        progress(0, len(units))
        for number, of_one in results:
            of_units[number] = of_one
            progress(len(of_units), len(units))
    return [of_units[number] for number in range(len(units))]


def analyze_unit(unit: Unit, options: dict[str, Any], kept: dict[str, RunAnalysis] | None = None) -> list[Row]:
    """Analyze a run of a study into its place; return its rows. Parameters as of `analyze_units`."""

    def analyze(one: Unit) -> RunAnalysis:
        analysis = analysis_of(one, options)
        if kept is not None:
            kept[one.name] = analysis
        return analysis

    return rows_of(unit, analyze)


def analysis_of(unit: Unit, options: dict[str, Any]) -> RunAnalysis:
    """Analyze a run into its place, one of several in its folder if it is that."""
    return analyze_into(unit.place, unit.folder, **options_of(unit, options))[0]


def options_of(unit: Unit, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options for a run, which may be one of several in its folder."""
    return options | {"select": unit.select} if unit.select else options


def _analyze_all(
    units: Sequence[Unit],
    options: dict[str, Any],
    where: Where | None,
    place: Path,
    kept: dict[str, RunAnalysis] | None,
) -> Generator[tuple[int, list[Row]]]:
    """Analyze runs here, or on a cluster; yield the number of each and its rows as they are done."""
    if where is None:
        yield from ((number, analyze_unit(unit, options, kept)) for number, unit in enumerate(units))
        return
    analyze = partial(analyze_unit, options=options)
    try:
        from ptyconv_cli.cli.cluster import map_runs
    except ModuleNotFoundError as error:
        raise PtyconvError(f"{where} needs Dask, of which {error.name} is missing: {DASK}") from error
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
