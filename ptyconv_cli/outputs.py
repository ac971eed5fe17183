"""The files that an analysis ends in."""

from pathlib import Path

from ptyconv_cli.files import write_whole
from ptyconv_cli.history import RunAnalysis
from ptyconv_cli.panels import PlotOptions
from ptyconv_cli.report import CHANGES_NAME, REPORT_NAME, changes_json, report_json

PICTURE_NAME = "convergence.png"
TRAJECTORY_NAME = "trajectory.png"


def write_outputs(analysis: RunAnalysis, folder: Path, pictures: bool) -> list[Path]:
    """Write the results of an analysis into a folder, with `pictures` or without; return the files.

    Raises PtyconvError where they cannot be written; then what was there is left whole.
    """
    outputs = {
        folder / CHANGES_NAME: changes_json(analysis),
        folder / REPORT_NAME: report_json(analysis),
    }
    if pictures:
        from ptyconv_cli.dashboard import draw_dashboard

        outputs[folder / PICTURE_NAME] = draw_dashboard(analysis.results, PlotOptions(), "png")
        if analysis.trajectories:
            from ptyconv_cli.trajectory_picture import draw_trajectory

            outputs[folder / TRAJECTORY_NAME] = draw_trajectory(analysis.results, "png")
    write_whole(outputs)
    return list(outputs)
