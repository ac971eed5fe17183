"""What the dashboard shows: its eight panels, as numbers and words. How they look is the dashboard's."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ptyconv_cli.analysis.agreement import live_points
from ptyconv_cli.pictures.knee import knee
from ptyconv_cli.results.history import Curve, EngineHistories, Point
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.series import SERIES
from ptyconv_cli.results.text import percent


@dataclass(frozen=True)
class PlotOptions:
    """How to draw: `linear` axes instead of logarithmic ones for changes and learning rates; changes `per_iteration`;
    only iterations `since`; `zoom`: each panel only from where its curves knee.
    """

    linear: bool = False
    per_iteration: bool = False
    since: int = 0
    zoom: bool = False


@dataclass(frozen=True)
class Line:
    """One curve of a panel, and why its last value is 0.

    Beside it, empty where there is none: the `raw` one, if the curve is an aligned change, and the `live` record's.
    """

    label: str
    curve: Curve
    raw: Curve = field(default_factory=list)
    live: Curve = field(default_factory=list)
    why_zero: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel: its title, the label of its y axis, its lines, what the raw curves and the live markers are called.

    `empty` says why there is nothing to draw, and is "" where there is.
    """

    title: str
    y_label: str
    lines: list[Line]
    empty: str
    logarithmic: bool = False
    raw_label: str = ""
    live_label: str = "live record"


def panels(results: Results, options: PlotOptions) -> list[Panel]:
    """Return the panels in the order of the 2 × 4 grid, cut to the iterations that the options ask for.

    Units: those of `results.series.SERIES`; tilts mrad, slice thickness Å.
    """

    engine = results.engine
    found = [
        _history_panel(engine, "Loss", "loss", lambda engine: {"": engine.loss}),
        _change_panel(results, "obja", options),
        _change_panel(results, "objp", options),
        _history_panel(engine, "Object tilt", "tilt (mrad)", lambda engine: engine.tilts),
        _history_panel(
            engine, "Learning rate", "learning rate", lambda engine: engine.learning_rates, not options.linear
        ),
        _change_panel(results, "probe", options),
        _change_panel(results, "probe_pos_shifts", options),
        _history_panel(engine, "Slice thickness", "thickness (Å)", lambda engine: {"": engine.slice_thickness}),
    ]
    return [finished(panel, options) for panel in found]


def _history_panel(
    engine: EngineHistories | None,
    title: str,
    y_label: str,
    curves: Callable[[EngineHistories], dict[str, Curve]],
    logarithmic: bool = False,
) -> Panel:
    if engine is None:
        return Panel(title, y_label, [], "not in convergence_iters.json;\ndraw convergence_report.json")
    lines = [Line(label, curve) for label, curve in curves(engine).items() if curve]
    return Panel(title, y_label, lines, "" if lines else "not recorded in\nthese checkpoints", logarithmic)


def _change_panel(results: Results, tensor: str, options: PlotOptions) -> Panel:
    of_tensor = [series for series in SERIES if series.tensor == tensor]
    points = {series.key: results.points.get(series.key, []) for series in of_tensor}
    shares = [share for niter, share in results.shares.get(tensor, []) if niter >= options.since]
    recorded = results.engine.convergence if results.engine else {}
    live = {series.key: live_points(recorded.get(series.key, [])) for series in of_tensor}
    lines = []
    for series in of_tensor:
        at = points[series.key]
        if at:
            raw, aligned = (change_curve(found, options) for found in (at, results.aligned_points.get(series.key, [])))
            lines.append(
                Line(
                    series.mask,
                    aligned or raw,
                    raw=raw if aligned else [],
                    live=change_curve(live[series.key], options),
                    why_zero="mask empty" if at[-1].voxels == 0 else "",
                )
            )
    empty = "" if lines else f"{tensor} was not analyzed"
    if lines and not any(line.curve for line in lines):
        empty = "no interval is known;\ndraw convergence_report.json"
    return Panel(
        title=of_tensor[0].label.split(",")[0].capitalize(),
        y_label=change_label(of_tensor[0].unit, options),
        lines=lines,
        empty=empty,
        logarithmic=not options.linear,
        raw_label=f"raw (last: {percent(shares[-1])} taken out)" if shares else "",
        live_label="live record" if options.per_iteration else _live_label(_intervals(live), _intervals(points)),
    )


def change_label(unit: str, options: PlotOptions) -> str:
    """Return the label of an axis of changes."""
    if options.per_iteration:
        return f"change ({unit} / iteration)" if unit else "change per iteration"
    return f"change ({unit})" if unit else "change"


def _live_label(of_live: set[int], of_points: set[int]) -> str:
    """Name the live record, with its intervals where they are others than the checkpoints': so are its values then."""
    if of_live <= of_points:
        return "live record"
    low, high = min(of_live), max(of_live)
    return f"live record, each over {low if low == high else f'{low} to {high}'} iteration{'s' if high > 1 else ''}"


def _intervals(points: dict[str, list[Point]]) -> set[int]:
    return {point.interval for found in points.values() for point in found if point.interval is not None}


def change_curve(points: list[Point], options: PlotOptions) -> Curve:
    """Return changes as a curve, with a NaN where nothing was compared."""
    if options.per_iteration:
        points = [replace(p, value=p.value / p.interval) for p in points if p.interval and p.interval > 0]
    curve: Curve = []
    for point in points:
        if curve and point.since is not None and point.since > curve[-1][0]:
            curve.append((point.since, math.nan))  # nothing was compared there: the line breaks
        curve.append((point.niter, point.value))
    return curve


def finished(panel: Panel, options: PlotOptions) -> Panel:
    """Return a panel cut to the iterations that the options ask for, which says it where no value can be drawn."""
    return _checked(_cut(panel, options))


def _cut(panel: Panel, options: PlotOptions) -> Panel:
    knees = [knee(line.curve) for line in panel.lines] if options.zoom else []
    start = max(options.since, min((niter for niter in knees if niter is not None), default=0))
    lines = [
        replace(line, curve=_from(line.curve, start), raw=_from(line.raw, start), live=_from(line.live, start))
        for line in panel.lines
    ]
    cut_off = not panel.empty and not any(line.curve for line in lines)
    return replace(panel, lines=lines, empty=f"nothing from iteration {start} on" if cut_off else panel.empty)


def _from(curve: Curve, start: int) -> Curve:
    return [(niter, value) for niter, value in curve if niter >= start]


def _checked(panel: Panel) -> Panel:
    """Say it where no value can be drawn."""
    if panel.empty:
        return panel
    finite = [value for line in panel.lines for _, value in line.curve if math.isfinite(value)]
    if not finite:
        return replace(panel, empty="no value is finite")
    if panel.logarithmic and max(finite) <= 0:
        return replace(panel, empty="exactly 0 throughout")
    return panel
