"""Where two pictures of one thing lie on each other, to a fraction of a pixel. Formulas: docs/frc.md."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.frc import ring_correlation
from ptyconv_cli.metrics.image import Image, binned, correlation, flattened, moved_by, transform

FEWEST = 16
"""Pixels a side that two pictures must have in common."""

COARSE = 512
"""Pixels a side at most of the pictures in which the place is searched for first."""

REACH = 2.0
"""Pixels around a place that is known, within which it is searched for again."""

CLOSE = 1e-3
"""Pixels up to which a shift is found."""

MOST_ROUNDS = 20

BY_CHANCE = 0.001
"""In which share of cases noise may look as if it had something in common."""

HALF, CLEAR = 0.5, 0.5
"""Where less than half of a side lies on the other picture, atoms lie on others by chance more easily: the ring
correlation must be at least so large there.
"""

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

    @property
    def correlation(self) -> float:
        """Pearson's correlation of both, the second one moved by the rest."""
        return correlation(self.one, moved_by(self.other, self.rest))


class Fit(NamedTuple):
    """How well two pictures fit where they fit best: what they have in common there, and their `agreement`.

    That is the mean ring correlation, weighted by the root of the rings' pixels; that of `noise` is hardly ever larger,
    at the best of all places.
    """

    common: Overlap
    agreement: float
    noise: float


def fit(one: Image, other: Image) -> Fit | None:
    """Return how well two pictures fit, wherever they fit best; None where they cannot have `FEWEST` px in common.

    Tried are the place that `search` finds, and that where they lie now, for most pictures of one thing have the same
    corner.
    """
    place = search(one, other)
    if place is None:
        return None
    trials = math.prod(sum(sizes) for sizes in zip(one.shape, other.shape, strict=True))
    smaller = [min(sizes) for sizes in zip(one.shape, other.shape, strict=True)]
    reach = REACH + _binning(one, other)
    registered = (register(one, other, near, reach) for near in dict.fromkeys([place, (0.0, 0.0)]))
    found = [_fit_at(common, trials, smaller) for common in registered if common]
    return max(found, key=lambda fit: fit.agreement - fit.noise, default=None)


def _fit_at(common: Overlap, trials: int, smaller: Sequence[int]) -> Fit:
    """Return how well two pictures fit where they lie; each ring's correlation of noise has an error of 1 / √pixels."""
    rings = ring_correlation(*common.transforms, common.one.shape[1])
    known = np.isfinite(rings.values)
    weights = np.sqrt(rings.pixels[known])
    if not weights.size:
        return Fit(common, 0.0, 1.0)
    noise = math.sqrt(2 * math.log(trials / BY_CHANCE) * weights.size) / float(weights.sum())
    if any(size < HALF * whole for size, whole in zip(common.one.shape, smaller, strict=True)):
        noise = max(noise, CLEAR)
    return Fit(common, float((rings.values[known] * weights).sum() / weights.sum()), noise)


def _binning(one: Image, other: Image) -> int:
    return math.ceil(int(max(*one.shape, *other.shape)) / COARSE)


def search(one: Image, other: Image) -> Shift | None:
    """Return where a picture fits best on another, to a few pixels; None where they cannot have `FEWEST` in common.

    That is, of all shifts, the one at which Pearson's correlation is the least likely to be one of noise: the larger
    the part that they have in common, the less.
    """
    if min(*one.shape, *other.shape) < FEWEST:
        return None
    binning = _binning(one, other)
    one, other = (flattened(binned(image, binning)) for image in (one, other))
    padded = [_smooth(sum(sizes)) for sizes in zip(one.shape, other.shape, strict=True)]
    of_one, of_other = (np.fft.rfft2(image, padded) for image in (one, other))
    together = np.fft.irfft2(of_one.conj() * of_other, padded)
    fewest = math.ceil(FEWEST / binning)
    shifts = [
        np.arange(fewest - size, size_other - fewest + 1)
        for size, size_other in zip(one.shape, other.shape, strict=True)
    ]
    common, found = _correlations(one, other, shifts, together[np.ix_(*shifts)])
    unlikely = np.where(found > 0, -common * np.log1p(-(np.minimum(found, 1 - 1e-12) ** 2)), 0)
    best = np.unravel_index(int(unlikely.argmax()), unlikely.shape)
    y, x = (float(binning * of_axis[place]) for of_axis, place in zip(shifts, best, strict=True))
    return y, x


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


def overlap(one: Image, other: Image, shift: Shift) -> Overlap | None:
    """Return what two pictures have in common at a shift, None where that is fewer than `FEWEST` pixels a side."""
    whole = [round(part) for part in shift]
    cuts, cuts_other = [], []
    for size, size_other, part in zip(one.shape, other.shape, whole, strict=True):
        begin, end = max(0, -part), min(size, size_other - part)
        if end - begin < FEWEST:
            return None
        cuts.append(slice(begin, end))
        cuts_other.append(slice(begin + part, end + part))
    return Overlap(flattened(one[tuple(cuts)]), flattened(other[tuple(cuts_other)]), shift)


def register(one: Image, other: Image, near: Shift, reach: float = REACH) -> Overlap | None:
    """Return what two pictures have in common, the second shifted so that their correlation is largest.

    Searched for within `reach` px of a shift `near` it. None where they have too little in common there. A maximum of
    the cross-correlation under a window that moves along with the picture, so that the window draws it nowhere.
    """
    found = overlap(one, other, near)
    if found is None:
        return None
    start = _moved(near, _peak(found, reach))
    if start != near:
        found = overlap(one, other, start)
    first = found
    for _ in range(MOST_ROUNDS):
        if found is None:
            return None
        step = _step(found)
        if max(map(abs, step)) < CLOSE:
            break
        shift = _moved(found.shift, step)
        if max(abs(part - begin) for part, begin in zip(shift, start, strict=True)) > 1.5:
            return first  # there is no maximum nearby, as of noise
        found = overlap(one, other, shift)
    return found


def _moved(shift: Shift, further: Shift) -> Shift:
    return shift[0] + further[0], shift[1] + further[1]


def _peak(common: Overlap, reach: float) -> Shift:
    """Return the further shift, within reach, at which the cross-correlation has its largest value, in whole pixels."""
    of_one, of_other = common.transforms
    surface = np.fft.irfft2(of_one.conj() * of_other, common.one.shape)
    near = [np.arange(-part, part + 1) for part in (min(math.ceil(reach), size // 4) for size in surface.shape)]
    around = surface[np.ix_(*near)]
    if not around.max() > 0:
        return 0.0, 0.0
    y, x = np.unravel_index(int(around.argmax()), around.shape)
    return float(near[0][y]), float(near[1][x])


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
