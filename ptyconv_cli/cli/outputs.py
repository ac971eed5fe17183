"""Runs an analysis and writes its files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

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
    be analyzed, or the results cannot be written. That the next analysis cannot use the cache is only a warning, which
    is not in the report.
    """
    from ptyconv_cli.analysis.run import analyze_run

    cache = cache or Cache(folder, fresh)
    analysis = analyze_run(run_dir, cache=cache, **settings)
    outputs = write_outputs(analysis, folder, pictures)
    try:
        cache.keep()
    except PtyconvError as error:
        problem = f"{error}: the next analysis will recompute everything."
        analysis = replace(analysis, warnings=[*analysis.warnings, problem])
    return analysis, outputs


def write_outputs(analysis: RunAnalysis, folder: Path, pictures: bool) -> list[Path]:
    """Write the results of an analysis into a folder, with figures if `pictures`; return the files.

    Raises PtyconvError where they cannot be written; the old files are then untouched.
    """
    outputs = {
        folder / CHANGES_NAME: changes_json(analysis),
        folder / REPORT_NAME: report_json(analysis),
        folder / TABLE_NAME: changes_csv(analysis),
    }
    if pictures:
        from ptyconv_cli.pictures.dashboard import draw_dashboard

        outputs[folder / PICTURE_NAME] = draw_dashboard(analysis.results, PlotOptions(), "png")
        if analysis.trajectories:
            from ptyconv_cli.pictures.trajectory import draw_trajectory

            outputs[folder / TRAJECTORY_NAME] = draw_trajectory(analysis.results, "png")
    write_whole(outputs)
    return list(outputs)
