"""How the iterations of a run count, and which checkpoint stands for half of another's. Rules: docs/verdict.md."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ptyconv_cli.results.history import EngineHistories
from ptyconv_cli.results.run_analysis import SIZE, SLICES, RunBoundary
from ptyconv_cli.verdict.learning_rates import cycle_of, steps_of

NEAREST, FARTHEST = 1.4, 4.0
"""Times the iterations of an earlier checkpoint that a later one has at least and at most, to be compared over a
doubling."""

EQUAL_PHASE = 0.05
"""Share of a cycle up to which two checkpoints are at the same phase of it."""


@dataclass(frozen=True)
class Counting:
    """From where the iterations of a tensor count: from the last of the `begins` before them, 0 or later.

    Where its learning rate restarts every `cycle` iterations, checkpoints at the same phase are compared; 0: it does
    not. `changes`: the iterations after which it goes on with other settings.
    """

    begins: tuple[int, ...] = (0,)
    cycle: int = 0
    changes: tuple[int, ...] = ()

    def begin(self, niter: int) -> int:
        """Return the iteration after which the iterations up to `niter` count."""
        return max((begin for begin in self.begins if begin < niter), default=0)

    def in_phase(self, one: int, other: int) -> bool:
        """Say whether two iterations are at the same phase of the cycle; without one all are."""
        if not self.cycle:
            return True
        apart = abs(one - other) % self.cycle
        return min(apart, self.cycle - apart) <= EQUAL_PHASE * self.cycle

    def up_to(self, niter: int) -> "Counting":
        """Return as much of it as says which checkpoints up to an iteration are compared."""
        return Counting(tuple(begin for begin in self.begins if begin < niter), self.cycle)


def counting_of(tensor: str, engine: EngineHistories, boundaries: Iterable[RunBoundary] = ()) -> Counting:
    """Return how the iterations of a tensor, by the name that the engine gives it, count.

    They begin anew where it is first optimised, and at those of the run's `boundaries` at which the geometry changes.
    Where the object goes on from where it was, larger, in other slices, or with another learning rate, batch size or
    engine, they go on.
    """
    start, _ = engine.optimised.get(tensor, (1, None))
    boundaries, rates = list(boundaries), engine.learning_rates.get(tensor, [])
    new_geometry = {boundary.niter for boundary in boundaries if boundary.difference and boundary.growth != SLICES}
    begins = {0, *new_geometry, *(() if start is None else (start - 1,))}
    cycle = cycle_of(rates)
    changes = {boundary.niter for boundary in boundaries if boundary.growth != SIZE}
    changes |= set(() if cycle else steps_of(rates))
    return Counting(tuple(sorted(begin for begin in begins if begin >= 0)), cycle, tuple(sorted(changes)))


def half_of(niters: Sequence[int], counting: Counting, last: int | None = None) -> int | None:
    """Return the place of the checkpoint that the last one is compared with over a doubling, None where there is none.

    Of those that have from a quarter of its iterations to 1/1.4 of them, the one nearest to half on a logarithmic axis,
    of two the earlier, at the same phase of a cycle if any is. `last`: the place of the last one, by default that of
    the last iteration.
    """
    last = len(niters) - 1 if last is None else last
    begin = counting.begin(niters[last])
    done = niters[last] - begin
    first = bisect_left(niters, begin + max(done / FARTHEST, 1), hi=last)
    end = bisect_left(niters, math.nextafter(begin + done / NEAREST, math.inf), hi=last)
    places = _in_phase(niters, counting, last, range(first, end), begin + done / 2) if counting.cycle else []
    if not places:
        after = bisect_left(niters, begin + done / 2, first, end)
        places = [place for place in (after - 1, after) if first <= place < end]
    return min(places, key=lambda place: abs(math.log(2 * (niters[place] - begin) / done)), default=None)


def _in_phase(niters: Sequence[int], counting: Counting, last: int, among: range, half: float) -> list[int]:
    """Return the place nearest to half, `among` some, that is at the same phase as the last one, if any is."""
    cycles = round((niters[last] - half) / counting.cycle)
    farthest = 1 + round((half if among else 0) / counting.cycle)
    for away in (step for count in range(farthest + 1) for step in {count, -count}):
        wanted = niters[last] - (cycles + away) * counting.cycle
        after = bisect_left(niters, wanted, among.start, among.stop)
        beside = [place for place in (after - 1, after) if place in among and counting.in_phase(niters[place], wanted)]
        beside = [place for place in beside if abs(niters[place] - wanted) < counting.cycle / 2]
        if beside:
            return [min(beside, key=lambda place: abs(niters[place] - wanted))]
    return []


def doublings_between(
    niters: Sequence[int], counting: Counting, distance: Callable[[int, int], float]
) -> list[tuple[int, int, float]]:
    """Return (niter, since, distance) of each checkpoint that has one at half of its iterations, in order.

    `distance`: of the checkpoints at two places, the later one first.
    """
    halves = [(place, half_of(niters, counting, place)) for place in range(1, len(niters))]
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
    recent = [rate for niter, rate in rates if niter > before]
    if not recent or any(recent):
        return None
    return max((niter for niter, rate in rates if rate), default=0)
