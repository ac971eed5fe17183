"""The changes between two snapshots: the numbers that PtyRAD's own monitor records. Pure functions on tensors."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor

from ptyconv_cli.percentiles import mean_change_outside, precise
from ptyconv_cli.snapshot import Snapshot

Run = Callable[[Callable[[str], dict[str, "Change"]], Iterable[str]], Iterable[dict[str, "Change"]]]


class Change(NamedTuple):
    """The value of one series at one snapshot, and the number of voxels in its mask (None where it has no mask)."""

    value: float
    voxels: int | None = None


def changes(
    current: Snapshot, previous: Snapshot, percentile_range: tuple[float, float], run: Run = map
) -> dict[str, Change]:
    """Return the change since `previous` of every tracked series, by the keys of `series.SERIES` and in their order.

    `run` maps a function over the tensors' names: an executor's `map` works on them at the same time. Units as in that
    table; formulas: README, "What the numbers mean".
    """

    def of(name: str) -> dict[str, Change]:
        now, before = current.values[name], previous.values[name]
        if name == "probe":
            return {name: Change(probe_change(now, before))}
        if name == "probe_pos_shifts":
            return {name: Change(position_change(now, before, current.dx))}
        background, foreground = mean_change_outside(now, before, percentile_range)
        return {f"{name}_bg": Change(*background), f"{name}_fg": Change(*foreground)}

    return {key: change for found in run(of, current.values) for key, change in found.items()}


def probe_change(current: Tensor, previous: Tensor) -> float:
    """Return sum |I_k - I_(k-1)| / (sum I_(k-1) + 1e-8) of two probe intensities (y, x); dimensionless."""
    dtype = precise(current.device)
    return float((current - previous).abs().sum(dtype=dtype)) / (float(previous.sum(dtype=dtype)) + 1e-8)


def position_change(current: Tensor, previous: Tensor, dx: float) -> float:
    """Return the RMS displacement in Å of positions (N, 2) in px, `dx` in Å per px."""
    squares = (current - previous).square().sum(-1)
    return dx * math.sqrt(float(squares.sum(dtype=precise(squares.device))) / squares.numel())
