"""The picture of where a run still changes: the object's image and its change, the probe, the scan positions."""

import math
from collections.abc import Callable

import numpy as np

from ptyconv_cli.analysis.maps import Maps
from ptyconv_cli.pictures.drawing import picture
from ptyconv_cli.pictures.map_marks import BRIGHTEST, COLOURS
from ptyconv_cli.pictures.map_panels import (
    OF_CHANGE,
    draw_change,
    draw_image,
    draw_positions,
    draw_probe,
    draw_profile,
    label_of,
)
from ptyconv_cli.pictures.mpl import Axes, Figure, LogNorm, the_same_for_everyone
from ptyconv_cli.pictures.titles import write_titles

COLUMN, ROW, ABOVE = 4.2, 4.0, 0.75
"""Inches of a panel with its labels, and above all panels."""

FRAME = 2.9
"""Inches of the sides of a panel's frame."""

IN_ROW = 4
"""Panels in the first row at most; those that are left stand below it, beside the small maps."""

CAPTION = (
    "Dark: no change. Bright inside the foreground's outline: the object changes. "
    "Bright at the edges: little probe overlap there."
)

SMALL_COLUMNS = 4


@the_same_for_everyone
def draw_maps(maps: Maps, file_format: str) -> bytes:
    """Return the picture in `file_format` (png, pdf or svg): the panels that `analysis.maps.Maps` has numbers for."""
    panels = _panels(maps)
    first, second = panels[:IN_ROW], panels[IN_ROW:]
    rows = 2 if maps.small or second else 1
    width = COLUMN * max(len(first), 2)
    figure = Figure(figsize=(width, ABOVE + rows * ROW), dpi=120)
    shows = f": aligned change from iteration {maps.since} to {maps.niter}"
    write_titles(figure, maps.name, shows, ["", CAPTION if maps.objects else ""])
    for row, of_row in enumerate((first, second)):
        for column, draw in enumerate(of_row):
            draw(_add(figure, 0.35 + COLUMN * column, ABOVE + ROW * row, FRAME), maps)
    if maps.small:
        _draw_small(figure, maps, 0.35 + COLUMN * len(second))
    return picture(figure, file_format)


def _panels(maps: Maps) -> list[Callable[[Axes, Maps], None]]:
    """Return what draws each of the panels that there are numbers for."""
    found: list[Callable[[Axes, Maps], None]] = []
    if maps.objects:
        found.append(draw_image)
    if "objp" in maps.objects:
        found.append(lambda axes, maps: draw_change(axes, maps, "objp"))
    if "obja" in maps.objects:
        found.append(lambda axes, maps: draw_change(axes, maps, "obja"))
    if maps.probe is not None:
        found.append(draw_probe)
    if maps.displacements is not None:
        found.append(draw_positions)
    if maps.objects and len(next(iter(maps.objects.values())).by_slice) > 1:
        found.append(draw_profile)
    return found


def _add(figure: Figure, left: float, top: float, side: float) -> Axes:
    """Add square axes to a figure, so many inches from its left and its upper edge."""
    width, height = figure.get_size_inches().tolist()
    bottom = height - top - 0.5 - side
    return figure.add_axes((left / width, bottom / height, side / width, side / height))


def _draw_small(figure: Figure, maps: Maps, left: float) -> None:
    """Draw the small maps into the second row, from so many inches on."""
    changed = [s.change[np.isfinite(s.change) & (s.change > 0)] for s in maps.small]
    if not any(values.size for values in changed):
        return
    width, height = figure.get_size_inches().tolist()
    right, bottom, top = width - 1.0, 0.25, ROW - 0.55
    grid = figure.add_gridspec(
        math.ceil(len(maps.small) / SMALL_COLUMNS),
        SMALL_COLUMNS,
        left=left / width,
        right=right / width,
        bottom=bottom / height,
        top=top / height,
        wspace=0.06,
        hspace=0.22,
    )
    title = f"{OF_CHANGE[maps.small_of][0]} over the run"
    figure.text(left / width, (top + 0.3) / height, title, fontsize=11)
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
    bar = figure.colorbar(
        image, cax=figure.add_axes(((right + 0.12) / width, bottom / height, 0.15 / width, (top - bottom) / height))
    )
    bar.set_label(label_of(maps, "|change| per iteration", OF_CHANGE[maps.small_of][2]), fontsize=8)
    bar.ax.tick_params(labelsize=8, which="both")
