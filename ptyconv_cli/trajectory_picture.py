"""The picture of the way that a run took: for every tensor, the distances between its snapshots and the drift ratio."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ptyconv_cli.drawing import (
    FAINT,
    FEW,
    STYLES,
    columns,
    iteration_ticks,
    picture,
    set_logarithmic,
    set_logarithmic_ticks,
    title_of,
    write_instead,
)
from ptyconv_cli.history import Curve, Results, Trajectory
from ptyconv_cli.series import SERIES, TENSORS

WIDTH, HEIGHT = 16.0, 12.6
"""Of the picture in inches."""

CAPTIONS = (
    "How far was each snapshot from the last one? Strong: what is real; faint: raw, with what no diffraction pattern "
    "can see (offset and ramp of the phase, scale, common shift). A run that has settled is low and flat long before "
    "its end; one that falls steeply up to its end was still under way.",
    "How far are any two snapshots from each other, in what is real? Read it like a table of distances between towns. "
    "A dark square at the upper right: the last snapshots are all alike, the run has settled. Nothing but the diagonal "
    "dark, up to the end: it was still moving on.",
    "Is it going somewhere? The distance from {lag} snapshots ago, divided by the last single step. At 1 it jitters "
    "about a fixed point, at √{lag} it wanders at random, at {lag} it travels straight on, however small its steps "
    "are; above {lag} it travels, and its steps are getting smaller.",
)
"""What to read off each row of panels."""

CAPTION_WIDTH = 188
"""Characters of a caption that fit into a line."""

MOST_CELLS = 300
"""Snapshots on an axis of a heat map at most; of more, only every second, third ... is drawn."""


def draw_trajectory(results: Results, file_format: str, *, linear: bool = False, since: int = 0) -> bytes:
    """Return the picture in `file_format` (png, pdf or svg); `linear` scales of distances; only iterations `since`.

    A column for each tensor: the distance of every snapshot from the last, the distances between all of them as a heat
    map, and the drift ratio. Units: those of `series.SERIES`.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=120)
    title_of(figure, results, "the way it took")
    grid = figure.subplots(3, len(TENSORS))
    figure.subplots_adjust(left=0.055, right=0.945, top=0.885, bottom=0.045, wspace=0.55, hspace=0.52)
    lag = next((str(trajectory.lag) for trajectory in results.trajectories.values()), "m")
    for row, caption in zip(grid, CAPTIONS, strict=True):
        lines = textwrap.fill(caption.format(lag=lag), CAPTION_WIDTH)
        figure.text(0.055, row[0].get_position().y1 + 0.035, lines, fontsize=10.5, linespacing=1.4)
    for tensor, panels in zip(TENSORS, grid.T, strict=True):
        label = next(series.label for series in SERIES if series.tensor == tensor).split(",")[0].capitalize()
        trajectory = results.trajectories.get(tensor)
        for axes, draw in zip(panels, (_draw_to_last, _draw_matrix, _draw_drift), strict=True):
            axes.set_title(label, fontsize=11, y=1.0)  # where it is, lest matplotlib look for a place
            if trajectory is None:
                write_instead(axes, f"{tensor} was not analyzed")
            else:
                draw(axes, trajectory, linear, since)
    return picture(figure, file_format)


def _draw_to_last(axes: Axes, trajectory: Trajectory, linear: bool, since: int) -> None:
    aligned, raw = (
        _from(since, trajectory.to_last(distances)[:-1]) for distances in (trajectory.aligned, trajectory.raw)
    )
    axes.set(xlabel="iteration", ylabel=f"distance to the last{_unit(trajectory)}")
    if _has_values(aligned):
        _draw_curves(axes, aligned, raw, linear)
    else:
        write_instead(axes, _nothing(trajectory.aligned, aligned, since))


def _draw_drift(axes: Axes, trajectory: Trajectory, linear: bool, since: int) -> None:
    aligned, raw = (
        _from(since, trajectory.drift_ratio(distances)) for distances in (trajectory.aligned, trajectory.raw)
    )
    lag = trajectory.lag
    axes.set(xlabel="iteration", ylabel=f"drift ratio over {lag} snapshots")
    if lag < 2:
        write_instead(axes, "too few snapshots")
    elif not _has_values(aligned):
        write_instead(axes, _nothing(trajectory.aligned, aligned, since))
    else:
        for ratio, means in ((1, "jitter"), (math.sqrt(lag), "random\nwalk"), (lag, "straight\ntravel")):
            axes.axhline(ratio, color="0.6", linewidth=1, linestyle=":")
            axes.text(1.01, ratio, means, fontsize=8, va="center", transform=axes.get_yaxis_transform())
        _draw_curves(axes, aligned, raw, linear)


def _has_values(curve: Curve) -> bool:
    return any(0 < value < math.inf for _, value in curve)


def _draw_curves(axes: Axes, aligned: Curve, raw: Curve, linear: bool) -> None:
    """Draw an aligned curve strong and a raw one faint."""
    colour, _ = STYLES[0]
    axes.plot(*columns(raw), color=colour, alpha=FAINT, linewidth=1.2)
    axes.plot(*columns(aligned), color=colour, marker="." if len(aligned) <= FEW else "", linewidth=1.5)
    if not linear:
        set_logarithmic(axes)
    axes.xaxis.set_major_locator(iteration_ticks())
    axes.grid(alpha=0.25)


def _draw_matrix(axes: Axes, trajectory: Trajectory, linear: bool, since: int) -> None:
    niters, distances = _square(trajectory, since)
    axes.set(xlabel="iteration", ylabel="iteration", facecolor="0.8")  # which shows where a distance is not known
    known = distances[np.isfinite(distances) & (distances > 0)]
    if not known.size:
        write_instead(axes, _nothing(trajectory.aligned, niters[1:], since))
        return
    middles = np.convolve(niters, [0.5, 0.5], "valid")
    edges = [2 * niters[0] - middles[0], *middles, 2 * niters[-1] - middles[-1]]
    low, high = float(known.min()), float(known.max())
    norm = Normalize(0, high) if linear else LogNorm(low, max(high, 1.01 * low))
    # A distance of 0, as on the diagonal, has no place on a log scale.
    image = axes.pcolormesh(edges, edges, np.maximum(distances, 0 if linear else low), norm=norm)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(iteration_ticks())
    scale = axes.inset_axes((1.03, 0, 0.05, 1))
    axes.figure.colorbar(image, cax=scale)
    scale.set_title(trajectory.unit, fontsize=9, y=1.0)
    scale.tick_params(labelsize=8)
    if not linear:
        set_logarithmic_ticks(scale.yaxis, low, high)


def _square(trajectory: Trajectory, since: int) -> tuple[list[int], NDArray[np.float64]]:
    """Return the iterations and the aligned distances between all of them, thinned where there are very many."""
    count = len(trajectory.niters)
    distances = np.zeros((count, count))
    for k, of_one in enumerate(trajectory.aligned):
        distances[k, :k] = distances[:k, k] = of_one
    shown = [k for k, niter in enumerate(trajectory.niters) if niter >= since]
    shown = shown[:: max(math.ceil(len(shown) / MOST_CELLS), 1)]
    return [trajectory.niters[k] for k in shown], distances[np.ix_(shown, shown)]


def _from(since: int, curve: Curve) -> Curve:
    return [(niter, value) for niter, value in curve if niter >= since]


def _nothing(distances: list[list[float]], shown: Sequence[object], since: int) -> str:
    """Say why there is nothing to draw."""
    if not shown:
        return f"nothing from iteration {since} on"
    finite = any(math.isfinite(distance) for of_one in distances for distance in of_one)
    return "exactly 0 throughout" if finite else "no value is finite"


def _unit(trajectory: Trajectory) -> str:
    return f" ({trajectory.unit})" if trajectory.unit else ""
