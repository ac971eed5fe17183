"""Pictures (y, x) of a reconstruction: made flat and continuous, tapered at their edges, moved by parts of a pixel."""

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.planes import coordinates
from ptyconv_cli.metrics.snapshot import continuous

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


def flattened(image: Image) -> Image:
    """Return a picture less the plane, a constant and a ramp, that fits best to what is finite of it."""
    known = np.isfinite(image)
    if not known.all():
        return _flattened_where(image, known)
    y, x = (coordinates(size) for size in image.shape)
    flat = image - image.mean()
    # Over a rectangle the constant and the two ramps are orthogonal.
    slope_y = flat.sum(1) @ y / max(y @ y, 1) / len(x)
    slope_x = flat.sum(0) @ x / max(x @ x, 1) / len(y)
    flat -= (slope_y * y)[:, None] + slope_x * x
    return np.asarray(flat)


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
