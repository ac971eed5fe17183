"""The picture of the way that a run took: for every tensor, the distances between its snapshots and the drift ratio."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ptyconv_cli.pictures.drawing import (
    FAINT,
    FEW,
    STYLES,
    columns,
    iteration_ticks,
    mark_boundaries,
    picture,
    set_logarithmic,
    set_logarithmic_ticks,
    title_of,
    write_instead,
)
from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.series import SERIES, TENSORS
from ptyconv_cli.results.trajectory import Trajectory

WIDTH, HEIGHT = 16.0, 12.6
"""Of the picture in inches."""

TO_LAST = (
    "How far was each snapshot from the last one? Strong: what is real; faint: raw, with what no diffraction pattern "
    "can see (offset and ramp of the phase, scale, common shift). Flat towards the end: it jitters about a fixed "
    "point. Falling up to the end: it was still approaching; whether what is left matters, its height there says."
)

MATRIX = (
    "How far are any two snapshots from each other? Read it like a table of distances between towns; below the "
    "diagonal in what is real, above it raw. A dark square of many snapshots at the end of the diagonal: the last ones "
    "are all alike, the run has settled. Only a band along it dark, up to the end: it was still moving on."
)

DRIFT = (
    "Is it going somewhere? The distance from {lag} snapshots ago, divided by the last single step. At 1 it jitters "
    "about a fixed point, at √{lag} it wanders at random, at {lag} it travels straight on, however small its steps "
    "are; above {lag} it travels, and its steps are getting smaller."
)

TOO_FEW_TO_DRIFT = "Is it going somewhere? Two or three snapshots cannot tell."

FEWEST_CELLS = 4
"""Snapshots on an axis of a heat map at least: fewer look like a square whatever they do."""

CAPTION_WIDTH = 188
"""Characters of a caption that fit into a line."""

MOST_CELLS = 300
"""Snapshots on an axis of a heat map at most; of more, only every second, third ... is drawn."""


def draw_trajectory(results: Results, file_format: str, *, linear: bool = False, since: int = 0) -> bytes:
    """Return the picture in `file_format` (png, pdf or svg); `linear` scales of distances; only iterations `since`.

    A column for each tensor: the distance of every snapshot from the last, the distances between all of them as a heat
    map, and the drift ratio. Units: those of `results.series.SERIES`.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=120)
    title_of(figure, results, "the way it took")
    grid = figure.subplots(3, len(TENSORS))
    figure.subplots_adjust(left=0.055, right=0.945, top=0.885, bottom=0.045, wspace=0.55, hspace=0.52)
    lag = next((trajectory.lag for trajectory in results.trajectories.values()), 0)
    for row, caption in zip(grid, (TO_LAST, MATRIX, DRIFT if lag > 1 else TOO_FEW_TO_DRIFT), strict=True):
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
                if draw is not _draw_matrix:
                    mark_boundaries(axes, results, max(since, trajectory.niters[0]))
    return picture(figure, file_format)


def _draw_to_last(axes: Axes, trajectory: Trajectory, linear: bool, since: int) -> None:
    aligned, raw = (
        _from(since, trajectory.to_last(distances)[:-1]) for distances in (trajectory.aligned, trajectory.raw)
    )
    axes.set(xlabel="iteration", ylabel=f"distance to the last{_unit(trajectory)}")
    _draw_curves(axes, aligned, raw, linear, since)


def _draw_drift(axes: Axes, trajectory: Trajectory, _: bool, since: int) -> None:
    aligned, raw = (
        _from(since, trajectory.drift_ratio(distances)) for distances in (trajectory.aligned, trajectory.raw)
    )
    lag = trajectory.lag
    axes.set(xlabel="iteration", ylabel=f"drift ratio over {lag} snapshots" if lag > 1 else "drift ratio")
    if lag < 2:
        write_instead(axes, "too few snapshots")
        return
    if _has_values(aligned) or _has_values(raw):
        for ratio, means in ((1, "jitter"), (math.sqrt(lag), "random\nwalk"), (lag, "straight\ntravel")):
            axes.axhline(ratio, color="0.6", linewidth=1, linestyle=":")
            axes.text(1.01, ratio, means, fontsize=8, va="center", transform=axes.get_yaxis_transform())
    _draw_curves(axes, aligned, raw, linear=False, since=since)  # of ratios, on any scale of distances


def _has_values(curve: Curve) -> bool:
    return any(0 < value < math.inf for _, value in curve)


def _draw_curves(axes: Axes, aligned: Curve, raw: Curve, linear: bool, since: int) -> None:
    """Draw an aligned curve strong and a raw one faint; say it where there is no aligned one to draw."""
    if not _has_values(aligned):
        write_instead(axes, _nothing([value for _, value in aligned], since))
        if not _has_values(raw):
            return
    colour, _ = STYLES[0]
    axes.plot(*columns(raw), color=colour, alpha=FAINT, linewidth=1.2)
    axes.plot(*columns(aligned), color=colour, marker="." if len(aligned) <= FEW else "", linewidth=1.5)
    if not linear:
        set_logarithmic(axes)
    axes.xaxis.set_major_locator(iteration_ticks())
    axes.grid(alpha=0.25)


def _draw_matrix(axes: Axes, trajectory: Trajectory, linear: bool, since: int) -> None:
    niters, distances = _square(trajectory, since)
    axes.set(xlabel="iteration", ylabel="iteration")
    known = distances[np.isfinite(distances) & (distances > 0)]
    if not niters or len(niters) < FEWEST_CELLS:
        write_instead(axes, "too few snapshots" if niters else _nothing([], since))
        return
    if not known.size:
        write_instead(axes, _nothing(distances[np.triu_indices(len(niters), 1)].tolist(), since))
        return
    middles = np.convolve(niters, [0.5, 0.5], "valid")
    edges = [2 * niters[0] - middles[0], *middles, 2 * niters[-1] - middles[-1]]
    low, high = float(known.min()), float(known.max())
    norm = Normalize(0, high) if linear else LogNorm(low, max(high, 1.01 * low))
    # A distance of 0 has no place on a log scale: it gets the colour of the smallest.
    shown = np.maximum(distances, 0 if linear else low)
    image = axes.pcolormesh(edges, edges, shown, norm=norm, rasterized=True)  # as cells of their own, PDFs grow huge
    axes.set_facecolor("0.85")  # of the diagonal, and of what is not known
    for place, text, sides in (((0.03, 0.97), "raw", ("left", "top")), ((0.97, 0.03), "real", ("right", "bottom"))):
        axes.text(*place, text, ha=sides[0], va=sides[1], fontsize=9, transform=axes.transAxes)  # far apart, so bright
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(iteration_ticks())
    scale = axes.inset_axes((1.03, 0, 0.05, 1))
    axes.figure.colorbar(image, cax=scale)
    scale.set_title(trajectory.unit, fontsize=9, y=1.0)
    scale.tick_params(labelsize=8)
    if not linear:
        set_logarithmic_ticks(scale.yaxis, low, high)


def _square(trajectory: Trajectory, since: int) -> tuple[list[int], NDArray[np.float64]]:
    """Return the iterations and the distances between all of them, thinned where there are very many.

    Above the diagonal of the picture, where the row is the later one, they are raw, below it aligned. On it they are
    NaN: as the smallest of all, zeros would look like a run that has settled.
    """
    count = len(trajectory.niters)
    distances = np.full((count, count), np.nan)
    for k in range(count):
        distances[k, :k], distances[:k, k] = trajectory.raw[k], trajectory.aligned[k]
    shown = [k for k, niter in enumerate(trajectory.niters) if niter >= since]
    shown = shown[:: max(math.ceil(len(shown) / MOST_CELLS), 1)]
    return [trajectory.niters[k] for k in shown], distances[np.ix_(shown, shown)]


def _from(since: int, curve: Curve) -> Curve:
    return [(niter, value) for niter, value in curve if niter >= since]


def _nothing(shown: Sequence[float], since: int) -> str:
    """Say why there is nothing to draw of values."""
    if not shown:
        return f"nothing from iteration {since} on"
    return "exactly 0 throughout" if any(map(math.isfinite, shown)) else "no value is finite"


def _unit(trajectory: Trajectory) -> str:
    return f" ({trajectory.unit})" if trajectory.unit else ""
