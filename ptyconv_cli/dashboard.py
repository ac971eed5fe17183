"""The dashboard: one picture of a run. Knows histories, not tensors; loads matplotlib, but not its global state."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptyconv_cli.agreement import live_points
from ptyconv_cli.bend import bend
from ptyconv_cli.history import Curve, EngineHistories, Point, Results
from ptyconv_cli.series import SERIES

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
"""Okabe and Ito's colours, which colour-blind people can tell apart: https://jfly.uni-koeln.de/color/."""
STYLES = ((BLUE, "-"), (VERMILION, (0, (6, 3))), (GREEN, (0, (3, 3))), (PURPLE, (0, (1, 2))))
"""Colour and dashes of the lines of a panel, in turn: where lines lie on each other, all of them show."""


@dataclass(frozen=True)
class PlotOptions:
    """How to draw: `linear` axes instead of logarithmic ones for changes and learning rates; changes `per_iteration`;
    only iterations `since`; `zoom`: each panel only from where its curves bend.
    """

    linear: bool = False
    per_iteration: bool = False
    since: int = 0
    zoom: bool = False


@dataclass(frozen=True)
class Line:
    """One curve of a panel, beside it the live record's (empty where there is none), and why it may be zero."""

    label: str
    curve: Curve
    live: Curve = field(default_factory=list)
    why_zero: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel: its title, the label of its y axis, its lines, and what to say if they are empty."""

    title: str
    y_label: str
    lines: list[Line]
    why_empty: str
    logarithmic: bool = False


def draw_dashboard(results: Results, options: PlotOptions, file_format: str) -> bytes:
    """Return the dashboard as a picture in `file_format` (png, pdf or svg).

    Changes against iteration, in the units of `series.SERIES`; loss; learning rates; tilts in mrad; slice thickness
    in Å.
    """
    figure = Figure(figsize=(16, 8.6), dpi=120, layout="constrained")
    figure.suptitle(_title(results), fontsize=13)
    for axes, panel in zip(figure.subplots(2, 4).flat, _panels(results, options), strict=True):
        _draw_panel(axes, panel, options)
    picture = BytesIO()
    figure.savefig(picture, format=file_format)
    return picture.getvalue()


def _title(results: Results) -> str:
    niters = [point.niter for points in results.points.values() for point in points]
    return f"{results.name}: change between snapshots up to iteration {max(niters)}" if niters else results.name


def _panels(results: Results, options: PlotOptions) -> list[Panel]:
    """In the order of the 2 × 4 grid."""
    return [
        _history_panel(results, "Loss", "loss", lambda engine: {"": engine.loss}),
        _change_panel(results, "obja", options),
        _change_panel(results, "objp", options),
        _history_panel(results, "Object tilt", "tilt (mrad)", lambda engine: engine.tilts),
        _history_panel(
            results,
            "Learning rate",
            "learning rate",
            lambda engine: engine.learning_rates,
            not options.linear,
        ),
        _change_panel(results, "probe", options),
        _change_panel(results, "probe_pos_shifts", options),
        _history_panel(results, "Slice thickness", "thickness (Å)", lambda engine: {"": engine.slice_thickness}),
    ]


def _history_panel(
    results: Results,
    title: str,
    y_label: str,
    curves: Callable[[EngineHistories], dict[str, Curve]],
    logarithmic: bool = False,
) -> Panel:
    found = {} if results.engine is None else curves(results.engine)
    lines = [Line(label, curve) for label, curve in found.items() if curve]
    why_empty = "not recorded in\nthese checkpoints"
    if results.engine is None:
        why_empty = "not in convergence_iters.json;\ndraw convergence_report.json"
    return Panel(title, y_label, lines, why_empty, logarithmic)


def _change_panel(results: Results, tensor: str, options: PlotOptions) -> Panel:
    of_tensor = [series for series in SERIES if series.tensor == tensor]
    unit = f" ({of_tensor[0].unit})" if of_tensor[0].unit else ""
    lines = []
    for series in of_tensor:
        points = results.points.get(series.key, [])
        live = live_points(results.engine.convergence.get(series.key, [])) if results.engine else []
        why_zero = "mask empty" if points and points[-1].voxels == 0 else ""
        if points:
            lines.append(Line(series.mask, _curve(points, options), _curve(live, options), why_zero))
    title = of_tensor[0].label.split(",")[0].capitalize()
    y_label = f"change per iteration{unit}" if options.per_iteration else f"change{unit}"
    return Panel(title, y_label, lines, f"{tensor} was not analyzed", not options.linear)


def _curve(points: list[Point], options: PlotOptions) -> Curve:
    if not options.per_iteration:
        return [(point.niter, point.value) for point in points]
    return [(p.niter, p.value / (p.niter - p.since)) for p in points if p.since is not None]


def _draw_panel(axes: Axes, panel: Panel, options: PlotOptions) -> None:
    axes.set_title(panel.title, fontsize=11)
    axes.set(xlabel="iteration", ylabel=panel.y_label)
    start = max(options.since, _bend_of(panel) if options.zoom else 0)
    lines = [_from(line, start) for line in panel.lines]
    if not any(line.curve for line in lines):
        why_empty = f"nothing from iteration {start} on" if any(line.curve for line in panel.lines) else panel.why_empty
        axes.text(0.5, 0.5, why_empty, ha="center", va="center", color="0.4", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    if panel.logarithmic:
        axes.set_yscale("log", nonpositive="mask")
    for line, (colour, dashes) in zip(lines, cycle(STYLES), strict=False):
        _draw_line(axes, line, colour, dashes, panel.logarithmic)
    if any(line.live for line in lines):
        axes.plot([], [], "o", color="0.4", alpha=0.3, markersize=7, label="live record")
    axes.grid(alpha=0.25)
    # Below the axes, where it can hide no data.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, frameon=False, columnspacing=1)


def _draw_line(axes: Axes, line: Line, colour: str, dashes: Any, logarithmic: bool) -> None:
    axes.plot(*_columns(line.live), "o", color=colour, alpha=0.3, markersize=7)
    if not line.curve:
        return
    last = line.curve[-1][1]
    label = f"{line.label} last {last:.3g}".strip() + (f" ({line.why_zero})" if last == 0 and line.why_zero else "")
    marker = "." if len(line.curve) < 50 else ""
    axes.plot(*_columns(line.curve), color=colour, linestyle=dashes, marker=marker, linewidth=1.5, label=label)
    zeros = [niter for niter, value in line.curve if value == 0]
    if logarithmic and zeros:
        # A log axis has no place for zero: mark it at the lower edge rather than lose it.
        edge = axes.get_xaxis_transform()
        label = f"{line.label} exactly 0".strip()
        axes.plot(zeros, [0.02] * len(zeros), "v", color=colour, transform=edge, label=label, clip_on=False)


def _bend_of(panel: Panel) -> int:
    return min((bend(line.curve) for line in panel.lines if line.curve), default=0)


def _from(line: Line, start: int) -> Line:
    kept, live = ([(niter, value) for niter, value in curve if niter >= start] for curve in (line.curve, line.live))
    return replace(line, curve=kept, live=live)


def _columns(curve: Curve) -> tuple[list[int], list[float]]:
    return [niter for niter, _ in curve], [value if math.isfinite(value) else math.nan for _, value in curve]
