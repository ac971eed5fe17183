"""How a snapshot lies in the frame of its run: what no diffraction pattern tells is undone, whole, not to first order.

Formulas: docs/metrics.md.
"""

import math
from collections.abc import Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import Array, namespace, numpy_type, on_host
from ptyconv_cli.metrics.device import beside
from ptyconv_cli.metrics.image import Image, Overlap, binned, register
from ptyconv_cli.metrics.planes import coordinates
from ptyconv_cli.results.frame import Frame, Shift

MOST_PIXELS = 256
"""Pixels a side, at least, of pictures that are laid on each other; larger ones are binned."""

MOST_PERMUTED = 6
"""Object modes up to which all orders are tried."""

MOST_STEPS, CLOSE = 20, 1e-6
"""Of Newton's method, and how close, in turns over the picture, or in px, it is to come."""


class InFrame(NamedTuple):
    """What is known of a snapshot in the frame of its run.

    `tensors` by key, `framed.Framed` of an object; one that is not here is as it is. `lit` (y, x): which voxels of the
    scanned region count, None for all.
    """

    frame: Frame
    tensors: dict[str, Any]
    lit: NDArray[np.bool_] | None


Matrix = NDArray[Any]


def ramp_of(waves: Sequence[Matrix]) -> Shift:
    """Return the ramp (y, x) of the phase of complex pictures (y, x), the same of all, in rad per px.

    From where the sum of their power spectra peaks, to a fraction of a Fourier pixel; 0 where there is nothing.
    """
    step = max(1, *(size // MOST_PIXELS for size in waves[0].shape))
    small = [_binned(wave, step) for wave in waves]
    size = [2 * extent for extent in small[0].shape]
    power = sum(np.abs(np.fft.fft2(wave, size)) ** 2 for wave in small)
    peak = np.unravel_index(int(np.argmax(power)), size)
    ramp = np.array([2 * math.pi * np.fft.fftfreq(extent)[at] / step for extent, at in zip(size, peak, strict=True)])
    bounds = [math.pi / (step * extent) for extent in small[0].shape]
    found = ramp
    for _ in range(MOST_STEPS):
        newton = _step_to_peak(waves, found)
        if newton is None:
            return float(ramp[0]), float(ramp[1])
        found = found + newton
        if (abs(found - ramp) > 2 * np.array(bounds)).any():
            return float(ramp[0]), float(ramp[1])
        if (abs(newton) * waves[0].shape < CLOSE).all():
            break
    return float(found[0]), float(found[1])


def _binned(wave: Matrix, step: int) -> Matrix:
    return wave if step == 1 else np.asarray(binned(wave.real, step) + 1j * binned(wave.imag, step))


def _step_to_peak(waves: Sequence[Matrix], ramp: Matrix) -> Matrix | None:
    """Return Newton's step towards the peak of the power spectra's sum, None where there is no peak."""
    power, slope, bend = 0.0, np.zeros(2), np.zeros((2, 2))
    for wave in waves:
        y, x = (coordinates(size) for size in wave.shape)
        along = [np.exp(-1j * part * at) * at ** np.arange(3)[:, None] for part, at in zip(ramp, (y, x), strict=True)]
        moments = along[0] @ wave @ along[1].T
        first = -1j * np.array([moments[1, 0], moments[0, 1]])
        second = -np.array([[moments[2, 0], moments[1, 1]], [moments[1, 1], moments[0, 2]]])
        power += abs(moments[0, 0]) ** 2
        slope += 2 * (moments[0, 0].conj() * first).real
        bend += 2 * (np.outer(first.conj(), first) + moments[0, 0].conj() * second).real
    if power > 0:  # of the logarithm, which is nearly a parabola around a peak
        slope, bend = slope / power, bend / power - np.outer(slope, slope) / power**2
    if not np.isfinite(bend).all() or np.linalg.eigvalsh(bend).max() >= 0:
        return None
    return np.asarray(-np.linalg.solve(bend, slope))


def wave_of(phase: Array, amplitude: Array | None, light: Array | None) -> tuple[Array, Array]:
    """Return real and imaginary part of a transmission (y, x) that counts where it is lit, 0 where it is not finite."""
    xp = namespace(phase)
    size = xp.ones_like(phase) if amplitude is None else amplitude
    size = size if light is None else size * light
    parts = size * xp.cos(phase), size * xp.sin(phase)
    known = xp.isfinite(parts[0])
    return xp.where(known, parts[0], 0), xp.where(known, parts[1], 0)


def ramp_like(plane: Array, ramp: Shift) -> Array:
    """Return a ramp (y, x) in rad, 0 in the middle, of the shape of a plane and where it is."""
    xp = namespace(plane)
    y, x = (
        beside((part * coordinates(size)).astype(numpy_type(plane)), plane)
        for part, size in zip(ramp, plane.shape, strict=True)
    )
    return xp.reshape(y, (-1, 1)) + x


def shift_between(now: Image, before: Image, near: Shift = (0.0, 0.0)) -> Shift | None:
    """Return by how much a picture has moved, near a shift; None where too little is seen, or too little there."""
    from ptyconv_cli.metrics.chance import is_seen

    step = max(1, *(-(-size // MOST_PIXELS) for size in now.shape)) if min(now.shape) >= 2 * MOST_PIXELS else 1
    near = near[0] / step, near[1] / step
    if not (np.isfinite(now).all() and np.isfinite(before).all()):
        return None
    found: Overlap | None = register(binned(before, step), binned(now, step), near)
    if found is None or not is_seen(found):
        return None
    return step * found.shift[0], step * found.shift[1]


def periodic_shift(now: Matrix, before: Matrix) -> Shift | None:
    """Return by how much a periodic picture, such as a probe's intensity (y, x), has moved; None where nothing is seen.

    The maximum of the cross-correlation, to a fraction of a pixel.
    """
    one, other = np.fft.fft2(before - before.mean()), np.fft.fft2(now - now.mean())
    product = one.conj() * other
    if not np.isfinite(product).all() or not product.any():
        return None
    frequencies = [2 * math.pi * np.fft.fftfreq(size) for size in now.shape]
    for size, axis in zip(now.shape, (0, 1), strict=True):
        if size % 2 == 0:
            frequencies[axis][size // 2] = 0  # both signs are one
    surface = np.fft.ifft2(product).real
    peak = np.unravel_index(int(surface.argmax()), surface.shape)
    whole = [at - size if 2 * at > size else at for at, size in zip(peak, surface.shape, strict=True)]
    start = found = np.array(whole, float)
    for _ in range(MOST_STEPS):
        y, x = (np.exp(1j * at * part) for at, part in zip(frequencies, found, strict=True))
        there = y[:, None] * product * x
        newton = _step_to_maximum(there, *frequencies)
        found = found + newton
        if (abs(found - start) > 1).any():
            return float(start[0]), float(start[1])
        if (abs(newton) < CLOSE).all():
            break
    return float(found[0]), float(found[1])


def tilt_of(modes: Array) -> Shift:
    """Return the mean tilt (y, x) of modes of a probe (mode, y, x): turns of their phase over the window."""
    xp, found = namespace(modes), []
    for axis in (-2, -1):
        size = modes.shape[axis]
        pairs = (beside(np.arange(begin, begin + size - 1), modes) for begin in (0, 1))
        one, other = (xp.take(modes, at, axis=modes.ndim + axis) for at in pairs)
        step = xp.sum(xp.conj(one) * other)
        found.append(math.atan2(float(xp.imag(step)), float(xp.real(step))) / (2 * math.pi) * size)
    return found[0], found[1]


def level(modes: Array, tilt: Shift) -> Array:
    """Return modes of a probe (mode, y, x) tilted as another one was; no intensity knows of that.

    Tilted otherwise, the finest detail would be taken for its opposite where they are moved, and modes that were tilted
    by less than whole turns, as by the ramp of an object, are not periodic.
    """
    xp = namespace(modes)
    for axis, own, other in zip((-2, -1), tilt_of(modes), tilt, strict=True):
        if not math.isfinite(own - other) or own == other:
            continue
        size = modes.shape[axis]
        ramp = 2 * math.pi * (own - other) / size * np.arange(size)
        back = beside((np.cos(ramp) - 1j * np.sin(ramp)).astype(numpy_type(modes)), modes)
        modes = modes * xp.reshape(back, (-1, 1) if axis == -2 else (-1,))
    return modes


def finely(modes: Matrix) -> Matrix:
    """Return the intensity of a probe's modes (mode, y, x) at every half pixel, (2 y, 2 x).

    At every pixel it would not be all that is known of it: an intensity has detail twice as fine as its waves.
    """
    _, height, width = modes.shape
    waves = np.fft.fftshift(np.fft.fft2(modes), (-2, -1))
    top, left = height - height // 2, width - width // 2
    wider = np.pad(waves, [(0, 0), (top, height - top), (left, width - left)])
    return np.asarray((np.abs(np.fft.ifft2(np.fft.ifftshift(wider, (-2, -1)))) ** 2).sum(0))


def _step_to_maximum(product: Matrix, y: Matrix, x: Matrix) -> Matrix:
    """Return Newton's step towards the maximum of a cross-correlation, from half of whose transform moved to here."""
    rows, columns, mixed = product.sum(1), product.sum(0), y @ product.real @ x
    slope = -np.array([rows.imag @ y, columns.imag @ x])
    bend = -np.array([[rows.real @ y**2, mixed], [mixed, columns.real @ x**2]])
    if not np.isfinite(bend).all() or np.linalg.eigvalsh(bend).max() >= 0:
        return np.zeros(2)
    step = -np.linalg.solve(bend, slope)
    return np.asarray(step * min(1.0, 0.5 / max(np.abs(step).max(), 1e-30)))


def order_of(apart: Matrix) -> tuple[int, ...]:
    """Return which object mode of now is which before, none where they are in order.

    `apart` (before, now): how far the modes are from each other. The order in which they are least apart in all; of
    many modes one after the other, the most alike first.
    """
    count = len(apart)
    if count < 2 or not np.isfinite(apart).all():
        return ()
    if count <= MOST_PERMUTED:
        best = min(permutations(range(count)), key=lambda order: sum(apart[k, one] for k, one in enumerate(order)))
    else:
        found, left = dict[int, int](), np.array(apart)
        for _ in range(count):
            k, one = (int(at) for at in np.unravel_index(int(left.argmin()), left.shape))
            found[k] = one
            left[k], left[:, one] = math.inf, math.inf
        best = tuple(found[k] for k in range(count))
    return () if best == tuple(range(count)) else best


def picture(parts: Sequence[Array]) -> Image:
    """Return planes (y, x), added up, on the host."""
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    return np.asarray(on_host(found), np.float64)
