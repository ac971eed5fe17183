"""Where the settings of a run change: a verdict must not mix what came before with what came after."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise

from ptyconv_cli.results.history import Curve, EngineHistories

STEP = 2.0
"""Factor of the learning rate from one iteration to the next above which a new segment begins."""

MORE_THAN_ITS_NEIGHBOURS = 2.0
"""And by this much more than the changes beside it: a schedule that goes smoothly to 0 has large factors at its end."""

NEAR = 1.25
"""Factor from half of the iterations up to which a checkpoint stands for the one at half."""


def segment_begins(tensor: str, engine: EngineHistories, boundaries: Sequence[int] = ()) -> list[int]:
    """Return the iterations after which a segment of a tensor begins, in order, from 0 on.

    One begins at a run boundary, where the learning rate jumps, and where the tensor starts being optimised. Where the
    engine recorded nothing of that, only `boundaries` count.
    """
    start, _ = engine.optimised.get(tensor, (1, None))
    begins = {0, *boundaries, *(niter - 1 for niter in _steps(engine.learning_rates.get(tensor, [])))}
    begins |= {start - 1} if start is not None else set()
    return sorted(begin for begin in begins if begin >= 0)


def begin_of(niter: int, begins: Sequence[int]) -> int:
    """Return the iteration after which the segment begins that an iteration is in."""
    return max((begin for begin in begins if begin < niter), default=0)


def half_of(niters: Sequence[int], begins: Sequence[int], last: int | None = None) -> int | None:
    """Return the place of the checkpoint at half of the last one's iterations, of two as near the earlier.

    Iterations count from the begin of the segment. None where none is within a factor of `NEAR`. `last`: the place of
    the last one, by default that of the last iteration.
    """
    last = len(niters) - 1 if last is None else last
    begin = begin_of(niters[last], begins)
    half = (niters[last] - begin) / 2
    after = bisect_left(niters, begin + half, hi=last)
    beside = [place for place in (after - 1, after) if 0 <= place < last and niters[place] > begin]
    nearest = min(beside, key=lambda place: abs(niters[place] - begin - half), default=None)
    if nearest is None or not half / NEAR <= niters[nearest] - begin <= half * NEAR:
        return None
    return nearest


def doublings_between(
    niters: Sequence[int], begins: Sequence[int], distance: Callable[[int, int], float]
) -> list[tuple[int, int, float]]:
    """Return (niter, since, distance) of each checkpoint that has one at half of its iterations, in order.

    `distance`: of the checkpoints at two places, the later one first.
    """
    halves = [(place, half_of(niters, begins, place)) for place in range(1, len(niters))]
    return [(niters[place], niters[half], distance(place, half)) for place, half in halves if half is not None]


def stopped_since(tensor: str, engine: EngineHistories, before: int, last: int) -> int | None:
    """Return the iteration after which the engine did not optimise a tensor, None where it did so to the end.

    It did not where that is recorded, or the learning rate was 0 from iteration `before` to `last`.
    """
    start, end = engine.optimised.get(tensor, (1, None))
    if start is None or start > max(last, 1):
        return 0
    if end is not None and end <= before:
        return end
    rates = [(niter, rate) for niter, rate in engine.learning_rates.get(tensor, []) if niter <= last]
    if not rates or any(rate for niter, rate in rates if niter > before):
        return None
    return max((niter for niter, rate in rates if rate), default=0)


def _steps(rates: Curve) -> list[int]:
    """Return the iterations from which on another learning rate holds; one that goes to 0 has stopped instead."""
    factors = [_factor(one, other) for (_, one), (_, other) in pairwise(rates)]
    found = []
    for k, factor in enumerate(factors):
        beside = max([1.0, *factors[max(k - 1, 0) : k], *factors[k + 1 : k + 2]])
        if factor > STEP and factor > MORE_THAN_ITS_NEIGHBOURS * beside:
            found.append(rates[k + 1][0])
    return found


def _factor(one: float, other: float) -> float:
    if min(one, other) > 0:
        return max(one, other) / min(one, other)
    return math.inf if other > 0 else 1.0
