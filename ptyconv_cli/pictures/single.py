"""Single panels of the pictures, as SVG about as wide as a column: for a page, which writes their titles itself."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ptyconv_cli.analysis.maps import Maps
from ptyconv_cli.pictures.dashboard import Layout, single_panel
from ptyconv_cli.pictures.drawing import picture
from ptyconv_cli.pictures.maps import (
    COLOURS,
    draw_profile,
    draw_small,
    label_of_small,
    map_panels,
    small_norm,
    title_of_small,
)
from ptyconv_cli.pictures.mpl import (
    Axes,
    Figure,
    LogNorm,
    PathCollection,
    ScalarMappable,
    letters_as_text,
    the_same_for_everyone,
)
from ptyconv_cli.pictures.panels import LOSS, PlotOptions, panels
from ptyconv_cli.pictures.trajectory import (
    TrajectoryOptions,
    draw_panel,
    drawn_rows,
    drawn_tensors,
    title_of_tensor,
)
from ptyconv_cli.results.run_analysis import Results

OF_DASHBOARD = Layout(1, 1, 2.2, 1.7, 1.0, legend=1)
"""A panel of the dashboard."""

WIDTH, HEIGHT = 3.6, 2.6
"""Inches of a panel of the trajectory, or of the maps, with its labels."""

CURVES, SQUARE = (1.0, 0.55, 2.0, 1.92), (0.85, 0.55, 1.92, 1.92)
"""Left, bottom, width and height of the frame of a panel of the trajectory, in inches: of curves, and of a heat map."""

IMAGE, PROFILE = (0.1, 0.5, 2.25, 2.25), (0.4, 0.5, 2.3, 2.25)
"""The same of a map, and of the panel by slice, which has labels on both sides."""

LONG = 24
"""Characters of a label from which on its unit has a line of its own."""

DPI = 150
"""Pixels per inch of images in a panel."""

SMALL, BAR = 1.2, (0.2, 0.45, 3.2, 0.14)
"""Inches of the side of a small map; the frame of the bar of their colours."""


class Drawing(NamedTuple):
    """A panel as SVG, and its title."""

    title: str
    svg: bytes


class Drawings(NamedTuple):
    """Panels that belong together, under a title, "" for none; they are `small`, or as wide as a column."""

    title: str
    drawings: Sequence[Drawing]
    small: bool = False


@the_same_for_everyone
def single_loss(results: Results) -> Drawing | None:
    """Return the panel of the loss, None where none was recorded."""
    if not results.engine or not results.engine.loss:
        return None
    (found,) = panels(results, PlotOptions(), (LOSS,))
    return _svg(single_panel(found, results, OF_DASHBOARD))


@the_same_for_everyone
def single_changes(results: Results) -> list[Drawing]:
    """Return the panels of the dashboard but for the loss."""
    found = [panel for panel in panels(results, PlotOptions()) if panel.y_label != LOSS]
    return [_svg(single_panel(panel, results, OF_DASHBOARD)) for panel in found]


@the_same_for_everyone
def single_trajectory(results: Results) -> list[Drawings]:
    """Return the panels of the trajectory: a group for each tensor."""
    rows, options = drawn_rows(results), TrajectoryOptions()
    found = []
    for tensor in drawn_tensors(results):
        of_one = []
        for row in rows:
            figure, axes = _framed(CURVES if row.over_iterations else SQUARE)
            draw_panel(axes, row, tensor, results, options)
            of_one.append(_svg(figure)._replace(title=row.title))
        found.append(Drawings(title_of_tensor(tensor), of_one))
    return found


@the_same_for_everyone
def single_maps(maps: Maps) -> list[Drawings]:
    """Return the maps, and, as another group, the small ones over the run."""
    norm = small_norm(maps)
    return [
        Drawings("", list(_maps(maps))),
        *([Drawings(title_of_small(maps), list(_small(maps, norm)), small=True)] if norm else []),
    ]


def _maps(maps: Maps) -> Iterator[Drawing]:
    for draw in map_panels(maps):
        figure, axes = _framed(PROFILE if draw is draw_profile else IMAGE, height=2.85)
        draw(axes, maps)
        for dots in filter(lambda one: isinstance(one, PathCollection), axes.collections):
            dots.set_rasterized(True)  # there may be many
        yield _svg(figure)


def _small(maps: Maps, norm: LogNorm) -> Iterator[Drawing]:
    for small in maps.small:
        figure = Figure(figsize=(SMALL, SMALL), dpi=DPI)
        draw_small(figure.add_axes((0, 0, 1, 1)), small, norm)
        yield _svg(figure)
    figure, axes = _framed(BAR, height=0.65)
    figure.colorbar(ScalarMappable(norm, COLOURS), cax=axes, orientation="horizontal")
    axes.set_xlabel(label_of_small(maps))
    axes.tick_params(labelsize=9, which="both")
    yield _svg(figure)


def _framed(frame: tuple[float, float, float, float], height: float = HEIGHT) -> tuple[Figure, Axes]:
    """Return a figure of the width of a column with one frame, as inches from the lower left corner."""
    figure, (left, bottom, wide, high) = Figure(figsize=(WIDTH, height), dpi=DPI), frame
    return figure, figure.add_axes((left / WIDTH, bottom / height, wide / WIDTH, high / height))


def _svg(figure: Figure) -> Drawing:
    """Return a figure's one panel, without its title, and without ground below it."""
    axes = figure.axes[0]
    title = axes.get_title().replace("\n", ": ")
    axes.set_title("")
    for one in figure.axes:
        for axis in (one.yaxis, *(child.yaxis for child in one.child_axes)):
            text = axis.get_label_text()
            if len(text) > LONG and "\n" not in text:
                axis.set_label_text(text.replace(" (", "\n("))
    figure.patch.set_visible(False)
    with letters_as_text():
        return Drawing(title, picture(figure, "svg", signed=False))
