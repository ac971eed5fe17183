"""Lays two pictures of one thing on each other, to a fraction of a pixel, from near a place. Formulas: docs/frc.md."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.frc import RingCorrelation, ring_correlation
from ptyconv_cli.metrics.image import Image, correlation, flattened, moved_by, transform

FEWEST = 16
"""Pixels a side that two pictures must have in common."""

REACH = 2.0
"""Pixels around a place that is known, within which it is searched for again."""

CLOSE = 1e-3
"""Pixels up to which a shift is found."""

MOST_ROUNDS = 20

Shift = tuple[float, float]
"""Pixels (y, x): what is at p in one picture is at p + shift in the other."""


@dataclass(frozen=True, eq=False)
class Overlap:
    """What two pictures have in common: flat, and cut to whole pixels.

    `shift` of the second against the first, of which the cut leaves the `rest`, half a pixel at most.
    """

    one: Image
    other: Image
    shift: Shift

    @property
    def rest(self) -> Shift:
        """The part of the shift that is less than a pixel."""
        y, x = self.shift
        return y - round(y), x - round(x)

    @cached_property
    def transforms(self) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Half the Fourier transforms of both under a window, the second one moved by the rest."""
        return transform(self.one), transform(self.other, self.rest)

    @cached_property
    def rings(self) -> RingCorrelation:
        """The correlation of both ring by ring."""
        return ring_correlation(*self.transforms, self.one.shape[1])

    @cached_property
    def correlation(self) -> float:
        """Pearson's correlation of both, the second one moved by the rest."""
        return correlation(self.one, moved_by(self.other, self.rest))


class Cut(NamedTuple):
    """The parts of two pictures that show the same at a shift of `whole` pixels, out of the `pixels` in common."""

    one: Image
    other: Image
    whole: Shift
    pixels: float


def cut(one: Image, other: Image, shift: Shift, largest: float = math.inf) -> Cut | None:
    """Return what two pictures have in common at a shift, to whole pixels; of more than so many a side the middle.

    None where that is fewer than `FEWEST` pixels a side.
    """
    cuts, cuts_other, pixels = [], [], 1.0
    for size, size_other, part in zip(one.shape, other.shape, map(round, shift), strict=True):
        begin, end = max(0, -part), min(size, size_other - part)
        if end - begin < FEWEST:
            return None
        beside = int(max(end - begin - largest, 0)) // 2
        cuts.append(slice(begin + beside, end - beside))
        cuts_other.append(slice(begin + beside + part, end - beside + part))
        pixels *= end - begin
    y, x = shift
    return Cut(one[tuple(cuts)], other[tuple(cuts_other)], (float(round(y)), float(round(x))), pixels)


def overlap(one: Image, other: Image, shift: Shift) -> Overlap | None:
    """Return what two pictures have in common at a shift, None where that is fewer than `FEWEST` pixels a side."""
    common = cut(one, other, shift)
    return Overlap(flattened(common.one), flattened(common.other), shift) if common else None


def register(one: Image, other: Image, near: Shift, reach: float = REACH) -> Overlap | None:
    """Return what two pictures have in common, the second shifted so that their correlation is largest.

    Searched for within `reach` px of a shift `near` it. None where they have too little in common there. A maximum of
    the cross-correlation under a window that moves along with the picture, so that the window draws it nowhere.
    """
    found = overlap(one, other, near)
    if found is None:
        return None
    first = overlap(one, other, _moved(near, _peak(found, reach))) or found
    found = first
    for _ in range(MOST_ROUNDS):
        step = _step(found)
        if max(map(abs, step)) < CLOSE:
            break
        moved = overlap(one, other, _moved(found.shift, step))
        if moved is None:  # any further, and too little is in common
            break
        if max(abs(part - begin) for part, begin in zip(moved.shift, first.shift, strict=True)) > 1.5:
            return first  # there is no maximum nearby, as of noise
        found = moved
    return found


def _moved(shift: Shift, further: Shift) -> Shift:
    return shift[0] + further[0], shift[1] + further[1]


def surface(common: Overlap, reach_y: int, reach_x: int) -> Image:
    """Return the cross-correlation under a window at further shifts (y, x) of whole pixels, from -reach to reach."""
    of_one, of_other = common.transforms
    values = np.fft.irfft2(of_one.conj() * of_other, common.one.shape)
    return np.asarray(values[np.ix_(np.arange(-reach_y, reach_y + 1), np.arange(-reach_x, reach_x + 1))])


def _peak(common: Overlap, reach: float) -> Shift:
    """Return the further shift, within reach, at which the cross-correlation has its largest value, in whole pixels."""
    around = surface(common, *(min(math.ceil(reach), size // 4) for size in common.one.shape))
    if not around.max() > 0:
        return 0.0, 0.0
    y, x = np.unravel_index(int(around.argmax()), around.shape)
    return float(y - around.shape[0] // 2), float(x - around.shape[1] // 2)


def _step(common: Overlap) -> Shift:
    """Return Newton's step towards the maximum of the cross-correlation, of half a pixel at most."""
    height, width = common.one.shape
    of_one, of_other = common.transforms
    product = of_one.conj() * of_other
    product[:, 1 : (width + 1) // 2] *= 2  # which stand for their mirror images, too
    y, x = 2 * np.pi * np.fft.fftfreq(height), 2 * np.pi * np.fft.rfftfreq(width)
    rows, columns = product.sum(1), product.sum(0)
    slope = -np.array([rows.imag @ y, columns.imag @ x])
    mixed = y @ product.real @ x
    bend = -np.array([[rows.real @ y**2, mixed], [mixed, columns.real @ x**2]])
    if not np.isfinite(bend).all() or np.linalg.eigvalsh(bend).max() >= 0:
        return 0.0, 0.0
    step = -np.linalg.solve(bend, slope)
    step *= min(1.0, 0.5 / max(np.abs(step).max(), 1e-30))
    return float(step[0]), float(step[1])
