"""The command line: options, what is printed, exit codes. No arithmetic, no file formats."""

import errno
import json
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from ptyconv_cli import report
from ptyconv_cli.checkpoints.discover import find_runs, no_checkpoint
from ptyconv_cli.cli_analyze import analyze
from ptyconv_cli.cli_pictures import maps, plot
from ptyconv_cli.conclusion import exit_code
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.listing import list_folder, listing
from ptyconv_cli.options import PATH, READING, all_of, checked, split_tolerances, with_earlier
from ptyconv_cli.saying import say, say_verdict
from ptyconv_cli.summary import warnings_text
from ptyconv_cli.text import printable
from ptyconv_cli.version import __version__


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


main.add_command(analyze)
main.add_command(plot)
main.add_command(maps)


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
    say("\n".join(listing(found, path, listed)))


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

    run_dir, earlier = with_earlier(paths, chain)
    analysis = analyze_run(run_dir, tolerances=tolerances, chain=earlier, **reading)
    assert analysis.verdict
    if as_json:
        click.echo(json.dumps(report.verdict_data(analysis.verdict), indent=1, ensure_ascii=False))
    else:
        say_verdict(analysis.verdict, analysis.engine.loss)
    if analysis.warnings:
        say(("" if as_json else "\n") + warnings_text(analysis.warnings), err=True)
    sys.exit(exit_code(analysis.verdict))
