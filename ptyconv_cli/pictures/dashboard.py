"""The dashboard: one picture of a run, or some of its panels, in fonts for a talk. Knows panels, not tensors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from ptyconv_cli.pictures.across import Across, across
from ptyconv_cli.pictures.drawing import (
    BOUNDARIES,
    FAINT,
    FEW,
    SOLID,
    STYLES,
    columns,
    mark_beyond,
    mark_boundaries,
    mark_since,
    mark_tolerance,
    mark_zeros,
    marked_boundaries,
    picture,
    set_scales,
    short_number,
    title_of,
    titles_height,
    verdict_words,
    write_instead,
    write_titles,
)
from ptyconv_cli.pictures.losses import beyond
from ptyconv_cli.pictures.mpl import Axes, Figure, the_same_for_everyone
from ptyconv_cli.pictures.panels import LOSS, Line, Panel, PlotOptions, evened, note_on_intervals, notes, panels
from ptyconv_cli.results.run_analysis import Results

FALLING = "Such changes fall even while the object moves on: see the change per doubling."

MARKERS = "os^D"
"""Of the lines of a panel, in turn."""


@dataclass(frozen=True)
class Layout:
    """Rows and columns of panels, the inches of each panel's frame, the scale of all fonts, and columns of legends."""

    rows: int
    columns: int
    width: float
    height: float
    scale: float
    legend: int = 2


def layout_of(count: int) -> Layout:
    """Return how many panels are laid out: a few of them large, with fonts to be read from the back of a room."""
    if count == 1:
        return Layout(1, 1, 7.6, 4.3, 1.5)
    if count == 2:
        return Layout(1, 2, 4.6, 3.6, 1.2)
    rows = 1 if count == 3 else 2
    return Layout(rows, math.ceil(count / rows), 2.95, 2.8, 1.0)


@the_same_for_everyone
def draw_dashboard(
    results: Results,
    options: PlotOptions,
    file_format: str,
    shown: Sequence[str] = (),
    over: str = "iteration",
) -> bytes:
    """Return the dashboard as a picture in `file_format` (png, pdf or svg): what `panels.panels` says.

    Of `shown` (out of `panels.choices`) alone, if any; `over`: "iteration" or "time".
    """
    found, axis = panels(results, options, shown), across([results], over)
    layout = layout_of(len(found))
    margins = _margins(layout, max(_legend_entries(panel) for panel in found))
    over_intervals = "per iteration" if evened(results, options).per_iteration else "between checkpoints"
    what = f"change {'per doubling' if all(panel.log_x for panel in found) else over_intervals}"
    if results.recorded:
        what = "raw changes, as the engine recorded them,"
    aligned = [SOLID] if any(line.raw for panel in found for line in panel.lines) else []
    boundaries = [BOUNDARIES] if marked_boundaries(results) else []
    falling = [FALLING] if aligned and results.verdict and results.verdict.state != "converged" else []
    captions = [*aligned, *falling, *boundaries, note_on_intervals(results, options, found), *notes(results, shown)]
    lines = [verdict_words(results), " ".join(filter(None, captions))]
    width = _width(layout, margins)
    margins["top"] += titles_height(width, lines, layout.scale)
    figure = Figure(figsize=(width, _height(layout, margins)), dpi=120)
    write_titles(figure, results.name, title_of(results, what), lines, layout.scale)
    grid = figure.subplots(layout.rows, layout.columns, squeeze=False)
    for axes, panel in zip(grid.flat, found, strict=False):
        _draw_in(axes, panel, results, options, axis, layout)
    for axes in list(grid.flat)[len(found) :]:
        axes.remove()
    _place(figure, layout, margins)
    return picture(figure, file_format)


def single_panel(panel: Panel, results: Results, layout: Layout) -> Figure:
    """Return a figure with one panel, of a run's iterations."""
    axis, margins = across([results], "iteration"), _margins(layout, _legend_entries(panel)) | {"top": 0.12}
    figure = Figure(figsize=(_width(layout, margins), _height(layout, margins)))
    axes = figure.subplots()
    _draw_in(axes, panel, results, PlotOptions(), axis, layout, labelled=panel.y_label == LOSS)
    _place(figure, layout, margins)
    return figure


def _legend_entries(panel: Panel) -> int:
    kinds = (
        any(line.raw for line in panel.lines),
        any(line.live for line in panel.lines),
        _marks_zeros(panel),
        panel.beyond is not None,
    )
    return 0 if panel.empty else len([line for line in panel.lines if line.curve]) + sum(kinds)


def _marks_zeros(panel: Panel) -> bool:
    return panel.logarithmic and any(value == 0 for line in panel.lines for _, value in line.curve)


def _margins(layout: Layout, legends: int) -> dict[str, float]:
    """Return the inches around and between the frames, in which labels and, below, the longest legend fit.

    At the top without those of the titles.

    matplotlib's own layout would measure every text, which takes longer than all the rest of the drawing.
    """
    scale = layout.scale
    below = scale * (0.62 + 0.17 * min(math.ceil(legends / layout.legend), 8))
    return {
        "left": scale * 0.95,
        "right": scale * 0.45,
        "top": scale * 0.42,
        "below": below,
        "between_columns": scale * 1.05,
        "between_rows": below + scale * 0.35,
    }


def _width(layout: Layout, margins: dict[str, float]) -> float:
    between = (layout.columns - 1) * margins["between_columns"]
    return margins["left"] + layout.columns * layout.width + between + margins["right"]


def _height(layout: Layout, margins: dict[str, float]) -> float:
    between = (layout.rows - 1) * margins["between_rows"]
    return margins["top"] + layout.rows * layout.height + between + margins["below"]


def _place(figure: Figure, layout: Layout, margins: dict[str, float]) -> None:
    """Place the frames."""
    width, height = figure.get_size_inches().tolist()
    figure.subplots_adjust(
        left=margins["left"] / width,
        right=1 - margins["right"] / width,
        top=1 - margins["top"] / height,
        bottom=margins["below"] / height,
        wspace=margins["between_columns"] / layout.width,
        hspace=margins["between_rows"] / layout.height,
    )


def _draw_in(
    axes: Axes,
    panel: Panel,
    results: Results,
    options: PlotOptions,
    axis: Across,
    layout: Layout,
    labelled: bool = True,
) -> None:
    """Draw a panel, with where runs begin and since when the verdict holds, if there is anything to draw."""
    _draw_panel(axes, panel, results, axis, layout)
    if not panel.empty:
        mark_boundaries(axes, results, options.since, axis)
        mark_since(axes, results, options.since, axis, 8 * layout.scale, labelled=labelled)


def _draw_panel(axes: Axes, panel: Panel, results: Results, axis: Across, layout: Layout) -> None:
    scale = layout.scale
    # The title is where it is, lest matplotlib measure all labels to find a place.
    axes.set_title(panel.title, fontsize=11 * scale, y=1.0)
    axes.set_xlabel(axis.label, fontsize=10 * scale)
    axes.set_ylabel(panel.y_label, fontsize=10 * scale)
    axes.tick_params(labelsize=9 * scale)
    if panel.empty:
        write_instead(axes, panel.empty, 9 * scale)
        return
    for line, (colour, dashes), marker in zip(panel.lines, cycle(STYLES), cycle(MARKERS), strict=False):
        style = {"color": colour, "linestyle": dashes if panel.dashed else "-", "marker": marker}
        _draw_line(axes, line, style, panel.logarithmic, results, axis, scale)
        mark_beyond(axes, axis.places([niter for niter, _ in beyond(line.curve, panel.limits)], results), colour)
    for tolerance, text in panel.tolerances.items():
        mark_tolerance(axes, tolerance, text, 8 * scale)
    if panel.limits:
        axes.set_ylim(panel.limits)
    set_scales(axes, logarithmic=panel.logarithmic, log_x=panel.log_x, whole=axis.divisor is None)
    _draw_legend(axes, panel, layout)


def _draw_line(
    axes: Axes, line: Line, style: dict[str, Any], logarithmic: bool, results: Results, axis: Across, scale: float
) -> None:
    def curve(pairs: list[tuple[int, float]]) -> tuple[list[float], list[float]]:
        niters, values = columns(pairs)
        return axis.places(niters, results), values

    plain = {key: value for key, value in style.items() if key != "marker"}
    size, alpha = (7, 0.3) if len(line.live) <= FEW else (3, 0.12)
    axes.plot(*curve(line.raw), **plain, alpha=FAINT, linewidth=1.2 * scale)
    axes.plot(*curve(line.live), "o", color=style["color"], alpha=alpha, markersize=size * scale, markeredgewidth=0)
    if not line.curve:
        return
    label = f"{line.label} last {short_number(line.curve[-1][1], 3)}".strip() + (
        f" ({line.why_zero})" if line.why_zero else ""
    )
    shape = {**style, "markersize": 3 * scale} if len(line.curve) <= FEW else plain
    places, values = curve(line.curve)
    axes.plot(places, values, **shape, linewidth=1.5 * scale, label=label)
    if logarithmic:
        mark_zeros(axes, places, values, style["color"])


def _draw_legend(axes: Axes, panel: Panel, layout: Layout) -> None:
    """Write a legend below the axes, where it can hide no data."""
    scale = layout.scale
    if any(line.raw for line in panel.lines):
        axes.plot([], [], color="0.4", alpha=FAINT, linewidth=1.5 * scale, label=panel.raw_label)
    if any(line.live for line in panel.lines):
        axes.plot([], [], "o", color="0.4", alpha=0.3, markersize=7 * scale, label=panel.live_label)
    if _marks_zeros(panel):
        axes.plot([], [], "v", color="0.4", label="exactly 0")
    if panel.beyond is not None:
        axes.plot([], [], "^", color="0.4", label=f"off the axis: up to {short_number(panel.beyond, 3)}")
    legend = axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.42 * scale / layout.height),
        ncols=layout.legend,
        fontsize=8 * scale,
        frameon=False,
        columnspacing=1,
        handlelength=1.6,
        handletextpad=0.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # names come from files
