"""Where two pictures lie on each other, if they do, also turned or mirrored. With numpy only."""

import math
from typing import NamedTuple

import numpy as np

from ptyconv_cli.metrics.chance import CERTAIN, CLEARLY, LARGEST, LEAST, is_beyond_chance, likelihood
from ptyconv_cli.metrics.image import (
    FEWEST,
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
from ptyconv_cli.metrics.search import TURNED, maxima, search, unlikely

COARSE = 512
"""Pixels a side at most of the pictures in which places are searched for first, and are compared."""

DOUBT = 5.0
"""Times 1/√n for each of n pixels, within which a place is as likely as the best one. Of these the nearest is taken,
for most pictures of one thing have the same corner.
"""

ELSEWHERE = 2.0
"""Pixels from which on a place is another one."""


class Fit(NamedTuple):
    """How two pictures fit where they fit best: what they have in common there, and whether it is `beyond_chance`.

    `rival`: the shift of another place at which they fit as well, None where there is none.
    """

    common: Overlap
    beyond_chance: bool
    rival: Shift | None = None


def fit(one: Image, other: Image, near: Shift = (0.0, 0.0)) -> Fit | None:
    """Return how two pictures (y, x) fit, wherever they fit best; None where they are smaller than `FEWEST` px.

    Of all shifts by which they have `FEWEST` px a side in common, that at which Pearson's correlation r of the n pixels
    in common is the least likely to be one of noise: where -n log(1 - r²) is largest; of equals, that `near` a place.
    The best places are compared to a fraction of a pixel, for a lattice may fit at a wrong place between whose pixels
    there is less.
    """
    if min(*one.shape, *other.shape) < FEWEST:
        return None
    found = _best_place(one, other, near)
    if found is None:
        return None
    common, rival = found
    return Fit(common, is_beyond_chance(common, one, other), rival)


def _best_place(one: Image, other: Image, near: Shift) -> tuple[Overlap, Shift | None] | None:
    """Return what two pictures have in common where they fit best, and the shift of a rival: see `fit`."""
    places = [_likelihood(one, other, place) for place in dict.fromkeys([near, *_places(one, other)])]
    best = max(places, key=lambda place: place.pixels * place.a_pixel)
    least = best.pixels * (best.a_pixel - best.doubt)
    as_likely = (place for place in places if place.pixels * place.a_pixel >= least)
    chosen = min(as_likely, key=lambda place: math.dist(place.shift, near))
    common = register(one, other, chosen.shift)
    if common is None:
        return None
    as_good = [place for place in places if place.a_pixel > 0 and place.a_pixel >= chosen.a_pixel - place.doubt]
    elsewhere = [place.shift for place in as_good if math.dist(place.shift, common.shift) > ELSEWHERE]
    return common, elsewhere[0] if elsewhere else None


class _Likelihood(NamedTuple):
    """How unlikely it is, at a place, that noise fits as well: -log(1 - r²) for each of so many `pixels`.

    And by how much that may be wrong.
    """

    shift: Shift
    pixels: float = 1.0
    a_pixel: float = 0.0
    doubt: float = 0.0


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
    a_pixel = float(unlikely(np.array(common.correlation)))
    return _Likelihood(shift, middle.pixels, a_pixel, DOUBT / math.sqrt(middle.one.size))


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
        for at_y, at_x in maxima(in_common * unlikely(found))
    ]


def _own_surface(shape: tuple[int, ...], *reaches: int) -> Image:
    """Return the cross-correlation of the windows themselves, as of `surface`."""
    of_axes = []
    for size, reach in zip(shape, reaches, strict=True):
        own = np.fft.irfft(np.abs(np.fft.rfft(window(size))) ** 2, size)
        of_axes.append(own[np.arange(-reach, reach + 1)])
    return np.asarray(np.multiply.outer(*of_axes))


LACKING = 0.5
"""A fit is better where the correlation lacks only such a share of what it lacks to 1 as the picture is."""


def better_orientation(one: Image, other: Image) -> tuple[str, float] | None:
    """Return how `other`, turned, mirrored or with its sign changed, fits `one` clearly better than as it is.

    Both (y, x). In words, and the correlation of the pictures; None where it does not, or not beyond chance.
    """
    binning = math.ceil(max(*one.shape, *other.shape) / LARGEST)
    one, other = (binned(image, binning) for image in (one, other))
    if min(*one.shape, *other.shape) < FEWEST:
        return None
    found: dict[str, Overlap] = {}
    for turned, turn in TURNED.items():
        for sign, factor in (("", 1.0), ("with the opposite sign", -1.0)):
            fitted = _best_place(one, factor * turn(other), (0.0, 0.0))
            if fitted:
                found[" and ".join(filter(None, (turned, sign)))], _ = fitted
    if "" not in found:
        return None
    likely = {how: likelihood(common) for how, common in found.items()}
    how = max(likely, key=lambda one: likely[one])
    best, as_it_is = found[how], found[""]
    others = max((value for one, value in likely.items() if one != how), default=0.0)
    beyond_chance = likely[how] >= CERTAIN or likely[how] > max(LEAST, CLEARLY * others)
    much_closer = 1 - best.correlation < LACKING * (1 - as_it_is.correlation)
    clearly = likely[how] > CLEARLY * likely[""] and best.correlation > as_it_is.correlation
    large = 2 * min(best.one.shape) >= min(*one.shape, *other.shape)  # small parts fit turned by chance
    return (how, best.correlation) if how and beyond_chance and large and (clearly or much_closer) else None
