"""Numbers and ticks along axes."""

import math
from collections.abc import Sequence
from itertools import pairwise

from ptyconv_cli.pictures.mpl import Axes, Axis, Formatter, LogLocator, MaxNLocator, NullLocator

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


def set_logarithmic_ticks(axis: Axis, low: float, high: float) -> None:
    """Give an axis from `low` to `high` a few ticks, all labelled: they take most of the time that a picture takes."""
    axis.set_minor_locator(NullLocator())
    if high < 5 * low:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    else:
        digits = (1, 2, 3, 5) if high < 30 * low else (1, 2, 5) if high < 300 * low else (1,)
        axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(ShortNumbers())


def iteration_ticks(whole: bool = True) -> MaxNLocator:
    """Return what places the ticks of an axis of iterations, or, if they need not be `whole` numbers, of time."""
    return MaxNLocator(7, integer=whole, steps=[1, 2, 5, 10])


def set_scales(axes: Axes, *, logarithmic: bool, log_x: bool, whole: bool) -> None:
    """Set the scales, ticks and grid of axes with curves over iterations, or, if not `whole`, over time."""
    if logarithmic:
        set_logarithmic(axes)
    else:
        set_linear(axes)
    if log_x:
        axes.set_xscale("log")
        set_logarithmic_ticks(axes.xaxis, *axes.get_xlim())
    else:
        axes.xaxis.set_major_locator(iteration_ticks(whole))
    axes.grid(alpha=0.25)
