"""What pictures share: colours, marks on their axes, and becoming a file."""

import math
import warnings
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from ptyconv_cli.pictures.across import Across
from ptyconv_cli.pictures.mpl import Axes, Figure
from ptyconv_cli.pictures.words import since_words
from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.run_analysis import Results

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

SOLID = "Solid: aligned. Faint: raw."

BOUNDARIES = "Dash-dotted: run boundary."

FEW = 50
"""Up to so many points have markers of their own; more would run into a band."""

NEAR, LABEL = 0.1, 0.4
"""Shares of the axes' width beside a vertical label where curves may cross it, and of their height that it takes."""


def mark_boundaries(axes: Axes, results: Results, since: int, across: Across | None = None) -> None:
    """Draw a line where another run, or other settings, begin."""
    niters = [boundary.niter for boundary in results.boundaries if boundary.niter >= since]
    for place in (across or Across()).places(niters, results):
        axes.axvline(place, color="0.35", linewidth=1, linestyle="-.")


def mark_since(axes: Axes, results: Results, since: int, across: Across, size: float) -> None:
    """Draw a labelled line at the iteration since which the verdict holds; a font's `size` in points."""
    begin = results.verdict.since if results.verdict else None
    if begin is None or begin < since:
        return
    (place,) = across.places([begin], results)
    if not math.isfinite(place):
        return
    axes.axvline(place, color="0.5", linewidth=1, linestyle=":")
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


def write_instead(axes: Axes, text: str, size: float = 9) -> None:
    """Say why there is nothing to draw."""
    axes.text(0.5, 0.5, text, ha="center", va="center", color="0.4", fontsize=size, transform=axes.transAxes)
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
