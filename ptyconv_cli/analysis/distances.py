"""Which earlier checkpoints each new one is compared with, so that the work grows in proportion to their number.

With the one before, the one `LAG` before (for the drift ratio), the one at half of its iterations (for the change per
doubling), and up to `MOST - 1` spread evenly over the run (for the distance matrix). Formulas: docs/metrics.md.
"""

from collections.abc import Sequence

import numpy as np

from ptyconv_cli.analysis.rows import CachedRows, Rows
from ptyconv_cli.analysis.steps import Compared
from ptyconv_cli.metrics.arrays import Array
from ptyconv_cli.metrics.distances import Values, distances
from ptyconv_cli.metrics.sketch import Places
from ptyconv_cli.results.trajectory import LAG, MOST
from ptyconv_cli.verdict.segments import half_of


def shown_before(place: int) -> range:
    """Return up to `MOST - 1` places before one, spread evenly: every one, or every second, fourth ..."""
    step = 1
    while -(-place // step) > MOST - 1:
        step *= 2
    return range(0, place, step)


def compared_with(niters: Sequence[int], begins: Sequence[int]) -> list[int]:
    """Return the places of the earlier checkpoints that the last of these is compared with, in order.

    `begins`: the iterations after which the tensor's segments begin.
    """
    last = len(niters) - 1
    half = half_of(niters, begins)
    found = {*shown_before(last), last - 1, last - LAG, last - 1 if half is None else half}
    return sorted(place for place in found if place >= 0)


class Comparer:
    """Compares one tensor of each checkpoint of a run, in order, with earlier ones.

    `begins`: the iterations after which the tensor's segments begin; `dx` in Å per px; `known`: what was found at the
    first checkpoints, in an earlier analysis, which left their `rows`.
    """

    def __init__(
        self,
        places: Places,
        dx: float,
        begins: Sequence[int],
        known: Sequence[Compared] = (),
        rows: CachedRows | None = None,
    ) -> None:
        self.places, self._dx, self._begins = places, dx, begins
        self._totals = [one.total for one in known]
        shape = (places.kept, 2) if places.name == "probe_pos_shifts" else (places.kept,)
        self.rows = Rows(shape, rows)
        self._memory: dict[int, np.ndarray] = {}

    def compare(self, tensor: Array, niters: Sequence[int]) -> Compared:
        """Compare the checkpoint at the last of the iterations `niters`, of all checkpoints up to it.

        `tensor`: its values, as in `metrics.snapshot.Snapshot`.
        """
        place, sketch = len(niters) - 1, self.places.sketch(tensor)
        at = compared_with(niters, self._begins)
        earlier = [Values(self._values(one), self._totals[one]) for one in at]
        found = distances(self.places, sketch, earlier, self._dx)
        self.rows.add(sketch.values)
        self._totals.append(sketch.total)
        self._memory[place] = sketch.values
        soon = {*shown_before(place + 1), *range(place + 1 - LAG, place + 1)}
        self._memory = {one: values for one, values in self._memory.items() if one in soon}
        return Compared(at, found.raw, found.aligned, sketch.rms, sketch.total)

    def _values(self, place: int) -> np.ndarray:
        if place not in self._memory:
            self._memory[place] = self.rows.read(place)
        return self._memory[place]
