"""What the loss says of a run up to one of its iterations. Rules: docs/verdict.md."""

import math
import statistics
from dataclasses import dataclass
from itertools import pairwise

from ptyconv_cli.results.history import Curve

FIRST = 3
"""The first iteration whose loss counts, of a long run a hundredth of its iterations: what is before may be 50,000
times the rest."""

AROUND = 0.9, 1.02
"""Shares of an iteration between which losses are taken together: from batch to batch they scatter."""

STILL_FALLS = 0.1
"""Share of its whole fall, over a doubling of the iterations, from which on the loss still falls."""

RISES = 0.05
"""Share of its whole fall, over a doubling of the iterations, by which the loss rises from which on that is said."""

ROSE = 0.1
"""Share of its whole fall by which it has risen above its least from which on that is said."""

FALLS, TIMES = 10.0, 4.0
"""A run has diverged whose loss is so many whole falls above its least, and so many times that."""


@dataclass(frozen=True)
class LossSoFar:
    """The loss up to an iteration. `lowest_at`: the iteration of its least.

    `share`: by how much it fell over the last doubling of the iterations, as a share of its whole fall; NaN where it
    never fell. `rose`: by which share of its least it is higher now, 0 unless that is clear. `left`: the last iteration
    before it left for good, None where it did not.
    """

    lowest_at: int
    share: float
    rose: float = 0.0
    left: int | None = None

    @property
    def still_falls(self) -> bool:
        """Whether it fell clearly over the last doubling: more iterations are what the data ask for."""
        return self.share >= STILL_FALLS

    @property
    def rises(self) -> bool:
        """Whether it rose clearly over the last doubling."""
        return self.share <= -RISES

    @property
    def falls(self) -> bool:
        """Whether it fell at all, or, where that cannot be said, may have."""
        return not self.share <= 0


def loss_so_far(loss: Curve, niter: int, half: float, cycle: int = 0) -> LossSoFar | None:
    """Return what the loss did up to iteration `niter`, of which `half` is half; None where nothing is recorded.

    `cycle`: iterations after which the learning rate restarts, 0: it does not.
    """
    so_far = [(at, value) for at, value in loss if at <= niter]
    known = [(at, value) for at, value in so_far if math.isfinite(value)]
    if not known:
        return None
    counts = [(at, value) for at, value in known if at >= max(FIRST, niter / 100)] or known[-1:]
    lowest_at, least = min(counts, key=_value)
    fall = counts[0][1] - least
    left = _left(so_far, min(known, key=_value)[1], fall)
    if left is not None:  # which may have been at once
        lowest_at, least = min(known, key=_value)
    now, before = _around(known, niter, cycle), _around(known, half, cycle)
    rises = now - least >= ROSE * fall and now > least
    return LossSoFar(
        lowest_at=lowest_at,
        share=(before - now) / fall if fall > 0 else math.nan,
        rose=(now - least) / abs(least) if rises and least else 0.0,
        left=left,
    )


def _around(known: Curve, niter: float, cycle: int) -> float:
    """Return the median of the losses around an iteration, or, where there are none, the last one before, if any.

    With a cycle, of whole cycles before it.
    """
    low, high = AROUND[0] * niter, AROUND[1] * niter
    if cycle:
        low, high = niter - cycle * max(round((niter - low) / cycle), 1) + 1, niter
    near = [value for at, value in known if low <= at <= high]
    before = [value for at, value in known if at <= niter]
    return statistics.median(near) if near else before[-1] if before else math.nan


def _value(pair: tuple[int, float]) -> float:
    return pair[1]


def _left(so_far: Curve, least: float, fall: float) -> int | None:
    """Return the last iteration at which the loss had not left, None where that is the last of all.

    A single value at the end is no leave unless the one before was on its way, nor are NaN that are no more than there
    were between others: an engine may record the loss at some iterations only.
    """
    limit = least + max(FALLS * fall, (TIMES - 1) * abs(least))
    inside = [place for place, (_, value) in enumerate(so_far) if value <= limit]
    last = inside[-1] if inside else -1
    after = [value for _, value in so_far[last + 1 :]]
    gaps = [later - earlier for earlier, later in pairwise(inside)]
    if all(map(math.isnan, after)):
        is_left = len(after) > max(1, *gaps) if gaps else len(after) > 1
    else:
        on_its_way = last >= 0 and so_far[last][1] > least + max(fall, abs(least))
        is_left = len(after) > 1 or on_its_way
    return None if not after or not is_left else so_far[last][0] if inside else 0
