"""The command line: options, what is printed, exit codes. No arithmetic, no file formats."""

import errno
import json
import math
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
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.files import check_writable, write_whole
from ptyconv_cli.history import Curve, RunVerdict
from ptyconv_cli.panels import PlotOptions
from ptyconv_cli.results import read_results
from ptyconv_cli.series import TENSORS
from ptyconv_cli.settings import DEFAULT_PERCENTILES, check_device_name, check_percentile_range, check_tensors
from ptyconv_cli.summary import summary, verdict_lines, warnings_text
from ptyconv_cli.text import printable
from ptyconv_cli.version import __version__

PATH = click.Path(readable=False, path_type=Path)  # what is wrong with a path is said later, with exit code 1

PICTURE_NAME = "convergence.png"
TRAJECTORY_NAME = "trajectory.png"
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


def _checked(check: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Make a library check that raises ValueError into an option's callback."""

    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return callback


def _split_tensors(text: str) -> tuple[str, ...]:
    return check_tensors([name.strip() for name in text.split(",") if name.strip()])


def _split_tolerances(texts: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for text in texts:
        tensor, _, distance = text.partition("=")
        try:
            found[tensor] = float(distance)
        except ValueError:
            found[tensor] = -1.0
        if tensor not in TENSORS or not 0 < found[tensor] < math.inf:
            raise ValueError(f"{text!r}: expected one of {', '.join(TENSORS)}, =, and a distance above 0")
    return found


def _options(options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Give a command several options."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


READING = (
    click.option(
        "-t",
        "--tensors",
        default=",".join(TENSORS),
        show_default=True,
        callback=_checked(_split_tensors),
        help="Tensors to follow, separated by commas.",
    ),
    click.option(
        "--percentiles",
        "percentile_range",
        nargs=2,
        type=float,
        default=DEFAULT_PERCENTILES,
        show_default=True,
        metavar="LOW HIGH",
        callback=_checked(check_percentile_range),
        help="Voxels below LOW are background, above HIGH foreground.",
    ),
    click.option(
        "--every", type=click.IntRange(min=1), metavar="N", help="Use only iterations that are multiples of N."
    ),
    click.option(
        "--select",
        metavar="RUN|PATTERN",
        help="Use only files whose names match a pattern such as 'model_iter00*', or, of a folder with several runs, "
        "those of the run with this number.",
    ),
    click.option("--strict", is_flag=True, help="Stop at a file that cannot be read, instead of leaving it out."),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]|mps",
        callback=_checked(check_device_name),
        help="Where to compute.",
    ),
)
"""Options of every command that reads checkpoints, by the names of `analyze_run`'s parameters."""


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ptyconv")
def main() -> None:
    """Has a ptychographic reconstruction converged, and when?

    ptyconv measures, from the checkpoints of a PtyRAD run alone, how much object, probe and scan positions changed
    from one checkpoint to the next.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # it is None where the shell has closed it
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 gets question marks, not a traceback


@main.command()
@click.argument("run_dir", type=PATH)
@click.option("-o", "--output", type=PATH, help="Folder for the results.  [default: RUN_DIR]")
@_options(READING)
@click.option(
    "--no-aligned",
    is_flag=True,
    help="Compute only the changes that PtyRAD's own monitor records: no aligned ones, no trajectory, no verdict.",
)
@click.option("--no-plot", is_flag=True, help="Draw no picture.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but warnings and errors.")
def analyze(
    run_dir: Path,
    output: Path | None,
    no_aligned: bool,
    no_plot: bool,
    quiet: bool,
    **reading: Any,
) -> None:
    """Measure the changes between the checkpoints in RUN_DIR.

    Reads model_iterNNNN.hdf5, .h5 and .pt in order of iteration. Writes convergence_iters.json (the changes as PtyRAD
    records them), convergence_report.json (these, the aligned changes, which are without what no diffraction pattern
    can see, and how all were got), convergence.png (a picture of them) and trajectory.png (the distances between all
    checkpoints). Ends with a verdict: has each series settled, and since when?
    """
    from ptyconv_cli.analyze import analyze_run

    folder = run_dir if output is None else output
    if os.access(run_dir, os.R_OK | os.X_OK):  # else there is something more important to say
        check_writable(folder)
    with _progress_bar(hidden=quiet) as progress:
        analysis = analyze_run(run_dir, aligned=not no_aligned, progress=progress, **reading)
    outputs = {
        folder / report.CHANGES_NAME: report.changes_json(analysis),
        folder / report.REPORT_NAME: report.report_json(analysis),
    }
    if not no_plot:
        from ptyconv_cli.dashboard import draw_dashboard

        outputs[folder / PICTURE_NAME] = draw_dashboard(analysis.results, PlotOptions(), "png")
        if analysis.trajectories:
            from ptyconv_cli.trajectory_picture import draw_trajectory

            outputs[folder / TRAJECTORY_NAME] = draw_trajectory(analysis.results, "png")
    write_whole(outputs)
    if not quiet:
        _say(summary(analysis))
        if analysis.verdict:
            _say("")
            _say_verdict(analysis.verdict, analysis.engine.loss)
        _say("\nwrote " + "\n      ".join(str(path) for path in outputs))
    if analysis.warnings:
        _say(("" if quiet else "\n") + warnings_text(analysis.warnings), err=True)


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
            raise PtyconvError(f"{path}: holds no trajectory; analyze the run, without --no-aligned")
        drawn = draw_trajectory(results, file_format, linear=linear, since=since)
    else:
        from ptyconv_cli.dashboard import draw_dashboard

        options = PlotOptions(linear=linear, per_iteration=per_iteration, since=since, zoom=zoom)
        drawn = draw_dashboard(results, options, file_format)
    write_whole({picture: drawn})
    _say(f"wrote {picture}")


@main.command()
@click.argument("run_dir", type=PATH)
@click.option(
    "--tol",
    "tolerances",
    multiple=True,
    metavar="TENSOR=DISTANCE",
    callback=_checked(_split_tolerances),
    help="Settled is what moved no farther than this over the last checkpoints (8, or half of few): objp=1e-3 (rad), "
    "probe_pos_shifts=0.05 (Å), probe (in mean intensities), obja. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@_options(READING)
def check(
    run_dir: Path,
    tolerances: dict[str, float],
    as_json: bool,
    **reading: Any,
) -> None:
    """Say whether the run in RUN_DIR has settled; for scripts and job chains. Writes no files.

    Exit code 0: settled. 3: not settled. 4: it cannot be said. 1: the run cannot be used.
    """
    from ptyconv_cli.analyze import analyze_run
    from ptyconv_cli.conclusion import NOT_SETTLED

    analysis = analyze_run(run_dir, tolerances=tolerances, **reading)
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
    plain = False if os.environ.get("NO_COLOR") else None  # else click colours on terminals only
    for line, state in verdict_lines(verdict, loss):
        click.echo(click.style(printable(line), fg=COLOURS.get(state)), color=plain)


def _say(text: str, err: bool = False) -> None:
    click.echo(printable(text, keep="\n"), err=err)


@contextmanager
def _progress_bar(hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows (checkpoints done, checkpoints in all) on a terminal, and elsewhere nothing."""
    hidden = hidden or not sys.stderr.isatty()
    with click.progressbar(length=1, label="checkpoints", file=sys.stderr, hidden=hidden, show_pos=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield progress
