"""An object as a whole: phase and amplitude together, which are one transmission."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import Array, namespace, on_host
from ptyconv_cli.metrics.device import beside
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.planes import coordinates
from ptyconv_cli.metrics.registration import picture
from ptyconv_cli.metrics.translation import moved_inside
from ptyconv_cli.quantities.object_amplitude import ObjectAmplitude
from ptyconv_cli.quantities.object_phase import ObjectPhase
from ptyconv_cli.results.frame import Shift

PHASE, AMPLITUDE = ObjectPhase.key, ObjectAmplitude.key

SAMPLE = 4096
"""Voxels of a plane by which object modes are told apart."""


def picture_of(parts: Mapping[str, Framed], wraps: bool) -> NDArray[np.float64]:
    """Return what the object looks like, where it is laid on another one."""
    amplitude, phase = parts.get(AMPLITUDE), parts.get(PHASE)
    if phase is None or not phase.mean_square() > 0:
        assert amplitude is not None or phase is not None
        shown = amplitude or phase
        return picture(_planes(shown.values)) if shown else np.zeros((1, 1))
    if not wraps:
        return picture(_planes(phase.values))
    xp = namespace(phase.values)
    sizes = [None] * math.prod(phase.shape[:2]) if amplitude is None else [1 - one for one in _planes(amplitude.values)]
    waves = (
        xp.sin(one) if size is None else size * xp.sin(one)
        for one, size in zip(_planes(phase.values), sizes, strict=True)
    )
    return picture(list(waves))


def moved_part(values: Array, fraction: Shift) -> Array:
    """Return a part of an object (omode, slice, y, x), with a margin, moved by a fraction of a pixel, without it."""
    found = moved_inside(values.reshape(-1, *values.shape[-2:]), fraction)
    return found.reshape(*values.shape[:2], *found.shape[-2:])


def moved_wave(phase: Array, amplitude: Array | None, fraction: Shift) -> dict[str, Array]:
    """Return phase and 1 - amplitude of a transmission that was moved as a whole."""
    xp = namespace(phase)
    size = xp.ones_like(phase) if amplitude is None else 1 - amplitude
    real, imaginary = (moved_part(part, fraction) for part in (size * xp.cos(phase), size * xp.sin(phase)))
    return {PHASE: xp.atan2(imaginary, real), AMPLITUDE: 1 - xp.hypot(real, imaginary)}


def in_order(values: Array, order: Sequence[int]) -> Array:
    """Return the modes of an object (omode, slice, y, x) in another order."""
    return namespace(values).take(values, beside(np.array(order), values), axis=0)


def has_modes(parts: dict[str, Framed]) -> bool:
    """Say whether there are several modes of the object to be told apart."""
    shapes = {part.shape for part in parts.values()}
    return len(shapes) == 1 and shapes.pop()[0] > 1


def sample_of(parts: dict[str, Framed]) -> NDArray[np.complex128]:
    """Return some voxels of each object mode (omode, slice, voxel), as its wave, whose phase has no ramp."""
    first = next(iter(parts.values()))
    height, width = first.shape[-2:]
    lit = np.arange(height * width) if first.lit is None else np.flatnonzero(first.lit)
    at = lit[np.linspace(0, len(lit) - 1, min(SAMPLE, len(lit))).astype(int)]
    size = 1 - _taken(parts[AMPLITUDE], at) if AMPLITUDE in parts else np.ones(1)
    if PHASE not in parts:
        return np.asarray(size + 0j)
    phase, ramp = _taken(parts[PHASE], at), parts[PHASE].ramp
    phase[:, 0] -= ramp[0] * coordinates(height)[at // width] + ramp[1] * coordinates(width)[at % width]
    return np.asarray(size * np.exp(1j * phase))


def apart(now: NDArray[np.complex128], before: NDArray[np.complex128]) -> float:
    """Return how far two object modes (slice, voxel) are from each other, whatever the phase of their slices."""
    together = abs((now * before.conj()).sum(-1)).sum()
    return float((np.abs(now) ** 2).sum() + (np.abs(before) ** 2).sum() - 2 * together)


def _taken(part: Framed, at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the values at some pixels of each plane (omode, slice, pixel), on the host."""
    xp = namespace(part.values)
    flat = xp.reshape(part.values, (*part.shape[:2], -1))
    return on_host(xp.take(flat, beside(at, flat), axis=2)).astype(float)


def _planes(values: Array) -> list[Array]:
    return list(values.reshape(-1, *values.shape[-2:]))
