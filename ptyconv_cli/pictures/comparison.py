"""Several runs in one picture: in what they differ, and how they are drawn."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from ptyconv_cli.pictures.across import Across, across
from ptyconv_cli.pictures.drawing import (
    FEW,
    STYLES,
    columns,
    mark_beyond,
    mark_tolerance,
    mark_zeros,
    picture,
    set_scales,
    short_number,
    titles_height,
    write_instead,
    write_titles,
)
from ptyconv_cli.pictures.losses import beyond
from ptyconv_cli.pictures.mpl import (
    Axes,
    ConstrainedLayoutEngine,
    Figure,
    Line2D,
    colormaps,
    the_same_for_everyone,
    to_hex,
)
from ptyconv_cli.pictures.panels import LOSS, Line, Panel
from ptyconv_cli.quantities import name_of, never_refined
from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.text import few, listed, shortened
from ptyconv_cli.verdict.comparable import facts_of, hindrances, other_differences


def rates_that_differ(runs: Mapping[str, Results]) -> dict[str, str]:
    """Return what to say of each run's learning rates, by label: of those that differ, "" where none do."""
    rates = {label: _rates(run) for label, run in runs.items()}
    first = next(iter(rates.values()), {})
    shared = [tensor for tensor in first if all(tensor in found for found in rates.values())]
    differing = [tensor for tensor in shared if len({found[tensor] for found in rates.values()}) > 1]
    said = {}
    for label, found in rates.items():
        texts = [found[tensor] for tensor in differing]
        if differing == shared and len(set(texts)) == 1:
            said[label] = f"learning rate {texts[0]}"
        else:
            each = [f"{name_of(tensor)} {text}" for tensor, text in zip(differing, texts, strict=True)]
            said[label] = f"learning rate: {few(each)}" if each else ""
    return said


def _rates(run: Results) -> dict[str, str]:
    found, fixed = run.engine.learning_rates if run.engine else {}, never_refined(run.points, run.dx)
    return {tensor: "not refined" if tensor in fixed else _rate(curve) for tensor, curve in found.items() if curve}


def _rate(curve: Curve) -> str:
    first, last = (f"{value:.3g}" for _, value in (curve[0], curve[-1]))
    return first if first == last else f"{first} to {last}"


def data_that_differ(runs: Mapping[str, Results], *, with_losses: bool) -> str:
    """Return a sentence on what runs differ in, and `with_losses` what follows for these; "" of nothing."""
    facts = [facts_of(run.engine, run.shapes) for run in runs.values()]
    hindering, others = hindrances(facts), other_differences(facts)
    if hindering and with_losses:
        beside = f" They differ in {listed(others)}, too." if others else ""
        return f"The runs differ in {listed(hindering)}: their losses are not comparable.{beside}"
    return f"The runs differ in {listed([*hindering, *others])}." if hindering or others else ""


COLUMNS = 4

SIZES = {1: (8.5, 4.8, 1.4), 2: (6.0, 4.2, 1.2)}
"""Of a panel in inches, with its labels, and the scale of its fonts, in pictures of a few large ones."""

WIDTH, HEIGHT = 4.0, 3.3
"""Of a panel in inches, with its labels, in pictures of more."""

LEGEND_ROW, LEGEND_FONT = 0.2, 9.0
"""Inches for each row of the legend, and its font's size in points."""

LONGEST_LABEL = 60

BACKGROUND = "background"
"""The mask whose lines are thin, with hollow markers."""

MASKS = "Thin, hollow: background."


@the_same_for_everyone
def draw_comparison(
    runs: Mapping[str, Results], panels: Sequence[Panel], file_format: str, over: str = "iteration", note: str = ""
) -> bytes:
    """Return a picture in `file_format` (png, pdf or svg) of runs by label; `over`: "iteration" or "time".

    `note`: a sentence to write above it.
    """
    rows = math.ceil(len(panels) / COLUMNS)
    in_row = math.ceil(len(panels) / rows)
    width, height, scale = SIZES.get(len(panels), (WIDTH, HEIGHT, 1.0))
    styles = dict(zip(runs, _styles(len(runs)), strict=True))
    names, axis = _names(runs), across(runs.values(), over)
    in_legend_row = max(int(in_row * width * 11 / scale / (max(map(len, names.values())) + 8)), 1)
    handles = _handles(names, styles, panels)
    below = scale * (0.25 + LEGEND_ROW * math.ceil(len(handles) / in_legend_row))
    with_losses = any(panel.y_label == LOSS for panel in panels)
    masks = MASKS if any(map(_has_two_masks, panels)) else ""
    lines = [data_that_differ(runs, with_losses=with_losses), note, masks]
    above = titles_height(in_row * width, lines, scale) + 0.1
    whole = rows * height + below + above
    figure = Figure(figsize=(in_row * width, whole), dpi=120)
    write_titles(figure, "", f"{len(runs)} runs: {_what(panels)}", lines, scale)
    figure.set_layout_engine(
        ConstrainedLayoutEngine(rect=(0, below / whole, 1, 1 - (above + below) / whole), wspace=0.04, hspace=0.06)
    )
    grid = list(figure.subplots(rows, in_row, squeeze=False).flat)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, runs, styles, axis, scale)
    for axes in grid[len(panels) :]:
        axes.remove()
    _draw_legend(figure, handles, in_legend_row, scale)
    return picture(figure, file_format)


def _what(panels: Sequence[Panel]) -> str:
    kinds = {"per doubling" if panel.log_x else "per iteration" for panel in panels if panel.y_label != LOSS}
    return f"change {' and '.join(sorted(kinds, reverse=True)) or 'per iteration'}"


def _names(runs: Mapping[str, Results]) -> dict[str, str]:
    """Return what the legend says of each run: its label, its verdict, and the learning rates that differ."""
    rates, names = rates_that_differ(runs), {}
    for label, run in runs.items():
        said = "; ".join(text for text in (run.verdict.state if run.verdict else "", rates[label]) if text)
        names[label] = shortened(label, LONGEST_LABEL) + (f" ({said})" if said else "")
    return names


def _styles(count: int) -> list[tuple[str, Any]]:
    if count <= len(STYLES):
        return list(STYLES[:count])
    colours = [to_hex(colormaps["turbo"](0.05 + 0.9 * k / (count - 1))) for k in range(count)]
    return list(zip(colours, cycle([dashes for _, dashes in STYLES]), strict=False))


def _has_two_masks(panel: Panel) -> bool:
    return not panel.empty and len({line.mask for line in panel.lines}) > 1


def _draw_panel(
    axes: Axes,
    panel: Panel,
    runs: Mapping[str, Results],
    styles: Mapping[str, tuple[str, Any]],
    axis: Across,
    scale: float,
) -> None:
    axes.set_title(panel.title, fontsize=11 * scale)
    axes.set_ylabel(panel.y_label, fontsize=10 * scale)
    axes.set_xlabel(axis.label, fontsize=10 * scale)
    axes.tick_params(labelsize=9 * scale)
    if panel.empty:
        write_instead(axes, panel.empty, 9 * scale)
        return
    for line in panel.lines:
        thin = line.mask == BACKGROUND and _has_two_masks(panel)
        _draw_line(axes, line, runs[line.label], styles[line.label], axis, scale * (0.55 if thin else 1), hollow=thin)
        if panel.logarithmic:
            niters, values = columns(line.curve)
            mark_zeros(axes, axis.places(niters, runs[line.label]), values, styles[line.label][0])
        above = [niter for niter, _ in beyond(line.curve, panel.limits)]
        mark_beyond(axes, axis.places(above, runs[line.label]), styles[line.label][0])
    for tolerance, text in panel.tolerances.items():
        mark_tolerance(axes, tolerance, text.replace(" ", "\n", 1), 8 * scale, outside=True)
    if panel.limits:
        axes.set_ylim(panel.limits)
    set_scales(axes, logarithmic=panel.logarithmic, log_x=panel.log_x, whole=axis.divisor is None)


def _draw_line(
    axes: Axes, line: Line, run: Results, style: tuple[str, Any], axis: Across, width: float, *, hollow: bool
) -> None:
    niters, values = columns(line.curve)
    axes.plot(
        axis.places(niters, run),
        values,
        color=style[0],
        linestyle=style[1],
        linewidth=1.5 * width,
        marker="o" if len(niters) <= FEW else "",
        markersize=3 * width + hollow,
        markerfacecolor="white" if hollow else style[0],
        markeredgewidth=0.8,
    )


def _handles(names: Mapping[str, str], styles: Mapping[str, tuple[str, Any]], panels: Sequence[Panel]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, marker=".", label=names[label])
        for label, (colour, dashes) in styles.items()
    ]
    curves = [line.curve for panel in panels if panel.logarithmic and not panel.empty for line in panel.lines]
    if any(value == 0 for curve in curves for _, value in curve):
        handles.append(Line2D([], [], color="0.4", linestyle="", marker="v", label="exactly 0"))
    above = [panel.beyond for panel in panels if panel.beyond is not None]
    if above:
        label = f"off the axis: up to {short_number(max(above), 3)}"
        handles.append(Line2D([], [], color="0.4", linestyle="", marker="^", label=label))
    return handles


def _draw_legend(figure: Figure, handles: list[Line2D], in_row: int, scale: float) -> None:
    size = LEGEND_FONT * scale
    legend = figure.legend(handles=handles, loc="lower center", ncols=in_row, fontsize=size, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # names come from folders
