"""The changes between two snapshots: the numbers that PtyRAD's own monitor records. Pure functions on tensors."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ptyconv_cli.device import precise
from ptyconv_cli.percentiles import mean_change_outside
from ptyconv_cli.snapshot import Snapshot


class Change(NamedTuple):
    """The value of one series at one snapshot, and the number of voxels in its mask (None where it has no mask)."""

    value: float
    voxels: int | None = None


def changes(current: Snapshot, previous: Snapshot, percentile_range: tuple[float, float]) -> dict[str, Change]:
    """Return the change since `previous` of every tracked series, by the keys of `series.SERIES` and in their order.

    Units as in that table; formulas: README, "What the numbers mean".
    """
    found: dict[str, Change] = {}
    for name in current.values:
        found |= tensor_changes(name, current, previous, percentile_range)
    return found


def tensor_changes(
    name: str, current: Snapshot, previous: Snapshot, percentile_range: tuple[float, float]
) -> dict[str, Change]:
    """Return the change since `previous` of the one or two series of a tensor, as `changes` does."""
    now, before = current.values[name], previous.values[name]
    if name == "probe":
        return {name: Change(probe_change(now, before))}
    if name == "probe_pos_shifts":
        return {name: Change(position_change(now, before, current.dx))}
    background, foreground = mean_change_outside(now, before, percentile_range)
    return {f"{name}_bg": Change(*background), f"{name}_fg": Change(*foreground)}


def probe_change(current: Tensor, previous: Tensor) -> float:
    """Return sum |I_k - I_(k-1)| / (sum I_(k-1) + 1e-8) of two probe intensities (y, x); dimensionless."""
    dtype = precise(current.device)
    sums = torch.stack([(current - previous).abs().sum(dtype=dtype), previous.sum(dtype=dtype)])
    change, before = map(float, sums.tolist())  # together: a GPU is waited for once
    return change / (before + 1e-8)


def position_change(current: Tensor, previous: Tensor, dx: float) -> float:
    """Return the RMS displacement in Å of positions (N, 2) in px, `dx` in Å per px."""
    squares = (current - previous).square().sum(-1)
    return dx * math.sqrt(float(squares.sum(dtype=precise(squares.device))) / len(squares))
