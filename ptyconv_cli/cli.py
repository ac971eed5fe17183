"""The command line: options, what is printed, exit codes. No arithmetic, no file formats."""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from ptyconv_cli import report
from ptyconv_cli.checkpoints.chain import AUTO
from ptyconv_cli.checkpoints.discover import Found, find_runs, holds_checkpoints, no_checkpoint
from ptyconv_cli.errors import PtyconvError, SeveralRuns
from ptyconv_cli.files import check_writable, write_whole
from ptyconv_cli.history import Curve, RunAnalysis, RunVerdict
from ptyconv_cli.listing import list_folder, listing
from ptyconv_cli.options import READING, all_of, checked, split_tolerances
from ptyconv_cli.outputs import PICTURE_NAME, TRAJECTORY_NAME, write_outputs
from ptyconv_cli.panels import PlotOptions
from ptyconv_cli.results import read_results
from ptyconv_cli.study import SORTS, TABLE_NAME, Row, Unit, analyze_all, shared_warnings, table_csv, units_of
from ptyconv_cli.study import table as study_table
from ptyconv_cli.summary import summary, verdict_lines, warnings_text
from ptyconv_cli.text import printable
from ptyconv_cli.version import __version__

PATH = click.Path(readable=False, path_type=Path)  # what is wrong with a path is said later, with exit code 1

COLOURS = {
    "settled": "green",
    "improving": "yellow",
    "rising": "red",
    "drifting": "red",
    "step-limited": "red",
    "unusable": "magenta",
}

PICTURE_FORMATS = ("png", "pdf", "svg")


class _Commands(click.Group):
    """Turns the package's own errors, and the system's, into a message and exit code 1, for every command."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(128 + signal.SIGINT)
        except PtyconvError as error:
            raise click.ClickException(printable(str(error), keep="\n")) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output has gone; click ends quietly
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(printable(f"{where}{error.strerror or error}", keep="\n")) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ptyconv")
def main() -> None:
    """Has a ptychographic reconstruction converged, and when?

    ptyconv measures, from the checkpoints of a run of PtyRAD or phaser alone, how much object, probe and scan positions
    changed from one checkpoint to the next.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # it is None where the shell has closed it
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 gets question marks, not a traceback


@main.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="RUN_DIR|STUDY")
@click.option("-o", "--output", type=PATH, help="Folder for the results.  [default: the run's own]")
@all_of(READING)
@click.option(
    "--no-aligned",
    is_flag=True,
    help="Compute only the changes that PtyRAD's own monitor records: no aligned ones, no trajectory, no verdict.",
)
@click.option("--no-plot", is_flag=True, help="Draw no picture.")
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    default="name",
    show_default=True,
    metavar="name|loss|SERIES",
    help="Order of the runs of a study in its table: by name, final loss, or the last change of a series.",
)
@click.option("--fresh", is_flag=True, help="Compute all again, also what an earlier analysis has done already.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but warnings and errors.")
def analyze(
    paths: tuple[Path, ...],
    output: Path | None,
    no_aligned: bool,
    no_plot: bool,
    sort: str,
    fresh: bool,
    quiet: bool,
    chain: str | None,
    **reading: Any,
) -> None:
    """Measure the changes between the checkpoints of a run, or of each run of a study.

    Walks the checkpoints in a folder in order of iteration. Writes convergence_iters.json (the changes as PtyRAD
    records them), convergence_report.json (these, the aligned changes, which are without what no diffraction pattern
    can see, and how all were got), convergence.png (a picture of them) and trajectory.png (the distances between all
    checkpoints). Ends with a verdict: has each series settled, and since when?

    Of a folder with many runs below it, such as a hypertune study, each run is analyzed into a folder of its own; a
    table shows them side by side, and convergence_study.csv has it for spreadsheets.
    """
    from ptyconv_cli.analyze import analyze_run

    run_dir, earlier = _with_earlier(paths, chain)
    found = Found([run_dir]) if holds_checkpoints(run_dir) else find_runs(run_dir)
    if not found.runs:
        raise PtyconvError(f"{run_dir}: {no_checkpoint(found, run_dir)}")
    options = {"aligned": not no_aligned, "chain": earlier, "fresh": fresh, **reading}
    several = None
    if len(found.runs) == 1:
        try:
            _analyze_one(found.runs[0], output or found.runs[0], options, not no_plot, quiet)
            return
        except SeveralRuns as error:
            if error.folder != found.runs[0]:
                raise
            several = error
    if not isinstance(earlier, str) and earlier:
        raise click.UsageError(f"--chain is for one run, and {run_dir} holds several; --chain auto joins each")
    check_writable(output or run_dir)

    def analyze_unit(unit: Unit) -> RunAnalysis:
        selected = {"select": unit.select} if unit.select else {}
        return analyze_run(unit.folder, keep_in=unit.place, **options | selected)

    units = units_of(run_dir, found.runs, output)
    with _progress_bar("runs", hidden=quiet) as progress:
        rows = []
        for number, of_unit in enumerate(analyze_all(units, analyze_unit, not no_plot), 1):
            rows += of_unit
            progress(number, len(units))
    if several and all(row.problem for row in rows):
        raise several
    place = (output or run_dir) / TABLE_NAME
    write_whole({place: table_csv(rows, sort)})
    if not quiet:
        for line, state in study_table(rows, sort):
            _say_coloured(line, state)
        aside = f"{len(found.collated)} collated files were left out: they are the ends of different trials."
        _say(f"\n{aside}\n" if found.collated else "")
        _say(f"wrote {place}, and each run's results into {'a folder of its own' if output else 'its folder'}")
    _complain(found.problems, rows)


def _analyze_one(run_dir: Path, folder: Path, options: dict[str, Any], pictures: bool, quiet: bool) -> None:
    from ptyconv_cli.analyze import analyze_run

    check_writable(folder)
    with _progress_bar("checkpoints", hidden=quiet) as progress:
        analysis = analyze_run(run_dir, progress=progress, keep_in=folder, **options)
    outputs = write_outputs(analysis, folder, pictures)
    if not quiet:
        _say(summary(analysis))
        if analysis.verdict:
            _say("")
            _say_verdict(analysis.verdict, analysis.engine.loss)
        _say("\nwrote " + "\n      ".join(map(str, outputs)))
    if analysis.warnings:
        _say(("" if quiet else "\n") + warnings_text(analysis.warnings), err=True)


def _with_earlier(paths: tuple[Path, ...], chain: str | None) -> tuple[Path, Sequence[Path] | str]:
    """Sort out the folder to analyze, and those of the runs before it, or that they are to be found."""
    *before, run_dir = paths
    if before and chain in (None, AUTO):
        raise click.UsageError("give one folder; of several that go on from one another: --chain FIRST SECOND ...")
    return run_dir, AUTO if chain == AUTO else [] if chain is None else [Path(chain), *before]


def _complain(problems: list[str], rows: list[Row]) -> None:
    """Say what a user should hear of a study; end with exit code 1 where a run failed."""
    for note in [row.note for row in rows if row.note]:
        _say(f"\n{note}", err=True)
    warnings = [*problems, *shared_warnings(rows)]
    if warnings:
        _say("\n" + warnings_text(warnings), err=True)
    failures = [row.problem for row in rows if row.problem]
    if failures:
        _say("\n" + "\n".join(f"Error: {failure}" for failure in failures), err=True)
        sys.exit(1)


@main.command("ls")
@click.argument("path", type=PATH, default=Path())
def list_runs(path: Path) -> None:
    """List the runs at or below PATH, without reading what is reconstructed.

    For each run: what wrote it, the number of its checkpoints, iterations, shape of the object (omode, slice, y, x),
    pixel size, what it was resumed from, and what is wrong with it.
    """
    found = find_runs(path)
    if not found.runs and not found.collated:
        raise PtyconvError(f"{path}: {no_checkpoint(found, path)}")
    listed = [run for folder in found.runs for run in list_folder(path, folder)]
    _say("\n".join(listing(found, path, listed)))


@main.command()
@click.argument("path", type=PATH, default=Path())
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="The picture: .png, .pdf or .svg.  [default: convergence.png or trajectory.png beside the results]",
)
@click.option("--trajectory", is_flag=True, help="Draw the distances between all checkpoints instead of the changes.")
@click.option(
    "--linear",
    is_flag=True,
    help="Linear scales instead of logarithmic ones.",
)
@click.option("--per-iteration", is_flag=True, help="Divide each change by the iterations it took.")
@click.option(
    "--since", type=click.IntRange(min=0), default=0, metavar="ITER", help="Draw only from this iteration on."
)
@click.option("--zoom", is_flag=True, help="Draw each panel only from where its curves bend.")
def plot(
    path: Path, output: Path | None, trajectory: bool, linear: bool, per_iteration: bool, since: int, zoom: bool
) -> None:
    """Draw results again, from PATH alone.

    PATH is a folder with results of `ptyconv analyze` (by default the current one), or one of its JSON files. The
    checkpoints are not read.
    """
    if trajectory and (per_iteration or zoom):
        raise click.UsageError("--per-iteration and --zoom are for changes: not together with --trajectory")
    picture = output or (path if path.is_dir() else path.parent) / (TRAJECTORY_NAME if trajectory else PICTURE_NAME)
    file_format = picture.suffix.lower().removeprefix(".")
    if file_format not in PICTURE_FORMATS:
        raise click.BadParameter(f"{picture}: the name must end in .png, .pdf or .svg", param_hint="-o")
    results = read_results(path)
    if trajectory:
        from ptyconv_cli.trajectory_picture import draw_trajectory

        if not results.trajectories:
            raise PtyconvError(
                f"{path}: holds no trajectory; that needs two checkpoints after the last seam, and no --no-aligned"
            )
        drawn = draw_trajectory(results, file_format, linear=linear, since=since)
    else:
        from ptyconv_cli.dashboard import draw_dashboard

        options = PlotOptions(linear=linear, per_iteration=per_iteration, since=since, zoom=zoom)
        drawn = draw_dashboard(results, options, file_format)
    write_whole({picture: drawn})
    _say(f"wrote {picture}")


@main.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="RUN_DIR")
@click.option(
    "--tol",
    "tolerances",
    multiple=True,
    metavar="TENSOR=DISTANCE",
    callback=checked(split_tolerances),
    help="Settled is what moved no farther than this over the last checkpoints (8, or half of few): objp=1e-3 (rad), "
    "probe_pos_shifts=0.05 (Å), probe (in mean intensities), obja. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@all_of(READING)
def check(
    paths: tuple[Path, ...],
    tolerances: dict[str, float],
    as_json: bool,
    chain: str | None,
    **reading: Any,
) -> None:
    """Say whether the run in RUN_DIR has settled; for scripts and job chains. Writes no files.

    Exit code 0: settled. 3: not settled. 4: it cannot be said. 1: the run cannot be used.
    """
    from ptyconv_cli.analyze import analyze_run
    from ptyconv_cli.conclusion import NOT_SETTLED

    run_dir, earlier = _with_earlier(paths, chain)
    analysis = analyze_run(run_dir, tolerances=tolerances, chain=earlier, **reading)
    assert analysis.verdict
    if as_json:
        click.echo(json.dumps(report.verdict_data(analysis.verdict), indent=1, ensure_ascii=False))
    else:
        _say_verdict(analysis.verdict, analysis.engine.loss)
    if analysis.warnings:
        _say(("" if as_json else "\n") + warnings_text(analysis.warnings), err=True)
    state = analysis.verdict.state
    sys.exit(0 if state == "settled" else 3 if state in NOT_SETTLED else 4)


def _say_verdict(verdict: RunVerdict, loss: Curve) -> None:
    for line, state in verdict_lines(verdict, loss):
        _say_coloured(line, state)


def _say_coloured(line: str, state: str) -> None:
    plain = False if os.environ.get("NO_COLOR") else None  # else click colours on terminals only
    click.echo(click.style(printable(line), fg=COLOURS.get(state)), color=plain)


def _say(text: str, err: bool = False) -> None:
    click.echo(printable(text, keep="\n"), err=err)


@contextmanager
def _progress_bar(label: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how many are done of how many in all on a terminal, and elsewhere nothing."""
    hidden = hidden or not sys.stderr.isatty()
    with click.progressbar(length=1, label=label, file=sys.stderr, hidden=hidden, show_pos=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield progress
