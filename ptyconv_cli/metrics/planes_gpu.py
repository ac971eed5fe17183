"""The passes over an object's planes on a GPU, with torch."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptyconv_cli.metrics.arrays import precise
from ptyconv_cli.metrics.planes import (
    CHANGE,
    GRADIENT_X,
    GRADIENT_Y,
    OWN,
    RAMP_X,
    RAMP_Y,
    Block,
    Planes,
    Residual,
    coordinates,
)

BLOCK = 1 << 22
"""Voxels worked on at a time."""


def products(planes: Planes) -> NDArray[np.float64]:
    """As `planes.Planes.products`. Summed on the tensors' device, in float64 where it has that."""
    now, (y, x), has_ramps = planes.current, _ramps(planes.current), planes.has_ramps
    sums = torch.zeros(len(now), 6, 6, dtype=precise(now), device=now.device)
    memory = sums.new_empty(0)
    for block in planes.blocks(BLOCK):
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
    on_host: NDArray[np.float64] = sums.cpu().double().numpy()
    on_host[:, :, RAMP_Y] = on_host[:, RAMP_Y]
    for ramp in (RAMP_X, RAMP_Y):  # of planes that were worked on together with one that has ramps
        on_host[~has_ramps, ramp] = on_host[~has_ramps, :, ramp] = 0
    return on_host


def whole(residual: Residual) -> Tensor:
    """As `planes.Residual.whole`."""
    left = torch.empty_like(residual.planes.current)
    for block in residual.planes.blocks(BLOCK):
        _write(residual, block, left[block])
    return left


def _write(residual: Residual, block: Block, left: Tensor) -> Tensor:
    planes, (of_planes, rows) = residual.planes, block
    now, (y, x), has_ramps = planes.current, _ramps(planes.current), planes.has_ramps[of_planes]
    own, ramp_y, ramp_x = (
        torch.from_numpy(coefficients).to(now.dtype).to(now.device)[:, None, None]  # MPS must not see float64
        for coefficients in (
            residual.own[of_planes],
            residual.common.get(RAMP_Y, 0) * has_ramps,
            residual.common.get(RAMP_X, 0) * has_ramps,
        )
    )
    torch.sub(now[block], planes.previous[block], out=left)
    if planes.name == "obja":
        left.addcmul_(now[block], own)  # the own field, the amplitude, is 1 - this
    left.sub_(own + ramp_y * y[rows])
    if has_ramps.any():
        left.sub_(ramp_x * x)
    gradient = torch.empty_like(left)
    left.sub_(twice_gradient_y(now, block, gradient), alpha=residual.common[GRADIENT_Y])
    return left.sub_(twice_gradient_x(now, block, gradient), alpha=residual.common[GRADIENT_X])


def _ramps(now: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates y (y, 1) and x (x) in px from the middle."""
    y, x = (torch.from_numpy(coordinates(size)).to(now.dtype).to(now.device) for size in now.shape[1:])
    return y[:, None], x


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
