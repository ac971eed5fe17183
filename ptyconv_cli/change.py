"""The changes between two snapshots: the numbers that PtyRAD's own monitor records. Pure functions on tensors."""

import math
from typing import NamedTuple

from torch import Tensor

from ptyconv_cli.percentiles import mean_change_outside, precise_sum
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
    for name, now in current.values.items():
        before = previous.values[name]
        if name == "probe":
            found[name] = Change(probe_change(now, before))
        elif name == "probe_pos_shifts":
            found[name] = Change(position_change(now, before, current.dx))
        else:
            background, foreground = mean_change_outside(now, before, percentile_range)
            found[f"{name}_bg"], found[f"{name}_fg"] = Change(*background), Change(*foreground)
    return found


def probe_change(current: Tensor, previous: Tensor) -> float:
    """Return sum |I_k - I_(k-1)| / (sum I_(k-1) + 1e-8) of two probe intensities (y, x); dimensionless."""
    return float(precise_sum((current - previous).abs())) / (float(precise_sum(previous)) + 1e-8)


def position_change(current: Tensor, previous: Tensor, dx: float) -> float:
    """Return the RMS displacement in Å of positions (N, 2) in px, `dx` in Å per px."""
    squares = (current - previous).square().sum(-1)
    return dx * math.sqrt(float(precise_sum(squares)) / squares.numel())
