"""Makes a phase that is known only up to full turns, as of complex numbers, continuous. In place."""

import math

import numpy as np

from ptyconv_cli.metrics.arrays import Array, namespace


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def unwrap(phase: Array, before: Array | None) -> Array:
    """Add full turns to a phase in rad, so that it differs by half a turn at most from `before`, the one before it.

    The difference is then the angle of current × conj(previous), and accumulates from snapshot to snapshot. The first
    snapshot, with none before it, is unwrapped around its circular mean.

    Returns the phase to unwrap the next snapshot with: this one, but where it is NaN the one before.
    """
    xp = namespace(phase)
    middle = _circular_mean(phase) if before is None else before
    phase -= middle
    phase += math.pi
    phase %= 2 * math.pi
    phase -= math.pi
    phase += middle
    broken = xp.isnan(phase)
    return xp.where(broken, middle, phase) if xp.any(broken) else phase


@np.errstate(all="ignore")
def unwrap_apart(phase: Array, other: Array) -> Array:
    """Unwrap a phase, as `unwrap` does, by that of a snapshot from which it may also differ by a constant."""
    return unwrap(phase, other + _circular_mean(phase - other))


def _circular_mean(phase: Array) -> Array:
    xp = namespace(phase)
    sine, cosine = (xp.sum(xp.where(xp.isnan(part), 0, part)) for part in (xp.sin(phase), xp.cos(phase)))
    return xp.atan2(sine, cosine)
