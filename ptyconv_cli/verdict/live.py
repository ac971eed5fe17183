"""What the live monitor remembers of a run for its verdict. See docs/live.md."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import on_host
from ptyconv_cli.metrics.framed import there_on_host
from ptyconv_cli.metrics.sketch import Distances, Sketch, Values, sketches
from ptyconv_cli.metrics.snapshot import Snapshot
from ptyconv_cli.quantities import QUANTITIES, quantity_of
from ptyconv_cli.quantities.quantity import Quantity
from ptyconv_cli.quantities.settings import Tolerance
from ptyconv_cli.quantities.snapshots import contrasts, framed, with_less
from ptyconv_cli.results.history import LAG, Curve, EngineHistories, lag_of
from ptyconv_cli.results.run_analysis import Doublings, RunVerdict
from ptyconv_cli.verdict.evidence import (
    NOT_FINITE,
    VANISHED,
    Motion,
    doublings_of,
    least_move,
    since_when,
    still_since,
    vanished,
)
from ptyconv_cli.verdict.rules import conclude, stopped_late
from ptyconv_cli.verdict.segments import begin_of, doublings_between, half_of, segment_begins, stopped_since

PER_OCTAVE, OCTAVES = 16, 3
"""Sketches kept from an iteration to twice that, and how far back: a verdict looks back to a quarter."""


class LiveEvidence:
    """Watches snapshots, the first of which is the monitor's baseline, at iteration 0.

    A step costs a sketch of each tensor, and its distances from the one before and the one at half of its iterations.
    """

    def __init__(self, first: Snapshot) -> None:
        self._last, self._niter = first, 0
        self._where = {0: first.in_frame.frame} if first.in_frame else {}
        self._beside: Snapshot | None = None
        lit = first.in_frame.lit if first.in_frame else None
        self._tensors = {name: _Tensor(name, values.shape, lit) for name, values in first.values.items()}
        self._note(first, list(first.values), 0)

    def note(self, snapshot: Snapshot, niter: int, without: Collection[str] = ()) -> None:
        """Note the snapshot of iteration `niter`; what was noted of it and of later ones before is forgotten.

        `without`: the tensors that are not known at this iteration. One whose shape has changed begins anew.
        """
        self._last, self._niter = snapshot, niter
        if snapshot.in_frame:
            self._where[niter] = snapshot.in_frame.frame
        self._note(snapshot, [name for name in snapshot.values if name not in without], niter)

    def look_beside(self, snapshot: Snapshot | None) -> None:
        """Take phase or amplitude where the other is watched alone, for the object's contrast; None lets it go."""
        self._beside = snapshot

    def _note(self, snapshot: Snapshot, names: Sequence[str], niter: int) -> None:
        for name in names:
            tensor, known = snapshot.values[name], self._tensors[name]
            if tuple(tensor.shape) != known.places.shape:
                self._tensors[name] = _Tensor(name, tensor.shape, known.places.lit)
        of_each = [self._tensors[name] for name in names]
        noted = [(self._tensors[name].places, snapshot.values[name], framed(name, snapshot)) for name in names]

        def of_copies() -> list[Sketch]:
            return sketches([(places, on_host(tensor), there_on_host(in_frame)) for places, tensor, in_frame in noted])

        found = with_less([lambda: sketches(noted), lambda: sketches(noted), of_copies])
        for one, sketch in zip(of_each, found, strict=True):
            one.note(sketch, niter, self._last.dx)

    def verdict(self, learning_rates: Mapping[str, Curve], tolerances: Mapping[str, Tolerance]) -> RunVerdict:
        """Return the verdict on all that was noted; learning rates and tolerances are by tensor."""
        dx, snapshots = self._last.dx, [self._last, *([self._beside] if self._beside else [])]
        tensors = {name: framed(name, snapshot) for snapshot in snapshots for name in snapshot.values}

        def of_copies() -> dict[str, float]:
            return contrasts({name: there_on_host(tensor) for name, tensor in tensors.items()})

        measured_by = with_less([lambda: contrasts(tensors), of_copies])
        engine = EngineHistories(learning_rates=dict(learning_rates))

        def doublings(quantity: Quantity, until: int | None = None) -> Doublings:
            tolerance = tolerances.get(quantity.key)
            return doublings_of(
                self._tensors[quantity.key].motion(engine, measured_by.get(quantity.key, dx), dx, until),
                quantity,
                quantity.tolerance if tolerance is None else tolerance.value(dx),
                engine.learning_rates.get(quantity.recorded_as, []),
            )

        found = {quantity.key: doublings(quantity) for quantity in QUANTITIES if quantity.key in self._tensors}
        begins = {name: segment_begins(quantity_of(name).recorded_as, engine) for name in found}
        late = stopped_late(found, self._niter, begins)
        before = {key: doublings(quantity_of(key), since) for key, since in late.items()}
        return conclude(found, 0, bool(learning_rates), before, self._where)


class _Tensor:
    """What is remembered of one tensor: the newer sketches by iteration, and plain numbers of all snapshots."""

    def __init__(self, name: str, shape: Sequence[int], lit: NDArray[np.bool_] | None = None) -> None:
        self._quantity = quantity_of(name)
        self.places = self._quantity.places(shape, lit)
        self._sketches: dict[int, Sketch] = {}
        self._niters: list[int] = []
        self._moves: list[float] = []
        self._doubled: list[tuple[int, int, float]] = []
        self._finite: list[bool] = []
        self._totals: list[float] = []

    def note(self, sketch: Sketch, niter: int, dx: float) -> None:
        """Remember a snapshot, and how far it is from the one before and the one at half."""
        if self._niters and niter <= self._niters[-1]:
            self._forget_from(niter)
        known = [*(niters := list(self._sketches)), niter]
        half = half_of(known, (0,))
        at = [known[-2]] if niters else []
        at += [known[half]] if half is not None else []
        found = self._distances(sketch, at, dx)
        self._moves += self._move(sketch, found, dx)
        if half is not None:
            self._doubled.append((niter, known[half], found.aligned[-1]))
        self._niters.append(niter)
        self._finite.append(bool(np.isfinite(sketch.values).all()))
        self._totals.append(sketch.total)
        self._sketches[niter] = sketch
        self._thin(niter)

    def _move(self, sketch: Sketch, found: Distances, dx: float) -> list[float]:
        """Return how far a snapshot is from the one before, as `least_move` does; none of the first."""
        if not found.raw:
            return []
        mean = sketch.total / self.places.all_voxels
        sizes = self._quantity.size_of(sketch.rms, dx), self._quantity.size_in_frame(sketch.rms, mean, dx)
        return [least_move(found.raw[0], found.aligned[0], sizes)]

    def _forget_from(self, niter: int) -> None:
        """Forget the snapshots of iteration `niter` and later: an engine that goes back does them again."""
        count = bisect_left(self._niters, niter)
        self._niters, self._moves = self._niters[:count], self._moves[: max(count - 1, 0)]
        self._sketches = {one: sketch for one, sketch in self._sketches.items() if one < niter}
        self._doubled = [doubled for doubled in self._doubled if doubled[0] < niter]
        self._finite, self._totals = self._finite[:count], self._totals[:count]

    def motion(self, engine: EngineHistories, contrast: float, dx: float, until: int | None = None) -> Motion:
        """Return how the tensor moved up to the snapshot of iteration `until`, since when it stands still, or the last.

        The values of one that stands still are those of the last sketch, also where the one of then is gone.
        """
        last = self._sketches[self._niters[-1]]
        niters = self._niters[: None if until is None else bisect_right(self._niters, until)]
        niter = niters[-1]
        begins = segment_begins(self._quantity.recorded_as, engine)
        at = [one for one in self._sketches if one < niter]
        found = self._distances(last, at, dx)
        to_last = list(zip(at, found.aligned, strict=True))
        lag = lag_of(len(niters) - 1)  # without the baseline, which no checkpoint is
        gone = vanished(self._totals) if self._quantity.has_total else [False] * len(self._totals)
        broken = [not finite or none for finite, none in zip(self._finite, gone, strict=True)][: len(niters)]
        broken_since = since_when(niters, broken)
        moves = self._moves[: len(niters) - 1]
        still = still_since(niters, moves)
        stopped = stopped_since(self._quantity.recorded_as, engine, niters[-2] if len(niters) > 1 else 0, niter)
        return Motion(
            niter=niter,
            contrast=contrast,
            doubled=[one for one in self._doubled_since(begin_of(niter, begins), dx) if one[0] <= niter],
            to_last=to_last,
            drift_ratio=self._drift_ratio(dict(to_last), niters, lag),
            lag=lag,
            begins=begins,
            broken_since=niter if broken_since is None and math.isnan(contrast) else broken_since,
            stopped_since=min((since for since in (still, stopped) if since is not None), default=None),
            too_few=self._quantity.too_few_to_align(self.places.shape),
            reason=VANISHED if gone[-1] else NOT_FINITE,
        )

    def _doubled_since(self, begin: int, dx: float) -> list[tuple[int, int, float]]:
        """Return the doublings; where a segment begins later than the run, only those inside it, worked out anew."""
        if begin == 0:
            return self._doubled
        inside = [niter for niter in self._sketches if niter > begin]

        def distance(place: int, half: int) -> float:
            return self._distances(self._sketches[inside[place]], [inside[half]], dx).aligned[0]

        return doublings_between(inside, (begin,), distance)

    def _drift_ratio(self, to_last: Mapping[int, float], niters: Sequence[int], lag: int) -> float:
        if lag < 2:
            return math.nan
        one, far = (to_last.get(niters[-1 - back], math.nan) for back in (1, lag))
        return far / one if one else math.nan

    def _distances(self, later: Sketch, at: Sequence[int], dx: float) -> Distances:
        earlier = [Values.of(self._sketches[niter]) for niter in at]
        return self._quantity.distances(self.places, later, earlier, dx)

    def _thin(self, niter: int) -> None:
        """Drop sketches that are too old, and all but `PER_OCTAVE` an octave, except the last ones."""
        recent = set(self._niters[-LAG - 1 :])
        kept: dict[int, Sketch] = {}
        places_taken = set[int]()
        for one, sketch in reversed(self._sketches.items()):
            place = math.floor(PER_OCTAVE * math.log2(one)) if one else -1
            if one in recent or (one > niter / 2**OCTAVES and place not in places_taken):
                kept[one] = sketch
                places_taken.add(place)
        self._sketches = dict(reversed(kept.items()))
