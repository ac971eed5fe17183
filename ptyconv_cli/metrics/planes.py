"""The planes (slices) of an object, cut into blocks, and the fields on them that explain a change.

The fields on a plane are one of its own (for a phase 1, for 1 - amplitude the amplitude), twice the gradients of the
current snapshot in y and in x (twice, which saves an operation), and, on the first slice of a phase, the coordinates.
Two passes go over the voxels: one for the products that the fit needs, one for its residual. Here for numpy: few
operations, each on a block that fits the processor's cache; in `planes_gpu` for torch.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import Array

OWN, GRADIENT_Y, GRADIENT_X, CHANGE, RAMP_X, RAMP_Y = range(6)
"""The places of the fields, and of the change, among the products."""

OFFSET, FACTOR, NOTHING = "offset", "factor", "nothing"
"""What a plane's own field is an ambiguity of: a phase, which may have another offset, and whose first slice may have a
ramp; 1 - amplitude, where the amplitude may have another factor; an intensity whose total is 1, of which there is none.
"""


class Affine(NamedTuple):
    """What makes values in the frame of the run of those of a plane: times `factors`, plus `offsets` (plane).

    And, on first slices of a phase, less a `ramp` (y, x) per px from the middle.
    """

    factors: NDArray[np.float64]
    offsets: NDArray[np.float64]
    ramp: tuple[float, float]


Block = tuple[slice, slice]
"""A range of planes and a range of rows: whole planes, or rows of a single one."""


class Planes(NamedTuple):
    """`current` and `previous` (plane, y, x), `slices` of each object mode; `own`: `OFFSET` or `FACTOR`.

    `light` (y, x): 1 where voxels count, 0 elsewhere; None where all do.
    """

    own: str
    current: Array
    previous: Array
    slices: int
    light: Array | None = None

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

    `own`: coefficients of the planes' own fields (plane); `common`: those of the other fields, by field, of gradients
    to be multiplied by `of_gradients` (plane); what is left of a plane is to be divided by its `units` (plane).
    `sample`: see `Products`.
    """

    planes: Planes
    own: NDArray[np.float64]
    common: dict[int, float]
    of_gradients: NDArray[np.float64]
    units: NDArray[np.float64]
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
        light = None if planes.light is None else planes.light[block[1]]
        if light is not None:
            fields *= light.astype(dtype)
        found = sums[block[0]]
        for one in range(CHANGE + 1):
            for other in range(one, CHANGE + 1):
                if own or one != OWN:
                    found[:, one, other] += _by_row(fields[one], fields[other]).sum(-1)
        if not own:
            _with_ones_and_ramps(fields, found, ones, x, y[block[1]], light, has_ramps[block[0]])
    lower = np.tril_indices(6, -1)
    sums[:, lower[0], lower[1]] = sums.swapaxes(1, 2)[:, lower[0], lower[1]]
    return Products(sums)


def _with_ones_and_ramps(
    fields: Voxels,
    found: NDArray[np.float64],
    ones: Voxels,
    x: Voxels,
    y: NDArray[np.float64],
    light: Voxels | None,
    has_ramps: NDArray[np.bool_],
) -> None:
    """Add the products with a phase's own field, which is 1, and with the ramps, which no field needs memory for.

    `light` of these rows, by which the fields are multiplied already.
    """
    for field in (GRADIENT_Y, GRADIENT_X, CHANGE):
        by_row = _by_row(fields[field], ones)
        found[:, OWN, field] += by_row.sum(-1)
        if has_ramps.any():
            found[has_ramps, field, RAMP_X] += _by_row(fields[field], x).sum(-1)[has_ramps]
            found[has_ramps, field, RAMP_Y] += (by_row @ y)[has_ramps]
    x = x.astype(float)
    if light is None:
        of_rows, of_columns, mixed = np.full(len(y), len(x)), np.full(len(x), len(y)), y.sum() * x.sum()
    else:
        of_rows, of_columns, mixed = light.sum(1, float), light.sum(0, float), y @ light.astype(float) @ x
    found[:, OWN, OWN] += of_rows.sum()
    found[has_ramps, OWN, RAMP_X] += of_columns @ x
    found[has_ramps, OWN, RAMP_Y] += of_rows @ y
    found[has_ramps, RAMP_X, RAMP_X] += of_columns @ x**2
    found[has_ramps, RAMP_X, RAMP_Y] += mixed
    found[has_ramps, RAMP_Y, RAMP_Y] += of_rows @ y**2


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


def pieces_in_frame(residual: Residual, values: Affine, voxels: int) -> Iterator[Voxels]:
    """Yield the values of lit voxels in the frame of the run, and what is left of their change, as `pieces` does."""
    planes = residual.planes
    memory = _Memory(planes.current.dtype, 3)
    for block in planes.blocks(voxels):
        of_values, left, scratch = found = memory.like(planes.current[block])
        _write(residual, block, of_values, left, scratch)
        _write_values(planes, values, block, of_values)
        of_both = found[:2]
        if planes.light is not None:
            of_both = of_both[..., planes.light[block[1]] > 0]
        yield of_both.reshape(2, -1)


def _write_values(planes: Planes, values: Affine, block: Block, out: Voxels) -> None:
    """Write the values of a block in the frame of the run."""
    now, (of_planes, rows) = planes.current, block
    factors, offsets = (one[of_planes, None, None] for one in (values.factors, values.offsets))
    has_ramps = planes.has_ramps[of_planes, None, None]
    if has_ramps.any():
        y, x = (coordinates(size) for size in now.shape[1:])
        np.add(now[block], (offsets - has_ramps * values.ramp[0] * y[rows, None]).astype(now.dtype), out=out)
        out -= (has_ramps * values.ramp[1] * x).astype(now.dtype)
        return
    if (factors != 1).any():
        np.multiply(now[block], factors.astype(now.dtype), out=out)
        out += offsets.astype(now.dtype)
    else:
        np.add(now[block], offsets.astype(now.dtype), out=out)


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
    of_gradients, units = (
        one[of_planes, None, None].astype(now.dtype) for one in (residual.of_gradients, residual.units)
    )
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
        gradient *= of_gradients * now.dtype.type(common[field])
        left -= gradient
    if (units != 1).any():
        left /= units


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
