"""A panel of the change per doubling of the iterations: of one quantity, with its tolerance and its forecast."""

import math

from ptyconv_cli.pictures.drawing import FAINT, FEW, STYLES, columns, write_instead
from ptyconv_cli.pictures.mpl import Axes, NullLocator
from ptyconv_cli.pictures.panels import doubling_curve, doubling_label
from ptyconv_cli.pictures.ticks import set_logarithmic, set_logarithmic_ticks
from ptyconv_cli.results.doublings import QUANTITY, Doublings
from ptyconv_cli.verdict.sentences import rounded

NOTE = 8
"""Size of the font of notes in points."""

OVER_LINES = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
"""A note can be read where lines pass behind it."""

ROOM = 1.5
"""Factor by which the axis of changes goes on above and below, so that notes have a place."""


def draw_doubling(axes: Axes, key: str, found: Doublings | None, since: int) -> None:
    """Draw a quantity's changes per doubling on two logarithmic axes, or why there are none."""
    curve = doubling_curve(found, since) if found else []
    axes.set(xlabel="iteration", ylabel=doubling_label(key))
    if found is None or not any(0 < value < math.inf for _, value in curve):
        write_instead(axes, "not optimised" if found and found.state == "not optimised" else "nothing at half yet")
        return
    colour, _ = STYLES[0]
    axes.plot(*columns(curve), color=colour, marker="." if len(curve) <= FEW else "", linewidth=1.5)
    _draw_forecast(axes, found, colour)
    axes.axhline(found.tolerance, color="0.45", linewidth=1, linestyle="--")
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    set_logarithmic(axes)
    low, high = axes.get_ylim()
    axes.set_ylim(low / ROOM, high * ROOM)
    set_logarithmic(axes)
    set_logarithmic_ticks(axes.xaxis, *axes.get_xlim())
    _note_tolerance(axes, key, found)
    _mark_quietest(axes, key, found, since, colour)
    axes.grid(alpha=0.25)


def _note_tolerance(axes: Axes, key: str, found: Doublings) -> None:
    axes.annotate(
        f"tolerance {found.tolerance:g} {QUANTITY[key].unit}",
        (0.98, found.tolerance),
        (0, 3),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        fontsize=NOTE,
        color="0.35",
        bbox=OVER_LINES,
    )


def _mark_quietest(axes: Axes, key: str, found: Doublings, since: int, colour: str) -> None:
    """Mark where the change per doubling was least, unless that is the last one."""
    quietest = found.quietest
    if quietest is None or quietest.niter in range(since) or quietest.niter == found.points[-1].niter:
        return
    if not quietest.relative > 0:
        return
    axes.plot([quietest.niter], [quietest.relative], "o", color=colour, markerfacecolor="white", markersize=7)
    left, right = map(math.log, axes.get_xlim())
    place = (math.log(quietest.niter) - left) / (right - left)
    axes.annotate(
        f"least: {rounded(quietest.relative)} {QUANTITY[key].unit} at {quietest.niter}",
        (quietest.niter, quietest.relative),
        (0, -14),
        textcoords="offset points",
        ha="left" if place < 0.3 else "right" if place > 0.7 else "center",
        fontsize=NOTE,
        color="0.35",
        bbox=OVER_LINES,
    )


def _draw_forecast(axes: Axes, found: Doublings, colour: str) -> None:
    """Draw what as many iterations again are expected to change, with its 90 % interval."""
    forecast, last = found.forecast, found.points[-1]
    if forecast is None or not forecast.low > 0:
        return
    axes.plot(
        [last.niter, forecast.niter],
        [last.relative, forecast.relative],
        color=colour,
        alpha=FAINT,
        linestyle=":",
        linewidth=1.5,
    )
    axes.plot([forecast.niter] * 2, [forecast.low, forecast.high], color=colour, alpha=FAINT, linewidth=4)
