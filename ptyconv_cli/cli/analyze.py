"""The command `ptyconv analyze`: one run, a study of many, or a running job."""

import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click

from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.follow import Ends
from ptyconv_cli.analysis.follow import follow as follow_run
from ptyconv_cli.analysis.study import SORTS, Row, Unit, analyze_all, units_of
from ptyconv_cli.checkpoints.discovery import Found, checkpoints_in, find_runs, holds_checkpoints, no_checkpoint
from ptyconv_cli.checkpoints.readers import counts_as_file
from ptyconv_cli.checkpoints.watch import Watch
from ptyconv_cli.cli.console import progress_bar, say, say_coloured, say_verdict
from ptyconv_cli.cli.live_table import LiveTable
from ptyconv_cli.cli.options import JUDGING, PATH, READING, all_of, place_of, with_earlier
from ptyconv_cli.cli.outputs import analyze_into
from ptyconv_cli.cli.study_table import TABLE_NAME, advice_on, settings_of, shared_warnings, table, table_csv
from ptyconv_cli.cli.summary import resumed_text, summary, tables, warnings_text, wrote_text
from ptyconv_cli.errors import PtyconvError, SeveralRuns
from ptyconv_cli.results.files import check_writable, write_whole
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.verdict.run import exit_code

POLL = 5.0
"""Seconds between two looks at the folder of a running job."""


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="RUN_DIR|STUDY")
@click.option("-o", "--output", type=PATH, help="Folder for the results.  [default: the run's own]")
@all_of(READING)
@all_of(JUDGING)
@click.option(
    "--no-aligned",
    is_flag=True,
    help="Compute only the changes that PtyRAD's own monitor records: no aligned changes, trajectory or verdict.",
)
@click.option("--no-plot", is_flag=True, help="Draw no figures.")
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    default="name",
    show_default=True,
    metavar="name|loss|SERIES",
    help="Sort the table of a study by name, final loss, or the last change of a series.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Follow a running job: analyze each new checkpoint once it is complete, until the run's planned end or "
    "Ctrl-C.",
)
@click.option(
    "--until",
    type=click.Choice(["converged", "settled"]),
    metavar="converged",
    help="With --follow: end as soon as the run has converged. Exit codes as of `ptyconv check`.",
)
@click.option(
    "--idle",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="With --follow: end after this many minutes without a new checkpoint.",
)
@click.option(
    "--poll",
    type=click.FloatRange(min=0.05),
    metavar="SECONDS",
    help="With --follow: wait this long between two looks at the folder.  [default: 5]",
)
@click.option("--fresh", is_flag=True, help="Recompute everything; ignore cached results.")
@click.option("-v", "--verbose", is_flag=True, help="Print the tables of changes and of the ambiguities removed, too.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but warnings and errors.")
def analyze(
    paths: tuple[Path, ...],
    output: Path | None,
    no_aligned: bool,
    no_plot: bool,
    sort: str,
    follow: bool,
    until: str | None,
    idle: float | None,
    poll: float | None,
    fresh: bool,
    verbose: bool,
    quiet: bool,
    chain: str | None,
    **reading: Any,
) -> None:
    """Say whether a run, or each run of a study, has converged, and measure how much it still changes.

    RUN_DIR is a folder with checkpoints; each is compared with the one before. The raw change is what PtyRAD records;
    the aligned change is what is left after removing ambiguities that the data cannot constrain. The verdict says what
    doubling the iterations changed, and whether that is little enough (--tol).

    \b
    Files written:
      convergence_iters.json   the raw changes, as PtyRAD records them
      convergence_report.json  all results, with full provenance
      convergence.csv          raw and aligned changes as a table, for pandas
      convergence.png          the changes
      trajectory.png           the change per doubling of the iterations, and
                               the distances between all checkpoints

    STUDY is a folder with many runs below it, such as a hypertune study: each run is analyzed into its own folder, and
    a table, also written to convergence_study.csv, compares them.
    """
    run_dir, earlier = with_earlier(paths, chain)
    options = {"aligned": not no_aligned, "chain": earlier, "fresh": fresh, "pictures": not no_plot, **reading}
    detail = Detail(quiet, verbose)
    if follow:
        if until and no_aligned:
            raise click.UsageError("--until converged needs the aligned changes: do not give --no-aligned")
        ends = Ends(converged=until is not None, idle=None if idle is None else 60 * idle)
        _follow(run_dir, output or run_dir, options, detail, ends, poll or POLL)
        return
    if until or idle is not None or poll is not None:
        raise click.UsageError("--until, --idle and --poll need --follow")
    names = options["names"]
    if run_dir.is_file() or counts_as_file(run_dir):
        _analyze_one(run_dir, output or place_of(run_dir), options, detail)
        return
    found = Found([run_dir]) if holds_checkpoints(run_dir, names) else find_runs(run_dir, names)
    if not found.runs:
        raise PtyconvError(f"{run_dir}: {no_checkpoint(found, run_dir, names)}")
    several = None
    if len(found.runs) == 1:
        try:
            _analyze_one(found.runs[0], output or found.runs[0], options, detail)
            return
        except SeveralRuns as error:
            if error.folder != found.runs[0]:
                raise
            several = error
    if not isinstance(earlier, str) and earlier:
        raise click.UsageError(f"--chain FIRST is for one run, but {run_dir} holds several; use --chain auto")
    _analyze_study(run_dir, found, output, options, sort, quiet, several)


class Detail(NamedTuple):
    """How much is printed: only warnings and errors if `quiet`; the tables of changes, too, if `verbose`."""

    quiet: bool
    verbose: bool


def _analyze_one(run_dir: Path, folder: Path, options: dict[str, Any], detail: Detail) -> None:
    check_writable(folder)
    with progress_bar("checkpoints", hidden=detail.quiet) as progress:
        analysis, outputs = analyze_into(folder, run_dir, progress=progress, **options)
    _say_all(analysis, run_dir, outputs, detail)


def _say_all(analysis: RunAnalysis, run_dir: Path, outputs: list[Path], detail: Detail) -> None:
    """Print what was found; the verdict comes last, for it is the answer."""
    if not detail.quiet:
        say(summary(analysis))
        if detail.verbose or analysis.verdict is None:
            say("\n" + tables(analysis))
        if analysis.parent_name:
            say("\n" + resumed_text(analysis, run_dir))
        say(wrote_text(outputs))
    if analysis.warnings:
        say(("" if detail.quiet else "\n") + warnings_text(analysis.warnings), err=True)
    if not detail.quiet and analysis.verdict:
        say("")
        say_verdict(analysis.verdict)


def _analyze_study(
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


def _follow(run_dir: Path, folder: Path, options: dict[str, Any], detail: Detail, ends: Ends, seconds: float) -> None:
    """Follow a running job: show a table on a terminal, elsewhere a line for each new checkpoint."""
    names = options["names"]
    if run_dir.is_file() or counts_as_file(run_dir):
        raise PtyconvError(f"{run_dir}: is a file; give the folder it is in")
    if run_dir.exists() and not checkpoints_in(run_dir, names) and (found := find_runs(run_dir, names)).runs:
        raise PtyconvError(f"{run_dir}: {no_checkpoint(found, run_dir)}; --follow is for one run")
    check_writable(folder)
    outputs: list[Path] = []
    cache = Cache(folder, options.pop("fresh"))  # one for all, so that what it knows is read once

    def analyze_files(files: Collection[Path] | None) -> RunAnalysis:
        analysis, outputs[:] = analyze_into(folder, run_dir, files=files, cache=cache, **options)
        return analysis

    show = LiveTable(run_dir.absolute().name, detail.quiet)
    analysis, why = follow_run(Watch(run_dir, options["tensors"], names), analyze_files, ends, show.look, seconds)
    show.end()
    if not detail.quiet:
        say(f"ended: {why}\n")
    _say_all(replace(analysis, known=0), run_dir, outputs, detail)  # that the cache was used is of no interest here
    if analysis.verdict and (ends.converged or analysis.verdict.state == "broken"):
        sys.exit(exit_code(analysis.verdict))


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
