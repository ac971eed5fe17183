"""Runs an analysis and writes its files: first the numbers, then the pictures, whose failure must not cost those."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click

from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.cli.drawn import Drawn
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.files import write_different, write_whole
from ptyconv_cli.results.pieces import Pieces
from ptyconv_cli.results.report import CHANGES_NAME, REPORT_NAME, changes_json, report_json
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.results.tidy import TABLE_NAME, changes_csv

PICTURE_NAME = "convergence.png"
TRAJECTORY_NAME = "trajectory.png"


class Outputs(NamedTuple):
    """The files of an analysis: those that were `written`, and those that were there already as they would be."""

    written: list[Path]
    up_to_date: list[Path]


def analyze_into(
    folder: Path, run_dir: Path, *, pictures: bool, fresh: bool = False, cache: Cache | None = None, **settings: Any
) -> tuple[RunAnalysis, Outputs]:
    """Analyze a run and write the results into a folder; return the files, too.

    What an earlier analysis left in the folder's cache is not computed again, unless `fresh`, and what is in the folder
    as it would be is not written again; `cache`: the same as it is known from an earlier call. `settings` as of
    `analysis.run.analyze_run`. Raises PtyconvError where the run cannot be analyzed, or its numbers cannot be written.
    That a picture cannot be drawn, or that the next analysis cannot use the cache, is only a warning, which is not in
    the report.
    """
    from ptyconv_cli.analysis.run import analyze_run

    cache = cache or Cache(folder, fresh)
    analysis = analyze_run(run_dir, cache=cache, **settings)
    draw = _pictures_of(analysis) if pictures else {}
    for name in draw:
        _check_no_folder(folder / name)
    numbers = _numbers_of(analysis, folder, cache.pieces)
    drawn = Drawn(folder, numbers[folder / REPORT_NAME], cache) if pictures else None
    written, problems = write_different(numbers), []
    try:
        cache.keep()
    except PtyconvError as error:
        problems.append(f"{error}: the next analysis will recompute everything.")
    outputs = Outputs(written, [path for path in numbers if path not in written])
    if drawn:
        problems += _draw(draw, folder, drawn, outputs)
    return replace(analysis, warnings=[*analysis.warnings, *problems]), outputs


def _draw(draw: dict[str, Callable[[], bytes]], folder: Path, drawn: Drawn, outputs: Outputs) -> list[str]:
    """Draw pictures into a folder, but for those that are there already; return what went wrong."""
    problems = []
    for name, picture in ((name, folder / name) for name in draw):
        if drawn.is_there(name):
            outputs.up_to_date.append(picture)
            continue
        try:
            with explained(picture):
                write_whole({picture: draw[name]()})
            outputs.written.append(picture)
        except PtyconvError as error:
            old = "; the one there is of an earlier analysis" if picture.exists() else ""
            problems.append(f"{error}{old}. The numbers were written all the same.")
    here = [picture.name for picture in (*outputs.up_to_date, *outputs.written) if picture.name in draw]
    with suppress(PtyconvError):  # then the next analysis draws them again
        drawn.keep(here)
    return problems


@contextmanager
def explained(picture: Path) -> Iterator[None]:
    """Turn whatever a drawing stumbles over into a PtyconvError that names the picture."""
    try:
        yield
    except (PtyconvError, click.ClickException):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PtyconvError(f"{picture}: cannot be drawn ({reason})") from error


def write_numbers(analysis: RunAnalysis, folder: Path, pieces: Pieces | None = None) -> list[Path]:
    """Write the numbers of an analysis into a folder; return the files that were not there already as they are now.

    Raises PtyconvError where they cannot be written; the old files are then untouched. `pieces`: of what was written
    before of the same run, which grows.
    """
    return write_different(_numbers_of(analysis, folder, pieces or Pieces()))


def _numbers_of(analysis: RunAnalysis, folder: Path, pieces: Pieces) -> dict[Path, bytes]:
    return {
        folder / CHANGES_NAME: changes_json(analysis, pieces),
        folder / REPORT_NAME: report_json(analysis, pieces),
        folder / TABLE_NAME: changes_csv(analysis, pieces),
    }


def _pictures_of(analysis: RunAnalysis) -> dict[str, Callable[[], bytes]]:
    """Return the pictures that an analysis has, by file name, as functions that draw them."""

    def dashboard() -> bytes:
        from ptyconv_cli.pictures.dashboard import draw_dashboard
        from ptyconv_cli.pictures.panels import PlotOptions

        return draw_dashboard(analysis.results, PlotOptions(), "png")

    def trajectory() -> bytes:
        from ptyconv_cli.pictures.trajectory import draw_trajectory

        return draw_trajectory(analysis.results, "png")

    with_trajectory = {TRAJECTORY_NAME: trajectory} if analysis.trajectories else {}
    return {PICTURE_NAME: dashboard, **with_trajectory}


def _check_no_folder(picture: Path) -> None:
    """Raise PtyconvError where a folder has the name of a picture: a mistake that is better known at once."""
    if picture.is_dir():
        reason = "a folder has that name"
        raise PtyconvError(f"{picture}: cannot be written ({reason}); choose another place with -o")
