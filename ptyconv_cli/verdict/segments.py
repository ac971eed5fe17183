"""Which points of a series belong together: a verdict must not mix what came before a change of the settings."""

from collections.abc import Sequence
from itertools import pairwise

from ptyconv_cli.results.history import Curve, EngineHistories, Point

STEP = 2.0
"""Factor of the learning rate from one iteration to the next above which a new segment begins."""

MORE_THAN_ITS_NEIGHBOURS = 2.0
"""And by this much more than the changes beside it: a schedule that goes smoothly to 0 has large factors at its end."""


def last_segment(
    points: Sequence[Point], tensor: str, engine: EngineHistories, boundaries: Sequence[int] = ()
) -> tuple[list[Point], bool]:
    """Return the points of the last segment of a tensor's series, and whether the tensor is optimised in it.

    A segment begins after a boundary, where the learning rate changes abruptly, and where the tensor starts or stops
    being optimised. Where the engine recorded nothing of that, all points are one segment.
    """
    if boundaries:
        points = [point for point in points if point.since is not None and point.since >= boundaries[-1]]
    rates, (start, end) = engine.learning_rates.get(tensor, []), engine.optimised.get(tensor, (1, None))
    if start is None:
        return list(points), False
    begins = [start, *_steps(rates), *([] if end is None else [end + 1])]
    for begin in sorted(begins, reverse=True):
        found = [point for point in points if point.since is not None and point.since >= begin - 1]
        if found:
            break
    else:
        found, begin = list(points), 1
    stopped = end is not None and begin > end
    known = [rate for niter, rate in rates if niter > (found[0].since or 0)] if found else []
    return found, not stopped and not (known and max(known) == 0)


def _steps(rates: Curve) -> list[int]:
    """Return the iterations from which on another learning rate holds."""
    factors = [
        max(one, other) / min(one, other) if min(one, other) > 0 else 1.0 if one == other else float("inf")
        for (_, one), (_, other) in pairwise(rates)
    ]
    found = []
    for k, factor in enumerate(factors):
        beside = max([1.0, *factors[max(k - 1, 0) : k], *factors[k + 1 : k + 2]])
        if factor > STEP and factor > MORE_THAN_ITS_NEIGHBOURS * beside:
            found.append(rates[k + 1][0])
    return found
