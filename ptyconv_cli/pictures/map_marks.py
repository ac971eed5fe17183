"""Images as maps: their colours, their colour bars, bars of a length."""

import math
from typing import Any

import numpy as np

from ptyconv_cli.pictures.mpl import Axes, AxesImage, PathCollection, withStroke
from ptyconv_cli.pictures.ticks import ShortNumbers

COLOURS = "inferno"

BRIGHTEST = 99.8
"""Percentile of a map's values that gets its brightest colour, lest one hot pixel darken all others."""

NARROW = 8
"""Times as long as wide a map may be to be drawn true to scale."""


def show(axes: Axes, values: np.ndarray, **how: Any) -> AxesImage:
    """Show an image without ticks, true to scale unless that would be a line."""
    shown = axes.imshow(values, **how)
    axes.set_anchor("N")
    if max(values.shape) > NARROW * min(values.shape):
        axes.set_aspect("auto")
    axes.set(xticks=[], yticks=[])
    return shown


def brightest(values: np.ndarray) -> float:
    """Return what gets the brightest colour: of few voxels that changed at all, the largest change."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, BRIGHTEST)) or float(finite.max())


def colour_bar(axes: Axes, shown: AxesImage | PathCollection, label: str) -> None:
    """Draw beside the axes what the colours of an image, or of dots, mean."""
    assert axes.figure
    place = axes.inset_axes((1.03, 0, 0.05, 1))
    bar = axes.figure.colorbar(shown, cax=place, extend="max" if shown.norm.vmin == 0 else "both")
    bar.ax.yaxis.set_major_formatter(ShortNumbers())
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def scale_bar(axes: Axes, dx: float, unit: tuple[float, str], dark: bool = False) -> None:
    """Draw a bar of a round length, about a quarter of the picture, into its lower left corner.

    `dx`: Å per unit of the axes; `unit`: that of the length, as of `length_unit`; `dark`: on a light picture.
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    length = round_length(0.3 * (right - left) * dx)
    size, name = unit
    colour, around = ("black", "white") if dark else ("white", "black")
    edge = [withStroke(linewidth=3, foreground=around)]
    x, y = left + 0.05 * (right - left), bottom + 0.05 * (top - bottom)
    axes.plot([x, x + length / dx], [y, y], color=colour, linewidth=3, path_effects=edge, solid_capstyle="butt")
    axes.text(x, y + 0.03 * (top - bottom), f"{length / size:g} {name}", color=colour, fontsize=9, path_effects=edge)
    axes.set(xlim=(left, right), ylim=(bottom, top))


def round_length(length: float) -> float:
    """Return 1, 2 or 5 times a power of ten, the largest that is not above a length."""
    power = 10.0 ** math.floor(math.log10(length))
    return max(factor for factor in (1, 2, 5) if factor * power <= length * (1 + 1e-9)) * power
