"""The passes over an object's planes on a CPU, with numpy: few operations, each on a block that fits the cache."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.planes import (
    CHANGE,
    GRADIENT_X,
    GRADIENT_Y,
    OWN,
    RAMP_X,
    RAMP_Y,
    Block,
    Planes,
    Products,
    Residual,
    coordinates,
)

BLOCK = 1 << 18
"""Voxels worked on at a time: few enough for the cache, enough that calling numpy costs little."""

SMALL = 1 << 20
"""Voxels below which all is done in float64. Rounding errors of float32 average out only over many voxels."""

Voxels = NDArray[np.floating]


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def products(planes: Planes, voxels: int | None = None) -> Products:
    """As `planes.Planes.products`. Of large objects, the sum over a row of voxels is in float32."""
    now, has_ramps = planes.current, planes.has_ramps
    _, height, width = now.shape
    dtype = np.float64 if now.size < SMALL else now.dtype
    y, x, ones = coordinates(height), coordinates(width).astype(dtype), np.ones(width, dtype)
    sums = np.zeros((len(now), 6, 6))
    memory = _Memory(dtype, CHANGE + 1)
    for block in planes.blocks(voxels or BLOCK):
        fields = memory.like(now[block])
        own = planes.name == "obja"
        if own:
            np.subtract(1, now[block], out=fields[OWN])
        twice_gradient_y(now, block, fields[GRADIENT_Y])
        twice_gradient_x(now, block, fields[GRADIENT_X])
        np.subtract(now[block], planes.previous[block], out=fields[CHANGE])
        found = sums[block[0]]
        for one in range(CHANGE + 1):
            for other in range(one, CHANGE + 1):
                if own or one != OWN:
                    found[:, one, other] += _by_row(fields[one], fields[other]).sum(-1)
        if not own:
            _with_ones_and_ramps(fields, found, ones, x, y[block[1]], has_ramps[block[0]])
    lower = np.tril_indices(6, -1)
    sums[:, lower[0], lower[1]] = sums.swapaxes(1, 2)[:, lower[0], lower[1]]
    return Products(sums)


def _with_ones_and_ramps(
    fields: Voxels, found: NDArray[np.float64], ones: Voxels, x: Voxels, y: NDArray[np.float64], has_ramps: Any
) -> None:
    """Add the products with a phase's own field, which is 1, and with the ramps, which no field needs memory for."""
    rows, width = len(y), len(x)
    found[:, OWN, OWN] += rows * width
    for field in (GRADIENT_Y, GRADIENT_X, CHANGE):
        by_row = _by_row(fields[field], ones)
        found[:, OWN, field] += by_row.sum(-1)
        if has_ramps.any():
            found[has_ramps, field, RAMP_X] += _by_row(fields[field], x).sum(-1)[has_ramps]
            found[has_ramps, field, RAMP_Y] += (by_row @ y)[has_ramps]
    x = x.astype(float)
    found[has_ramps, OWN, RAMP_X] += rows * x.sum()
    found[has_ramps, OWN, RAMP_Y] += width * y.sum()
    found[has_ramps, RAMP_X, RAMP_X] += rows * (x @ x)
    found[has_ramps, RAMP_X, RAMP_Y] += x.sum() * y.sum()
    found[has_ramps, RAMP_Y, RAMP_Y] += width * (y @ y)


def _by_row(field: Voxels, other: Voxels) -> NDArray[np.float64]:
    """Return the sums over rows of the products of two fields (plane, row, x); the other may be the same in each row.

    As many small products of matrices, each of which is a dot product in one thread: no memory, and no waiting.
    """
    found: NDArray[np.float64] = np.matmul(field[..., None, :], other[..., :, None])[..., 0, 0].astype(np.float64)
    return found


def pieces(residual: Residual, voxels: int) -> Iterator[Voxels]:
    """Yield the change and its residual in order, in pieces (2, about so many voxels), each in the memory of the last.

    The whole would need the memory of two more snapshots.
    """
    planes = residual.planes
    memory = _Memory(planes.current.dtype, 3)
    for block in planes.blocks(voxels):
        change, left, scratch = found = memory.like(planes.current[block])
        _write(residual, block, change, left, scratch)
        yield found[:2].reshape(2, -1)


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def whole(residual: Residual) -> Voxels:
    """As `planes.Residual.whole`."""
    left: Voxels = np.empty_like(residual.planes.current)
    memory = _Memory(left.dtype, 2)
    for block in residual.planes.blocks(BLOCK):
        change, scratch = memory.like(left[block])
        _write(residual, block, change, left[block], scratch)
    return left


def _write(residual: Residual, block: Block, change: Voxels, left: Voxels, scratch: Voxels) -> None:
    """Write the change of a block, and what is left of it; `scratch` is memory for as many voxels."""
    planes, common = residual.planes, residual.common
    now, (of_planes, rows) = planes.current, block
    np.subtract(now[block], planes.previous[block], out=change)
    own = residual.own[of_planes, None, None]
    has_ramps = planes.has_ramps[of_planes, None, None]
    if has_ramps.any():
        y, x = (coordinates(size) for size in now.shape[1:])
        np.subtract(change, (own + has_ramps * common[RAMP_Y] * y[rows, None]).astype(now.dtype), out=left)
        left -= (has_ramps * common[RAMP_X] * x).astype(now.dtype)
    else:
        np.subtract(change, own.astype(now.dtype), out=left)
    if planes.name == "obja":  # the own field, the amplitude, is 1 - this
        left += np.multiply(now[block], own.astype(now.dtype), out=scratch)
    for field, twice_gradient in ((GRADIENT_Y, twice_gradient_y), (GRADIENT_X, twice_gradient_x)):
        gradient = twice_gradient(now, block, scratch)
        gradient *= now.dtype.type(common[field])
        left -= gradient


def twice_gradient_y(values: Voxels, block: Block, out: Voxels) -> Voxels:
    """Write twice the gradient along y of a block of `values` (plane, y, x), per px, to `out`, as numpy.gradient."""
    (planes, rows), height = block, values.shape[1]
    if height == 1:
        out[...] = 0
        return out
    first, last = max(rows.start, 1), min(rows.stop, height - 1)
    inside = out[:, first - rows.start : last - rows.start]
    np.subtract(values[planes, first + 1 : last + 1], values[planes, first - 1 : last - 1], out=inside)
    for edge, inner, outer in ((0, 0, 1), (height - 1, height - 2, height - 1)):
        if rows.start <= edge < rows.stop:
            out[:, edge - rows.start] = 2 * (values[planes, outer] - values[planes, inner])
    return out


def twice_gradient_x(values: Voxels, block: Block, out: Voxels) -> Voxels:
    """Write twice the gradient along x, as `twice_gradient_y` does along y."""
    whole_rows = values[block]
    if values.shape[2] == 1:
        out[...] = 0
        return out
    # All rows at once, which is three times as fast as one by one; what mixes two of them, at the edges, is replaced.
    flat, flat_out = whole_rows.reshape(-1), out.reshape(-1)
    np.subtract(flat[2:], flat[:-2], out=flat_out[1:-1])
    out[..., 0] = 2 * (whole_rows[..., 1] - whole_rows[..., 0])
    out[..., -1] = 2 * (whole_rows[..., -1] - whole_rows[..., -2])
    return out


class _Memory:
    """Memory for several arrays of one block's shape, used again and again: new memory is slow."""

    def __init__(self, dtype: Any, count: int) -> None:
        self._count, self._memory = count, np.empty(0, dtype)

    def like(self, block: Voxels) -> Voxels:
        """Return memory for arrays of a block's shape, one behind the other."""
        needed = self._count * block.size
        if self._memory.size < needed:
            self._memory = np.empty(needed, self._memory.dtype)
        return self._memory[:needed].reshape(self._count, *block.shape)
