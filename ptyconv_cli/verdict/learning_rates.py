"""What the learning rate of a quantity did: where it begins anew, where it changed in a step, and where it ended."""

import math
from itertools import pairwise

from ptyconv_cli.results.history import Curve

RESTART = 2.0
"""Times the learning rate of the iteration before from which on it changed in a step, or its schedule began anew."""

FEWEST_RESTARTS = 3

ENDED = 0.1
"""Times its mean over the last doubling below which a learning rate is at the end of its schedule."""


def cycle_of(rates: Curve) -> int:
    """Return after how many iterations a learning rate begins anew, again and again; 0 where it does not."""
    anew = [niter for (_, one), (niter, other) in pairwise(rates) if other > RESTART * one > 0]
    apart = {after - before for before, after in pairwise(anew)}
    return apart.pop() if len(anew) >= FEWEST_RESTARTS and len(apart) == 1 else 0


def steps_of(rates: Curve) -> list[int]:
    """Return the iterations after which a learning rate is another one, by more than a factor of `RESTART`.

    And by more than its changes beside: a schedule that goes smoothly to 0 has large factors at its end.
    """
    factors = [
        max(one, other) / low if (low := min(one, other)) > 0 else 1.0 for (_, one), (_, other) in pairwise(rates)
    ]
    found = []
    for place, factor in enumerate(factors):
        beside = max([1.0, *factors[max(place - 1, 0) : place], *factors[place + 1 : place + 2]])
        if factor > RESTART * beside:
            found.append(rates[place][0])
    return found


def mean_rate(rates: Curve, since: int, niter: int) -> float:
    """Return the mean learning rate after one iteration up to another, NaN where none is known."""
    found = [rate for at, rate in rates if since < at <= niter]
    return sum(found) / len(found) if found else math.nan


def rate_at(rates: Curve, niter: int, cycle: int) -> float:
    """Return the learning rate at an iteration, the mean over a `cycle` if it restarts; NaN if none is known."""
    recent = [rate for at, rate in rates if at <= niter][-max(cycle, 1) :]
    return sum(recent) / len(recent) if recent else math.nan


def has_ended(rates: Curve, since: int, niter: int, cycle: int = 0) -> bool:
    """Say whether a schedule brought the rate to next to nothing since an iteration: to go on needs another one."""
    return rate_at(rates, niter, cycle) < ENDED * mean_rate(rates, since, niter)
