"""Runs an analysis and writes its files: first the numbers, then the pictures, whose failure must not cost those."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.pictures.panels import PlotOptions
from ptyconv_cli.results.files import write_whole
from ptyconv_cli.results.report import CHANGES_NAME, REPORT_NAME, changes_json, report_json
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.results.tidy import TABLE_NAME, changes_csv

PICTURE_NAME = "convergence.png"
TRAJECTORY_NAME = "trajectory.png"


def analyze_into(
    folder: Path, run_dir: Path, *, pictures: bool, fresh: bool = False, cache: Cache | None = None, **settings: Any
) -> tuple[RunAnalysis, list[Path]]:
    """Analyze a run and write the results into a folder; return the files, too.

    What an earlier analysis left in the folder's cache is not computed again, unless `fresh`; `cache`: the same as it
    is known from an earlier call. `settings` as of `analysis.run.analyze_run`. Raises PtyconvError where the run cannot
    be analyzed, or its numbers cannot be written. That a picture cannot be drawn, or that the next analysis cannot use
    the cache, is only a warning, which is not in the report.
    """
    from ptyconv_cli.analysis.run import analyze_run

    cache = cache or Cache(folder, fresh)
    analysis = analyze_run(run_dir, cache=cache, **settings)
    draw = _pictures_of(analysis, folder) if pictures else {}
    for picture in draw:
        _check_no_folder(picture)
    outputs, problems = write_numbers(analysis, folder), []
    try:
        cache.keep()
    except PtyconvError as error:
        problems.append(f"{error}: the next analysis will recompute everything.")
    for picture, drawn in draw.items():
        try:
            with explained(picture):
                write_whole({picture: drawn()})
            outputs.append(picture)
        except PtyconvError as error:
            old = "; the one there is of an earlier analysis" if picture.exists() else ""
            problems.append(f"{error}{old}. The numbers were written all the same.")
    return replace(analysis, warnings=[*analysis.warnings, *problems]), outputs


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


def write_numbers(analysis: RunAnalysis, folder: Path) -> list[Path]:
    """Write the numbers of an analysis into a folder; return the files.

    Raises PtyconvError where they cannot be written; the old files are then untouched.
    """
    outputs = {
        folder / CHANGES_NAME: changes_json(analysis),
        folder / REPORT_NAME: report_json(analysis),
        folder / TABLE_NAME: changes_csv(analysis),
    }
    write_whole(outputs)
    return list(outputs)


def _pictures_of(analysis: RunAnalysis, folder: Path) -> dict[Path, Callable[[], bytes]]:
    """Return the pictures that an analysis has, by file, as functions that draw them."""

    def dashboard() -> bytes:
        from ptyconv_cli.pictures.dashboard import draw_dashboard

        return draw_dashboard(analysis.results, PlotOptions(), "png")

    def trajectory() -> bytes:
        from ptyconv_cli.pictures.trajectory import draw_trajectory

        return draw_trajectory(analysis.results, "png")

    with_trajectory = {folder / TRAJECTORY_NAME: trajectory} if analysis.trajectories else {}
    return {folder / PICTURE_NAME: dashboard, **with_trajectory}


def _check_no_folder(picture: Path) -> None:
    """Raise PtyconvError where a folder has the name of a picture: a mistake that is better known at once."""
    if picture.is_dir():
        reason = "a folder has that name"
        raise PtyconvError(f"{picture}: cannot be written ({reason}); choose another place with -o")
