"""The planes (slices) of an object, cut into blocks, and the fields on them that explain a change.

The fields on a plane are one of its own (for a phase 1, for 1 - amplitude the amplitude), twice the gradients of the
current snapshot in y and in x (twice, which saves an operation), and, on the first slice of a phase, the coordinates.
Two passes go over the voxels: one for the products that the fit needs, one for its residual. Here for numpy: few
operations, each on a block that fits the processor's cache; in `planes_gpu` for torch.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import Array, device_of, namespace, numbers, precise

OWN, GRADIENT_Y, GRADIENT_X, CHANGE, RAMP_X, RAMP_Y = range(6)
"""The places of the fields, and of the change, among the products."""

OFFSET, FACTOR, NOTHING = "offset", "factor", "nothing"
"""What a plane's own field is an ambiguity of: a phase, which may have another offset, and whose first slice may have a
ramp; 1 - amplitude, where the amplitude may have another factor; an intensity whose total is 1, of which there is none.
"""

Block = tuple[slice, slice]
"""A range of planes and a range of rows: whole planes, or rows of a single one."""


class Planes(NamedTuple):
    """`current` and `previous` (plane, y, x), `slices` of each object mode; `own`: `OFFSET` or `FACTOR`."""

    own: str
    current: Array
    previous: Array
    slices: int

    @property
    def has_ramps(self) -> NDArray[np.bool_]:
        """Which planes ramps are fitted on (plane)."""
        return np.asarray((np.arange(len(self.current)) % self.slices == 0) & (self.own == OFFSET))

    def blocks(self, voxels: int) -> Iterator[Block]:
        """Cut the planes, in order, into blocks of about so many voxels."""
        planes, height, width = self.current.shape
        rows, together = max(voxels // width, 1), max(voxels // (height * width), 1)
        for plane in range(0, planes, together):
            for row in range(0, height, rows):
                yield slice(plane, min(plane + together, planes)), slice(row, min(row + rows, height))


class Products(NamedTuple):
    """The `sums` over each plane's voxels of the products of fields and change (plane, 6, 6).

    In the order of `OWN` to `RAMP_Y`; 0 for ramps where a plane has none. `sample`: the sample of the current values,
    in order, which a GPU has brought along, so that it is waited for once; None where it has not.
    """

    sums: NDArray[np.float64]
    sample: NDArray[np.floating] | None = None


class Residual(NamedTuple):
    """What the fit leaves of a change.

    `own`: coefficients of the planes' own fields (plane); `common`: those of the other fields, by field; `sample`: see
    `Products`.
    """

    planes: Planes
    own: NDArray[np.float64]
    common: dict[int, float]
    sample: NDArray[np.floating] | None = None


def coordinates(size: int) -> NDArray[np.float64]:
    """Return the coordinates of voxels along an axis in px, from its middle, so that their mean is 0."""
    return np.arange(size, dtype=np.float64) - (size - 1) / 2


BLOCK = 1 << 18
"""Voxels worked on at a time: few enough for the cache, enough that calling numpy costs little."""

SMALL = 1 << 20
"""Voxels below which all is done in float64. Rounding errors of float32 average out only over many voxels."""

Voxels = NDArray[np.floating]


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def products(planes: Planes, voxels: int | None = None) -> Products:
    """Return the sums that the fit needs; about so many `voxels` are worked on at a time.

    Of large objects, the sum over a row of voxels is in float32.
    """
    now, has_ramps = planes.current, planes.has_ramps
    _, height, width = now.shape
    dtype = np.float64 if now.size < SMALL else now.dtype
    y, x, ones = coordinates(height), coordinates(width).astype(dtype), np.ones(width, dtype)
    sums = np.zeros((len(now), 6, 6))
    memory = _Memory(dtype, CHANGE + 1)
    for block in planes.blocks(voxels or BLOCK):
        fields = memory.like(now[block])
        own = planes.own == FACTOR
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
    """Return a residual whole (plane, y, x)."""
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
    if planes.own == FACTOR:  # the own field, the amplitude, is 1 - this
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


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def mean_square(own: str, tensor: Array) -> float:
    """Return the mean square of an object tensor (omode, slice, y, x), less its mean on each slice.

    Of the phase a ramp in y and one in x on the first slice is left out, too, the same for all object modes.
    """
    omodes, slices, height, width = tensor.shape
    squares, along = [], []
    for omode in range(omodes):
        for level in range(slices):
            square, left = _without_mean(tensor[omode, level])
            squares.append(square)
            if own == OFFSET and level == 0:
                along.append(_with_coordinates(left))
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


def _with_coordinates(plane: Array) -> list[Array]:
    """Return the sums over a plane (y, x) of its products with the coordinates y and x in px, from its middle."""
    xp, dtype = namespace(plane), precise(plane)
    found: list[Any] = []
    for axis, size in enumerate(plane.shape):
        lines = xp.sum(plane, axis=1 - axis, dtype=dtype)
        found.append(xp.sum(lines * (xp.arange(size, dtype=dtype, device=device_of(plane)) - (size - 1) / 2)))
    return found
