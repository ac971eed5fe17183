"""The axis of losses: the first ones can be thousands of times as high as all others, as can those of a diverged run.

As numbers and words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ptyconv_cli.results.history import Curve

FAR, NEAR = 10, 2
"""A loss so many times as high as usual leaves no room for the others; up to so many times as high, it is one of them.
"""

FEWEST, BEGINNING = 10, 0.05
"""Of a curve of so many losses at least, this share, and two in any case, can be its beginning."""

MARGIN = 0.05
"""Share of the axis that is left free below and above the losses."""


@dataclass(frozen=True)
class LossAxis:
    """How losses are drawn: on a `logarithmic` axis, between `limits`; None where all of them are."""

    logarithmic: bool = False
    limits: tuple[float, float] | None = None


def loss_axis(curves: Sequence[Curve], *, linear: bool) -> LossAxis:
    """Return the axis on which most of all curves can be seen: without their beginnings, where these are far above.

    Losses that are still far apart, as those of a diverged run, get a logarithmic axis, unless a `linear` one is asked
    for.
    """
    values = [[value for _, value in curve if math.isfinite(value)] for curve in curves]
    values = [of_one for of_one in values if of_one]
    usual = min((_usual(of_one) for of_one in values), default=0.0)
    late = [value for of_one in values for value in of_one[_beginning(of_one) :]]
    logarithmic = not linear and bool(late) and max(late) > FAR * usual and min(map(min, values)) > 0
    if max(map(max, values), default=0.0) == max(late, default=0.0):
        return LossAxis(logarithmic)
    return LossAxis(logarithmic, _limits(late, logarithmic))


def _usual(values: Sequence[float]) -> float:
    return median(map(abs, values))


def _beginning(values: Sequence[float]) -> int:
    """Return how many of the first losses are above the others; 0 where none is far above, and where later ones are."""
    usual = _usual(values)
    if len(values) < FEWEST or max(values) <= FAR * usual:
        return 0
    most = max(2, int(BEGINNING * len(values)))
    above = (
        next((count for count in range(most + 1) if max(values[count:]) <= factor * usual), 0) for factor in (NEAR, FAR)
    )
    return next(filter(None, above), 0)


def _limits(values: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if logarithmic:
        return low * (low / high) ** MARGIN, high * (high / low) ** MARGIN
    room = MARGIN * (high - low or abs(high) or 1.0)
    return low - room, high + room


def beyond(curve: Curve, limits: tuple[float, float] | None) -> Curve:
    """Return what of a curve is above the axis."""
    return [(niter, value) for niter, value in curve if limits and limits[1] < value < math.inf]
