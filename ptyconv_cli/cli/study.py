"""Many runs: analyzed one after the other, or by workers, and their table."""

import csv
import math
import sys
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptyconv_cli.analysis.hyperparameters import hyperparameters_of, names_of, on_collated, settings_of
from ptyconv_cli.analysis.ranking import advice_on, sorted_rows, why_not_by_loss
from ptyconv_cli.analysis.report import REPORT_NAME
from ptyconv_cli.analysis.study import columns_of, record_of
from ptyconv_cli.analysis.study_rows import Row, Unit, rows_of, shared_warnings, units_of
from ptyconv_cli.checkpoints.discovery import Found
from ptyconv_cli.cli.console import (
    left_out,
    progress_bar,
    say,
    say_coloured,
    say_errors,
    say_wrapped,
    that_fit,
    warnings_text,
    wrote_text,
)
from ptyconv_cli.cli.options import DASK, Where
from ptyconv_cli.cli.outputs import analyze_into
from ptyconv_cli.errors import PtyconvError, SeveralRuns
from ptyconv_cli.quantities import all_series
from ptyconv_cli.quantities.quantity import ANGSTROM, Series
from ptyconv_cli.results.files import check_writable, write_whole
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.results.text import length_unit, printable, shortened, text_width, told_apart, wrapped
from ptyconv_cli.verdict.sentences import rounded

if TYPE_CHECKING:
    from ptyconv_cli.cli.worker import NotDone

TABLE_NAME = "convergence_study.csv"

NAME_WIDTH, VERDICT_WIDTH = 28, 15

SHORTEST_NAME, MOST_SETTINGS = 14, 3
"""Columns for a run's name at least, and settings that are shown at most."""

MEASURED = ("at", "loss", "moved", "keep")

LEGEND = {
    "moved": "by how much the last doubling of the iterations changed the object, in % of its contrast",
    "keep": "the iteration of the checkpoint to keep",
}


def table(rows: Sequence[Row], sort: str, settings: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    """Return the sorted rows as a table for a terminal: lines, each with the state that it shows.

    `settings`: by run, those that differ between the runs: see `settings_of`. "moved" is the object's change per
    doubling. Where the rows are sorted by a series, its last change per iteration has a column, too.
    """
    by_series = next((series for series in all_series() if series.key == sort), None)
    names = names_of(settings)[:MOST_SETTINGS]
    widths = {name: 2 + max(len(name), *(len(of_one.get(name, "")) for of_one in settings.values())) for name in names}
    loss_width = max(9, *(2 + len(_number(row.loss)) for row in rows))
    widths |= {"at": 6, "loss": loss_width, **({by_series.key: 11} if by_series else {}), "moved": 8, "keep": 7}
    shown = that_fit(widths, text_width() - SHORTEST_NAME - VERDICT_WIDTH, [*names[::-1], "loss", "at", sort, "moved"])
    longest = max((len(row.name) for row in rows), default=0)
    limit = NAME_WIDTH if text_width() <= 80 else max(NAME_WIDTH, longest + 1)
    name_width = min(limit, text_width() - sum(shown.values()) - VERDICT_WIDTH)
    size, unit = _unit_of(by_series, rows)
    heads = "".join(f"{name[: width - 1] if name == sort else name:>{width}}" for name, width in shown.items())
    lines = [(f"{'run':<{name_width}}{heads}  verdict", "")]
    in_order = sorted_rows(rows, sort)
    for name, row in zip(told_apart([row.name for row in in_order], name_width - 1), in_order, strict=True):
        if row.problem:
            lines.append((shortened(f"{name:<{name_width}}failed: {reason(row)}", text_width(), at_end=True), "broken"))
            continue
        said = {key: settings.get(row.name, {}).get(key, "-") for key in names}
        said |= dict(zip(MEASURED, _measured(row), strict=True))
        if by_series:
            said[sort] = _number(row.changes.get(sort, math.nan) / size)
        texts = "".join(f"{said[key]:>{width}}" for key, width in shown.items())
        lines.append((f"{name:<{name_width}}{texts}  {row.state or '-'}", row.state))
    lines += [(line, "") for line in left_out(len(widths) - len(shown), TABLE_NAME)]
    lines += [(line, "") for line in wrapped(legend(shown), text_width())]
    why_not = why_not_by_loss(rows) if sort == "loss" else ""
    if why_not:
        lines += [(line, "") for line in wrapped(f"Not sorted by loss: {why_not}.", text_width())]
    if by_series and sort in shown:
        said_of = f"{sort}: the last change per iteration{f', in {unit}' if unit else ''}"
        lines += [(line, "") for line in wrapped(said_of, text_width())]
    return lines


def legend(shown: Container[str] = MEASURED) -> str:
    """Return what the columns that are shown mean."""
    return "; ".join(f"{name}: {what}" for name, what in LEGEND.items() if name in shown)


def heads(settings: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return what is above the columns of a table on a page, which has room for all settings that differ.

    They come last: on a phone, where the table is cut, what was measured is in sight.
    """
    return ["run", "verdict", *MEASURED, *names_of(settings)]


def cells(row: Row, settings: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the columns of a run that could be analyzed, after its name and its verdict."""
    given = settings.get(row.name, {})
    return [*_measured(row), *(given.get(name, "-") for name in names_of(settings))]


def _measured(row: Row) -> tuple[str, str, str, str]:
    moved = "-" if math.isnan(row.moved) else f"{rounded(row.moved)} %"
    return str(row.niter), _number(row.loss), moved, "-" if row.keep is None else str(row.keep)


def _unit_of(series: Series | None, rows: Sequence[Row]) -> tuple[float, str]:
    """Return the unit in which the changes of a series are shown, and how many of the series' own it has."""
    if series is None or series.unit != ANGSTROM:
        return 1.0, series.unit if series else ""
    return length_unit(max((change for row in rows if math.isfinite(change := row.value(series.key))), default=0.0))


def reason(row: Row) -> str:
    """Return why a run could not be analyzed, in a line and without its name."""
    first_line = printable(row.problem.splitlines()[0])
    return first_line.rpartition(f"{row.name}: ")[2] or first_line


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def table_csv(rows: Sequence[Row], sort: str, settings: Mapping[str, Mapping[str, str]]) -> bytes:
    """Return the sorted rows as CSV with all series; fields without a value are empty. `settings` as of `table`."""
    content = StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(columns_of(settings))
    writer.writerows(record_of(row, settings) for row in sorted_rows(rows, sort))
    return content.getvalue().encode(errors="backslashreplace")


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
    check_writable(output or root, TABLE_NAME)
    units = units_of(root, found.runs, output)
    rows = [row for of_one in analyze_units(units, options, where, output or root, quiet) for row in of_one]
    if several and all(row.problem for row in rows):
        raise several
    told = hyperparameters_of(rows, found.collated)
    place, settings = (output or root) / TABLE_NAME, settings_of(rows, told)
    write_whole({place: table_csv(rows, sort, settings)})
    if not quiet:
        for line, state in table(rows, sort, settings):
            say_coloured(line, state)
        aside = on_collated(rows, found.collated, told)
        say("")
        if aside:
            say_wrapped(aside)
            say("")
        resumed = sum(row.resumed for row in rows)
        if resumed:
            which, beside = ("1 of these runs was", "it") if resumed == 1 else (f"{resumed} of these runs were", "them")
            say_wrapped(f"{which} resumed from a run beside {beside}.")
            say("To put such runs on one axis: --chain auto\n")
        say(wrote_text([place]))
        say_wrapped(f"      and each run's results into {'a folder of its own' if output else 'its folder'}", " " * 6)
    _complain(found.problems, rows)
    if not quiet and not all(row.problem for row in rows):
        say("")
        say_wrapped(advice_on(rows), "  ")


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
        check_writable(one.place, REPORT_NAME)
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
    from ptyconv_cli.cli.worker import NotDone

    for number, found in _mapped(analyze, units, where, place):
        unit = units[number]
        if not isinstance(found, NotDone):
            yield number, found
        elif unit.folder.exists():
            yield number, [Row(unit.name, unit.place, str(found))]
        else:  # it was removed meanwhile, which is said as it is without workers
            yield number, analyze(unit)


def _mapped(
    analyze: Callable[[Unit], list[Row]], units: Sequence[Unit], where: Where, place: Path
) -> Iterator[tuple[int, "list[Row] | NotDone"]]:
    """Have runs analyzed by processes of this machine, or by workers of Dask, which is loaded only then."""
    if where.address is None:
        from ptyconv_cli.cli.processes import map_runs

        return map_runs(analyze, units, where.workers or 1, place)
    try:
        from ptyconv_cli.cli.cluster import map_runs as map_on_cluster
    except ModuleNotFoundError as error:
        raise PtyconvError(f"{where} needs Dask, of which {error.name} is missing: {DASK}") from error
    return map_on_cluster(analyze, units, where.address, place)


def _complain(problems: list[str], rows: list[Row]) -> None:
    """Print the warnings and errors of a study; exit with code 1 where a run failed."""
    for note in [row.note for row in rows if row.note]:
        say_errors(f"\n{note}")
    warnings = [*problems, *shared_warnings(rows)]
    if warnings:
        say("\n" + warnings_text(warnings), err=True)
    failures = [row.problem for row in rows if row.problem]
    if failures:
        say_errors("\n" + "\n".join(f"Error: {failure}" for failure in failures))
        sys.exit(1)
