"""How a picture would have to be turned or mirrored to fit another: a hint for pictures that do not fit as they are."""

from collections.abc import Callable
from typing import NamedTuple

from ptyconv_cli.metrics.image import Image
from ptyconv_cli.metrics.registration import Fit, fit

TURNED: dict[str, Callable[[Image], Image]] = {
    "": lambda image: image,
    "mirrored along y": lambda image: image[::-1],
    "mirrored along x": lambda image: image[:, ::-1],
    "rotated by 180°": lambda image: image[::-1, ::-1],
    "with y and x exchanged": lambda image: image.T,
    "rotated by 90°": lambda image: image.T[::-1],
    "rotated by 270°": lambda image: image.T[:, ::-1],
    "with y and x exchanged and rotated by 180°": lambda image: image.T[::-1, ::-1],
}
"""The ways to turn and mirror a picture on its grid; rotations are counterclockwise where y points down."""


class Turned(NamedTuple):
    """In words, how a picture must be changed to fit, "" where it fits as it is; and how well it fits then."""

    how: str
    fit: Fit


def best_orientation(one: Image, other: Image) -> Turned | None:
    """Return how `other`, turned, mirrored or with its sign changed, fits best on `one`; None where they are too small.

    Both (y, x).
    """
    found = []
    for turned, turn in TURNED.items():
        for sign, factor in (("", 1.0), ("with the opposite sign", -1.0)):
            fitted = fit(one, factor * turn(other))
            if fitted:
                found.append(Turned(" and ".join(filter(None, (turned, sign))), fitted))
    return max(found, key=lambda turned: turned.fit.agreement, default=None)
