"""The phase of a complex object, which is known but for full turns: its ramp, and the offset of each plane.

Formulas: docs/metrics.md.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import Array, namespace, on_host
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.planes import OFFSET
from ptyconv_cli.metrics.registration import ramp_like, ramp_of, wave_of
from ptyconv_cli.quantities.transmission import AMPLITUDE, PHASE
from ptyconv_cli.results.frame import Shift

Lit = NDArray[np.bool_] | None
"""Which voxels (y, x) the scan lit; None for all."""


def ramp_since(arrays: Mapping[str, Array], before: Array | None, lit: Lit) -> Shift:
    """Return the ramp (y, x), in rad per px, by which the first slices of a phase differ from those `before`.

    `arrays`: phase and amplitude (omode, slice, y, x) by key; the phase's own ramp where there is none before.
    """
    phase, amplitude = arrays[PHASE], arrays.get(AMPLITUDE)
    light = _light(phase, lit) if lit is None or lit.shape == phase.shape[-2:] else None
    sizes = [None if amplitude is None else 1 - of_mode[0] for of_mode in (phase if amplitude is None else amplitude)]
    waves = [
        wave_of(of_mode[0] if other is None else of_mode[0] - other[0], size, light)
        for of_mode, size in zip(phase, sizes, strict=True)
        for other in ([None] if before is None else before)
    ]
    return ramp_of([on_host(real) + 1j * on_host(imaginary).astype(float) for real, imaginary in waves])


def within_half_a_turn(
    arrays: Mapping[str, Array], ramp: Shift, before: Array | None, lit: Lit
) -> tuple[Array, tuple[tuple[float, ...], ...]]:
    """Return a phase without a ramp, and without the offset of each plane; and these, in rad (omode, slice).

    Within half a turn of the one `before`, or of 0. `arrays` as of `ramp_since`.
    """
    phase, light = arrays[PHASE], _light(arrays[PHASE], lit)
    xp, amplitude = namespace(phase), arrays.get(AMPLITUDE)
    found, offsets = xp.empty_like(phase), []
    for omode in range(phase.shape[0]):
        of_mode = []
        for number in range(phase.shape[1]):
            apart = phase[omode, number] if before is None else phase[omode, number] - before[omode, number]
            if number == 0:
                apart = apart - ramp_like(apart, ramp)
            size = None if amplitude is None else 1 - amplitude[omode, number]
            real, imaginary = (float(xp.sum(part)) for part in wave_of(apart, size, light))
            of_mode.append(math.atan2(imaginary, real))
            apart = apart - of_mode[-1]
            apart = apart - 2 * math.pi * xp.round(apart / (2 * math.pi))
            found[omode, number] = apart if before is None else apart + before[omode, number]
        offsets.append(tuple(of_mode))
    return found, tuple(offsets)


def without_turns(phase: Framed) -> Framed:
    """Return a phase within half a turn of its offset and ramp."""
    arrays = {PHASE: phase.values}
    found, _ = within_half_a_turn(arrays, ramp_since(arrays, None, phase.lit), None, phase.lit)
    return Framed(OFFSET, found, phase.lit)


def _light(values: Array, lit: Lit) -> Array | None:
    return Framed(OFFSET, values, lit).light
