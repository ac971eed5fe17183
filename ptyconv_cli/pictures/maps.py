"""The picture of where a run still changes. Loads matplotlib, but not its global state."""

import math
import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ptyconv_cli.analysis.maps import Maps, ObjectMap, shown_depths
from ptyconv_cli.pictures.drawing import LONGEST_NAME, STYLES, picture, write_instead
from ptyconv_cli.results.text import shortened

WIDTH, HEIGHT = 16.0, 9.2
"""Of the picture in inches."""

CAPTION = (
    "Where does it still change? All without what no diffraction pattern can see. Dark: it stands still. Bright inside "
    "the foreground's outline: the object itself changes; evenly bright noise: jitter; bright at the edges: little "
    "light comes there. The small maps, on one scale, get darker as the run settles."
)

OBJECTS = {"objp": ("Phase", "|change| summed over slices (rad)"), "obja": ("Amplitude", "|change| summed over slices")}

FOREGROUND, BACKGROUND = "#56B4E9", "white"
"""Colours of the masks' outlines, which show on every colour of the map."""

COLOURS = "inferno"

BRIGHTEST = 99.8
"""Percentile of a map's values that gets its brightest colour, lest one hot pixel darken all others."""

MOST_ARROWS = 400

NARROW = 8
"""Times as long as wide a map may be to be drawn true to scale."""

SMALL_COLUMNS, SMALL_ROWS = 4, 2


def draw_maps(maps: Maps, file_format: str) -> bytes:
    """Return the picture in `file_format` (png, pdf or svg): the panels that `analysis.maps.Maps` has numbers for."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=120)
    title = f"{shortened(maps.name, LONGEST_NAME)}: aligned change from iteration {maps.since} to {maps.niter}"
    figure.suptitle(title, fontsize=13, parse_math=False, y=1 - 0.2 / HEIGHT)
    figure.text(0.5, 1 - 0.5 / HEIGHT, textwrap.fill(CAPTION, 160), ha="center", va="top", fontsize=10)
    top = figure.add_gridspec(1, 4, left=0.02, right=0.935, bottom=0.52, top=0.85, wspace=0.42)
    for place, (name, (called, label)) in enumerate(OBJECTS.items()):
        axes = figure.add_subplot(top[place])
        axes.set_title(called, fontsize=11)
        if name in maps.objects:
            _draw_object(axes, maps.objects[name], label, maps.dx)
        else:
            write_instead(axes, f"{name} was not asked for")
    _draw_probe(figure.add_subplot(top[2]), maps)
    _draw_positions(figure.add_subplot(top[3]), maps)
    below = figure.add_gridspec(1, 1, left=0.055, right=0.22, bottom=0.08, top=0.42)
    _draw_profile(figure.add_subplot(below[0]), maps)
    _draw_small(figure, maps)
    return picture(figure, file_format)


def _says_nothing(axes: Axes, values: np.ndarray) -> bool:
    """Write why there is nothing to see, if so, and say it."""
    finite = values[np.isfinite(values)]
    if finite.size and finite.any():
        return False
    write_instead(axes, "nothing changed" if finite.size else "no change is finite")
    return True


def _draw_object(axes: Axes, found: ObjectMap, label: str, dx: float) -> None:
    if _says_nothing(axes, found.change):
        return
    image = axes.imshow(found.change, cmap=COLOURS, vmin=0, vmax=_brightest(found.change))
    if max(found.change.shape) > NARROW * min(found.change.shape):  # true to scale it would be a line
        axes.set_aspect("auto")
    axes.set(xticks=[], yticks=[])
    _colour_bar(axes, image, label)
    _scale_bar(axes, dx)
    handles = []
    outlines: list[tuple[np.ndarray, str, Any, str]] = [
        (found.foreground, FOREGROUND, "-", "foreground"),
        (found.background, BACKGROUND, (0, (2, 2)), "background"),
    ]
    for mask, colour, dashes, called in outlines:
        if mask.min() < 0.5 <= mask.max() and min(mask.shape) > 1:
            axes.contour(mask, levels=[0.5], colors=[colour], linestyles=[dashes], linewidths=1.1)
            handles.append(Line2D([], [], color=colour, linestyle=dashes, label=called))
    if handles:
        axes.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.02),
            ncols=2,
            fontsize=8,
            facecolor="0.25",
            labelcolor="white",
        )


def _draw_probe(axes: Axes, maps: Maps) -> None:
    axes.set_title("Probe intensity", fontsize=11)
    if maps.probe is None:
        write_instead(axes, "probe was not asked for")
        return
    percents = 100 * maps.probe
    if _says_nothing(axes, percents):
        return
    most = _brightest(np.abs(percents))
    image = axes.imshow(percents, cmap="RdBu_r", vmin=-most, vmax=most)
    axes.set(xticks=[], yticks=[])
    _colour_bar(axes, image, "change (% of the peak)")
    _scale_bar(axes, maps.dx, dark=True)


def _draw_positions(axes: Axes, maps: Maps) -> None:
    axes.set_title("Scan positions", fontsize=11)
    if maps.displacements is None:
        write_instead(axes, "probe_pos_shifts was not asked for")
        return
    (y, x), (down, right) = maps.positions.T, maps.displacements.T
    far = np.hypot(down, right)
    if _says_nothing(axes, far):
        return
    size = float(np.clip(4000 / len(far), 1, 30))
    dots = axes.scatter(x, y, c=far, s=size, cmap=COLOURS, vmin=0, vmax=_brightest(far), linewidths=0)
    some = np.flatnonzero(np.isfinite(far) & (far > 0))
    some = some[:: max(math.ceil(len(some) / MOST_ARROWS), 1)]
    if len(some):
        # An arrow as long as 95 % of them get to reaches from one drawn position to the next, and none farther than 5.
        long = max(float(np.percentile(far[some], 95)), float(far[some].max()) / 5)
        apart = math.sqrt(max(float(np.ptp(x) * np.ptp(y)), 1.0) / len(some))
        arrows = axes.quiver(
            x[some], y[some], right[some], down[some], angles="xy", scale_units="xy", scale=long / apart, width=0.004
        )
        shown = _nice(long)
        axes.quiverkey(arrows, 0.5, -0.07, shown, f"arrow: {shown:g} Å", labelpos="E", coordinates="axes")
    beside = 0.08 * max(float(np.ptp(x)), float(np.ptp(y)), 1.0)
    axes.set(xlim=(x.min() - beside, x.max() + beside), ylim=(y.max() + 2 * beside, y.min() - beside))
    axes.set(xticks=[], yticks=[], aspect="equal")
    _scale_bar(axes, 1.0, dark=True)
    _colour_bar(axes, dots, "displacement (Å)")


def _draw_profile(axes: Axes, maps: Maps) -> None:
    axes.set_title("By slice", fontsize=11)
    if not maps.objects:
        write_instead(axes, "the object was not asked for")
        return
    if _says_nothing(axes, np.concatenate([found.by_slice for found in maps.objects.values()])):
        return
    depths, label = shown_depths(maps.objects, maps.thickness)
    axes.set_xlabel(label)
    units = {"objp": "phase (rad)", "obja": "amplitude"}
    for side, ((name, found), (colour, dashes)) in enumerate(zip(maps.objects.items(), STYLES, strict=False)):
        of_one = axes.twinx() if side else axes
        of_one.plot(depths, found.by_slice, color=colour, linestyle=dashes, marker="o", markersize=4)
        of_one.set_ylabel(f"mean |change| of {units[name]}", color=colour)
        of_one.tick_params(axis="y", colors=colour)
        of_one.ticklabel_format(axis="y", scilimits=(-2, 4))
        highest = float(np.nanmax(found.by_slice, initial=0))
        of_one.set_ylim(0, 1.1 * highest if 0 < highest < math.inf else 1)
    if label == "slice" or len(depths) == 1:
        axes.set_xticks(depths if len(depths) < 8 else depths[:: len(depths) // 6])
    axes.grid(alpha=0.25)


def _draw_small(figure: Figure, maps: Maps) -> None:
    changed = [s.change[np.isfinite(s.change) & (s.change > 0)] for s in maps.small]
    if not any(values.size for values in changed):
        return
    left, right = 0.33, 0.93
    grid = figure.add_gridspec(
        SMALL_ROWS, SMALL_COLUMNS, left=left, right=right, bottom=0.03, top=0.40, wspace=0.06, hspace=0.22
    )
    called, label = OBJECTS[maps.small_of]
    figure.text(left, 0.44, f"{called} over the run: {label.replace(')', ' / iteration)')}", fontsize=11)
    brightest = max(float(np.percentile(values, BRIGHTEST)) for values in changed if values.size)
    darkest = min(brightest / 10, *(float(np.percentile(values, 1)) for values in changed if values.size))
    norm = LogNorm(darkest, brightest)
    image = None
    for place, small in enumerate(maps.small):
        axes = figure.add_subplot(grid[place // SMALL_COLUMNS, place % SMALL_COLUMNS])
        image = axes.imshow(np.maximum(small.change, darkest), cmap=COLOURS, norm=norm)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"{small.since} to {small.niter}", fontsize=9, pad=3)
    assert image
    bar = figure.colorbar(image, cax=figure.add_axes((right + 0.012, 0.03, 0.01, 0.37)))
    bar.ax.tick_params(labelsize=8, which="both")


def _brightest(values: np.ndarray) -> float:
    """Return what gets the brightest colour: of few voxels that changed at all, the largest change."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, BRIGHTEST)) or float(finite.max())


def _colour_bar(axes: Axes, shown: AxesImage | PathCollection, label: str) -> None:
    assert axes.figure
    place = axes.inset_axes((1.03, 0, 0.05, 1))
    bar = axes.figure.colorbar(shown, cax=place, extend="max" if shown.norm.vmin == 0 else "both", format="%.3g")
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _scale_bar(axes: Axes, dx: float, dark: bool = False) -> None:
    """Draw a bar of a round length in Å, about a quarter of the picture, into its lower left corner.

    `dx`: Å per unit of the axes; `dark`: on a light picture.
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    length = _nice(0.3 * (right - left) * dx)
    colour, around = ("black", "white") if dark else ("white", "black")
    edge = [withStroke(linewidth=3, foreground=around)]
    x, y = left + 0.05 * (right - left), bottom + 0.05 * (top - bottom)
    axes.plot([x, x + length / dx], [y, y], color=colour, linewidth=3, path_effects=edge, solid_capstyle="butt")
    axes.text(x, y + 0.03 * (top - bottom), f"{length:g} Å", color=colour, fontsize=9, path_effects=edge)
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _nice(length: float) -> float:
    """Return 1, 2 or 5 times a power of ten, the largest that is not above a length."""
    power = 10.0 ** math.floor(math.log10(length))
    return max(factor for factor in (1, 2, 5) if factor * power <= length * (1 + 1e-9)) * power
