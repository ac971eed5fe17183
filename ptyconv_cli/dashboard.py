"""The dashboard: one picture of a run. Knows panels, not tensors; loads matplotlib, but not its global state."""

import math
import warnings
from io import BytesIO
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ptyconv_cli.history import Curve, Results
from ptyconv_cli.panels import Line, Panel, PlotOptions, panels

STYLES = (
    ("#0072B2", "-"),
    ("#D55E00", (0, (6, 3))),
    ("#009E73", (0, (3, 3))),
    ("#CC79A7", (0, (1, 2))),
    ("#E69F00", (0, (6, 2, 1, 2))),
    ("#56B4E9", (0, (9, 6))),
)
"""Colour and dashes of the lines of a panel, in turn: where lines lie on each other, all of them show.

Okabe and Ito's colours, which colour-blind people can tell apart: https://jfly.uni-koeln.de/color/.
"""

LONGEST_NAME = 90
"""Characters of the run's name that fit into the title beside the rest of it."""

FEW = 50
"""Up to so many points have markers of their own; more would run into a band."""


def draw_dashboard(results: Results, options: PlotOptions, file_format: str) -> bytes:
    """Return the dashboard as a picture in `file_format` (png, pdf or svg): see `panels.panels` for what it shows."""
    figure = Figure(figsize=(16, 8.6), dpi=120, layout="constrained")
    figure.suptitle(_title(results), fontsize=13, parse_math=False)
    for axes, panel in zip(figure.subplots(2, 4).flat, panels(results, options), strict=True):
        _draw_panel(axes, panel)
    picture = BytesIO()
    with warnings.catch_warnings():
        # A folder may be named in a script that the font lacks; the boxes in the title say it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(picture, format=file_format)
    return picture.getvalue()


def _title(results: Results) -> str:
    name = results.short_name(LONGEST_NAME)
    niters = [point.niter for points in results.points.values() for point in points]
    return f"{name}: change between snapshots up to iteration {max(niters)}" if niters else name


def _draw_panel(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, fontsize=11)
    axes.set(xlabel="iteration", ylabel=panel.y_label)
    if panel.empty:
        axes.text(0.5, 0.5, panel.empty, ha="center", va="center", color="0.4", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    if panel.logarithmic:
        axes.set_yscale("log", nonpositive="mask")
    for line, (colour, dashes) in zip(panel.lines, cycle(STYLES), strict=False):
        _draw_line(axes, line, colour, dashes, panel.logarithmic)
    if any(line.live for line in panel.lines):
        axes.plot([], [], "o", color="0.4", alpha=0.3, markersize=7, label=panel.live_label)
    if panel.logarithmic and any(value == 0 for line in panel.lines for _, value in line.curve):
        axes.plot([], [], "v", color="0.4", label="exactly 0")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    axes.grid(alpha=0.25)
    # Below the axes, where it can hide no data.
    legend = axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, frameon=False, columnspacing=1
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # names come from files


def _draw_line(axes: Axes, line: Line, colour: str, dashes: Any, logarithmic: bool) -> None:
    size, alpha = (7, 0.3) if len(line.live) <= FEW else (3, 0.12)
    axes.plot(*_columns(line.live), "o", color=colour, alpha=alpha, markersize=size, markeredgewidth=0)
    if not line.curve:
        return
    last = line.curve[-1][1]
    label = f"{line.label} last {last:.3g}".strip() + (f" ({line.why_zero})" if line.why_zero else "")
    marker = "." if len(line.curve) <= FEW else ""
    axes.plot(*_columns(line.curve), color=colour, linestyle=dashes, marker=marker, linewidth=1.5, label=label)
    zeros = [niter for niter, value in line.curve if value == 0]
    if logarithmic and zeros:
        # A log axis has no place for zero: mark it at the lower edge rather than lose it.
        zeros = zeros[:: max(len(zeros) // FEW, 1)]
        axes.plot(zeros, [0.02] * len(zeros), "v", color=colour, transform=axes.get_xaxis_transform(), clip_on=False)


def _columns(curve: Curve) -> tuple[list[int], list[float]]:
    return [niter for niter, _ in curve], [value if math.isfinite(value) else math.nan for _, value in curve]
