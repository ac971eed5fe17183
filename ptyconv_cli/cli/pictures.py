"""The commands that draw: `ptyconv plot` and `ptyconv maps`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from ptyconv_cli.analysis.reading import read_results
from ptyconv_cli.analysis.report import CHANGES_NAME, REPORT_NAME
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.checkpoints.discovery import checkpoints_in
from ptyconv_cli.checkpoints.readers import counts_as_file
from ptyconv_cli.cli.console import say, say_wrapped, warnings_text, wrote_text
from ptyconv_cli.cli.options import PATH, READING, all_of, checked, completing, output_file, placed, with_earlier
from ptyconv_cli.cli.outputs import PICTURE_NAME, TRAJECTORY_NAME, explained
from ptyconv_cli.errors import PtyconvError, SeveralRuns
from ptyconv_cli.pictures.across import check_times
from ptyconv_cli.pictures.comparison_panels import comparison, labels_of, note_on_doublings
from ptyconv_cli.pictures.panels import DOUBLING, PlotOptions, choices, chosen
from ptyconv_cli.results.files import check_writable, write_whole
from ptyconv_cli.results.frc import FRC_NAME, FRC_PICTURE_NAME, holds_frc, read_frc
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.text import few

SUFFIXES = (".png", ".pdf", ".svg")
"""Of pictures."""

COMPARISON_NAME, MAPS_NAME, RECORD_NAME = "comparison.png", "maps.png", "record.png"

SERIES_HELP = f"Draw only these panels, separated by commas: {', '.join(choices())}, or the name of a tensor."


def _chosen(text: str | None) -> tuple[str, ...]:
    return chosen([name.strip() for name in text.split(",") if name.strip()]) if text is not None else ()


@click.command()
@click.argument("paths", type=PATH, nargs=-1, metavar="[PATH]...")
@output_file(SUFFIXES, "convergence.png or trajectory.png beside the results, or record.png; comparison.png here")
@click.option(
    "--trajectory",
    is_flag=True,
    help="Draw the change per doubling of the iterations and the distances between checkpoints.",
)
@click.option(
    "--series",
    "shown",
    metavar="LIST",
    callback=checked(_chosen),
    shell_complete=completing(choices()),
    help=SERIES_HELP,
)
@click.option(
    "--x",
    "over",
    type=click.Choice(["iteration", "time"]),
    default="iteration",
    show_default=True,
    help="Draw over iterations, or over the seconds of compute that they took.",
)
@click.option("--label", "labels", multiple=True, help="Name of a run in the picture, once for each PATH, in order.")
@click.option(
    "--linear",
    is_flag=True,
    help="Linear scales instead of logarithmic ones.",
)
@click.option(
    "--per-iteration", is_flag=True, help="Divide each change by the iterations it took; of several runs, draw these."
)
@click.option(
    "--since", type=click.IntRange(min=0), default=0, metavar="ITER", help="Draw only from this iteration on."
)
@click.option("--zoom", is_flag=True, help="Draw each panel only from the knee of its curves on.")
@click.option("--frc", "of_frc", is_flag=True, help="Draw the ring correlations of `ptyconv frc`, from frc.json.")
def plot(
    paths: tuple[Path, ...],
    output: Path | None,
    trajectory: bool,
    shown: tuple[str, ...],
    over: str,
    labels: tuple[str, ...],
    linear: bool,
    per_iteration: bool,
    since: int,
    zoom: bool,
    of_frc: bool,
) -> None:
    """Redraw figures, or compare several runs in one.

    PATH is a folder with results of `ptyconv analyze` (by default the current one), or one of its JSON files. The
    checkpoints are not read: analyze the run first. Of a run that was not, as of one that has a single checkpoint, what
    its engine recorded itself is drawn. For a talk: ptyconv plot FOLDER --series objp --linear -o talk.pdf.
    Of several PATHs the change per doubling of the object is drawn, a line for each run; with --per-iteration the loss
    and all changes, divided by the iterations they took. PATH may also be a frc.json.
    """
    if trajectory and (per_iteration or zoom):
        raise click.UsageError("--per-iteration and --zoom are for changes: not together with --trajectory")
    correlations = [_frc_at(path, of_frc) for path in paths or (Path(),)]
    if any(correlations):
        if len(correlations) > 1 or any(
            (trajectory, shown, over == "time", labels, linear, per_iteration, since, zoom)
        ):
            raise click.UsageError("ring correlations are drawn one at a time, and without other options than -o")
        _draw_frc(next(filter(None, correlations)), output)
        return
    paths = tuple(_results_at(path) for path in paths or (Path(),))
    compares = len(paths) > 1
    if trajectory and (compares or shown or over == "time" or labels):
        raise click.UsageError("--trajectory is of one run: not together with --series, --x, --label or several PATHs")
    if labels and len(labels) != len(paths):
        raise click.UsageError(f"--label is given {len(labels)} times for {len(paths)} PATHs: each needs one")
    bare = [path for path in paths if _is_run(path)]
    of_doublings = DOUBLING in shown or (compares and not shown and not per_iteration)
    name = TRAJECTORY_NAME if trajectory else RECORD_NAME if bare else PICTURE_NAME
    default = Path(COMPARISON_NAME) if compares else _folder(paths[0]) / name
    picture = placed(output, default, SUFFIXES)
    file_format = format_of(picture)
    if bare and (trajectory or of_doublings):
        what = "trajectory" if trajectory else "change per doubling"
        raise PtyconvError(f"{bare[0]}: holds no {what}; first run: ptyconv analyze {bare[0]}")
    options = PlotOptions(linear=linear, per_iteration=per_iteration, since=since, zoom=zoom)
    with explained(picture):
        if compares:
            drawn = _compared(paths, labels, shown, over, options, file_format)
        elif trajectory:
            drawn = _trajectory(paths[0], file_format, linear, since)
        else:
            drawn = _dashboard(paths[0], labels, shown, over, options, file_format)
    write_whole({picture: drawn})
    say(wrote_text([picture]))


def _frc_at(path: Path, asked: bool) -> Path | None:
    """Return the ring correlations that a path means, None where it means the results of an analysis."""
    if path.is_file() and path.suffix == ".json":
        return path if asked or holds_frc(path) else None
    if not path.exists():
        return None
    place = _folder(path) / FRC_NAME
    others = any((_folder(path) / name).exists() for name in (REPORT_NAME, CHANGES_NAME))
    if asked and not place.exists():
        raise PtyconvError(f"{path}: holds no {FRC_NAME}; make one with: ptyconv frc RUN")
    return place if asked or (place.exists() and not others) else None


def _draw_frc(results: Path, output: Path | None) -> None:
    from ptyconv_cli.pictures.frc import draw_frc

    picture = placed(output, results.parent / FRC_PICTURE_NAME, SUFFIXES)
    with explained(picture):
        drawn = draw_frc(read_frc(results), format_of(picture))
    write_whole({picture: drawn})
    say(wrote_text([picture]))


def format_of(picture: Path) -> str:
    """Return the format that a picture's name asks for."""
    return picture.suffix.lower().removeprefix(".")


def _results_at(path: Path) -> Path:
    """Return the results that a path means: of a run's file those beside it, of a folder without any the only ones
    below it; or, where there are none, the path itself.
    """
    if (path.is_file() and path.suffix != ".json") or counts_as_file(path):
        return path.parent if _has_results(path.parent) else path
    if not path.is_dir() or _has_results(path):
        return path
    below = sorted(found.parent for found in path.rglob(REPORT_NAME))
    if len(below) > 1:
        folders = few(str(folder.relative_to(path)) for folder in below)
        raise PtyconvError(f"{path}: holds no {REPORT_NAME}; its subfolders do: {folders}")
    return below[0] if below else path


def _has_results(folder: Path) -> bool:
    return any((folder / name).exists() for name in (REPORT_NAME, CHANGES_NAME))


def _is_run(path: Path) -> bool:
    """Say whether a path has checkpoints, and no results of an analysis: then there is what the engine recorded."""
    if path.suffix == ".json" or _has_results(path) or not path.exists():
        return False
    return path.is_file() or counts_as_file(path) or bool(checkpoints_in(path))


def _read(path: Path) -> Results:
    """Return what there is to draw of a path: results, or else, of a run, what its engine recorded."""
    if not _is_run(path):
        return read_results(path)
    from ptyconv_cli.analysis.recorded import recorded_results

    try:
        found = recorded_results(path)
    except SeveralRuns as error:
        raise PtyconvError(f"{path}: holds several runs; give a file of one of them") from error
    say_wrapped(f"{path}: holds no results; drawn is what the engine recorded itself ({found.name})")
    return found


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _trajectory(path: Path, file_format: str, linear: bool, since: int) -> bytes:
    from ptyconv_cli.pictures.trajectory import draw_trajectory

    results = read_results(path)
    if not results.trajectories:
        raise PtyconvError(
            f"{path}: holds no trajectory; that needs two checkpoints after the last boundary, and no --no-aligned"
        )
    return draw_trajectory(results, file_format, linear=linear, since=since)


def _dashboard(
    path: Path, labels: Sequence[str], shown: Sequence[str], over: str, options: PlotOptions, file_format: str
) -> bytes:
    from ptyconv_cli.pictures.dashboard import draw_dashboard

    results = _read(path)
    if over == "time":
        check_times({path: results})
    if labels:
        results = replace(results, name=labels[0])
    return draw_dashboard(results, options, file_format, shown, over)


def _compared(
    paths: Sequence[Path],
    labels: Sequence[str],
    shown: Sequence[str],
    over: str,
    options: PlotOptions,
    file_format: str,
) -> bytes:
    from ptyconv_cli.pictures.comparison import draw_comparison

    found = [_read(path) for path in paths]
    if over == "time":
        check_times(dict(zip(paths, found, strict=True)))
    names = labels or labels_of([_folder(path) for path in paths])
    if len(set(names)) < len(names):
        raise click.UsageError("two PATHs have the same name: tell them apart with --label")
    runs = dict(zip(names, found, strict=True))
    note = note_on_doublings(runs) if DOUBLING in shown or not (shown or options.per_iteration) else ""
    return draw_comparison(runs, comparison(runs, shown, options), file_format, over, note)


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="FOLDER|FILE")
@output_file(SUFFIXES, "maps.png in the run's folder")
@click.option("--at", type=int, metavar="ITER", help="Map the change up to this iteration.  [default: the last]")
@click.option(
    "--from",
    "begin",
    type=int,
    metavar="ITER",
    help="Start checkpoint of the interval.  [default: the one before]",
)
@all_of(READING)
def maps(
    paths: tuple[Path, ...],
    output: Path | None,
    at: int | None,
    begin: int | None,
    tensors: tuple[str, ...] | None,
    percentile_range: tuple[float, float],
    every: int | None,
    select: str | None,
    names: str | None,
    chain: str | None,
    strict: bool,
    device: str,
) -> None:
    """Draw where a run still changes.

    Maps of the object and the probe, and the scan positions: the aligned change from one checkpoint to another, by
    default between the last two. FOLDER and FILE are those of analyze, of one run.
    """
    from ptyconv_cli.analysis.maps import maps_of_run
    from ptyconv_cli.cli.outputs import only_run, place_of
    from ptyconv_cli.pictures.maps import draw_maps

    given, earlier = with_earlier(paths, chain)
    run_dir = only_run(given, names)
    picture = placed(output, place_of(run_dir) / MAPS_NAME, SUFFIXES)
    check_writable(picture.parent)
    asked = Selection(tensors, every, select, strict, names=names)
    found = maps_of_run(
        run_dir, asked, at=at, begin=begin, percentile_range=percentile_range, chain=earlier, device=device
    )
    with explained(picture):
        drawn = draw_maps(found, format_of(picture))
    write_whole({picture: drawn})
    say(wrote_text([picture]))
    if found.warnings:
        say("\n" + warnings_text(found.warnings), err=True)
