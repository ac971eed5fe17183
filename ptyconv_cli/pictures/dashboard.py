"""The dashboard: one picture of a run. Knows panels, not tensors; loads matplotlib, but not its global state."""

import math
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptyconv_cli.pictures.drawing import (
    BOUNDARIES,
    FAINT,
    FEW,
    STYLES,
    columns,
    iteration_ticks,
    mark_boundaries,
    picture,
    set_logarithmic,
    title_of,
    write_instead,
)
from ptyconv_cli.pictures.panels import Line, Panel, PlotOptions, panels
from ptyconv_cli.results.run_analysis import Results

CAPTION = (
    "Strong: what is real. Faint: raw, with what no diffraction pattern can see (offset and ramp of the phase, scale, "
    "common shift). Over the whole region raw is the larger one; over one mask it need not be."
)

LEGEND_COLUMNS = 2

WIDTH, HEIGHT = 16.0, 8.75
"""Of the picture in inches."""


def draw_dashboard(results: Results, options: PlotOptions, file_format: str) -> bytes:
    """Return the dashboard as a picture in `file_format` (png, pdf or svg): what `panels.panels` says."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=120)
    title_of(figure, results, "change between snapshots")
    caption = " ".join([*([CAPTION] if results.aligned_points else []), *([BOUNDARIES] if results.boundaries else [])])
    figure.text(0.5, 1 - 0.6 / HEIGHT, caption, ha="center", fontsize=9 if results.boundaries else 10)
    grid = figure.subplots(2, 4)
    for axes, panel in zip(grid.flat, panels(results, options), strict=True):
        _draw_panel(axes, panel)
        if not panel.empty:
            mark_boundaries(axes, results, options.since)
        if results.since is not None and results.since >= options.since and not panel.empty:
            axes.axvline(results.since, color="0.5", linewidth=1, linestyle=":")
    legends = [axes.get_legend() for axes in grid.flat]
    _make_room(figure, max(len(legend.get_texts()) if legend else 0 for legend in legends))
    return picture(figure, file_format)


def _make_room(figure: Figure, legend_entries: int) -> None:
    """Place the panels so that labels, and below them the longest legend, fit between.

    matplotlib's own layout would measure every text, which takes longer than all the rest of the drawing.
    """
    left, right, top, between_columns = 0.9, 0.2, 0.95, 0.95
    below = 0.65 + 0.17 * min(math.ceil(legend_entries / LEGEND_COLUMNS), 8)
    between_rows = below + 0.35
    width = (WIDTH - left - right - 3 * between_columns) / 4
    height = (HEIGHT - top - below - between_rows) / 2
    figure.subplots_adjust(
        left=left / WIDTH,
        right=1 - right / WIDTH,
        top=1 - top / HEIGHT,
        bottom=below / HEIGHT,
        wspace=between_columns / width,
        hspace=between_rows / height,
    )


def _draw_panel(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, fontsize=11, y=1.0)  # where it is, lest matplotlib measure all labels to find a place
    axes.set(xlabel="iteration", ylabel=panel.y_label)
    if panel.empty:
        write_instead(axes, panel.empty)
        return
    if not panel.logarithmic:
        axes.ticklabel_format(axis="y", scilimits=(-3, 5))  # longer numbers wouldn't fit between the panels
    for line, (colour, dashes) in zip(panel.lines, cycle(STYLES), strict=False):
        _draw_line(axes, line, colour, dashes, panel.logarithmic)
    if panel.logarithmic:
        set_logarithmic(axes)
    if any(line.raw for line in panel.lines):
        axes.plot([], [], color="0.4", alpha=FAINT, linewidth=1.5, label=panel.raw_label)
    if any(line.live for line in panel.lines):
        axes.plot([], [], "o", color="0.4", alpha=0.3, markersize=7, label=panel.live_label)
    if panel.logarithmic and any(value == 0 for line in panel.lines for _, value in line.curve):
        axes.plot([], [], "v", color="0.4", label="exactly 0")
    axes.xaxis.set_major_locator(iteration_ticks())
    axes.grid(alpha=0.25)
    # Below the axes, where it can hide no data.
    legend = axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=LEGEND_COLUMNS,
        fontsize=8,
        frameon=False,
        columnspacing=1,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # names come from files


def _draw_line(axes: Axes, line: Line, colour: str, dashes: Any, logarithmic: bool) -> None:
    size, alpha = (7, 0.3) if len(line.live) <= FEW else (3, 0.12)
    axes.plot(*columns(line.raw), color=colour, linestyle=dashes, alpha=FAINT, linewidth=1.2)
    axes.plot(*columns(line.live), "o", color=colour, alpha=alpha, markersize=size, markeredgewidth=0)
    if not line.curve:
        return
    last = line.curve[-1][1]
    label = f"{line.label} last {last:.3g}".strip() + (f" ({line.why_zero})" if line.why_zero else "")
    marker = "." if len(line.curve) <= FEW else ""
    axes.plot(*columns(line.curve), color=colour, linestyle=dashes, marker=marker, linewidth=1.5, label=label)
    zeros = [niter for niter, value in line.curve if value == 0]
    if logarithmic and zeros:
        # A log axis has no place for zero: mark it at the lower edge rather than lose it.
        zeros = zeros[:: max(len(zeros) // FEW, 1)]
        axes.plot(zeros, [0.02] * len(zeros), "v", color=colour, transform=axes.get_xaxis_transform(), clip_on=False)
