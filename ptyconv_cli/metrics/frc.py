"""Fourier ring correlation: down to which detail two pictures agree. Formulas: docs/frc.md."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.results.frc import COARSEST, HALF_BIT, ONE_BIT, check_threshold

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
    """Return where, in rings, the correlation first falls below the threshold; infinity where it never does.

    From the last of the `COARSEST` rings on that is not below it: None where all of these are.
    """
    above = values - threshold
    coarse = np.flatnonzero(above[:COARSEST] >= 0)
    if not coarse.size:
        return None
    begin = int(coarse[-1])
    below = np.flatnonzero(~(above[begin:] >= 0))
    if not below.size:
        return math.inf
    first = begin + int(below[0])
    before, after = above[first - 1], above[first]
    part = before / (before - after) if np.isfinite(after) else 0.0
    return float(first + part)  # the ring before it is number `first`, for they count from 1
