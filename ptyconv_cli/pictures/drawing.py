"""What all pictures share: axes, ticks, titles, and how much fits."""

import math
import warnings
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np

from ptyconv_cli import DOCUMENTATION, __version__
from ptyconv_cli.pictures.across import Across
from ptyconv_cli.pictures.mpl import Axes, Axis, Figure, Formatter, LogLocator, MaxNLocator, NullLocator
from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.run_analysis import SIZE, Results
from ptyconv_cli.results.text import shortened, wrapped
from ptyconv_cli.verdict.sentences import verdict_line

CHARACTER = 0.53
"""Width of a character as a share of the font's size, on average."""


def verdict_words(results: Results) -> str:
    """Return the verdict in its sentence, and which checkpoint to keep; "" where there is none."""
    if results.verdict is None:
        return ""
    keep = f" Keep iteration {results.verdict.keep}." if results.verdict.keep is not None else ""
    return f"{verdict_line(results.verdict)}{keep}"


def since_words(results: Results) -> str:
    """Return what the line at the iteration says since which the run has converged, or been broken."""
    return f"{results.verdict.state} since {results.verdict.since}" if results.verdict else ""


def that_fit(inches: float, size: float) -> int:
    """Return how many characters of a font's `size` in points fit into a width."""
    return max(int(inches * 72 / (CHARACTER * size)), 1)


PLAIN = 6
"""Characters up to which a number is written without an exponent."""

FAR_APART = 30
"""Numbers of which the largest is so many times the smallest are not written all alike."""


class ShortNumbers(Formatter):
    """Numbers along an axis: as few digits as tell them apart, and no offset or factor beside the axis.

    Those that are far apart, as on logarithmic axes, are each written as is shortest, others all alike.
    """

    def __init__(self) -> None:
        self._digits, self._least = 3, 0.0
        self._alike: bool | None = None

    def set_locs(self, locs: Sequence[float]) -> None:
        """Choose how the numbers are written."""
        places = sorted(float(place) for place in locs if math.isfinite(place))
        step = min((b - a for a, b in pairwise(places) if b > a), default=0.0)
        self._least = step / 1e6  # what is left of a 0 where numbers were added up
        if step:
            exact = (n for n in range(1, 15) if all(abs(float(f"{p:.{n}g}") - p) < step / 50 for p in places))
            self._digits = next(exact, 15)
        sizes = [abs(place) for place in places if abs(place) > self._least]
        near = bool(sizes) and max(sizes) < FAR_APART * min(sizes)
        self._alike = any("e" in short_number(size, self._digits) for size in sizes) if near else None

    def __call__(self, value: float, pos: int | None = None) -> str:
        """Return a number as it is written."""
        return short_number(value, self._digits, self._alike) if abs(value) > self._least else "0"


def short_number(value: float, digits: int, with_exponent: bool | None = None) -> str:
    """Return a number with so many digits, `with_exponent` or without, by default as is shorter."""
    if not math.isfinite(value):
        return f"{value}"
    fixed = f"{value:.{digits}g}"
    if "e" in fixed:
        fixed = f"{value:.{max(digits - 1 - math.floor(math.log10(abs(value))), 0)}f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    scientific = f"{mantissa}e{int(exponent)}"
    if with_exponent is None:
        with_exponent = len(fixed) > PLAIN and len(scientific) < len(fixed)
    return scientific if with_exponent and value else fixed


def set_linear(axes: Axes) -> None:
    """Give a linear y axis numbers that fit beside it."""
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(ShortNumbers())


def set_logarithmic(axes: Axes) -> None:
    """Make the y axis logarithmic, where only what is positive has a place. Call it when all curves are drawn."""
    axes.set_yscale("log", nonpositive="mask")
    set_logarithmic_ticks(axes.yaxis, *axes.get_ylim())


def set_logarithmic_ticks(axis: Axis, low: float, high: float, *, wide: bool = False) -> None:
    """Give an axis from `low` to `high` a few ticks, all labelled: they take most of the time that a picture takes.

    Fewer of them where labels are `wide`.
    """
    axis.set_minor_locator(NullLocator())
    if high < 5 * low:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    else:
        few, more = ((1, 3), (1, 2, 5)) if wide else ((1, 2, 5), (1, 2, 3, 5))
        digits = more if high < (15 if wide else 30) * low else few if high < 300 * low else (1,)
        axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(ShortNumbers())


def set_logarithmic_iterations(axes: Axes) -> None:
    """Give a logarithmic x axis of iterations, or of time, a few ticks with room for their labels."""
    low, high = axes.get_xlim()
    set_logarithmic_ticks(axes.xaxis, low, high, wide=high >= 1000)


def set_iteration_ticks(axis: Axis, whole: bool = True) -> None:
    """Place the ticks of an axis of iterations, or, if they need not be `whole` numbers, of time."""
    high = max(axis.get_view_interval())
    most = 7 if high < 1000 else 6 if high < 10000 else 5  # the longer the labels, the fewer
    axis.set_major_locator(MaxNLocator(most, integer=whole, steps=[1, 2, 5, 10]))


def set_scales(axes: Axes, *, logarithmic: bool, log_x: bool, whole: bool) -> None:
    """Set the scales, ticks and grid of axes with curves over iterations, or, if not `whole`, over time."""
    if logarithmic:
        set_logarithmic(axes)
    else:
        set_linear(axes)
    if log_x:
        axes.set_xscale("log")
        set_logarithmic_iterations(axes)
    else:
        set_iteration_ticks(axes.xaxis, whole)
    axes.grid(alpha=0.25)


SHORTEST_NAME = 12
"""Characters of a run's name that are shown at least."""

TITLE, SUBTITLE, CAPTION = 13.0, 11.0, 10.0
"""Sizes of the fonts above the panels in points."""

SPACING, BESIDE = 1.55, 0.4
"""From line to line there as a multiple of the font's size, and the inches left free beside the lines."""


def write_titles(figure: Figure, name: str, shows: str, lines: Sequence[str], scale: float = 1.0) -> None:
    """Write a run's `name` and what the picture shows above it, and `lines` below that, the first a little larger.

    The name is shortened, and lines are broken, to fit; `scale` of the fonts. Empty lines take no place.
    """
    width, height = figure.get_size_inches().tolist()
    place = that_fit(width - BESIDE, scale * TITLE) - len(shows)
    title = f"{shortened(name, max(place, SHORTEST_NAME))}{shows}"
    top = titles_height(width, [], scale)
    figure.suptitle(title, fontsize=scale * TITLE, parse_math=False, y=1 - top / height, va="bottom")
    for piece, size in _broken(width, lines, scale):
        top += SPACING * size / 72
        colour = "black" if size == scale * SUBTITLE else "0.3"
        figure.text(0.5, 1 - top / height, piece, ha="center", fontsize=size, color=colour, parse_math=False)


def titles_height(width: float, lines: Sequence[str], scale: float = 1.0) -> float:
    """Return how many inches of a picture that is so wide `write_titles` takes."""
    title = 0.14 + scale * TITLE / 72
    return title + sum(SPACING * size / 72 for _, size in _broken(width, lines, scale))


def _broken(width: float, lines: Sequence[str], scale: float) -> list[tuple[str, float]]:
    """Return lines as they fit into a width in inches, each with the size of its font in points."""
    sizes = (scale * SUBTITLE, *[scale * CAPTION] * len(lines))
    return [
        (piece, size)
        for line, size in zip(lines, sizes, strict=False)
        for piece in wrapped(line, that_fit(width - BESIDE, size), break_words=True)
    ]


def title_of(results: Results, shows: str) -> str:
    """Return what is written beside a run's name above a picture of it."""
    niters = [point.niter for points in results.points.values() for point in points]
    return f": {shows} up to iteration {max(niters)}" if niters else ""


STYLES = (
    ("#0072B2", "-"),
    ("#D55E00", (0, (6, 3))),
    ("#009E73", (0, (3, 3))),
    ("#CC79A7", (0, (1, 2))),
    ("#E69F00", (0, (6, 2, 1, 2))),
    ("#56B4E9", (0, (9, 6))),
)
"""Colour and dashes of the lines of a panel, in turn: where lines lie on each other, all of them show.

Okabe and Ito's colours, which colour-blind people can tell apart: https://jfly.uni-koeln.de/color/.
"""

BRIGHT_INK, DARK_INK = "#fefefe", "#010101"
"""What is written over an image: where a page is dark, it has other colours for black and white, but not for these."""

FAINT = 0.35
"""Opacity of raw curves beside aligned ones."""

SOLID = "Solid: aligned. Faint: raw."

BOUNDARIES = "Dash-dotted: run boundary."

FEW = 50
"""Up to so many points have markers of their own; more would run into a band."""

NEAR, LABEL = 0.1, 0.4
"""Shares of the axes' width beside a vertical label where curves may cross it, and of their height that it takes."""


MOST_GROWTHS = 3
"""Boundaries at which the object only grew that are marked; more would be in the way, and the curves go on there."""


def marked_boundaries(results: Results) -> list[int]:
    """Return the iterations after which another run, or other settings, begin, or the object grew a few times."""
    growths = sum(boundary.growth == SIZE for boundary in results.boundaries)
    shown = [one for one in results.boundaries if one.growth != SIZE or growths <= MOST_GROWTHS]
    return [boundary.niter for boundary in shown]


def mark_boundaries(axes: Axes, results: Results, since: int, across: Across | None = None) -> None:
    """Draw a line at each of the boundaries that are marked."""
    niters = [niter for niter in marked_boundaries(results) if niter >= since]
    for place in (across or Across()).places(niters, results):
        axes.axvline(place, color="0.35", linewidth=1, linestyle="-.")


def mark_since(axes: Axes, results: Results, since: int, across: Across, size: float, *, labelled: bool = True) -> None:
    """Draw a line at the iteration since which the verdict holds; its label has a font of `size` points."""
    begin = results.verdict.since if results.verdict else None
    if begin is None or begin < since:
        return
    (place,) = across.places([begin], results)
    if not math.isfinite(place):
        return
    axes.axvline(place, color="0.5", linewidth=1, linestyle=":")
    if not labelled:
        return
    left, right = axes.get_xlim()
    beside, side = (3, "left") if place < left + 0.85 * (right - left) else (-3, "right")
    axes.annotate(
        since_words(results),
        (place, _free_height(axes, place)),
        (beside, 0),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        rotation=90,
        ha=side,
        va="top",
        fontsize=size,
        color="0.35",
        parse_math=False,
        zorder=1,  # a curve that passes there stays in sight
    )


def _free_height(axes: Axes, place: float) -> float:
    """Return the upper end, as a share of the axes' height, of a label at a place of the x axis that no curve crosses.

    Near the upper edge, if it can be there, and where it cannot be anywhere.
    """
    to_axes = axes.transScale + axes.transLimits
    (middle, _) = to_axes.transform((place, axes.get_ylim()[0]))
    curves = [np.asarray(line.get_xydata()) for line in axes.lines if line.get_transform() == axes.transData]
    points = to_axes.transform(np.concatenate([np.empty((0, 2)), *curves]))
    heights = points[abs(points[:, 0] - middle) < NEAR, 1]
    tops = [0.98 - 0.05 * step for step in range(int((0.98 - LABEL) / 0.05) + 1)]
    return next((top for top in tops if not ((top - LABEL < heights) & (heights < top + 0.02)).any()), tops[0])


def mark_zeros(axes: Axes, places: Sequence[float], values: Sequence[float], colour: Any) -> None:
    """Mark zeros at the lower edge, as a logarithmic axis has no place for them; of many only some."""
    zeros = [place for place, value in zip(places, values, strict=True) if value == 0]
    zeros = zeros[:: max(len(zeros) // FEW, 1)]
    if zeros:
        axes.plot(zeros, [0.02] * len(zeros), "v", color=colour, transform=axes.get_xaxis_transform(), clip_on=False)


def mark_beyond(axes: Axes, places: Sequence[float], colour: Any) -> None:
    """Mark at the upper edge what is above the axis."""
    if places:  # an empty line would have no place, and so spoil the layout
        axes.plot(places, [0.98] * len(places), "^", color=colour, transform=axes.get_xaxis_transform(), clip_on=False)


OVER_LINES = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
"""A note can be read where lines pass behind it."""


def mark_tolerance(axes: Axes, tolerance: float, text: str, size: float, *, outside: bool = False) -> None:
    """Draw a line at a tolerance, labelled above it, or `outside` of the axes; a font's `size` in points."""
    axes.axhline(tolerance, color="0.45", linewidth=1, linestyle="--")
    axes.annotate(
        text,
        (1 if outside else 0.98, tolerance),
        (4, 0) if outside else (0, 3),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha="left" if outside else "right",
        va="center" if outside else "baseline",
        fontsize=size,
        color="0.35",
        parse_math=False,
        zorder=1,  # a curve that passes there stays in sight
    )


def why_nothing(values: Sequence[float], since: int) -> str:
    """Say why there is nothing to draw of values from iteration `since` on."""
    if not values:
        return f"nothing from iteration {since} on"
    return "exactly 0 throughout" if any(map(math.isfinite, values)) else "no value is finite"


def write_instead(axes: Axes, text: str, size: float = 9) -> None:
    """Say why there is nothing to draw."""
    axes.text(0.5, 0.5, text, ha="center", va="center", color="0.4", fontsize=size, transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


def columns(curve: Curve) -> tuple[list[int], list[float]]:
    """Return iterations and values, with NaN for what is not finite."""
    return [niter for niter, _ in curve], [value if math.isfinite(value) else math.nan for _, value in curve]


SIGNATURE = 6.5
"""Size of the font, in points, of what made a picture."""


def picture(figure: Figure, file_format: str, *, signed: bool = True) -> bytes:
    """Return the figure as a file in a format: png, pdf or svg; `signed`: it says what made it, and where its docs are.

    In pdf and svg the address is a link.
    """
    if signed:
        width, height = figure.get_size_inches().tolist()
        made_by = f"ptyconv {__version__} · {DOCUMENTATION.partition('://')[2]}"
        figure.text(
            1 - 0.06 / width,
            0.04 / height,
            made_by,
            ha="right",
            va="bottom",
            fontsize=SIGNATURE,
            color="0.5",
            url=DOCUMENTATION,
        )
    content = BytesIO()
    with warnings.catch_warnings():
        # A folder may be named in a script that the font lacks; the boxes in the title say it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(content, format=file_format)
    return content.getvalue()
