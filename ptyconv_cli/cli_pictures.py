"""The commands that draw: `ptyconv plot` and `ptyconv maps`."""

from pathlib import Path

import click

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.files import write_whole
from ptyconv_cli.options import PATH
from ptyconv_cli.outputs import PICTURE_NAME, TRAJECTORY_NAME
from ptyconv_cli.panels import PlotOptions
from ptyconv_cli.results import read_results
from ptyconv_cli.saying import say

PICTURE_FORMATS = ("png", "pdf", "svg")


@click.command()
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
    say(f"wrote {picture}")
