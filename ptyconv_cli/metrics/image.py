"""Pictures of the object, with numpy only: flat, windowed, moved, correlated ring by ring, and laid on each other to a
fraction of a pixel. Formulas: docs/frc.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.planes import coordinates
from ptyconv_cli.metrics.snapshot import continuous
from ptyconv_cli.results.frc import COARSEST, HALF_BIT, ONE_BIT, check_threshold

Image = NDArray[np.float64]

TAPER = 0.1
"""Share of a side, at each end, over which a window falls to 0."""

TAPS = 4
"""Pixels to each side that a picture is interpolated from."""


def object_picture(values: NDArray[np.floating], number: int | None = None, wraps: bool = False) -> Image:
    """Return the picture of an object's amplitude or phase (omode, slice, y, x): summed over slices, or one of them.

    `number`: that of the slice, from 1 on, None for the sum. Of several object modes the mean. `wraps`: whether it is a
    phase that is known only up to full turns.
    """
    chosen = values if number is None else values[:, number - 1 : number]
    total = np.zeros(values.shape[-2:])
    for plane in chosen.reshape(-1, *values.shape[-2:]):
        total += continuous(plane) if wraps else plane
    return np.asarray(total / len(values))


def flattened(image: Image, lit: NDArray[np.bool_] | None = None) -> Image:
    """Return a picture less the plane, a constant and a ramp, that fits best to what is finite of it, and `lit`."""
    known = np.isfinite(image) if lit is None else np.isfinite(image) & lit
    if not known.all():
        return _flattened_where(image, known)
    y, x = (coordinates(size) for size in image.shape)
    flat = image - image.mean()
    # Over a rectangle the constant and the two ramps are orthogonal.
    slope_y = flat.sum(1) @ y / max(y @ y, 1) / len(x)
    slope_x = flat.sum(0) @ x / max(x @ x, 1) / len(y)
    flat -= (slope_y * y)[:, None] + slope_x * x
    return np.asarray(flat)


def faded(image: Image, lit: NDArray[np.bool_] | None) -> Image:
    """Return a picture that is flat where it is `lit`, and fades to 0 towards where it is not; itself if all is lit.

    As slowly as a window falls, for of a sharp edge two pictures would have much in common.
    """
    if lit is None:
        return image
    reach = max(TAPER * min(image.shape) / 2, 1.0)
    around = math.ceil(3 * reach)
    wider = np.pad(lit.astype(float), around, mode="edge")
    y, x = np.fft.fftfreq(wider.shape[0])[:, None], np.fft.rfftfreq(wider.shape[1])
    blur = np.exp(-2 * (np.pi * reach) ** 2 * (y**2 + x**2))
    smooth = np.fft.irfft2(np.fft.rfft2(wider) * blur, wider.shape)
    inside = np.clip(2 * smooth[around:-around, around:-around] - 1, 0, 1)
    return np.asarray(np.where(lit, flattened(image, lit), 0.0) * np.sin(np.pi / 2 * inside) ** 2)


def _flattened_where(image: Image, known: NDArray[np.bool_]) -> Image:
    if not known.any():
        return np.asarray(image)
    y, x = np.indices(image.shape)
    plane = np.stack([np.ones_like(image), y, x], -1)
    factors = np.linalg.lstsq(plane[known], image[known], rcond=None)[0]
    return np.asarray(image - plane @ factors)


def binned(image: Image, binning: int) -> Image:
    """Return a picture of which a pixel is the mean of so many along each side; what is left at the ends is cut."""
    if binning == 1:
        return image
    height, width = (size // binning for size in image.shape)
    cut = image[: height * binning, : width * binning]
    return np.asarray(cut.reshape(height, binning, width, binning).mean((1, 3)))


def window(size: int, moved: float = 0.0) -> NDArray[np.float64]:
    """Return a Tukey window (size) that falls to 0 over the outer tenth at each end, moved by so many px."""
    from_end = np.arange(size) + 0.5 - moved
    share = np.clip(np.minimum(from_end, size - from_end) / (TAPER * size), 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * share))


def windowed(image: Image, moved: tuple[float, float] = (0.0, 0.0)) -> Image:
    """Return a picture under a window that is `moved` (y, x) by so many px."""
    height, width = image.shape
    return np.asarray(image * window(height, moved[0])[:, None] * window(width, moved[1]))


def transform(image: Image, moved: tuple[float, float] = (0.0, 0.0)) -> NDArray[np.complex128]:
    """Return half the Fourier transform of a picture p(y + moved_y, x + moved_x) under a window.

    Moved by less than a pixel: first its window the other way, then both together, so that nothing of the edges is
    seen.
    """
    height, width = image.shape
    found = np.fft.rfft2(windowed(image, moved))
    if any(moved):
        found = found * _phases(np.fft.fftfreq(height), moved[0])[:, None]
        found = found * _phases(np.fft.rfftfreq(width), moved[1])
    return np.asarray(found)


def _phases(frequencies: NDArray[np.floating], moved: float) -> NDArray[np.complex128]:
    phases = np.exp(2j * np.pi * moved * frequencies)
    phases[np.abs(frequencies) == 0.5] = np.cos(np.pi * moved)  # where both signs are one
    return np.asarray(phases)


def moved_by(image: Image, shift: tuple[float, float]) -> Image:
    """Return the picture p(y + shift_y, x + shift_x), of shifts of at most a pixel, mirrored at its edges.

    Interpolated by a sinc of `TAPS` pixels to each side under a sinc (Lanczos).
    """
    for axis, part in enumerate(shift):
        if not part:
            continue
        offsets = np.arange(-TAPS, TAPS + 1)
        factors = np.sinc(offsets - part) * np.sinc((offsets - part) / (TAPS + 1))
        size = image.shape[axis]
        padded = np.pad(image, [(TAPS, TAPS) if one == axis else (0, 0) for one in (0, 1)], mode="symmetric")
        cuts = (np.take(padded, range(start, start + size), axis) for start in range(2 * TAPS + 1))
        image = sum(factor * cut for factor, cut in zip(factors / factors.sum(), cuts, strict=True))
    return image


def correlation(one: Image, other: Image) -> float:
    """Return Pearson's correlation of two pictures; NaN where one is constant."""
    one, other = one - one.mean(), other - other.mean()
    norm = np.sqrt((one * one).sum() * (other * other).sum())
    return float((one * other).sum() / norm) if norm > 0 else float("nan")


Rings = NDArray[np.float64]
"""A number a ring, from the first one beside frequency 0 up to Nyquist's."""


class RingCorrelation(NamedTuple):
    """The correlation of two pictures ring by ring, and how many Fourier `pixels` each ring has.

    Of white noise the correlation is 0 with a standard error of 1 / √pixels.
    """

    values: Rings
    pixels: Rings


class _Half(NamedTuple):
    """By pixel of half a Fourier transform: the `ring` that it is in, and how often it stands in the whole (`counted`).

    A ring is as wide as a Fourier pixel along the shorter side. Beyond Nyquist's frequency along that side, and at
    frequency 0, is ring 0.
    """

    ring: NDArray[np.int64]
    counted: NDArray[np.float64]

    def sums(self, values: NDArray[np.float64]) -> Rings:
        """Return the sums of values (y, x) over the rings of the whole transform."""
        return np.asarray(np.bincount(self.ring, (self.counted * values).ravel())[1:], np.float64)


@lru_cache(maxsize=8)
def _half(height: int, width: int) -> _Half:
    shorter = min(height, width)
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    ring = np.rint(shorter * np.hypot(y, x)).astype(np.int64)
    ring[ring > shorter // 2] = 0
    counted = np.full(ring.shape, 2.0)
    counted[:, 0] = 1
    if width % 2 == 0:
        counted[:, -1] = 1
    return _Half(ring.ravel(), counted)


def ring_correlation(one: NDArray[np.complex128], other: NDArray[np.complex128], width: int) -> RingCorrelation:
    """Return the correlation, ring by ring, of two pictures of the same `width`, given by half their transforms.

    NaN where a ring of one has nothing in it.
    """
    half = _half(len(one), width)
    together = half.sums(one.real * other.real + one.imag * other.imag)
    with np.errstate(all="ignore"):
        values = together / np.sqrt(half.sums(_square(one)) * half.sums(_square(other)))
    return RingCorrelation(values, half.sums(np.ones(one.shape)))


def ring_sums(values: NDArray[np.float64], width: int) -> Rings:
    """Return the sums over the rings of a picture of such a `width`, of values by pixel of half its transform."""
    return _half(len(values), width).sums(values)


def ring_powers(transformed: NDArray[np.complex128], width: int) -> Rings:
    """Return the power in each ring of a picture of such a `width`, given by half its transform."""
    return ring_sums(_square(transformed), width)


def _square(values: NDArray[np.complex128]) -> NDArray[np.float64]:
    return np.asarray(values.real**2 + values.imag**2)


def one_bit(pixels: Rings) -> Rings:
    """Return the correlation at which a Fourier pixel holds one bit of information: van Heel & Schatz 2005."""
    root = np.sqrt(pixels)
    return np.asarray((0.5 + 2.4142 / root) / (1.5 + 1.4142 / root))


def half_bit(pixels: Rings) -> Rings:
    """Return the correlation at which a Fourier pixel holds half a bit of information: van Heel & Schatz 2005."""
    root = np.sqrt(pixels)
    return np.asarray((0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root))


def threshold_curve(name: str | float) -> Callable[[Rings], Rings]:
    """Return the curve of a threshold: one-bit, half-bit, or a constant; ValueError for others."""
    name = check_threshold(name)
    if name in CURVES:
        return CURVES[name]
    return lambda pixels: np.full_like(pixels, float(name))


CURVES = {ONE_BIT: one_bit, HALF_BIT: half_bit}


def crossing(values: Rings, threshold: Rings) -> float | None:
    """Return where, in rings, the correlation falls below the threshold; infinity where it never does.

    That is where two rings in a row lie below it, or the last one: no single ring decides. Searched for from the last
    of the `COARSEST` rings on that is not below it; where all of these are, as of a crystal that holds nothing so
    coarse, from the first two in a row that are not. None where there are none.
    """
    below = ~(values - threshold >= 0)
    coarse = np.flatnonzero(~below[:COARSEST])
    in_a_row = np.flatnonzero(~below[:-1] & ~below[1:])
    if not coarse.size and not in_a_row.size:
        return None
    begin = int(coarse[-1] if coarse.size else in_a_row[0])
    decide = np.flatnonzero((below & np.append(below[1:], True))[begin:])
    if not decide.size:
        return math.inf
    first = begin + int(decide[0])
    before, after = (values - threshold)[first - 1 : first + 1]
    part = before / (before - after) if np.isfinite(after) else 0.0
    return float(first + part)  # the ring before it is number `first`, for they count from 1


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
