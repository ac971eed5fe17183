"""How a picture would have to be turned or mirrored to fit another: a hint for pictures that do not fit as they are."""

import math
from collections.abc import Callable

from ptyconv_cli.metrics.fit import Fit, fit
from ptyconv_cli.metrics.image import Image, binned

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


LARGEST = 256
"""Pixels a side at most of the pictures that are turned: of larger ones, coarser pictures will do."""

LACKING = 0.5
"""A fit is better where the correlation lacks only such a share of what it lacks to 1 as the picture is."""


def better_orientation(one: Image, other: Image) -> tuple[str, float] | None:
    """Return how `other`, turned, mirrored or with its sign changed, fits `one` clearly better than as it is.

    Both (y, x). In words, and the ring correlation; None where it does not, or not better than noise.
    """
    binning = math.ceil(max(*one.shape, *other.shape) / LARGEST)
    one, other = (binned(image, binning) for image in (one, other))
    found: dict[str, Fit] = {}
    for turned, turn in TURNED.items():
        for sign, factor in (("", 1.0), ("with the opposite sign", -1.0)):
            fitted = fit(one, factor * turn(other))
            if fitted:
                found[" and ".join(filter(None, (turned, sign)))] = fitted
    if "" not in found:
        return None
    how, best = max(found.items(), key=lambda one: one[1].agreement)
    as_it_is = found[""]
    clearly = best.agreement > as_it_is.agreement + best.noise
    much_closer = 1 - best.common.correlation < LACKING * (1 - as_it_is.common.correlation)
    return (how, best.agreement) if (clearly or much_closer) and best.agreement > best.noise else None
