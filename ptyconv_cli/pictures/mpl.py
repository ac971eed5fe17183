"""The only door to matplotlib: loaded whatever MPLBACKEND says, without pyplot, and drawn with its own defaults."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import ParamSpec, TypeVar

if "matplotlib" not in sys.modules:
    # A picture that becomes a file needs no backend, so that a wrong one should not stop it.
    chosen = os.environ.pop("MPLBACKEND", None)
    # Of a home that cannot be written to it says at length, once, that its fonts are looked up anew.
    speaks = logging.getLogger("matplotlib")
    level = speaks.level
    speaks.setLevel(level or logging.ERROR)
    try:
        import matplotlib

        matplotlib.get_configdir()  # asked now, while it is quiet
        matplotlib.get_cachedir()
    finally:
        speaks.setLevel(level)
        if chosen is not None:
            os.environ["MPLBACKEND"] = chosen
    if chosen:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = chosen  # as matplotlib does, for a caller who goes on with pyplot

import matplotlib
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import Colormap, FuncNorm, ListedColormap, LogNorm, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import Formatter, LogLocator, MaxNLocator, NullLocator

__all__ = [
    "Axes",
    "AxesImage",
    "Axis",
    "Colormap",
    "ConstrainedLayoutEngine",
    "Figure",
    "Formatter",
    "FuncNorm",
    "Line2D",
    "ListedColormap",
    "LogLocator",
    "LogNorm",
    "MaxNLocator",
    "Normalize",
    "NullLocator",
    "PathCollection",
    "ScalarMappable",
    "colormaps",
    "defaults",
    "letters_as_text",
    "the_same_for_everyone",
    "to_hex",
    "withStroke",
]

Parameters = ParamSpec("Parameters")
Drawn = TypeVar("Drawn")

OF_WINDOWS = ("backend", "backend_fallback", "interactive", "toolbar")
"""Settings of the caller's windows, in which nothing is drawn here."""


@contextmanager
def defaults() -> Iterator[None]:
    """Draw with matplotlib's own defaults, not with the user's matplotlibrc, and leave the caller's settings alone."""
    own = {key: value for key, value in matplotlib.rcParamsDefault.items() if key not in OF_WINDOWS}
    with matplotlib.rc_context(own):
        yield


@contextmanager
def letters_as_text() -> Iterator[None]:
    """Have SVG hold its words as text, in whatever font there is, and the same names each time."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ptyconv"}):
        yield


def the_same_for_everyone(draw: Callable[Parameters, Drawn]) -> Callable[Parameters, Drawn]:
    """Make a function that draws do so with `defaults`."""

    @wraps(draw)
    def drawing(*arguments: Parameters.args, **named: Parameters.kwargs) -> Drawn:
        with defaults():
            return draw(*arguments, **named)

    return drawing
