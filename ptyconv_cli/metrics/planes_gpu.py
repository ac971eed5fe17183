"""The passes over an object's planes on a GPU, with torch: few operations, on blocks that fit its cache.

No product of matrices, which an engine may have allowed to be less precise. No operation makes the host wait, but for
the copy of the products.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptyconv_cli.metrics import percentiles
from ptyconv_cli.metrics import planes as on_cpu
from ptyconv_cli.metrics.arrays import has_double, numpy_type, on_host, together_on_host
from ptyconv_cli.metrics.device import upload
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.percentiles_gpu import sample_of
from ptyconv_cli.metrics.planes import (
    CHANGE,
    FACTOR,
    GRADIENT_X,
    GRADIENT_Y,
    OFFSET,
    OWN,
    RAMP_X,
    RAMP_Y,
    Block,
    Planes,
    Products,
    Residual,
    coordinates,
)

BLOCK = 1 << 20
"""Voxels worked on at a time: few enough for the cache of large GPUs, enough that calling torch costs little."""

SMALL = 1 << 20
"""Voxels below which all is done in float64. Rounding errors of float32 average out only over many voxels."""


def products(planes: Planes, voxels: int | None = None) -> Products:
    """As `planes.products`, about `voxels` at a time. The host waits once, and the sample comes along.

    Sums over a row of voxels are in float32 in large objects, and where the device has no float64.
    """
    now = planes.current
    if now.numel() < SMALL and not has_double(now):
        before, current, *there = together_on_host(
            [planes.previous, now, *([] if planes.light is None else [planes.light])]
        )
        return on_cpu.products(planes._replace(current=current, previous=before, light=there[0] if there else None))
    sample = [sample_of(now.reshape(-1))] if now.numel() > percentiles.SAMPLE else []
    voxels = voxels or BLOCK
    if now.numel() < SMALL:
        light = None if planes.light is None else planes.light.double()
        planes = planes._replace(current=now.double(), previous=planes.previous.double(), light=light)
        voxels = min(voxels, max(BLOCK // 4, 1))
    by_row = _by_row(planes, voxels)
    if has_double(now):
        of_planes, *sample_there = together_on_host([_of_planes(by_row), *sample])
    else:
        rows, *sample_there = together_on_host([by_row, *sample])
        of_planes = on_host(_of_planes(torch.from_numpy(rows.copy())))
    return Products(_sums(planes, of_planes), sample_there[0] if sample else None)


def _light_of(planes: Planes) -> NDArray[np.float64]:
    """Return where voxels count (y, x), 1 and 0, on the host."""
    if planes.light is None:
        return np.ones(tuple(planes.current.shape[1:]))
    return on_host(planes.light).astype(float)


def _pairs(own: str) -> list[tuple[int, int]]:
    """Return which fields are multiplied with which; RAMP_Y, which is the same all over a row, is added later."""
    fields = _fields(own)
    pairs = [(one, other) for place, one in enumerate(fields) for other in fields[place + 1 :]]
    pairs += [(one, one) for one in fields]
    return pairs if own == FACTOR else [*pairs, *((OWN, one) for one in fields), *((one, RAMP_X) for one in fields)]


def _fields(own: str) -> list[int]:
    """Return the fields that memory is needed for: a phase's own field is 1."""
    return [*([OWN] if own == FACTOR else []), GRADIENT_Y, GRADIENT_X, CHANGE]


def _by_row(planes: Planes, voxels: int) -> Tensor:
    """Return the sums over rows of voxels of the products of `_pairs` (pair, plane, y)."""
    now, has_ramps, count = planes.current, planes.has_ramps, len(_fields(planes.own))
    found: Tensor = now.new_zeros(len(_pairs(planes.own)), *now.shape[:2])
    x = upload(coordinates(now.shape[2]).astype(numpy_type(now)), now.device)
    memory, one = now.new_empty(2 * count - 1, room(planes, voxels)), now.new_ones(())
    for block in _blocks(planes, voxels):
        part, of_rows = now[block], found[:, block[0], block[1]]
        fields, scratch = (rows.view(-1, *part.shape) for rows in memory[:, : part.numel()].split(count))
        change, gradient_x, gradient_y, *own = reversed(fields.unbind())
        torch.sub(part, planes.previous[block], out=change)
        twice_gradient_y(now, block, gradient_y)
        twice_gradient_x(now, block, gradient_x)
        if own:
            torch.sub(one, part, out=own[0])
        if planes.light is not None:
            fields *= planes.light[block[1]]
        if not own:
            torch.sum(fields, -1, out=of_rows[-2 * count : -count])
        at = 0
        for place, others in enumerate(range(count - 1, 0, -1)):
            torch.mul(fields[place + 1 :], fields[place], out=scratch[:others])
            torch.sum(scratch[:others], -1, out=of_rows[at : at + others])
            at += others
        if not own and has_ramps[block[0]].any():
            for field, sums in zip(fields, of_rows[-count:], strict=True):
                torch.mul(field, x, out=scratch[0])
                torch.sum(scratch[0], -1, out=sums)
        torch.sum(fields.mul_(fields), -1, out=of_rows[at : at + count])
    return found


def _of_planes(by_row: Tensor) -> Tensor:
    """Return the sums over planes of rows, and of rows times their coordinate y (2, pair, plane)."""
    by_row, size = by_row.double(), by_row.shape[-1]
    y = torch.arange(size, dtype=by_row.dtype, device=by_row.device) - (size - 1) / 2
    return torch.stack([by_row.sum(-1), (by_row * y).sum(-1)])


def _sums(planes: Planes, of_planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the products in the order of `planes.Products`, from the sums of `_of_planes`."""
    count, height, width = planes.current.shape
    sums, has_ramps = np.zeros((count, 6, 6)), planes.has_ramps
    for (one, other), total, with_y in zip(_pairs(planes.own), *of_planes, strict=True):
        sums[:, one, other] = total if other != RAMP_X else total * has_ramps
        if one == OWN and planes.own == OFFSET:
            sums[:, other, RAMP_Y] = with_y * has_ramps
    if planes.own == OFFSET:
        light, y, x = _light_of(planes), coordinates(height), coordinates(width)
        of_rows, of_columns = light.sum(1), light.sum(0)
        sums[:, OWN, OWN] = of_rows.sum()
        sums[has_ramps, OWN, RAMP_X], sums[has_ramps, OWN, RAMP_Y] = of_columns @ x, of_rows @ y
        sums[has_ramps, RAMP_X, RAMP_X], sums[has_ramps, RAMP_Y, RAMP_Y] = of_columns @ x**2, of_rows @ y**2
        sums[has_ramps, RAMP_X, RAMP_Y] = y @ light @ x
    return np.asarray(np.triu(sums) + np.triu(sums, 1).swapaxes(1, 2))


class AlignedChanges:
    """A change and its residual, for `percentiles_gpu.Changes`."""

    kinds = 2

    def __init__(self, residual: Residual) -> None:
        planes, common = residual.planes, residual.common
        self._planes, self._common = planes, common
        count, height, width = planes.current.shape
        y, x, has_ramps = coordinates(height), coordinates(width), planes.has_ramps[:, None]
        of_rows = residual.own[:, None] + has_ramps * common.get(RAMP_Y, 0) * y
        of_columns = has_ramps * common.get(RAMP_X, 0) * x
        units, of_gradients = residual.units, residual.of_gradients
        together = np.concatenate([one.ravel() for one in (of_rows, of_columns, residual.own, units, of_gradients)])
        there = upload(together.astype(numpy_type(planes.current)), planes.current.device)
        self._of_rows, self._of_columns, *of_planes = there.split([count * height, count * width, *[count] * 3])
        self._own, self._units, self._of_gradients = of_planes
        self._has_units = planes.own == FACTOR

    def room(self, voxels: int) -> int:
        """As `percentiles_gpu.Changes.room`."""
        return room(self._planes, voxels)

    def pieces(self, voxels: int, memory: Tensor) -> Iterator[int]:
        """As `percentiles_gpu.Changes.pieces`."""
        planes, now = self._planes, self._planes.current
        of_rows, of_columns = (one.view(len(now), -1) for one in (self._of_rows, self._of_columns))
        for block in _blocks(planes, voxels):
            part = now[block]
            change, left, scratch = (row[: part.numel()].view(part.shape) for row in memory[:3])
            torch.sub(part, planes.previous[block], out=change)
            torch.sub(change, of_rows[block][..., None], out=left)
            if planes.has_ramps[block[0]].any():
                left.sub_(of_columns[block[0], None])
            if planes.own == FACTOR:  # the own field, the amplitude, is 1 - this
                left.addcmul_(part, self._own[block[0], None, None])
            for field, twice_gradient in ((GRADIENT_Y, twice_gradient_y), (GRADIENT_X, twice_gradient_x)):
                gradient = twice_gradient(now, block, scratch)
                if self._has_units:
                    gradient.mul_(self._of_gradients[block[0], None, None])
                left.sub_(gradient, alpha=self._common[field])
            if self._has_units:
                left.div_(self._units[block[0], None, None])
            yield part.numel()

    def at(self, places: Tensor) -> Tensor:
        """As `percentiles_gpu.Changes.at`."""
        now, before = (tensor.reshape(-1) for tensor in (self._planes.current, self._planes.previous))
        _, height, width = self._planes.current.shape
        x, row = places % width, places // width
        y, plane = row % height, row // height
        value = now[places]
        change = value - before[places]
        left = change - self._of_rows[row] - self._of_columns[plane * width + x]
        if self._planes.own == FACTOR:
            left.addcmul_(value, self._own[plane])
        del value, row
        for field, place, size, step in ((GRADIENT_Y, y, height, width), (GRADIENT_X, x, width, 1)):
            twice = now[places + step * (place < size - 1)] - now[places - step * (place > 0)]
            twice *= 1 + ((place == 0) | (place == size - 1)).to(twice.dtype)  # there over one step, not two
            if self._has_units:
                twice *= self._of_gradients[plane]
            left.sub_(twice, alpha=self._common[field])
        if self._has_units:
            left.div_(self._units[plane])
        return torch.stack([change, left])


class _Left:
    """What is left of a change, of lit voxels, whole, for `percentiles_gpu.Changes`."""

    kinds = 1

    def __init__(self, left: Tensor) -> None:
        self._left = left

    def room(self, voxels: int) -> int:
        """As `percentiles_gpu.Changes.room`."""
        return min(voxels, len(self._left))

    def pieces(self, voxels: int, memory: Tensor) -> Iterator[int]:
        """As `percentiles_gpu.Changes.pieces`."""
        for start in range(0, len(self._left), voxels):
            part = self._left[start : start + voxels]
            memory[0, : len(part)] = part
            yield len(part)

    def at(self, places: Tensor) -> Tensor:
        """As `percentiles_gpu.Changes.at`."""
        return self._left[places][None]


def sums_outside(now: Framed, residual: Residual, bounds: tuple[float, float], voxels: int | None) -> list[list[float]]:
    """Return how many lit voxels are below, and above, bounds in the frame, and the sums of what is left of these."""
    planes, affine, changes = residual.planes, now.affine, AlignedChanges(residual)
    voxels, (count, height, width) = voxels or BLOCK, planes.current.shape
    offsets, factors = (_there(one, planes.current) for one in (affine.offsets, affine.factors))
    of_rows, of_columns = (
        _there(-part * coordinates(size), planes.current)
        for part, size in zip(affine.ramp, (height, width), strict=True)
    )
    memory, has_ramps = planes.current.new_empty(3, changes.room(voxels)), planes.has_ramps
    masked, lit = torch.empty_like(memory[:2]), None if planes.light is None else planes.light > 0
    mask_memory, zero = torch.empty_like(memory[0], dtype=torch.bool), memory.new_zeros(())
    found = planes.current.new_zeros(2, 2, count, height)
    for block, size in zip(_blocks(planes, voxels), changes.pieces(voxels, memory), strict=True):
        part = planes.current[block]
        values, both, of_both = (
            one[..., :size].view(*one.shape[:-1], *part.shape) for one in (memory[2], memory[:2], masked)
        )
        torch.addcmul(offsets[block[0], None, None], part, factors[block[0], None, None], out=values)
        for number in np.flatnonzero(has_ramps[block[0]]).tolist():
            values[number].add_(of_rows[block[1], None]).add_(of_columns)
        both[0].fill_(1)
        both[1].abs_()
        mask = mask_memory[:size].view(part.shape)
        for beyond, (compare, bound) in enumerate(zip((torch.lt, torch.gt), bounds, strict=True)):
            compare(values, bound, out=mask)
            if lit is not None:
                mask &= lit[block[1]]
            torch.where(mask, both, zero, out=of_both)
            torch.sum(of_both, -1, out=found[beyond, :, block[0], block[1]])
    return on_host(found).astype(float).sum((2, 3)).tolist()  # type: ignore[no-any-return]


def _there(values: NDArray[np.float64], like: Tensor) -> Tensor:
    found: Tensor = upload(values.astype(numpy_type(like)), like.device)
    return found


def in_frame(now: Framed, residual: Residual) -> tuple[Tensor, _Left]:
    """Return the lit values of a part of an object in the frame of the run, flat, and what is left of their change."""
    planes, affine = residual.planes, now.affine
    values, left = planes.current, whole(residual)
    count, height, width = values.shape
    of_rows = affine.offsets[:, None] - planes.has_ramps[:, None] * affine.ramp[0] * coordinates(height)
    of_columns = planes.has_ramps[:, None] * affine.ramp[1] * coordinates(width)
    together = np.concatenate([of_rows.ravel(), of_columns.ravel(), affine.factors])
    there = upload(together.astype(numpy_type(values)), values.device)
    rows, columns, factors = there.split([count * height, count * width, count])
    found = torch.addcmul(rows.view(count, height, 1), values, factors.view(count, 1, 1))
    if planes.has_ramps.any():
        found -= columns.view(count, 1, width)
    found, left = (one.reshape(count, -1) for one in (found, left))
    if now.lit is not None:
        lit = upload(np.flatnonzero(now.lit), values.device)  # from the host: the device would be waited for
        found, left = found.index_select(1, lit), left.index_select(1, lit)
    return found.reshape(-1), _Left(left.reshape(-1))


def whole(residual: Residual) -> Tensor:
    """As `planes.whole`."""
    left, changes, start = torch.empty_like(residual.planes.current), AlignedChanges(residual), 0
    memory = left.new_empty(3, changes.room(BLOCK))
    for size in changes.pieces(BLOCK, memory):
        left.view(-1)[start : start + size] = memory[1, :size]
        start += size
    return left


def _blocks(planes: Planes, voxels: int) -> Iterator[Block]:
    """Cut the planes into blocks of about so many voxels, a plane into equal ones: half as many more do no harm."""
    height, width = planes.current.shape[1:]
    if height * width <= voxels:
        return planes.blocks(voxels)
    return planes.blocks(width * math.ceil(height / max(round(height * width / voxels), 1)))


def room(planes: Planes, voxels: int) -> int:
    """Return how many voxels the largest block has."""
    of_planes, rows = next(_blocks(planes, voxels))
    _, height, width = planes.current.shape
    found: int = (of_planes.stop - of_planes.start) * (min(rows.stop, height) - rows.start) * width
    return found


def twice_gradient_y(values: Tensor, block: Block, out: Tensor) -> Tensor:
    """Write twice the gradient along y of a block of `values` (plane, y, x), per px, to `out`, as numpy.gradient."""
    (planes, rows), height = block, values.shape[1]
    if height == 1:
        return out.zero_()
    first, last = max(rows.start, 1), min(rows.stop, height - 1)
    inside = out[:, first - rows.start : last - rows.start]
    torch.sub(values[planes, first + 1 : last + 1], values[planes, first - 1 : last - 1], out=inside)
    if height > 2 and (rows.start, rows.stop) == (0, height):
        return _at_edges(values[planes], out, 1)
    for edge, inner in ((0, 0), (height - 1, height - 2)):
        if rows.start <= edge < rows.stop:
            torch.sub(values[planes, inner + 1], values[planes, inner], out=out[:, edge - rows.start]).mul_(2)
    return out


def twice_gradient_x(values: Tensor, block: Block, out: Tensor) -> Tensor:
    """Write twice the gradient along x, as `twice_gradient_y` does along y."""
    whole_rows, width = values[block], values.shape[2]
    if width == 1:
        return out.zero_()
    if width == 2:
        out[...] = 2 * (whole_rows[..., 1:] - whole_rows[..., :1])
        return out
    torch.sub(whole_rows[..., 2:], whole_rows[..., :-2], out=out[..., 1:-1])
    return _at_edges(whole_rows, out, 2)


def _at_edges(values: Tensor, out: Tensor, axis: int) -> Tensor:
    """Write twice the gradient to the edges of an axis of more than two voxels, both in one operation."""
    first, last = [slice(None)] * axis, values.shape[axis] - 1
    one, other, edges = (
        (*first, part) for part in (slice(1, None, last - 1), slice(0, last, last - 1), slice(0, None, last))
    )
    torch.sub(values[one], values[other], out=out[edges]).mul_(2)
    return out
