"""Figures that are caught where they would be written."""

import matplotlib.figure
import matplotlib.image
import pytest
from matplotlib.figure import Figure

from ptyconv_cli.pictures.dashboard import draw_dashboard
from ptyconv_cli.pictures.panels import PlotOptions
from ptyconv_cli.pictures.trajectory import draw_trajectory


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn."""
    found, save = [], Figure.savefig

    def saving(figure, *arguments, **settings):
        found.append(figure)
        return save(figure, *arguments, **settings)

    monkeypatch.setattr(Figure, "savefig", saving)
    return found


@pytest.fixture
def figures(monkeypatch):
    """The figures that would be drawn, where it is enough to know what is in them."""
    found = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: found.append(figure))
    return found


@pytest.fixture
def figure(monkeypatch):
    """Draw, and return the figure that was drawn instead of its file."""

    def draw(results, **options):
        drawn = []
        monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda self, *_, **__: drawn.append(self))
        shown, over = options.pop("shown", ()), options.pop("over", "iteration")
        draw_dashboard(results, PlotOptions(**options), "png", shown, over)
        return {axes.get_title(): axes for axes in drawn[0].axes}

    return draw


@pytest.fixture
def trajectory_panels(monkeypatch):
    """Draw trajectories, and return the panels, row by row."""

    def draw(results, **options):
        drawn = []
        with monkeypatch.context() as patched:
            patched.setattr(matplotlib.figure.Figure, "savefig", lambda self, *_, **__: drawn.append(self))
            draw_trajectory(results, "png", **options)
        return drawn[0].axes

    return draw
