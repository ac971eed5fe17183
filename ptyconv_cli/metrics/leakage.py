"""Ring correlation where a window lets in more from other rings than a ring holds. With numpy only.

Under a window each Fourier pixel spreads over all others a little. Where pictures hold little as fine as a ring, it is
full of what leaks in from coarser ones: the same few numbers again. Formulas: docs/frc.md.
"""

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.chance import ENOUGH, SAME, independent_pixels
from ptyconv_cli.metrics.image import (
    Image,
    Overlap,
    RingCorrelation,
    Rings,
    moved_by,
    ring_correlation,
    ring_powers,
    ring_sums,
    transform,
    window,
)

MOST = 0.75
"""Of a ring's power, at most, may have leaked in."""

WIDER = 1.5
"""Fourier pixels that are as one under Hann's window, along y and along x."""

NEAR = 1
"""Fourier pixels, in y and in x, from which power that comes in is of detail of nearly the same size."""

FINER = 8
"""How many times finer than Fourier pixels a window's transform is worked out, for waves between these leak most."""


def rings_of(common: Overlap) -> RingCorrelation:
    """Return the correlation of two pictures ring by ring, with its pixels.

    Rings into which more has leaked than `MOST` are taken under a window that hardly leaks, Hann's, of which fewer
    pixels are independent. Of pictures of few independent pixels they tell nothing, and are NaN, unless both are
    nearly the same.
    """
    leaking = (leaked(common.one) > MOST) | (leaked(common.other) > MOST)
    values, pixels = (np.array(part) for part in common.rings)
    if leaking.any() and independent_pixels(common) < ENOUGH and not common.correlation >= SAME:
        values[leaking] = np.nan
    elif leaking.any():
        moved = moved_by(common.other, common.rest)
        hardly = ring_correlation(_under_hann(common.one), _under_hann(moved), common.one.shape[1])
        values[leaking], pixels[leaking] = hardly.values[leaking], hardly.pixels[leaking] / WIDER**2
    return RingCorrelation(values, pixels)


@np.errstate(all="ignore")
def leaked(image: Image) -> Rings:
    """Return the share of each ring's power that has leaked in from elsewhere, of a flat picture under its window.

    As expected from its power under a window that hardly leaks, Hann's. NaN where the ring holds nothing.
    """
    height, width = image.shape
    own = np.abs(_under_hann(image)) ** 2
    scale = np.prod([(window(size) ** 2).sum() / (_hann(size) ** 2).sum() for size in image.shape])
    spread = np.multiply.outer(_spread(height), _spread(width))
    near = [np.minimum(np.arange(size), size - np.arange(size)) <= NEAR for size in image.shape]
    spread[np.ix_(*near)] = 0
    # Both are even, so that half a transform of theirs, a sum of cosines, is real.
    whole = np.fft.irfft2(own, image.shape) * np.fft.irfft2(spread[:, : width // 2 + 1], image.shape)
    coming_in = np.fft.rfft2(whole).real * height * width * scale
    return ring_sums(np.maximum(coming_in, 0), width) / ring_powers(transform(image), width)


def _under_hann(image: Image) -> NDArray[np.complex128]:
    height, width = image.shape
    return np.asarray(np.fft.rfft2(image * _hann(height)[:, None] * _hann(width)))


def _hann(size: int) -> NDArray[np.float64]:
    return np.asarray(np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2)


def _spread(size: int) -> NDArray[np.float64]:
    """Return how a window spreads power over the Fourier pixels, from 0 on; their sum is 1."""
    fine = np.abs(np.fft.fft(window(size), FINER * size)) ** 2
    half = FINER // 2
    around = np.stack([np.roll(fine, part) for part in range(-half, half + 1)])
    around[[0, -1]] /= 2
    found = around.sum(0)[::FINER]
    return np.asarray(found / found.sum())
