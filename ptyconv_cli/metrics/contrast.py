"""What a snapshot itself holds, over the whole scanned region: the measure for how much it changed.

Formulas: docs/verdict.md.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ptyconv_cli.metrics.arrays import Array, device_of, namespace, numbers, precise
from ptyconv_cli.results.series import OF_OBJECT


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def contrasts(values: Mapping[str, Array]) -> dict[str, float]:
    """Return the contrast by tensor, of a snapshot's values (see `snapshot.Snapshot`); positions have none.

    Of the object that of its complex transmission, the same for phase and amplitude: √(Cp² + Ca²), in rad. Of the probe
    the RMS of its intensity divided by its mean. NaN where a value is not finite.
    """
    square = sum(_square(name, values[name]) for name in OF_OBJECT if name in values)
    found = {name: math.sqrt(square) for name in OF_OBJECT if name in values}
    if "probe" in values:
        found["probe"] = _of_probe(values["probe"])
    return found


def _of_probe(intensity: Array) -> float:
    xp = namespace(intensity)
    intensity = xp.astype(intensity, precise(intensity))
    mean, square = numbers([xp.mean(intensity), xp.mean(intensity * intensity)])
    return math.sqrt(square) / abs(mean) if mean else math.nan


def _square(name: str, tensor: Array) -> float:
    """Return the mean square of an object tensor (omode, slice, y, x), less its mean on each slice.

    Of the phase a ramp in y and one in x on the first slice is left out, too, the same for all object modes.
    """
    omodes, slices, height, width = tensor.shape
    squares, along = [], []
    for omode in range(omodes):
        for level in range(slices):
            square, left = _without_mean(tensor[omode, level])
            squares.append(square)
            if name == "objp" and level == 0:
                along.append(_along(left))
    total, *ramps = numbers([sum(squares), *(sum(of_axis) for of_axis in zip(*along, strict=True))])
    for product, size, other in zip(ramps, (height, width), (width, height), strict=False):
        # Ramps on a plane without its mean are orthogonal to each other and to that.
        total -= product**2 / max(omodes * other * size * (size**2 - 1) / 12, 1)
    return total if math.isnan(total) else max(total, 0.0) / math.prod(tensor.shape)


def _without_mean(plane: Array) -> tuple[Array, Array]:
    """Return the sum of squares of a plane (y, x) about its mean, and what the mean leaves of it."""
    xp, dtype, count = namespace(plane), precise(plane), math.prod(plane.shape)
    left = plane - xp.astype(xp.sum(plane, dtype=dtype) / count, plane.dtype)
    rounded_away = xp.sum(left, dtype=dtype)  # as the mean was, to the type of the plane
    return xp.sum(left * left, dtype=dtype) - rounded_away**2 / count, left


def _along(plane: Array) -> list[Array]:
    """Return the sums over a plane (y, x) of its products with the coordinates y and x in px, from its middle."""
    xp, dtype = namespace(plane), precise(plane)
    found: list[Any] = []
    for axis, size in enumerate(plane.shape):
        lines = xp.sum(plane, axis=1 - axis, dtype=dtype)
        found.append(xp.sum(lines * (xp.arange(size, dtype=dtype, device=device_of(plane)) - (size - 1) / 2)))
    return found
