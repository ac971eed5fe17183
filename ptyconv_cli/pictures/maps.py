"""Maps of where a run still changes."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ptyconv_cli.analysis.maps import Maps, ObjectMap, SmallMap, shown_depths
from ptyconv_cli.pictures.drawing import (
    BRIGHT_INK,
    DARK_INK,
    STYLES,
    ShortNumbers,
    picture,
    set_linear,
    write_instead,
    write_titles,
)
from ptyconv_cli.pictures.mpl import (
    Axes,
    AxesImage,
    Figure,
    Line2D,
    LogNorm,
    PathCollection,
    colormaps,
    the_same_for_everyone,
    withStroke,
)
from ptyconv_cli.quantities import drawn_as, quantity_of
from ptyconv_cli.quantities.quantity import IMAGES, within_rounding
from ptyconv_cli.results.text import counted, detail_unit, length_unit

COLOURS = "inferno"

BRIGHTEST = 99.8
"""Percentile of a map's values that gets its brightest colour, lest one hot pixel darken all others."""

UNKNOWN: dict[str, Any] = {"hatch": "////", "edgecolor": "0.75"}
"""How a picture looks where nothing is known."""

NARROW = 8
"""Times as long as wide a map may be to be drawn true to scale."""


def show(axes: Axes, values: np.ndarray, **how: Any) -> AxesImage:
    """Show an image without ticks, true to scale unless that would be a line; what is not known is hatched."""
    shown = axes.imshow(values, **how)
    axes.patch.set(**UNKNOWN)
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


ON_DARK, ON_LIGHT, ON_PAPER = (BRIGHT_INK, DARK_INK), (DARK_INK, BRIGHT_INK), ("black", "white")
"""Colours of a scale bar and of what is around it, by what it is drawn on."""


def scale_bar(axes: Axes, dx: float, unit: tuple[float, str], colours: tuple[str, str] = ON_DARK) -> None:
    """Draw a bar of a round length, about a quarter of the picture, into its lower left corner.

    `dx`: Å per unit of the axes; `unit`: that of the length, as of `length_unit`.
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    length = round_length(0.3 * (right - left) * dx)
    size, name = unit
    colour, around = colours
    edge, wider = ([withStroke(linewidth=width, foreground=around)] for width in (3, 5))
    x, y = left + 0.05 * (right - left), bottom + 0.05 * (top - bottom)
    axes.plot([x, x + length / dx], [y, y], color=colour, linewidth=3, path_effects=wider, solid_capstyle="butt")
    axes.text(x, y + 0.03 * (top - bottom), f"{length / size:g} {name}", color=colour, fontsize=9, path_effects=edge)
    axes.set(xlim=(left, right), ylim=(bottom, top))


def round_length(length: float) -> float:
    """Return 1, 2 or 5 times a power of ten, the largest that is not above a length."""
    power = 10.0 ** math.floor(math.log10(length))
    return max(factor for factor in (1, 2, 5) if factor * power <= length * (1 + 1e-9)) * power


FOREGROUND, BACKGROUND = "#56B4E9", "white"
"""Colours of the masks' outlines, which show on every colour of the map."""

MOST_ARROWS = 200

IN_DISC = 0.9
"""Share of the probe's intensity that its panel shows; beyond it is nearly nothing."""

NOT_REFINED = "not refined\n(no change beyond rounding)"


def _says_nothing(axes: Axes, values: np.ndarray) -> bool:
    """Write why there is nothing to see, if so, and say it."""
    finite = values[np.isfinite(values)]
    if finite.size and not within_rounding(finite.ravel().tolist()):
        return False
    write_instead(axes, NOT_REFINED if finite.size else "no change is finite")
    return True


def label_of(maps: Maps, values: str, name: str) -> str:
    """Return what a colour bar of a part of the object is of; an amplitude is in units of its mean."""
    slices = len(next(iter(maps.objects.values())).by_slice)
    unit = quantity_of(name).values_unit or "of its mean"
    return f"{values}{', summed over slices' if slices > 1 else ''} ({unit})"


def unit_of_length(maps: Maps) -> tuple[float, str]:
    """Return the unit in which scale bars are shown, and how many Å it has: that of the object's size."""
    return length_unit(_size(maps))


def _size(maps: Maps) -> float:
    return float(np.nanmax(maps.positions, initial=0))


def draw_image(axes: Axes, maps: Maps) -> None:
    """Draw the object itself as the later checkpoint has it: its phase, where there is one."""
    name = maps.small_of
    quantity = quantity_of(name)
    axes.set_title(f"{quantity.image_title} at iteration {maps.niter}", fontsize=11)
    image = maps.objects[name].image
    finite = image[np.isfinite(image)]
    if not finite.size:
        write_instead(axes, "no value is finite")
        return
    low, high = np.percentile(finite, (100 - BRIGHTEST, BRIGHTEST))
    grey = colormaps["gray"].with_extremes(under=DARK_INK, over=BRIGHT_INK)
    shown = show(axes, image, cmap=grey, vmin=low, vmax=high)
    colour_bar(axes, shown, label_of(maps, quantity.map_values, name))
    scale_bar(axes, maps.dx, unit_of_length(maps))


def draw_change(axes: Axes, maps: Maps, name: str) -> None:
    """Draw where amplitude or phase changed, and how much of the object's contrast that is over this interval."""
    found, quantity = maps.objects[name], quantity_of(name)
    title = quantity.change_title
    axes.set_title(title, fontsize=11)
    if _says_nothing(axes, found.change):
        return
    if math.isfinite(found.relative):
        share = f"{_percent(found.relative)} of the object's contrast"
        axes.set_title(f"{title}\n{share} in {counted(maps.niter - maps.since, 'iteration')}", fontsize=11)
    image = show(axes, found.change, cmap=COLOURS, vmin=0, vmax=brightest(found.change))
    colour_bar(axes, image, label_of(maps, "|change|", name))
    scale_bar(axes, maps.dx, unit_of_length(maps))
    _draw_masks(axes, found)


def _percent(share: float) -> str:
    """Return a share in percent with two digits, as of changes most are below 1 %."""
    return f"{float(f'{100 * share:.2g}'):g} %" if share >= 1e-6 else "< 0.0001 %"


MOST_OUTLINED = 0.1
"""Share of a map's pixels that the masks' outlines may run along, lest they hide what it shows."""


def shows_masks(found: ObjectMap) -> bool:
    """Say whether foreground and background can be outlined in a map without hiding it: not where they are small."""
    along = 0.0
    for mask in (found.foreground, found.background):
        inside = mask >= 0.5
        along += (inside[1:] != inside[:-1]).sum() + (inside[:, 1:] != inside[:, :-1]).sum()
    return along <= MOST_OUTLINED * found.change.size


def _draw_masks(axes: Axes, found: ObjectMap) -> None:
    """Outline foreground and background."""
    handles = []
    outlines: list[tuple[np.ndarray, str, Any, str]] = [
        (found.foreground, FOREGROUND, "-", "foreground"),
        (found.background, BACKGROUND, (0, (2, 2)), "background"),
    ]
    for mask, colour, dashes, called in outlines if shows_masks(found) else ():
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


def draw_probe(axes: Axes, maps: Maps) -> None:
    """Draw the change of the probe's intensity, where there is most of it."""
    axes.set_title("Change of the probe's intensity", fontsize=11)
    assert maps.probe is not None
    percents = 100 * maps.probe
    if _says_nothing(axes, maps.probe):
        return
    most = brightest(np.abs(percents))
    image = show(axes, percents, cmap="RdBu_r", vmin=-most, vmax=most)
    if maps.intensity is not None:
        (top, bottom), (left, right) = (_extent(np.nansum(maps.intensity, 1 - axis)) for axis in (0, 1))
        axes.set(xlim=(left - 0.5, right - 0.5), ylim=(bottom - 0.5, top - 0.5))
    colour_bar(axes, image, "change (% of the peak)")
    scale_bar(axes, maps.dx, unit_of_length(maps), ON_LIGHT)


def _extent(profile: np.ndarray) -> tuple[int, int]:
    """Return the half-open range of pixels that hold nearly all of a profile of intensity, with a margin."""
    size, whole = len(profile), profile.sum()
    if not 0 < whole < math.inf:
        return 0, size
    shares = np.cumsum(profile) / whole
    first, last = (int(np.searchsorted(shares, share)) for share in ((1 - IN_DISC) / 2, (1 + IN_DISC) / 2))
    margin = max(round(0.25 * (last - first)), 2)
    return max(first - margin, 0), min(last + 1 + margin, size)


def draw_positions(axes: Axes, maps: Maps) -> None:
    """Draw how far and where to the scan positions went."""
    axes.set_title("Displacement of the scan positions", fontsize=11)
    assert maps.displacements is not None
    (y, x), (down, right) = maps.positions.T, maps.displacements.T
    far = np.hypot(down, right)
    if _says_nothing(axes, far):
        return
    size = float(np.clip(4000 / len(far), 1, 30))
    in_unit, unit = detail_unit(_size(maps))
    shown = far / in_unit
    dots = axes.scatter(x, y, c=shown, s=size, cmap=COLOURS, vmin=0, vmax=brightest(shown), linewidths=0.4)
    dots.set_edgecolor("0.5")  # so that dark ones are seen on a dark page
    beside = 0.08 * max(float(np.ptp(x)), float(np.ptp(y)), 1.0)
    axes.set(xlim=(x.min() - beside, x.max() + beside), ylim=(y.max() + 2 * beside, y.min() - beside))
    axes.set(xticks=[], yticks=[], aspect="equal", anchor="N")
    _draw_arrows(axes, maps, far)
    scale_bar(axes, 1.0, unit_of_length(maps), ON_PAPER)
    colour_bar(axes, dots, f"displacement ({unit})")


def _draw_arrows(axes: Axes, maps: Maps, far: np.ndarray) -> None:
    """Draw where positions went, `far` Å each; of very many only some."""
    assert maps.displacements is not None
    some = np.flatnonzero(np.isfinite(far) & (far > 0))
    some = some[:: max(math.ceil(len(some) / MOST_ARROWS), 1)]
    if not len(some):
        return
    (y, x), (down, right) = maps.positions[some].T, maps.displacements[some].T
    # An arrow as long as 95 % of them get to reaches a little beyond the next drawn position; none beyond 5 of them.
    long = max(float(np.percentile(far[some], 95)) / 1.25, float(far[some].max()) / 5)
    apart = math.sqrt(max(float(np.ptp(maps.positions[:, 1]) * np.ptp(maps.positions[:, 0])), 1.0) / len(some))
    arrows = axes.quiver(
        x,
        y,
        right,
        down,
        angles="xy",
        scale_units="xy",
        scale=long / apart,
        width=0.007,
        headwidth=4,
        headlength=4.5,
        headaxislength=4,
        color="0.15",
    )
    shown = round_length(long)
    size, unit = detail_unit(_size(maps))
    axes.quiverkey(arrows, 0.5, -0.07, shown, f"arrow: {shown / size:g} {unit}", labelpos="E", coordinates="axes")


def draw_profile(axes: Axes, maps: Maps) -> None:
    """Draw the mean change of each slice over its depth."""
    axes.set_title("Change by slice", fontsize=11)
    box = axes.get_position()
    axes.set_position((box.x0 + 0.25 * box.width, box.y0, 0.7 * box.width, box.height))  # labels on both sides
    if _says_nothing(axes, np.concatenate([found.by_slice for found in maps.objects.values()])):
        return
    depths, label = shown_depths(maps.objects, maps.thickness)
    axes.set_xlabel(label)
    for side, ((name, found), (colour, dashes)) in enumerate(zip(maps.objects.items(), STYLES, strict=False)):
        of_one = axes.twinx() if side else axes
        of_one.plot(depths, found.by_slice, color=colour, linestyle=dashes, marker="o", markersize=4)
        of_one.set_ylabel(f"mean |change| of {quantity_of(name).profile_values}", color=colour)
        set_linear(of_one)
        of_one.tick_params(axis="y", colors=colour, labelsize=9)
        highest = float(np.nanmax(found.by_slice, initial=0))
        of_one.set_ylim(0, 1.1 * highest if 0 < highest < math.inf else 1)
    if label == "slice":
        axes.set_xticks(depths if len(depths) < 8 else depths[:: len(depths) // 6])
    axes.grid(alpha=0.25)


COLUMN, ROW, ABOVE = 4.2, 4.0, 0.75
"""Inches of a panel with its labels, and above all panels."""

FRAME = 2.9
"""Inches of the sides of a panel's frame."""

IN_ROW = 4
"""Panels in the first row at most; those that are left stand below it, beside the small maps."""

CAPTION = "Dark: no change. Bright {where}: the object changes. Bright at the edges: little probe overlap there."
OUTLINED, NOT_OUTLINED = "inside the foreground's outline", "where the object is"

NOT_LIT = " Hatched: the scan did not reach there."

SMALL_COLUMNS = 4


@the_same_for_everyone
def draw_maps(maps: Maps, file_format: str) -> bytes:
    """Return the picture in `file_format` (png, pdf or svg): the panels that `analysis.maps.Maps` has numbers for."""
    panels = map_panels(maps)
    first, second = panels[:IN_ROW], panels[IN_ROW:]
    rows = 2 if maps.small or second else 1
    width = COLUMN * max(len(first), 2)
    figure = Figure(figsize=(width, ABOVE + rows * ROW), dpi=120)
    shows = f": aligned change from iteration {maps.since} to {maps.niter}"
    write_titles(figure, maps.name, shows, ["", _caption(maps)])
    for row, of_row in enumerate((first, second)):
        for column, draw in enumerate(of_row):
            draw(_add(figure, 0.35 + COLUMN * column, ABOVE + ROW * row, FRAME), maps)
    if maps.small:
        _draw_small(figure, maps, 0.35 + COLUMN * len(second))
    return picture(figure, file_format)


def _caption(maps: Maps) -> str:
    """Return what the maps of the object show, "" where there are none."""
    unknown = [np.isnan(found.image) for found in maps.objects.values()]
    if not unknown:
        return ""
    where = OUTLINED if any(map(shows_masks, maps.objects.values())) else NOT_OUTLINED
    return CAPTION.format(where=where) + (NOT_LIT if any(one.any() and not one.all() for one in unknown) else "")


def map_panels(maps: Maps) -> list[Callable[[Axes, Maps], None]]:
    """Return what draws each of the panels that there are numbers for."""
    found: list[Callable[[Axes, Maps], None]] = []
    if maps.objects:
        found.append(draw_image)
    found += [partial(draw_change, name=one.key) for one in drawn_as(IMAGES) if one.key in maps.objects]
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
    norm = small_norm(maps)
    if norm is None:
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
    figure.text(left / width, (top + 0.3) / height, title_of_small(maps), fontsize=11)
    image = None
    for place, small in enumerate(maps.small):
        image = draw_small(figure.add_subplot(grid[place // SMALL_COLUMNS, place % SMALL_COLUMNS]), small, norm)
    assert image
    of_bar = figure.add_axes(((right + 0.12) / width, bottom / height, 0.15 / width, (top - bottom) / height))
    bar = figure.colorbar(image, cax=of_bar)
    bar.set_label(label_of_small(maps), fontsize=8)
    bar.ax.tick_params(labelsize=8, which="both")


def small_norm(maps: Maps) -> LogNorm | None:
    """Return the colours' scale that the small maps share, None where nothing in them changed."""
    changed = [s.change[np.isfinite(s.change) & (s.change > 0)] for s in maps.small]
    changed = [values for values in changed if values.size]
    if not changed:
        return None
    brightest = max(float(np.percentile(values, BRIGHTEST)) for values in changed)
    return LogNorm(min(brightest / 10, *(float(np.percentile(values, 1)) for values in changed)), brightest)


def draw_small(axes: Axes, small: SmallMap, norm: LogNorm) -> AxesImage:
    """Draw the change over an interval of the run."""
    image = axes.imshow(np.maximum(small.change, norm.vmin or 0.0), cmap=COLOURS, norm=norm)
    axes.patch.set(**UNKNOWN)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{small.since} to {small.niter}", fontsize=9, pad=3)
    return image


def title_of_small(maps: Maps) -> str:
    """Return the title of the small maps."""
    gaps = any(later.since != earlier.niter for earlier, later in pairwise(maps.small))
    return f"{quantity_of(maps.small_of).change_title} over the run{', some intervals' if gaps else ''}"


def label_of_small(maps: Maps) -> str:
    """Return what the small maps' colours mean."""
    return label_of(maps, "|change| per iteration", maps.small_of)
