"""Whether two pictures have more in common than such that have nothing in common. Formulas: docs/frc.md."""

import math
from typing import NamedTuple

import numpy as np

from ptyconv_cli.metrics.image import FEWEST, REACH, Image, Overlap, binned, flattened, ring_powers, windowed
from ptyconv_cli.metrics.search import TURNED, Shifts, all_shifts, correlations, unlikely

LARGEST = 256
"""Pixels a side at most of the pictures that are turned: of larger ones, coarser pictures will do."""

LEAST = 6.0
"""Below this likelihood two pictures have nothing in common."""

CERTAIN, ENOUGH = 20.0, 30.0
"""From this likelihood on, and from so many independent pixels on, they have, whatever turned ones do.

As do crystals, which are like themselves turned.
"""

SAME = 0.9
"""From this correlation on pictures that lie on each other are nearly the same."""

CLEARLY = 1.5
"""How many times better than turned, mirrored or negated they must fit in between."""


@np.errstate(all="ignore")
def independent_pixels(common: Overlap) -> float:
    """Return how many independent pixels pictures with such spectra amount to: N = ΣS · ΣT / ΣST.

    S and T: the power of each over the Fourier pixels, as the mean of its ring, or of those around, whichever gives
    less. By chance, the correlation of two pictures is 0 ± 1/√N: of smooth pictures, of which few rings hold nearly
    all, and of streaks, N is small. Of a few bright spots there are fewer still, by √3/kurtosis for each picture.
    """
    width, pixels = common.one.shape[1], common.rings.pixels
    by_ring = [ring_powers(of_one, width) for of_one in common.transforms]
    of_rings = by_ring[0].sum() * by_ring[1].sum() / np.nansum(by_ring[0] * by_ring[1] / pixels)
    around = [_around(image) for image in (common.one, common.other)]
    of_places = around[0].sum() * around[1].sum() / (around[0] * around[1]).sum()
    found = min(of_rings, of_places) * math.sqrt(_evenness(common.one) * _evenness(common.other))
    return float(found) if math.isfinite(found) else 0.0


def _around(image: Image) -> Image:
    """Return the power at each Fourier pixel of a windowed picture, as the mean of that and of the eight around."""
    power = np.abs(np.fft.fft2(windowed(image))) ** 2
    rows = sum(np.roll(power, part, 0) for part in (-1, 0, 1))
    return np.asarray(sum(np.roll(rows, part, 1) for part in (-1, 0, 1)))


def _evenness(image: Image) -> float:
    """Return 1 of a picture that is as even as noise, less of one in which few pixels hold nearly all: 3 / kurtosis."""
    square = (image - image.mean()) ** 2
    return min(1.0, 3 * float(square.mean() ** 2 / (square**2).mean()))


class Evidence(NamedTuple):
    """How many independent pixels two pictures have, and how unlikely it is that they are so alike by chance.

    `likelihood`: L = -N/2 log(1 - r²), 0 where r is not positive.
    """

    pixels: float
    likelihood: float

    @property
    def is_certain(self) -> bool:
        """Whether they have so much in common that no others need to be compared."""
        return self.likelihood >= CERTAIN and self.pixels >= ENOUGH


def evidence(common: Overlap) -> Evidence:
    """Return what there is of evidence that two pictures have something in common where they lie."""
    pixels, alike = independent_pixels(common), common.correlation
    return Evidence(pixels, float(pixels / 2 * unlikely(np.array(alike))) if alike > 0 else 0.0)


def likelihood(common: Overlap) -> float:
    """Return how unlikely it is that pictures are so alike by chance: see `Evidence`."""
    return evidence(common).likelihood


def is_beyond_chance(common: Overlap, one: Image, other: Image) -> bool:
    """Say whether what two pictures have in common, where they fit best of all places, is more than chance."""
    return _is_beyond(evidence(common), one, other, math.inf)


def is_seen(common: Overlap) -> bool:
    """Say whether pictures that were registered near a place have more in common there than chance.

    Of one run, what is nearly the same is the same: as a crystal, which is like itself turned.
    """
    found = evidence(common)
    if found.likelihood >= LEAST and common.correlation >= SAME:
        return True
    return _is_beyond(found, common.one, common.other, math.ceil(REACH))


def _is_beyond(found: Evidence, one: Image, other: Image, reach: float) -> bool:
    if found.is_certain or found.likelihood < LEAST:
        return found.is_certain
    binning = math.ceil(max(*one.shape, *other.shape) / LARGEST)
    one, other = (flattened(binned(image, binning)) for image in (one, other))
    fewest = -(-FEWEST // binning)
    as_it_is, *negated = _best(one, other, reach, fewest)
    turned = [value for turn in list(TURNED.values())[1:] for value in _best(one, turn(other), reach, fewest)]
    return as_it_is > CLEARLY * max(*turned, *negated)


def _best(one: Image, other: Image, reach: float, fewest: int) -> tuple[float, float]:
    """Return how well pictures fit at the best of all places within `reach` of their middle, and negated."""
    shifts = _within(all_shifts(one, other, fewest), one, other, reach)
    if not all(map(len, shifts)):
        return 0.0, 0.0
    pixels, found = correlations(one, other, shifts)
    return float((pixels * unlikely(found)).max()), float((pixels * unlikely(-found)).max())


def _within(shifts: Shifts, one: Image, other: Image, reach: float) -> Shifts:
    middles = [(size_other - size) // 2 for size, size_other in zip(one.shape, other.shape, strict=True)]
    return [of_axis[abs(of_axis - middle) <= reach] for of_axis, middle in zip(shifts, middles, strict=True)]
