"""What all pictures share: colours, axes, titles, and becoming a file. Loads matplotlib, but not its global state."""

import math
import warnings
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.text import shortened

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

FAINT = 0.35
"""Opacity of raw curves beside aligned ones."""

BOUNDARIES = "Dash-dotted: another run, or engine, begins."

FEW = 50
"""Up to so many points have markers of their own; more would run into a band."""

LONGEST_NAME = 90
"""Characters of the run's name that fit into the title beside the rest of it."""


def title_of(figure: Figure, results: Results, shows: str) -> None:
    """Write the run's name and what the picture shows above it."""
    name = shortened(results.name, LONGEST_NAME)
    niters = [point.niter for points in results.points.values() for point in points]
    title = f"{name}: {shows} up to iteration {max(niters)}" if niters else name
    if results.state:
        title += f" ({results.state}{'' if results.since is None else f' since {results.since}'})"
    figure.suptitle(title, fontsize=13, parse_math=False, y=1 - 0.2 / figure.get_figheight())


def mark_boundaries(axes: Axes, results: Results, since: int) -> None:
    """Draw a line where another run, or other settings, begin."""
    for boundary in results.boundaries:
        if boundary.niter >= since:
            axes.axvline(boundary.niter, color="0.35", linewidth=1, linestyle="-.")


def set_logarithmic(axes: Axes) -> None:
    """Make the y axis logarithmic, where only what is positive has a place. Call it when all curves are drawn."""
    axes.set_yscale("log", nonpositive="mask")
    set_logarithmic_ticks(axes.yaxis, *axes.get_ylim())


def set_logarithmic_ticks(axis: Axis, low: float, high: float) -> None:
    """Give an axis from `low` to `high` a few ticks, all labelled: they take most of the time that a picture takes."""
    axis.set_minor_locator(NullLocator())
    if high < 5 * low:
        axis.set_major_locator(MaxNLocator(4))
    else:
        digits = (1, 2, 3, 5) if high < 30 * low else (1, 2, 5) if high < 300 * low else (1,)
        axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(lambda value, _: f"{value:g}")  # quicker to draw than a formula, and narrower


def iteration_ticks(whole: bool = True) -> MaxNLocator:
    """Return what places the ticks of an axis of iterations, or, if they need not be `whole` numbers, of time."""
    return MaxNLocator(7, integer=whole, steps=[1, 2, 5, 10])


def write_instead(axes: Axes, text: str) -> None:
    """Say why there is nothing to draw."""
    axes.text(0.5, 0.5, text, ha="center", va="center", color="0.4", fontsize=9, transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


def columns(curve: Curve) -> tuple[list[int], list[float]]:
    """Return iterations and values, with NaN for what is not finite."""
    return [niter for niter, _ in curve], [value if math.isfinite(value) else math.nan for _, value in curve]


def picture(figure: Figure, file_format: str) -> bytes:
    """Return the figure as a file in a format: png, pdf or svg."""
    content = BytesIO()
    with warnings.catch_warnings():
        # A folder may be named in a script that the font lacks; the boxes in the title say it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(content, format=file_format)
    return content.getvalue()
