"""Several runs in one picture. Loads matplotlib, but not its global state."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from ptyconv_cli.pictures.comparison_panels import seconds_at
from ptyconv_cli.pictures.drawing import (
    FEW,
    STYLES,
    columns,
    iteration_ticks,
    picture,
    set_logarithmic,
    write_instead,
)
from ptyconv_cli.pictures.panels import Panel
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.text import shortened

COLUMNS = 4
WIDTH, HEIGHT = 4.0, 3.3
"""Of a panel in inches, with its labels."""

ABOVE, LEGEND_ROW = 0.6, 0.22
"""Inches for the title, and for each row of the legend."""

LONGEST_LABEL = 60

UNITS = ((3 * 3600.0, 3600.0, "h"), (3 * 60.0, 60.0, "min"), (0.0, 1.0, "s"))
"""From so many seconds on, divided by so much, in this unit."""


def draw_comparison(
    runs: Mapping[str, Results], panels: Sequence[Panel], file_format: str, over: str = "iteration"
) -> bytes:
    """Return a picture in `file_format` (png, pdf or svg) of runs by label; `over`: "iteration" or "time"."""
    across = min(len(panels), COLUMNS)
    rows = math.ceil(len(panels) / across)
    styles = dict(zip(runs, _styles(len(runs)), strict=True))
    names = {label: _name(label, results) for label, results in runs.items()}
    legend_columns = max(int(across * WIDTH * 11 / (max(map(len, names.values())) + 8)), 1)
    below = 0.3 + LEGEND_ROW * math.ceil((len(runs) + 1) / legend_columns)
    height = rows * HEIGHT + ABOVE + below
    layout = ConstrainedLayoutEngine(rect=(0, below / height, 1, 1 - (ABOVE + below) / height), wspace=0.04)
    figure = Figure(figsize=(across * WIDTH, height), dpi=120, layout=layout)
    called = f"{len(runs)} runs" if len(runs) > 1 else shortened(next(iter(runs)), LONGEST_LABEL)
    title = f"{called}: change per iteration"
    figure.suptitle(title, fontsize=13, y=1 - 0.2 / height, parse_math=False)
    divisor, unit = _unit(runs) if over == "time" else (1.0, "")
    grid = list(figure.subplots(rows, across, squeeze=False).flat)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, runs, styles, divisor if over == "time" else None)
        axes.set_xlabel(f"compute time ({unit})" if over == "time" else "iteration")
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, marker=".", label=names[label])
        for label, (colour, dashes) in styles.items()
    ]
    curves = [line.curve for panel in panels if panel.logarithmic and not panel.empty for line in panel.lines]
    if any(value == 0 for curve in curves for _, value in curve):
        handles.append(Line2D([], [], color="0.4", linestyle="", marker="v", label="exactly 0"))
    legend = figure.legend(handles=handles, loc="lower center", ncols=legend_columns, fontsize=9, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # names come from folders
    return picture(figure, file_format)


def _name(label: str, results: Results) -> str:
    since = "" if results.since is None else f" since {results.since}"
    return shortened(label, LONGEST_LABEL) + (f" ({results.state}{since})" if results.state else "")


def _styles(count: int) -> list[tuple[str, Any]]:
    if count <= len(STYLES):
        return list(STYLES[:count])
    colours = [to_hex(colormaps["turbo"](0.05 + 0.9 * k / (count - 1))) for k in range(count)]
    return list(zip(colours, cycle([dashes for _, dashes in STYLES]), strict=False))


def _unit(runs: Mapping[str, Results]) -> tuple[float, str]:
    longest = max(results.engine.seconds[-1][1] for results in runs.values() if results.engine)
    return next((divisor, unit) for least, divisor, unit in UNITS if longest >= least)


def _draw_panel(
    axes: Axes,
    panel: Panel,
    runs: Mapping[str, Results],
    styles: Mapping[str, tuple[str, Any]],
    divisor: float | None,
) -> None:
    """Draw a panel over iterations or, with a `divisor` of seconds, over time."""
    axes.set_title(panel.title, fontsize=11)
    axes.set_ylabel(panel.y_label)
    if panel.empty:
        write_instead(axes, panel.empty)
        return
    if not panel.logarithmic:
        axes.ticklabel_format(axis="y", scilimits=(-3, 5))
    for line in panel.lines:
        colour, dashes = styles[line.label]
        places, values = columns(line.curve)
        x = [seconds / divisor for seconds in seconds_at(line.curve, runs[line.label])] if divisor else places
        marker = "." if len(x) <= FEW else ""
        axes.plot(x, values, color=colour, linestyle=dashes, marker=marker, linewidth=1.5)
        zeros = [place for place, value in zip(x, values, strict=True) if value == 0]
        if panel.logarithmic and zeros:  # at the lower edge, as a log axis has no place for zero
            zeros = zeros[:: max(len(zeros) // FEW, 1)]
            axes.plot(
                zeros, [0.02] * len(zeros), "v", color=colour, transform=axes.get_xaxis_transform(), clip_on=False
            )
    if panel.logarithmic:
        set_logarithmic(axes)
    axes.xaxis.set_major_locator(iteration_ticks(whole=divisor is None))
    axes.grid(alpha=0.25)
