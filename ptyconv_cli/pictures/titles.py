"""What is written above the panels of a picture."""

from collections.abc import Sequence

from ptyconv_cli.pictures.mpl import Figure
from ptyconv_cli.pictures.words import that_fit
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.text import shortened, wrapped

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
