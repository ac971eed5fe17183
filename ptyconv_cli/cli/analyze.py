"""The command `ptyconv analyze`: one run, a study of many, or a running job."""

import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ptyconv_cli.analysis.follow import Ends
from ptyconv_cli.analysis.follow import follow as follow_run
from ptyconv_cli.analysis.study import SORTS, Row, Unit, analyze_all, units_of
from ptyconv_cli.checkpoints.discovery import Found, find_runs, holds_checkpoints, no_checkpoint
from ptyconv_cli.checkpoints.watch import Watch
from ptyconv_cli.cli.console import progress_bar, say, say_coloured, say_verdict
from ptyconv_cli.cli.live_table import LiveTable
from ptyconv_cli.cli.options import PATH, READING, all_of, with_earlier
from ptyconv_cli.cli.outputs import analyze_into
from ptyconv_cli.cli.study_table import TABLE_NAME, shared_warnings, table, table_csv
from ptyconv_cli.cli.summary import resumed_text, summary, warnings_text
from ptyconv_cli.errors import PtyconvError, SeveralRuns
from ptyconv_cli.results.files import check_writable, write_whole
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.verdict.evidence import exit_code

POLL = 5.0
"""Seconds between two looks at the folder of a running job."""


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="RUN_DIR|STUDY")
@click.option("-o", "--output", type=PATH, help="Folder for the results.  [default: the run's own]")
@all_of(READING)
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
    type=click.Choice(["settled"]),
    help="With --follow: end as soon as the verdict is settled. Exit codes as of `ptyconv check`.",
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
    quiet: bool,
    chain: str | None,
    **reading: Any,
) -> None:
    """Measure how much a run, or each run of a study, still changes.

    RUN_DIR is a folder with checkpoints; each is compared with the one before. The raw change is what PtyRAD records;
    the aligned change is what is left after removing ambiguities that the data cannot constrain. The verdict says
    whether each series has settled, and since when.

    \b
    Files written:
      convergence_iters.json   the raw changes, as PtyRAD records them
      convergence_report.json  all results, with full provenance
      convergence.csv          raw and aligned changes as a table, for pandas
      convergence.png          the changes
      trajectory.png           the distances between all checkpoints

    STUDY is a folder with many runs below it, such as a hypertune study: each run is analyzed into its own folder, and
    a table, also written to convergence_study.csv, compares them.
    """
    run_dir, earlier = with_earlier(paths, chain)
    options = {"aligned": not no_aligned, "chain": earlier, "fresh": fresh, "pictures": not no_plot, **reading}
    if follow:
        if until and no_aligned:
            raise click.UsageError("--until settled needs the aligned changes: do not give --no-aligned")
        ends = Ends(settled=until is not None, idle=None if idle is None else 60 * idle)
        _follow(run_dir, output or run_dir, options, quiet, ends, poll or POLL)
        return
    if until or idle is not None or poll is not None:
        raise click.UsageError("--until, --idle and --poll need --follow")
    found = Found([run_dir]) if holds_checkpoints(run_dir) else find_runs(run_dir)
    if not found.runs:
        raise PtyconvError(f"{run_dir}: {no_checkpoint(found, run_dir)}")
    several = None
    if len(found.runs) == 1:
        try:
            _analyze_one(found.runs[0], output or found.runs[0], options, quiet)
            return
        except SeveralRuns as error:
            if error.folder != found.runs[0]:
                raise
            several = error
    if not isinstance(earlier, str) and earlier:
        raise click.UsageError(f"--chain FIRST is for one run, but {run_dir} holds several; use --chain auto")
    check_writable(output or run_dir)

    def analyze_unit(unit: Unit) -> RunAnalysis:
        selected = {"select": unit.select} if unit.select else {}
        return analyze_into(unit.place, unit.folder, **options | selected)[0]

    units = units_of(run_dir, found.runs, output)
    with progress_bar("runs", hidden=quiet) as progress:
        rows = []
        for number, of_unit in enumerate(analyze_all(units, analyze_unit), 1):
            rows += of_unit
            progress(number, len(units))
    if several and all(row.problem for row in rows):
        raise several
    place = (output or run_dir) / TABLE_NAME
    write_whole({place: table_csv(rows, sort)})
    if not quiet:
        for line, state in table(rows, sort):
            say_coloured(line, state)
        aside = f"{len(found.collated)} collated files were not used: each is the end of a different trial."
        say(f"\n{aside}\n" if found.collated else "")
        resumed = sum(row.resumed for row in rows)
        if resumed:
            which = "1 of these runs was" if resumed == 1 else f"{resumed} of these runs were"
            say(f"{which} resumed from a run beside it.\nTo put such runs on one axis: --chain auto\n")
        say(f"wrote {place}\n      and each run's results into {'a folder of its own' if output else 'its folder'}")
    _complain(found.problems, rows)


def _analyze_one(run_dir: Path, folder: Path, options: dict[str, Any], quiet: bool) -> None:
    check_writable(folder)
    with progress_bar("checkpoints", hidden=quiet) as progress:
        analysis, outputs = analyze_into(folder, run_dir, progress=progress, **options)
    _say_all(analysis, run_dir, outputs, quiet)


def _say_all(analysis: RunAnalysis, run_dir: Path, outputs: list[Path], quiet: bool) -> None:
    if not quiet:
        say(summary(analysis))
        if analysis.verdict:
            say("")
            say_verdict(analysis.verdict, analysis.engine.loss)
        say("\nwrote " + "\n      ".join(map(str, outputs)))
        if analysis.parent_name:
            say("\n" + resumed_text(analysis, run_dir))
    if analysis.warnings:
        say(("" if quiet else "\n") + warnings_text(analysis.warnings), err=True)


def _follow(run_dir: Path, folder: Path, options: dict[str, Any], quiet: bool, ends: Ends, seconds: float) -> None:
    """Follow a running job: show a table on a terminal, elsewhere a line for each new checkpoint."""
    if run_dir.exists() and not holds_checkpoints(run_dir) and (found := find_runs(run_dir)).runs:
        raise PtyconvError(f"{run_dir}: {no_checkpoint(found, run_dir)}; --follow is for one run")
    check_writable(folder)
    outputs: list[Path] = []

    def analyze_files(files: Collection[Path] | None) -> RunAnalysis:
        analysis, outputs[:] = analyze_into(folder, run_dir, files=files, **options)
        options["fresh"] = False  # the cache is now from here
        return analysis

    show = LiveTable(run_dir.absolute().name, quiet)
    analysis, why = follow_run(Watch(run_dir, options["tensors"]), analyze_files, ends, show.look, seconds)
    show.end()
    if not quiet:
        say(f"ended: {why}\n")
    _say_all(replace(analysis, known=0), run_dir, outputs, quiet)  # that the cache was used is of no interest here
    if ends.settled and analysis.verdict:
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
