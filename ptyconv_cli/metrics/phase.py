"""Makes a phase that is known only up to full turns, as of complex numbers, continuous. On tensors, in place."""

import math

from torch import Tensor


def unwrap(phase: Tensor, before: Tensor | None) -> Tensor:
    """Add full turns to a phase in rad, so that it differs by half a turn at most from `before`, the one before it.

    The difference is then the angle of current × conj(previous), and accumulates from snapshot to snapshot. The first
    snapshot, with none before it, is unwrapped around its circular mean.

    Returns the phase to unwrap the next snapshot with: this one, but where it is NaN the one before.
    """
    middle = _circular_mean(phase) if before is None else before
    phase.sub_(middle).add_(math.pi).remainder_(2 * math.pi).sub_(math.pi).add_(middle)
    broken = phase.isnan()
    return phase.where(~broken, middle) if broken.any() else phase


def _circular_mean(phase: Tensor) -> Tensor:
    return phase.sin().nansum().atan2(phase.cos().nansum())
