"""What the dashboard shows: its panels, as numbers and words. How they look is the dashboard's."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ptyconv_cli.pictures.losses import beyond, loss_axis
from ptyconv_cli.quantities import (
    QUANTITIES,
    all_series,
    name_of,
    never_refined,
    quantity_of,
    short_name_of,
    tensors,
    unit_of,
)
from ptyconv_cli.quantities.quantity import Quantity, Series, is_constant
from ptyconv_cli.results.history import Curve, EngineHistories, Point, points_since
from ptyconv_cli.results.run_analysis import Doublings, Results
from ptyconv_cli.results.text import few, percent, shortened

SMALLEST_KNEE = 0.1
"""Distance from a straight line, as a share of the curve's range, below which a curve counts as straight."""


def knee(curve: Curve) -> int | None:
    """Return the iteration at which a curve is farthest from the straight line between its ends.

    Both axes are linear. A curve of fewer than three finite values, or one that is nearly straight, knees nowhere:
    None is returned.
    """
    finite = [(niter, value) for niter, value in curve if math.isfinite(value)]
    if len(finite) < 3:
        return None
    (first, start), (last, end) = finite[0], finite[-1]
    values = [value for _, value in finite]
    height = max(values) - min(values)
    away = [abs(value - start - (end - start) * (niter - first) / (last - first)) for niter, value in finite]
    if max(away) <= SMALLEST_KNEE * height:
        return None
    return finite[away.index(max(away))][0]


LOSS = "loss"

DOUBLING = "doubling"

UNEVEN = 1.25
"""Intervals that differ by more than this factor are uneven: changes over them cannot be compared as they are."""


@dataclass(frozen=True)
class PlotOptions:
    """How to draw: `linear` axes instead of logarithmic ones for changes and learning rates; changes `per_iteration`;
    only iterations `since`; `zoom`: each panel only from the knee of its curves on.
    """

    linear: bool = False
    per_iteration: bool = False
    since: int = 0
    zoom: bool = False


@dataclass(frozen=True)
class Line:
    """One curve of a panel, and why its last value is 0.

    Beside it, empty where there is none: the `raw` one, if the curve is an aligned change, and the `live` record's.
    `mask`: the voxels that it is of, where several runs are compared.
    """

    label: str
    curve: Curve
    raw: Curve = field(default_factory=list)
    live: Curve = field(default_factory=list)
    why_zero: str = ""
    mask: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel: its title, the label of its y axis, its lines, what the raw curves and the live markers are called.

    `empty` says why there is nothing to draw, and is "" where there is. `dashed`: lines may lie on each other.
    `log_x`: the iterations, too, are on a logarithmic axis. `tolerances`: what to write at lines at these values.
    `limits` of the y axis, None where all that is drawn is within them.
    """

    title: str
    y_label: str
    lines: list[Line]
    empty: str
    logarithmic: bool = False
    raw_label: str = ""
    live_label: str = "live record"
    dashed: bool = False
    log_x: bool = False
    tolerances: Mapping[float, str] = field(default_factory=dict)
    limits: tuple[float, float] | None = None

    @property
    def beyond(self) -> float | None:
        """The largest of the values that are above the y axis, None where there is none."""
        return max((value for line in self.lines for _, value in beyond(line.curve, self.limits)), default=None)


def choices() -> tuple[str, ...]:
    """Return what can be chosen, in order."""
    return (LOSS, DOUBLING, *(series.key for series in all_series()))


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """Return which of `choices` are meant by keys of series, names of quantities, "loss" and "doubling".

    Raises ValueError for other names, and for none.
    """
    meant = {name: {name} for name in choices()}
    for quantity in tensors():
        for name in quantity.names:
            meant.setdefault(name, set()).update(series.key for series in quantity.series)
    unknown = [name for name in names if name not in meant]
    if unknown or not names:
        raise ValueError(f"{(unknown or [''])[0]!r}: expected one of {', '.join(meant)}")
    wanted = set().union(*(meant[name] for name in names))
    return tuple(name for name in choices() if name in wanted)


def panels(results: Results, options: PlotOptions, shown: Sequence[str] = ()) -> list[Panel]:
    """Return the panels, cut to the iterations that the options ask for; of `shown` (out of `choices`), or of all.

    Without what the run didn't record, was not analyzed, or never refined, unless it is asked for. One that says why
    where nothing else is left. Units: those of `quantities.all_series`; tilts mrad, slice thickness Å.
    """
    options = evened(results, options)
    found = _asked_for(results, options, shown) if shown else [one for one in _dashboard(results, options) if one.lines]
    return [finished(panel, options) for panel in found] or [Panel("", "", [], "nothing was recorded, or refined")]


def _asked_for(results: Results, options: PlotOptions, shown: Sequence[str]) -> list[Panel]:
    of_tensors = [[series for series in quantity.series if series.key in shown] for quantity in tensors()]
    changes = [_change_panel(results, of_tensor, options) for of_tensor in of_tensors if of_tensor]
    doublings = doubling_panels({"": results}, options) if DOUBLING in shown else []
    return [*([_loss(results)] if LOSS in shown else []), *doublings, *changes]


def doubling_panels(
    runs: Mapping[str, Results], options: PlotOptions, of: Sequence[Quantity] = tuple(QUANTITIES)
) -> list[Panel]:
    """Return a panel of the changes per doubling for each quantity that a run optimised, with a line for each run."""
    found = []
    for quantity in of:
        moved = {label: one for label, run in runs.items() if (one := moved_doublings(run, quantity.key))}
        if moved:
            lines = [Line(label, doubling_curve(one)) for label, one in moved.items()]
            panel = Panel(quantity.title, doubling_label(quantity.key), lines, "", not options.linear, log_x=True)
            found.append(replace(panel, tolerances=_tolerances(moved)))
    return found or [Panel("Change per doubling", "", [], "no checkpoint at half\nof the iterations yet")]


def moved_doublings(run: Results, key: str) -> Doublings | None:
    """Return the changes per doubling of a quantity, None where there are none, or it was not optimised."""
    found = run.verdict.doublings.get(key) if run.verdict else None
    return found if found and found.points and found.state != "not optimised" else None


def _tolerances(moved: Mapping[str, Doublings]) -> dict[float, str]:
    """Return what to write at each tolerance: of which runs it is, too, where they differ."""
    having: dict[float, list[str]] = {}
    for label, one in moved.items():
        having.setdefault(one.tolerance, []).append(label)
    unit = next(iter(moved.values())).unit
    return {
        at: f"tolerance {at:g} {unit}" + (f" ({shortened(few(labels, 2), 30)})" if len(having) > 1 else "")
        for at, labels in having.items()
    }


def doubling_curve(found: Doublings, since: int = 0) -> Curve:
    """Return the changes per doubling as a curve, in the quantity's unit, from iteration `since` on."""
    return [(point.niter, point.relative) for point in found.points if point.niter >= since]


def doubling_label(key: str) -> str:
    """Return the label of an axis of a quantity's changes per doubling."""
    return f"change per doubling\n({doubling_unit(key)})"


def doubling_unit(key: str) -> str:
    """Return the unit of a quantity's changes per doubling, with what they are measured by."""
    quantity = quantity_of(key)
    return f"{quantity.unit} {quantity.of}".strip()


def _dashboard(results: Results, options: PlotOptions) -> list[Panel]:
    """Return all panels: the loss and what is in the first row, then the learning rates and the rest."""
    engine = results.engine or EngineHistories()
    rates = {short_name_of(name): curve for name, curve in engine.learning_rates.items()}
    in_order = [*tensors(), *(quantity for quantity in QUANTITIES if not quantity.axes)]
    first, second = (
        [_panel_of(quantity, results, options) for quantity in in_order if quantity.in_first_row == is_first]
        for is_first in (True, False)
    )
    return [
        _loss(results),
        *first,
        _history_panel("Learning rate", "learning rate", rates, not options.linear),
        *second,
    ]


def _panel_of(quantity: Quantity, results: Results, options: PlotOptions) -> Panel:
    """Return the panel of a quantity: its changes, or what the engine recorded of it, if that ever changed."""
    if quantity.axes:
        return _change_panel(results, quantity.series, options)
    y_label, curves = quantity.recorded(results.engine or EngineHistories())
    return _history_panel(quantity.title, y_label, {} if quantity in _constant(results) else curves)


def evened(results: Results, options: PlotOptions) -> PlotOptions:
    """Return options with which changes can be compared: per iteration where the intervals between them are uneven."""
    intervals = _intervals(results.points)
    uneven = bool(intervals) and max(intervals) > UNEVEN * min(intervals)
    return replace(options, per_iteration=options.per_iteration or uneven)


def note_on_intervals(results: Results, options: PlotOptions, drawn: Sequence[Panel]) -> str:
    """Return a short sentence on intervals that differ, "" where they don't, or no change is drawn, or it is asked for
    per iteration.
    """
    intervals = _intervals(results.points)
    of_changes = any(panel.y_label.startswith("change ") and not panel.log_x for panel in drawn)
    if len(intervals) < 2 or not of_changes or options.per_iteration:
        return ""
    if evened(results, options).per_iteration:
        return f"Intervals of {min(intervals)} to {max(intervals)} iterations: changes are per iteration."
    return "Intervals differ: a longer one gives a larger change; --per-iteration divides by it."


def notes(results: Results, shown: Sequence[str] = ()) -> list[str]:
    """Return short sentences on what has no panel."""
    if shown:
        return []
    still = [
        *(name_of(tensor) for tensor in never_refined(results.points, results.dx)),
        *(quantity.label for quantity in _constant(results)),
    ]
    found = [f"Not refined: {few(still, 6)}."] if still else []
    if results.engine is None:
        found.append("Loss and learning rates: draw convergence_report.json.")
    elif not results.engine.loss:
        found.append("Loss: not recorded in these checkpoints.")
    return found


def _constant(results: Results) -> list[Quantity]:
    """Return which of the quantities that the engine recorded never changed."""
    of_each = [(quantity, quantity.curves(results.engine or EngineHistories())) for quantity in QUANTITIES]
    return [quantity for quantity, curves in of_each if curves and all(map(is_constant, curves))]


def _loss(results: Results) -> Panel:
    return _history_panel("Loss", LOSS, {"": results.engine.loss if results.engine else []})


def _history_panel(title: str, y_label: str, curves: dict[str, Curve], logarithmic: bool = False) -> Panel:
    lines = [Line(label, curve) for label, curve in curves.items() if curve]
    empty = "" if lines else "not recorded in\nthese checkpoints"
    return Panel(title, y_label, lines, empty, logarithmic, dashed=len(lines) > 1)


def _change_panel(results: Results, of_tensor: Sequence[Series], options: PlotOptions) -> Panel:
    """Return the panel of series of one tensor: its changes, aligned and raw, and the live record."""
    tensor = of_tensor[0].tensor
    points = {series.key: results.points[series.key] for series in of_tensor if results.points.get(series.key)}
    recorded = results.engine.convergence if results.engine else {}
    live = {series.key: points_since(0, recorded.get(series.key, [])) for series in of_tensor}
    lines = [
        _change_line(series, points[series.key], results, change_curve(live[series.key], options), options)
        for series in of_tensor
        if series.key in points
    ]
    empty = "" if lines else f"{name_of(tensor)}: not analyzed"
    if tensor in never_refined(results.points, results.dx):
        lines, empty = [], "not refined"
    if lines and not any(line.curve for line in lines):
        empty = "no interval is known;\ndraw convergence_report.json"
    shares = [share for niter, share in results.shares.get(tensor, []) if niter >= options.since]
    size, unit = unit_of(of_tensor[0], results)
    return Panel(
        title=title_of_series(of_tensor),
        y_label=change_label(unit, options, _intervals(points)),
        lines=[in_unit(line, size) for line in lines],
        empty=empty,
        logarithmic=not options.linear,
        raw_label=f"raw (last: {percent(shares[-1])} removed)" if shares else "",
        live_label="live record" if options.per_iteration else _live_label(_intervals(live), _intervals(points)),
    )


def _change_line(series: Series, points: list[Point], results: Results, live: Curve, options: PlotOptions) -> Line:
    raw, aligned = (change_curve(found, options) for found in (points, results.aligned_points.get(series.key, [])))
    shown = results.aligned_points.get(series.key) or points
    why_zero = "mask empty" if shown[-1].voxels == 0 else ""
    if not any(math.isfinite(value) for _, value in aligned):  # too few to align: the raw one is what there is
        aligned = []
    return Line(series.mask, aligned or raw, raw=raw if aligned else [], live=live, why_zero=why_zero)


def in_unit(line: Line, size: float) -> Line:
    """Return a line in a unit that has so many of its present one."""

    def divided(curve: Curve) -> Curve:
        return [(niter, value / size) for niter, value in curve]

    return replace(line, curve=divided(line.curve), raw=divided(line.raw), live=divided(line.live))


def title_of_series(of_tensor: Sequence[Series]) -> str:
    """Return the title of a panel of series of one tensor: with the mask, where only one of several is shown."""
    label = of_tensor[0].label if len(of_tensor) == 1 else of_tensor[0].label.split(",")[0]
    return f"{label[0].upper()}{label[1:]}"


def change_label(unit: str, options: PlotOptions, intervals: set[int]) -> str:
    """Return the label of an axis of changes: over how many iterations they add up, where all do so over as many."""
    what = "between checkpoints"
    if options.per_iteration:
        what = "per iteration"
    elif len(intervals) == 1:
        (interval,) = intervals
        what = f"in {interval} iteration{'s' if interval > 1 else ''}"
    return f"change {what}" + (f" ({unit})" if unit else "")


def _live_label(of_live: set[int], of_points: set[int]) -> str:
    """Name the live record, with its intervals where they are others than the checkpoints': so are its values then."""
    if of_live <= of_points:
        return "live record"
    low, high = min(of_live), max(of_live)
    return f"live record, in {low if low == high else f'{low} to {high}'} iteration{'s' if high > 1 else ''}"


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
    found = _checked(_cut(panel, options))
    if found.y_label != LOSS or found.empty:
        return found
    axis = loss_axis([line.curve for line in found.lines], linear=options.linear)
    return replace(found, logarithmic=axis.logarithmic, limits=axis.limits)


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
