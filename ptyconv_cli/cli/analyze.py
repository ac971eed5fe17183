"""The commands `ptyconv analyze` and `ptyconv check`: of one run or of many, and only the verdict."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from ptyconv_cli.analysis import report
from ptyconv_cli.cli.console import say, say_errors, say_verdict, say_wrapped, warnings_text
from ptyconv_cli.cli.options import (
    CLUSTER,
    JUDGING,
    PATH,
    QUIET,
    READING,
    RESULTS,
    Where,
    all_of,
    everything,
    where_to,
    with_earlier,
)
from ptyconv_cli.errors import PtyconvError, TooFew
from ptyconv_cli.quantities import all_series
from ptyconv_cli.results.text import listed
from ptyconv_cli.verdict.conclusion import TOO_EARLY, exit_code, not_converged

POLL = 5.0
"""Seconds between two looks at the folder of a running job."""


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="FOLDER|FILE")
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
    type=click.Choice(("name", "loss", "moved", *(series.key for series in all_series()))),
    default="name",
    show_default=True,
    metavar="name|loss|moved|SERIES",
    help="Sort the table of a study by name, final loss, the object's change per doubling, or the last change of a "
    "series.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Follow a running job: analyze each new checkpoint once it is complete, until the run's planned end, where it "
    "has one, or Ctrl-C.",
)
@click.option(
    "--until",
    type=click.Choice(["converged", "settled"]),
    metavar="converged",
    help="With --follow: end as soon as the object has converged. Exit codes as of `ptyconv check`.",
)
@everything("With --until converged: wait for probe and positions, too.")
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
@all_of(CLUSTER)
@click.option("--fresh", is_flag=True, help="Recompute everything; ignore cached results.")
@click.option(
    "--methods", is_flag=True, help="Print some sentences for a paper, too: how this was assessed, with its numbers."
)
@click.option("-v", "--verbose", is_flag=True, help="Print the tables of changes and of the ambiguities removed, too.")
@QUIET
def analyze(
    paths: tuple[Path, ...],
    output: Path | None,
    no_aligned: bool,
    no_plot: bool,
    sort: str,
    follow: bool,
    until: str | None,
    everything: bool,
    idle: float | None,
    poll: float | None,
    address: str | None,
    workers: int | None,
    fresh: bool,
    methods: bool,
    verbose: bool,
    quiet: bool,
    chain: str | None,
    **reading: Any,
) -> None:
    """Say whether a run has converged, and how much it still changes.

    FOLDER holds the checkpoints of a run, which are what its engine saved at different iterations, in a file each. Any
    FILE of them will do. So will a FILE that holds many checkpoints.

    Each checkpoint is compared with the one before. The raw change is what PtyRAD records; the aligned change is what
    is left after removing ambiguities that the data cannot constrain. The verdict says what doubling the iterations
    changed, and whether that is little enough (--tol).

    \b
    Files written:
      convergence_iters.json   the raw changes, as PtyRAD records them
      convergence_report.json  all results, with full provenance
      convergence.csv          raw and aligned changes as a table, for pandas
      convergence.png          the changes
      trajectory.png           the change per doubling of the iterations, and
                               the distances between all checkpoints

    Where FOLDER has several runs in it or below it, as a hypertune study has, each is analyzed into its own folder, and
    a table, also written to convergence_study.csv, compares them.
    """
    from ptyconv_cli.checkpoints.discovery import no_checkpoint
    from ptyconv_cli.cli.outputs import Detail, analyze_one, one_or_several, place_of, runs_at
    from ptyconv_cli.errors import PtyconvError, SeveralRuns

    run_dir, earlier = with_earlier(paths, chain)
    options = {"aligned": not no_aligned, "chain": earlier, "fresh": fresh, "pictures": not no_plot, **reading}
    detail, where = Detail(quiet, verbose, methods), where_to(address, workers)
    if methods and (follow or no_aligned):
        other = "--follow" if follow else "--no-aligned"
        raise click.UsageError(f"--methods needs the verdict on a run that has ended: do not give {other}")
    if follow:
        if where:
            raise click.UsageError(f"{where} is for several runs, and --follow follows one")
        if until and no_aligned:
            raise click.UsageError("--until converged needs the aligned changes: do not give --no-aligned")
        if everything and not until:
            raise click.UsageError("--all needs --until converged")
        from ptyconv_cli.analysis.follow import Ends
        from ptyconv_cli.cli.running_job import follow_job

        ends = Ends(converged=until is not None, everything=everything, idle=None if idle is None else 60 * idle)
        follow_job(run_dir, output, options, detail, ends, poll or POLL)
        return
    if until or everything or idle is not None or poll is not None:
        raise click.UsageError("--until, --all, --idle and --poll need --follow")
    names = options["names"]
    found = runs_at(run_dir, names, output, fresh)
    if not found.runs:
        raise PtyconvError(f"{run_dir}: {no_checkpoint(found, run_dir, names)}")

    def of_one(run: Path) -> None:
        analyze_one(run, output or place_of(run), options, detail)

    def of_several(several: SeveralRuns | None, where: Where | None) -> None:
        from ptyconv_cli.cli.study import analyze_study

        if methods:
            raise click.UsageError(f"{run_dir}: holds several runs, and --methods is on one")
        analyze_study(run_dir, found, output, options, sort, quiet, several, where)

    one_or_several(run_dir, found, earlier, where, of_one, of_several)


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="FOLDER|FILE")
@RESULTS
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@everything("Ask for probe, positions and the rest, too, not only for the object.")
@all_of(READING)
@all_of(JUDGING)
@QUIET
def check(
    paths: tuple[Path, ...],
    results: Path | None,
    as_json: bool,
    everything: bool,
    quiet: bool,
    chain: str | None,
    **reading: Any,
) -> None:
    """Say whether a run has converged, also as an exit code.

    For scripts and job chains. FOLDER and FILE are those of analyze, of one run. Goes on from where an earlier analyze
    stopped, and writes no files.

    \b
    Exit codes:
      0  the object has converged; with --all: everything has
      3  not converged, or broken (diverged, NaN, a probe that vanished)
      4  too early to tell
      1  the run cannot be analyzed
    """
    from ptyconv_cli.analysis.cache import Cache
    from ptyconv_cli.analysis.run import analyze_run
    from ptyconv_cli.cli.outputs import only_run, place_of

    given, earlier = with_earlier(paths, chain)
    if quiet and as_json:
        raise click.UsageError("give either --quiet or --json")
    run_dir = only_run(given, reading["names"], results)
    if results and not results.is_dir():
        raise PtyconvError(f"{results}: is no folder; --results names the one with the results of an earlier analyze")
    cache = Cache(results or place_of(run_dir))  # which is only read, for `keep` is not called
    try:
        analysis = analyze_run(run_dir, chain=earlier, cache=cache, **reading)
    except TooFew as error:
        if not error.left:
            raise
        say_errors(f"Error: {error}")
        sys.exit(TOO_EARLY)
    assert analysis.verdict
    if analysis.warnings:
        say(warnings_text(analysis.warnings) + ("" if as_json or quiet else "\n"), err=True)
    if as_json:
        data = report.verdict_data(analysis.verdict) | {"doublings": report.doublings_data(analysis.verdict)}
        click.echo(json.dumps(data, indent=1, ensure_ascii=False))
    elif not quiet:
        say_verdict(analysis.verdict)
        if everything and exit_code(analysis.verdict) == 0 != exit_code(analysis.verdict, everything):
            say("")
            say_wrapped(f"not converged, as asked with --all: {listed(not_converged(analysis.verdict))}")
    sys.exit(exit_code(analysis.verdict, everything))
