"""The heat map of a trajectory: the distances between any two checkpoints, and which of them the tolerance allows."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.pictures.drawing import (
    BRIGHT_INK,
    DARK_INK,
    set_iteration_ticks,
    set_linear,
    set_logarithmic_ticks,
    short_number,
    why_nothing,
    write_instead,
)
from ptyconv_cli.pictures.mpl import (
    Axes,
    Colormap,
    Figure,
    FuncNorm,
    ListedColormap,
    LogNorm,
    MaxNLocator,
    Normalize,
    colormaps,
    withStroke,
)
from ptyconv_cli.pictures.panels import doubling_unit
from ptyconv_cli.quantities.quantity import CONTRAST
from ptyconv_cli.results.history import Trajectory
from ptyconv_cli.results.run_analysis import Doublings

FEWEST_CELLS = 4
"""Checkpoints on an axis of a heat map at least: fewer look like a square whatever they do."""

WITHIN = 0.4
"""Share of the colours, and of their bar, of what is within the tolerance."""

MULTIPLES = (1, 2, 4, 8, 16)
"""Of the tolerance, evenly spread over the rest of the bar. What is farther has the colour of the last."""

DARK, BRIGHT = (0.0, 0.25), (0.5, 1.0)
"""The parts of matplotlib's "viridis" for distances within the tolerance, and beyond it."""

GAP, BAR = 0.08, 0.16
"""Inches between the map and the bar of its colours, and of the bar."""


def with_tolerance(found: Doublings | None) -> Doublings | None:
    """Return what was found of a quantity if distances can be measured by it, None otherwise."""
    return found if found and 0 < found.contrast < math.inf and 0 < found.tolerance < math.inf else None


def draw_distances(
    axes: Axes, trajectory: Trajectory, tensor: str, found: Doublings | None, *, since: int, linear: bool
) -> None:
    """Draw the aligned distances between all checkpoints as a heat map.

    They are measured as the change per doubling is, and within the tolerance have other colours; where nothing was
    `found` of it they are in the trajectory's unit, from the smallest to the largest.
    """
    niters, distances = _square(trajectory, since)
    axes.set(xlabel="iteration", ylabel="iteration")
    if len(niters) < FEWEST_CELLS:
        write_instead(axes, "too few checkpoints" if niters else why_nothing([], since))
        return
    if not (np.isfinite(distances) & (distances > 0)).any():
        write_instead(axes, why_nothing(distances[np.triu_indices(len(niters), 1)].tolist(), since))
        return
    middles = np.convolve(niters, [0.5, 0.5], "valid")
    edges = [2 * niters[0] - middles[0], *middles, 2 * niters[-1] - middles[-1]]
    axes.set_facecolor("0.85")  # of the diagonal, and of what is not known
    if found is not None:
        size = found.contrast / (100 if found.unit == CONTRAST else 1)
        _draw_measured(axes, edges, distances / size, found.tolerance, doubling_unit(tensor), linear)
        _frame_last_doubling(axes, niters, edges, found)
    else:
        _draw_bare(axes, edges, distances, trajectory.unit, linear)
    set_iteration_ticks(axes.xaxis)
    set_iteration_ticks(axes.yaxis)


def _square(trajectory: Trajectory, since: int) -> tuple[list[int], NDArray[np.float64]]:
    """Return the iterations and the aligned distances between all of them.

    On the diagonal they are NaN: as the smallest of all, zeros would look like a run that has converged.
    """
    count = len(trajectory.niters)
    distances = np.full((count, count), np.nan)
    for k in range(count):
        distances[k, :k] = distances[:k, k] = trajectory.aligned.between[k]
    shown = [k for k, niter in enumerate(trajectory.niters) if niter >= since]
    return [trajectory.niters[k] for k in shown], distances[np.ix_(shown, shown)]


def _draw_measured(
    axes: Axes, edges: Sequence[float], distances: NDArray[np.float64], tolerance: float, unit: str, linear: bool
) -> None:
    """Draw distances dark within the tolerance, and bright beyond it."""
    highest = float(np.nanmax(distances))
    ends = [tolerance, max(highest, 2 * tolerance)] if linear else [tolerance * multiple for multiple in MULTIPLES]
    scale = _draw_map(axes, edges, distances, _norm(ends), _colours(), highest > ends[-1])
    beyond = [at for at in MaxNLocator(4).tick_values(0, ends[-1]) if 1.3 * tolerance < at <= ends[-1]]
    ticks = [0.0, tolerance, *(beyond if linear else ends[1:])]
    scale.set_yticks(ticks, [short_number(tick, 3) for tick in ticks])
    scale.minorticks_off()
    scale.set_ylabel(unit, fontsize=9)
    scale.text(
        0.5,
        tolerance / 2,
        "tolerated",
        transform=scale.get_yaxis_transform(),
        rotation=90,
        ha="center",
        va="center",
        fontsize=8,
        color=BRIGHT_INK,
    )


def _norm(ends: Sequence[float]) -> Normalize:
    """Return the norm that spreads distances from 0 to the first of the `ends`, and from each to the next, evenly."""
    places, shares = [0.0, *ends], [0.0, *np.linspace(WITHIN, 1, len(ends))]
    return FuncNorm(
        (lambda values: np.interp(values, places, shares), lambda values: np.interp(values, shares, places)),
        vmin=0,
        vmax=ends[-1],
    )


def _colours() -> Colormap:
    """Return dark colours for what is within the tolerance, and bright ones, with a step between them."""
    dark = math.floor(WITHIN * 256) + 1  # that at the tolerance, too
    shares = np.concatenate([np.linspace(*DARK, dark), np.linspace(*BRIGHT, 256 - dark)])
    return ListedColormap(colormaps["viridis"](shares))


def _frame_last_doubling(axes: Axes, niters: Sequence[int], edges: Sequence[float], found: Doublings) -> None:
    """Frame the checkpoints of the last doubling, by which the run is judged."""
    if not found.points or found.points[-1].niter != niters[-1]:
        return
    begin = next(edge for niter, edge in zip(niters, edges, strict=False) if niter >= found.points[-1].since)
    end = edges[-1]
    axes.plot(
        [begin, end, end, begin, begin],
        [begin, begin, end, end, begin],
        color=BRIGHT_INK,
        linewidth=1.5,
        path_effects=[withStroke(linewidth=3, foreground=DARK_INK)],
        clip_on=False,
        zorder=3,  # over the axes' own frame
    )


def _draw_bare(axes: Axes, edges: Sequence[float], distances: NDArray[np.float64], unit: str, linear: bool) -> None:
    """Draw distances that there is no tolerance for, from the smallest to the largest."""
    known = distances[np.isfinite(distances) & (distances > 0)]
    low, high = float(known.min()), float(known.max())
    norm = Normalize(0, high) if linear else LogNorm(low, max(high, 1.01 * low))
    # A distance of 0 has no place on a log scale: it gets the colour of the smallest.
    shown = np.maximum(distances, 0 if linear else low)
    scale = _draw_map(axes, edges, shown, norm, colormaps["viridis"], False)
    scale.set_ylabel(unit, fontsize=9)
    if linear:
        set_linear(scale)
    else:
        set_logarithmic_ticks(scale.yaxis, low, high)


def _draw_map(
    axes: Axes,
    edges: Sequence[float],
    values: NDArray[np.float64],
    norm: Normalize,
    colours: Colormap,
    goes_on: bool,
) -> Axes:
    """Draw the map and the bar of its colours, which ends in a tip if the distances go on; return the bar's axes."""
    image = axes.pcolormesh(edges, edges, values, norm=norm, cmap=colours, rasterized=True)  # PDFs grow huge of cells
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    wide = axes.get_position().width * figure.get_figwidth()
    scale = axes.inset_axes((1 + GAP / wide, 0, BAR / wide, 1))
    figure.colorbar(image, cax=scale, extend="max" if goes_on else "neither", extendfrac=0.03)
    scale.tick_params(labelsize=8)
    return scale
