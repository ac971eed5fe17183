"""Two passes over an object's planes (its slices): one for the products that the fit needs, one for its residual.

The fields on a plane are one of its own (for a phase 1, for 1 - amplitude the amplitude), twice the gradients of the
current snapshot in y and in x (twice, which saves an operation), and, on the first slice of a phase, the coordinates.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptyconv_cli.metrics.device import precise
from ptyconv_cli.metrics.projection import Array

CHUNK, CHUNK_ON_GPU = 1 << 17, 1 << 22
"""Voxels worked on at a time; on a CPU as many as fit its cache."""

OWN, GRADIENT_Y, GRADIENT_X, CHANGE, RAMP_X, RAMP_Y = range(6)
"""The places of the fields, and of the change, among the products."""

Block = tuple[slice, slice]
"""A range of planes and a range of rows: whole planes, or rows of a single one."""


class Planes(NamedTuple):
    """`current` and `previous` (plane, y, x) of `obja`, as 1 - amplitude, or `objp`; `slices` of each object mode."""

    name: str
    current: Tensor
    previous: Tensor
    slices: int

    def ramps(self) -> tuple[Tensor, Tensor]:
        """Return the coordinates y (y, 1) and x (x) in px from the middle, so that their means are 0."""
        y, x = (
            torch.arange(size, dtype=self.current.dtype, device=self.current.device) - (size - 1) / 2
            for size in self.current.shape[1:]
        )
        return y[:, None], x

    def has_ramps(self) -> NDArray[np.bool_]:
        """Return which planes ramps are fitted on (plane)."""
        return np.asarray((np.arange(len(self.current)) % self.slices == 0) & (self.name == "objp"))

    def blocks(self, voxels: int | None = None) -> Iterator[Block]:
        """Cut the planes, in order, into blocks of about so many voxels, by default `CHUNK`."""
        planes, height, width = self.current.shape
        voxels = voxels or (CHUNK if self.current.device.type == "cpu" else CHUNK_ON_GPU)
        rows, together = max(voxels // width, 1), max(voxels // (height * width), 1)
        for plane in range(0, planes, together):
            for row in range(0, height, rows):
                yield slice(plane, min(plane + together, planes)), slice(row, min(row + rows, height))


def products(planes: Planes) -> Array:
    """Return, for each plane, the sums over its voxels of the products of fields and change (plane, 6, 6).

    In the order of `OWN` to `RAMP_Y`; 0 for ramps where a plane has none. Summed on the tensors' device, in float64
    where it has that.
    """
    now, (y, x), has_ramps = planes.current, planes.ramps(), planes.has_ramps()
    sums = torch.zeros(len(now), 6, 6, dtype=precise(now.device), device=now.device)
    memory = sums.new_empty(0)
    for block in planes.blocks():
        ramps = has_ramps[block[0]].any()
        fields, memory = _in(memory, 5 if ramps else 4, *now[block].shape)
        _own_field(planes, block, fields[OWN])
        twice_gradient_y(now, block, fields[GRADIENT_Y])
        twice_gradient_x(now, block, fields[GRADIENT_X])
        torch.sub(now[block], planes.previous[block], out=fields[CHANGE])
        if ramps:
            fields[RAMP_X] = x
        # A matrix product for every row of voxels: fast on every device, and short sums lose no digits.
        rows = fields.flatten(1, 2).transpose(0, 1)
        of_rows = torch.bmm(rows, rows.mT).view(*fields.shape[1:3], len(fields), len(fields))
        found = sums[block[0]]
        found[:, : len(fields), : len(fields)] += of_rows.sum(1)
        if ramps:
            with_ramp = of_rows[:, :, OWN] * y[block[1]]  # a phase's own field is 1: these are sums over the row
            found[:, RAMP_Y, : len(fields)] += with_ramp.sum(1)
            found[:, RAMP_Y, RAMP_Y] += (with_ramp[..., OWN] * y[block[1], 0]).sum(1)
    on_host: Array = sums.cpu().double().numpy()
    on_host[:, :, RAMP_Y] = on_host[:, RAMP_Y]
    for ramp in (RAMP_X, RAMP_Y):  # of planes that were worked on together with one that has ramps
        on_host[~has_ramps, ramp] = on_host[~has_ramps, :, ramp] = 0
    return on_host


class Residual:
    """The residual of the fit, computed piece by piece: the whole would need the memory of another snapshot.

    `own`: coefficients of the planes' own fields (plane); `common`: those of the other fields, by field.
    """

    def __init__(self, planes: Planes, own: Array, common: dict[int, float]) -> None:
        now, has_ramps = planes.current, planes.has_ramps()
        self._planes, self._common, self._ramps = planes, common, planes.ramps()
        self._own, self._ramp_y, self._ramp_x = (
            torch.from_numpy(coefficients).to(now.dtype).to(now.device)[:, None, None]  # MPS must not see float64
            for coefficients in (own, common.get(RAMP_Y, 0) * has_ramps, common.get(RAMP_X, 0) * has_ramps)
        )

    def pieces(self, voxels: int) -> Iterator[Tensor]:
        """Yield it in order, in flat pieces of about so many voxels, each in the memory of the one before."""
        memory = self._planes.current.new_empty(0)
        for block in self._planes.blocks(voxels):
            left, memory = _in(memory, *self._planes.current[block].shape)
            yield self._write(block, left).view(-1)

    def whole(self) -> Tensor:
        """Return it whole (plane, y, x)."""
        left = torch.empty_like(self._planes.current)
        for block in self._planes.blocks():
            self._write(block, left[block])
        return left

    def _write(self, block: Block, left: Tensor) -> Tensor:
        (planes, rows), now, (y, x) = block, self._planes.current, self._ramps
        torch.sub(now[block], self._planes.previous[block], out=left)
        if self._planes.name == "obja":
            left.addcmul_(now[block], self._own[planes])  # the own field, the amplitude, is 1 - this
        left.sub_(self._own[planes] + self._ramp_y[planes] * y[rows])
        if self._planes.has_ramps()[planes].any():
            left.sub_(self._ramp_x[planes] * x)
        gradient = torch.empty_like(left)
        left.sub_(twice_gradient_y(now, block, gradient), alpha=self._common[GRADIENT_Y])
        return left.sub_(twice_gradient_x(now, block, gradient), alpha=self._common[GRADIENT_X])


def _in(memory: Tensor, *shape: int) -> tuple[Tensor, Tensor]:
    """Return a tensor of a shape in `memory`, and that memory, or new memory (which is slow) where it was too small."""
    count = math.prod(shape)
    if len(memory) < count:
        memory = memory.new_empty(count)
    return memory[:count].view(shape), memory


def _own_field(planes: Planes, block: Block, out: Tensor) -> None:
    if planes.name == "obja":
        torch.sub(planes.current.new_ones(()), planes.current[block], out=out)
    else:
        out.fill_(1)


def twice_gradient_y(values: Tensor, block: Block, out: Tensor) -> Tensor:
    """Write twice the gradient along y of a block of `values` (plane, y, x), per px, to `out`, as numpy.gradient."""
    (planes, rows), height = block, values.shape[1]
    if height == 1:
        return out.zero_()
    first, last = max(rows.start, 1), min(rows.stop, height - 1)
    inside = out[:, first - rows.start : last - rows.start]
    torch.sub(values[planes, first + 1 : last + 1], values[planes, first - 1 : last - 1], out=inside)
    for edge, inner, outer in ((0, 0, 1), (height - 1, height - 2, height - 1)):
        if rows.start <= edge < rows.stop:
            out[:, edge - rows.start] = 2 * (values[planes, outer] - values[planes, inner])
    return out


def twice_gradient_x(values: Tensor, block: Block, out: Tensor) -> Tensor:
    """Write twice the gradient along x, as `twice_gradient_y` does along y."""
    whole_rows = values[block]
    if values.shape[2] == 1:
        return out.zero_()
    torch.sub(whole_rows[..., 2:], whole_rows[..., :-2], out=out[..., 1:-1])
    out[..., 0] = 2 * (whole_rows[..., 1] - whole_rows[..., 0])
    out[..., -1] = 2 * (whole_rows[..., -1] - whole_rows[..., -2])
    return out
