"""A phase that is known only up to full turns, as that of complex numbers, made continuous. On tensors, in place."""

import math

from torch import Tensor


def unwrap(phase: Tensor, before: Tensor | None) -> Tensor:
    """Add full turns to a phase in rad, so that it differs by half a turn at most from `before`, the one before it.

    The difference is then the angle of current × conj(previous), and adds up from snapshot to snapshot. Of the first
    snapshot, which has none before it, from its circular mean: then it is continuous in space as far as can be.

    Return what the next one is to follow: the same, but where it is NaN what was before.
    """
    middle = _circular_mean(phase) if before is None else before
    phase.sub_(middle).add_(math.pi).remainder_(2 * math.pi).sub_(math.pi).add_(middle)
    broken = phase.isnan()
    return phase.where(~broken, middle) if broken.any() else phase


def _circular_mean(phase: Tensor) -> Tensor:
    return phase.sin().nansum().atan2(phase.cos().nansum())
