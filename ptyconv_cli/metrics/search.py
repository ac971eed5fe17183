"""How well two pictures fit at every shift by whole pixels, also turned or mirrored. With numpy only."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.image import FEWEST, Image, Shift

MOST_PLACES, NEARLY = 12, 0.7
"""How many places are compared at most, and down to which share of the best one's likelihood."""


def search(one: Image, other: Image, fewest: int = FEWEST) -> list[Shift]:
    """Return the shifts at which a flat picture fits best on another, in whole pixels, the best one first.

    Of all by which they have so many pixels a side in common; where no other is nearly as good, only that one.
    """
    shifts = all_shifts(one, other, fewest)
    common, found = correlations(one, other, shifts)
    return [(float(shifts[0][y]), float(shifts[1][x])) for y, x in maxima(common * unlikely(found))]


Shifts = list[NDArray[np.int64]]
"""Whole pixels, in y and in x."""


def all_shifts(one: Image, other: Image, fewest: int = FEWEST) -> Shifts:
    """Return the shifts by which two pictures have at least so many pixels a side in common."""
    sizes = zip(one.shape, other.shape, strict=True)
    return [np.arange(fewest - size, size_other - fewest + 1) for size, size_other in sizes]


def unlikely(correlation: Image) -> Image:
    """Return, for each of the pixels in common, how unlikely it is that noise has this correlation, 0 below 0."""
    return np.asarray(-np.log1p(-(np.clip(correlation, 0, 1 - 1e-12) ** 2)))


def maxima(values: Image) -> list[tuple[int, int]]:
    """Return where values (y, x) are larger than around, the largest first: those that come near it between pixels."""
    padded = np.pad(values, 1, constant_values=-np.inf)
    height, width = values.shape
    is_highest = values > 0
    for y, x in ((y, x) for y in range(3) for x in range(3)):
        is_highest &= values >= padded[y : y + height, x : x + width]
    places = np.argwhere(is_highest)
    if not len(places):
        return [(height // 2, width // 2)]
    by_pixels = np.argsort(-values[is_highest], kind="stable")[: 4 * MOST_PLACES]  # in noise there are very many
    places = places[by_pixels]
    heights = np.array([_height(padded, y + 1, x + 1) for y, x in places])
    order = np.argsort(-heights, kind="stable")[:MOST_PLACES]
    return [(int(y), int(x)) for y, x in places[order[heights[order] >= NEARLY * heights.max()]]]


def _height(padded: Image, y: int, x: int) -> float:
    """Return the height of a maximum between pixels, by the parabolas through it along y and x."""
    middle, found = float(padded[y, x]), float(padded[y, x])
    for before, after in ((padded[y - 1, x], padded[y + 1, x]), (padded[y, x - 1], padded[y, x + 1])):
        bend = 2 * middle - float(before) - float(after)
        if 0 < bend < math.inf:
            found += (float(after) - float(before)) ** 2 / (8 * bend)
    return found


def _smooth(size: int) -> int:
    """Return a size that is at least so large, and quick to transform."""
    step = max(1 << (size.bit_length() - 4), 1)
    return -(-size // step) * step


def correlations(one: Image, other: Image, shifts: Shifts) -> tuple[Image, Image]:
    """Return by shift (y, x) how many pixels are in common, and Pearson's correlation over these, 0 of what is flat."""
    padded = [_smooth(sum(sizes)) for sizes in zip(one.shape, other.shape, strict=True)]
    of_one, of_other = (np.fft.rfft2(image, padded) for image in (one, other))
    together = np.fft.irfft2(of_one.conj() * of_other, padded)[np.ix_(*shifts)]
    begins = [np.maximum(0, -of_axis) for of_axis in shifts]
    ends = [
        np.minimum(size, size_other - of_axis)
        for size, size_other, of_axis in zip(one.shape, other.shape, shifts, strict=True)
    ]
    begins_other, ends_other = (
        [at + of_axis for at, of_axis in zip(ats, shifts, strict=True)] for ats in (begins, ends)
    )
    common = np.multiply.outer(*(end - begin for begin, end in zip(begins, ends, strict=True))).astype(float)
    sums, squares = (_sums_over(values, begins, ends) for values in (one, one**2))
    sums_other, squares_other = (_sums_over(values, begins_other, ends_other) for values in (other, other**2))
    with np.errstate(all="ignore"):
        norm = np.sqrt(np.maximum((squares - sums**2 / common) * (squares_other - sums_other**2 / common), 0))
        found = np.where(norm > 0, (together - sums * sums_other / common) / norm, 0)
    return common, found


def _sums_over(values: Image, begins: list[NDArray[np.int64]], ends: list[NDArray[np.int64]]) -> Image:
    """Return the sums of values (y, x) over rectangles: all pairs of ranges in y and in x."""
    up_to = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    (top, left), (bottom, right) = begins, ends
    return np.asarray(
        up_to[np.ix_(bottom, right)]
        - up_to[np.ix_(top, right)]
        - up_to[np.ix_(bottom, left)]
        + up_to[np.ix_(top, left)]
    )


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
