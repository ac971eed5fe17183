"""Exact means of a change over the voxels below a low and above a high percentile."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class MaskedMean(NamedTuple):
    """A mean over a mask, 0.0 over an empty one, and the number of voxels in it; NaN and None where no mask exists."""

    mean: float
    voxels: int | None


def mean_change_outside(
    current: Tensor, previous: Tensor, percentile_range: tuple[float, float]
) -> tuple[MaskedMean, MaskedMean]:
    """Mean |current - previous| over voxels with current < p_low, and over those with current > p_high.

    `current` and `previous` are real tensors of one shape on one device; p_low and p_high are the percentiles of
    all voxels of `current` with linear interpolation, as `numpy.percentile` gives them in float64. Both means are
    NaN where `current` holds a NaN, for then it has no percentiles. Formula: README, "What the numbers mean".
    """
    ordered = current.flatten().sort().values
    ranks = [_rank(ordered.numel(), percentile) for percentile in percentile_range]
    wanted = [position for position, _ in ranks] + [position + 1 for position, _ in ranks] + [ordered.numel()]
    wanted = [min(position, ordered.numel() - 1) for position in wanted]
    low, high, after_low, after_high, largest = ordered[wanted].tolist()
    p_low, p_high = _between(low, after_low, ranks[0][1]), _between(high, after_high, ranks[1][1])
    if math.isnan(largest) or math.isnan(p_low) or math.isnan(p_high):
        return MaskedMean(math.nan, None), MaskedMean(math.nan, None)
    # A percentile lies between two neighbours in the order, so comparing with a neighbour selects the same voxels
    # as comparing with the percentile, and needs no float64 (which MPS lacks).
    below = current <= low if p_low > low else current < low
    above = current > after_high if p_high >= after_high else current > high
    change = (current - previous).abs_()
    return _masked_mean(change, below), _masked_mean(change, above)


def precise_sum(values: Tensor) -> Tensor:
    """Sum in float64 where the device has it (MPS has not); a scalar tensor on the same device."""
    return values.sum(dtype=None if values.device.type == "mps" else torch.float64)


def _masked_mean(change: Tensor, mask: Tensor) -> MaskedMean:
    voxels = int(mask.sum())
    total = float(precise_sum(torch.where(mask, change, 0.0)))
    return MaskedMean(total / voxels if voxels else 0.0, voxels)


def _rank(count: int, percentile: float) -> tuple[int, float]:
    """Place of a percentile among `count` ordered values: the position before it and the fraction beyond."""
    place = (count - 1) * (percentile / 100)
    position = math.floor(place)
    return position, place - position


def _between(before: float, after: float, fraction: float) -> float:
    """Interpolate from the nearer end, as numpy does, so that rounding falls the same way."""
    step = after - before
    return before + step * fraction if fraction < 0.5 else after - step * (1 - fraction)
