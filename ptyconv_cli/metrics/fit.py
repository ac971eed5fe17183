"""Where two pictures lie on each other, if they do, also turned or mirrored. With numpy only."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.image import (
    FEWEST,
    REACH,
    Cut,
    Image,
    Overlap,
    Shift,
    binned,
    cut,
    flattened,
    register,
    surface,
    window,
)

COARSE = 512
"""Pixels a side at most of the pictures in which places are searched for first, and are compared."""

MOST_PLACES, NEARLY = 12, 0.7
"""How many places are compared at most, and down to which share of the best one's likelihood."""

DOUBT = 5.0
"""Times 1/√n for each of n pixels, within which a place is as likely as the best one. Of these the nearest is taken,
for most pictures of one thing have the same corner.
"""

ELSEWHERE = 2.0
"""Pixels from which on a place is another one."""

BY_CHANCE = 0.001
"""In which share of cases noise may look as if it had something in common."""

SMALL_PART, CLEAR = 0.5, 0.5
"""Where less than such a part of a side lies on the other picture, atoms lie on others by chance more easily: the ring
correlation must be at least so large there.
"""


class Fit(NamedTuple):
    """How well two pictures fit where they fit best: what they have in common there, and their `agreement`.

    That is the mean ring correlation, weighted by the root of the rings' pixels; that of `noise` is hardly ever larger,
    at the best of all places. `rival`: the shift of another place at which they fit as well, None where there is none.
    """

    common: Overlap
    agreement: float
    noise: float
    rival: Shift | None = None


def fit(one: Image, other: Image) -> Fit | None:
    """Return how well two pictures (y, x) fit, wherever they fit best; None where they are smaller than `FEWEST` px.

    Of all shifts by which they have `FEWEST` px a side in common, that at which Pearson's correlation r of the n pixels
    in common is the least likely to be one of noise: where -n log(1 - r²) is largest. The best places are compared to
    a fraction of a pixel, for a lattice may fit at a wrong place between whose pixels there is less.
    """
    if min(*one.shape, *other.shape) < FEWEST:
        return None
    places = [_likelihood(one, other, place) for place in dict.fromkeys([(0.0, 0.0), *_places(one, other)])]
    best = max(places, key=lambda place: place.pixels * place.a_pixel)
    least = best.pixels * (best.a_pixel - best.doubt)
    chosen = min((place for place in places if place.pixels * place.a_pixel >= least), key=_distance)
    common = register(one, other, chosen.shift)
    if common is None:
        return None
    as_good = [place for place in places if place.a_pixel > 0 and place.a_pixel >= chosen.a_pixel - place.doubt]
    elsewhere = [place.shift for place in as_good if math.dist(place.shift, common.shift) > ELSEWHERE]
    return _how_well(common, one.shape, other.shape)._replace(rival=elsewhere[0] if elsewhere else None)


def is_seen(common: Overlap) -> bool:
    """Say whether pictures that were registered near a place have more in common there than noise has."""
    near = 2 * math.ceil(REACH) + 1
    agreement, noise = _agreement(common, trials=near * near)
    return agreement > noise


def _how_well(common: Overlap, *shapes: Sequence[int]) -> Fit:
    """Return how well pictures of two shapes fit where they lie."""
    agreement, noise = _agreement(common, math.prod(sum(sizes) for sizes in zip(*shapes, strict=True)))
    parts = [size / min(sizes) for size, *sizes in zip(common.one.shape, *shapes, strict=True)]
    return Fit(common, agreement, max(noise, CLEAR) if min(parts) < SMALL_PART else noise)


def _agreement(common: Overlap, trials: int) -> tuple[float, float]:
    """Return the mean ring correlation, weighted, and what noise has hardly ever, as the best of so many places.

    Of noise, the correlation in each ring has an error of 1 / √pixels.
    """
    rings = common.rings
    known = np.isfinite(rings.values)
    weights = np.sqrt(rings.pixels[known])
    if not weights.size:
        return 0.0, 1.0
    noise = math.sqrt(2 * math.log(trials / BY_CHANCE) * weights.size) / float(weights.sum())
    return float((rings.values[known] * weights).sum() / weights.sum()), noise


class _Likelihood(NamedTuple):
    """How unlikely it is, at a place, that noise fits as well: -log(1 - r²) for each of so many `pixels`.

    And by how much that may be wrong.
    """

    shift: Shift
    pixels: float = 1.0
    a_pixel: float = 0.0
    doubt: float = 0.0


def _distance(place: _Likelihood) -> float:
    return math.hypot(*place.shift)


def _likelihood(one: Image, other: Image, near: Shift) -> _Likelihood:
    """Return how well two pictures fit near a place, to a fraction of a pixel; of large ones by their middle part."""
    middle = cut(one, other, near, COARSE)
    if middle is None:
        return _Likelihood(near)
    (y, x), whole = near, middle.whole
    common = register(middle.one, middle.other, (y - whole[0], x - whole[1]))
    if common is None or not common.correlation > 0:
        return _Likelihood(near)
    shift = whole[0] + common.shift[0], whole[1] + common.shift[1]
    a_pixel = float(_unlikely(np.array(common.correlation)))
    return _Likelihood(shift, middle.pixels, a_pixel, DOUBT / math.sqrt(middle.one.size))


def _unlikely(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each of the pixels in common, how unlikely it is that noise has this correlation, 0 below 0."""
    return np.asarray(-np.log1p(-(np.clip(correlation, 0, 1 - 1e-12) ** 2)))


def _places(one: Image, other: Image) -> list[Shift]:
    """Return the places at which pictures may fit best, to whole pixels."""
    binning = math.ceil(int(max(*one.shape, *other.shape)) / COARSE)
    flat = [flattened(binned(image, binning)) for image in (one, other)]
    coarse = search(flat[0], flat[1], -(-FEWEST // binning))
    if binning == 1:
        return coarse
    place = binning * coarse[0][0], binning * coarse[0][1]
    if len(coarse) == 1:
        return [place]
    there = cut(one, other, place)
    return [place] if there is None else [place, *_places_around(there)]


def _places_around(there: Cut) -> list[Shift]:
    """Return the places at which large pictures may fit best, of all those around one that was found in coarser ones.

    In coarser pictures, the places at which a lattice fits are not told apart.
    """
    common = Overlap(flattened(there.one), flattened(there.other), (0.0, 0.0))
    height, width = (size // 2 - 1 for size in there.one.shape)
    values = surface(common, height, width) / _own_surface(there.one.shape, height, width)
    y, x = np.arange(-height, height + 1), np.arange(-width, width + 1)
    in_common = np.multiply.outer(there.one.shape[0] - abs(y), there.one.shape[1] - abs(x))
    found = values / math.sqrt(common.one.var() * common.other.var() or 1.0)
    return [
        (there.whole[0] + float(y[at_y]), there.whole[1] + float(x[at_x]))
        for at_y, at_x in _maxima(in_common * _unlikely(found))
    ]


def _own_surface(shape: tuple[int, ...], *reaches: int) -> Image:
    """Return the cross-correlation of the windows themselves, as of `surface`."""
    of_axes = []
    for size, reach in zip(shape, reaches, strict=True):
        own = np.fft.irfft(np.abs(np.fft.rfft(window(size))) ** 2, size)
        of_axes.append(own[np.arange(-reach, reach + 1)])
    return np.asarray(np.multiply.outer(*of_axes))


def search(one: Image, other: Image, fewest: int = FEWEST) -> list[Shift]:
    """Return the shifts at which a flat picture fits best on another, in whole pixels, the best one first.

    Of all by which they have so many pixels a side in common; where no other is nearly as good, only that one.
    """
    padded = [_smooth(sum(sizes)) for sizes in zip(one.shape, other.shape, strict=True)]
    of_one, of_other = (np.fft.rfft2(image, padded) for image in (one, other))
    together = np.fft.irfft2(of_one.conj() * of_other, padded)
    shifts = [
        np.arange(fewest - size, size_other - fewest + 1)
        for size, size_other in zip(one.shape, other.shape, strict=True)
    ]
    common, found = _correlations(one, other, shifts, together[np.ix_(*shifts)])
    return [(float(shifts[0][y]), float(shifts[1][x])) for y, x in _maxima(common * _unlikely(found))]


def _maxima(values: Image) -> list[tuple[int, int]]:
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


def _correlations(
    one: Image, other: Image, shifts: list[NDArray[np.int64]], together: Image
) -> tuple[Image, NDArray[np.float64]]:
    """Return by shift (y, x) how many pixels are in common, and Pearson's correlation over these.

    `together`: the sums of the products over them.
    """
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
