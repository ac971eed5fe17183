"""The trajectory: how far a run's checkpoints are from each other, and what doubling the iterations changed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ptyconv_cli.pictures.drawing import (
    FAINT,
    FEW,
    OVER_LINES,
    SOLID,
    STYLES,
    columns,
    mark_boundaries,
    mark_tolerance,
    picture,
    set_iteration_ticks,
    set_linear,
    set_logarithmic,
    set_logarithmic_iterations,
    that_fit,
    title_of,
    titles_height,
    verdict_words,
    why_nothing,
    write_instead,
    write_titles,
)
from ptyconv_cli.pictures.heat_map import FEWEST_CELLS, draw_distances, with_tolerance
from ptyconv_cli.pictures.mpl import Axes, Figure, NullLocator, the_same_for_everyone
from ptyconv_cli.pictures.panels import doubling_curve, doubling_label
from ptyconv_cli.quantities import name_of, never_refined, quantity_of, tensor_keys, unit_of_length
from ptyconv_cli.quantities.quantity import ANGSTROM
from ptyconv_cli.results.history import Curve, Trajectory
from ptyconv_cli.results.run_analysis import Doublings, Results
from ptyconv_cli.results.text import shortened
from ptyconv_cli.verdict.sentences import rounded

NOTE = 8
"""Size of the font of notes in points."""

ROOM = 1.5
"""Factor by which the axis of changes goes on above and below, so that notes have a place."""


def draw_doubling(axes: Axes, key: str, found: Doublings | None, since: int) -> None:
    """Draw a quantity's changes per doubling on two logarithmic axes, or why there are none."""
    curve = doubling_curve(found, since) if found else []
    axes.set(xlabel="iteration", ylabel=doubling_label(key))
    if found is None or not any(0 < value < math.inf for _, value in curve):
        write_instead(axes, "not optimised" if found and found.state == "not optimised" else "nothing at half yet")
        return
    colour, _ = STYLES[0]
    axes.plot(*columns(curve), color=colour, marker="." if len(curve) <= FEW else "", linewidth=1.5)
    _draw_forecast(axes, found, colour)
    unit = quantity_of(key).unit
    mark_tolerance(axes, found.tolerance, f"{found.tolerance:g} {unit}\ntolerated", NOTE, outside=True)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    set_logarithmic(axes)
    low, high = axes.get_ylim()
    axes.set_ylim(low / ROOM, high * ROOM)
    set_logarithmic(axes)
    set_logarithmic_iterations(axes)
    _mark_quietest(axes, key, found, since, colour)
    axes.grid(alpha=0.25)


def _mark_quietest(axes: Axes, key: str, found: Doublings, since: int, colour: str) -> None:
    """Mark where the change per doubling was least, unless that is the last one."""
    quietest = found.quietest
    if quietest is None or quietest.niter in range(since) or quietest.niter == found.points[-1].niter:
        return
    if not quietest.relative > 0:
        return
    axes.plot([quietest.niter], [quietest.relative], "o", color=colour, markerfacecolor="white", markersize=7)
    left, right = map(math.log, axes.get_xlim())
    place = (math.log(quietest.niter) - left) / (right - left)
    axes.annotate(
        f"least: {rounded(quietest.relative)} {quantity_of(key).unit} at {quietest.niter}",
        (quietest.niter, quietest.relative),
        (0, -14),
        textcoords="offset points",
        ha="left" if place < 0.3 else "right" if place > 0.7 else "center",
        fontsize=NOTE,
        color="0.35",
        bbox=OVER_LINES,
    )


def _draw_forecast(axes: Axes, found: Doublings, colour: str) -> None:
    """Draw what as many iterations again are expected to change, with its 90 % interval."""
    forecast, last = found.forecast, found.points[-1]
    if forecast is None or not forecast.low > 0:
        return
    axes.plot(
        [last.niter, forecast.niter],
        [last.relative, forecast.relative],
        color=colour,
        alpha=FAINT,
        linestyle=":",
        linewidth=1.5,
    )
    axes.plot([forecast.niter] * 2, [forecast.low, forecast.high], color=colour, alpha=FAINT, linewidth=4)


COLUMN, NARROWEST = 4.0, 8.0
"""Inches of a column of panels, and of the picture at least."""

FRAME, LABELS, ABOVE, CAPTION = 2.6, 0.62, 0.12, 0.62
"""Inches of the height of a panel's frame, of the labels below it, between the picture's titles and the rows, and of a
row's caption with its titles.
"""

LEFT, BESIDE, WIDEST = 0.85, 1.68, 4.8
"""Inches of the labels to the left of a frame, of those on both of its sides, and of the frame at most."""

CAPTION_FONT = 10.5
"""Size of the captions' font in points."""


@dataclass(frozen=True)
class TrajectoryOptions:
    """How to draw: `linear` scales of distances instead of logarithmic ones; only iterations `since`."""

    linear: bool = False
    since: int = 0


@dataclass(frozen=True)
class Row:
    """A row of panels: its title, its caption, and what draws the panel of a tensor.

    `over_iterations`: the x axis alone is of iterations, and run boundaries are marked there. `least` checkpoints that
    it needs. `bare_caption`: of results without a verdict, where that is another one.
    """

    title: str
    caption: str
    draw: Callable[[Axes, str, Results, TrajectoryOptions], None]
    over_iterations: bool = True
    least: int = 2
    bare_caption: str = ""


@the_same_for_everyone
def draw_trajectory(results: Results, file_format: str, *, linear: bool = False, since: int = 0) -> bytes:
    """Return the picture in `file_format` (png, pdf or svg); `linear` scales of distances; only iterations `since`.

    A row of panels for each of `ROWS` that there are enough checkpoints for, a column for each tensor that was analyzed
    and refined. Units: those of `quantities.all_series`.
    """
    fixed = never_refined(results.points, results.dx)
    tensors = drawn_tensors(results)
    rows = drawn_rows(results)
    still = [f"Not refined: {', '.join(map(name_of, fixed))}."] if fixed else []
    few = ["More rows need more checkpoints."] if len(rows) < len(ROWS) else []
    lines = [verdict_words(results), " ".join([SOLID, *still, *few])]
    width = max(COLUMN * len(tensors), NARROWEST)
    above = titles_height(width, lines) + ABOVE
    figure = Figure(figsize=(width, above + len(rows) * (CAPTION + FRAME + LABELS)), dpi=120)
    write_titles(figure, results.name, title_of(results, "trajectory"), lines)
    for place, row in enumerate(rows):
        _draw_row(
            figure, row, above + place * (CAPTION + FRAME + LABELS), tensors, results, TrajectoryOptions(linear, since)
        )
    return picture(figure, file_format)


def drawn_tensors(results: Results) -> list[str]:
    """Return the tensors of which there are trajectories: those that were refined, or, if none was, all."""
    fixed = never_refined(results.points, results.dx)
    known = [name for name in tensor_keys() if name in results.trajectories]
    return [name for name in known if name not in fixed] or known


def drawn_rows(results: Results) -> list["Row"]:
    """Return the rows that there are enough checkpoints for."""
    checkpoints = max(len(results.trajectories[name].niters) for name in drawn_tensors(results))
    return [row for row in ROWS if row.least <= checkpoints]


def _draw_row(
    figure: Figure, row: Row, top: float, tensors: Sequence[str], results: Results, options: TrajectoryOptions
) -> None:
    """Draw a row, its upper edge so many inches below the picture's."""
    width, height = figure.get_size_inches().tolist()
    caption = row.caption if results.verdict else row.bare_caption or row.caption
    caption = shortened(caption, that_fit(width, CAPTION_FONT))
    figure.text(0.5, 1 - (top + 0.24) / height, caption, ha="center", fontsize=CAPTION_FONT)
    column = width / len(tensors)
    wide = min(column - BESIDE, WIDEST)
    for place, tensor in enumerate(tensors):
        left = place * column + (column - BESIDE - wide) / 2 + LEFT
        bottom = height - top - CAPTION - FRAME
        axes = figure.add_axes((left / width, bottom / height, wide / width, FRAME / height))
        draw_panel(axes, row, tensor, results, options)


def title_of_tensor(tensor: str) -> str:
    """Return the title of a tensor's panels."""
    label = quantity_of(tensor).series[0].label.split(",")[0]
    return f"{label[0].upper()}{label[1:]}"


def draw_panel(axes: Axes, row: Row, tensor: str, results: Results, options: TrajectoryOptions) -> None:
    """Draw the panel of a tensor in a row."""
    axes.set_title(title_of_tensor(tensor), fontsize=11, y=1.0)  # where it is, lest its place be looked for
    trajectory = results.trajectories[tensor]
    axes.tick_params(labelsize=9)
    row.draw(axes, tensor, results, options)
    if row.over_iterations:
        mark_boundaries(axes, results, max(options.since, trajectory.niters[0]))


def draw_doublings(axes: Axes, tensor: str, results: Results, options: TrajectoryOptions) -> None:
    """Draw the change per doubling of the iterations, with tolerance, least value and forecast."""
    doublings = results.verdict.doublings if results.verdict else {}
    draw_doubling(axes, tensor, doublings.get(tensor), options.since)


def draw_to_last(axes: Axes, tensor: str, results: Results, options: TrajectoryOptions) -> None:
    """Draw the distance of each checkpoint to the last one, whose own is 0."""
    trajectory = _in_shown_unit(results.trajectories[tensor], results)
    aligned, raw = (
        _from(options.since, trajectory.to_last(distances)[:-1]) for distances in (trajectory.aligned, trajectory.raw)
    )
    axes.set(xlabel="iteration", ylabel=f"distance to the last{_unit(trajectory)}")
    _draw_curves(axes, aligned, raw, options)
    if _has_values(aligned):
        _mark_the_last(axes, trajectory.niters[-1], options.linear)


def _mark_the_last(axes: Axes, last: int, linear: bool) -> None:
    """Mark the last checkpoint's own distance, 0, to which every curve falls."""
    colour, _ = STYLES[0]
    if linear:
        axes.plot([last], [0], "v", color=colour, clip_on=False)
    else:  # at the lower edge, as a logarithmic axis has no place for zero; below the curve
        low, high = axes.get_ylim()
        axes.set_ylim(low * (low / high) ** 0.12, high)
        axes.plot([last], [0.02], "v", color=colour, transform=axes.get_xaxis_transform(), clip_on=False)
    axes.annotate(
        "0 at the last",
        (last, 0.02),
        (-8, 0),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="0.35",
    )


def draw_matrix(axes: Axes, tensor: str, results: Results, options: TrajectoryOptions) -> None:
    """Draw the aligned distances between all checkpoints as a heat map."""
    found = with_tolerance(results.verdict.doublings.get(tensor) if results.verdict else None)
    trajectory = results.trajectories[tensor]
    shown = trajectory if found else _in_shown_unit(trajectory, results)
    draw_distances(axes, shown, tensor, found, since=options.since, linear=options.linear)


ROWS = (
    Row(
        "change per doubling",
        "What doubling the iterations changed. Bar: what as many again are expected to change.",
        draw_doublings,
    ),
    Row(
        "distance to the last checkpoint",
        "Distance of each checkpoint to the last, where every curve falls to 0. Flat before that: it jitters.",
        draw_to_last,
    ),
    Row(
        "distance between any two checkpoints",
        "Aligned distance between any two checkpoints. A converged run is dark in the frame (last doubling).",
        draw_matrix,
        over_iterations=False,
        least=FEWEST_CELLS,
        bare_caption="Aligned distance between any two checkpoints. Dark: nearly the same.",
    ),
)
"""From top to bottom."""


def _in_shown_unit(trajectory: Trajectory, results: Results) -> Trajectory:
    """Return a trajectory whose distances, if they are lengths, are in the unit in which the run's are shown."""
    size, unit = unit_of_length(results)
    if trajectory.unit != ANGSTROM:
        return trajectory
    raw, aligned = (
        replace(of_kind, between=[[distance / size for distance in row] for row in of_kind.between])
        for of_kind in (trajectory.raw, trajectory.aligned)
    )
    return replace(trajectory, unit=unit, raw=raw, aligned=aligned)


def _has_values(curve: Curve) -> bool:
    return any(0 < value < math.inf for _, value in curve)


def _draw_curves(axes: Axes, aligned: Curve, raw: Curve, options: TrajectoryOptions) -> None:
    """Draw an aligned curve solid and a raw one faint; say it where there is no aligned one to draw."""
    if not _has_values(aligned):
        write_instead(axes, why_nothing([value for _, value in aligned], options.since))
        if not _has_values(raw):
            return
    colour, _ = STYLES[0]
    axes.plot(*columns(raw), color=colour, alpha=FAINT, linewidth=1.2)
    axes.plot(*columns(aligned), color=colour, marker="." if len(aligned) <= FEW else "", linewidth=1.5)
    if options.linear:
        set_linear(axes)
    else:
        set_logarithmic(axes)
    set_iteration_ticks(axes.xaxis)
    axes.grid(alpha=0.25)


def _from(since: int, curve: Curve) -> Curve:
    return [(niter, value) for niter, value in curve if niter >= since]


def _unit(trajectory: Trajectory) -> str:
    return f" ({trajectory.unit})" if trajectory.unit else ""
