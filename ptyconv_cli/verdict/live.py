"""What the live monitor remembers of a run for its verdict. See docs/live.md."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence

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
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import LAG, Curve, EngineHistories, lag_of
from ptyconv_cli.results.run_analysis import Doublings, RunVerdict
from ptyconv_cli.verdict.conclusion import RunEvidence, conclude, stopped_late
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
from ptyconv_cli.verdict.segments import Counting, counting_of, doublings_between, half_of, stopped_since

PER_OCTAVE, OCTAVES = 16, 3
"""Sketches kept from an iteration to twice that, and how far back: a verdict looks back to a quarter."""


class LiveEvidence:
    """Watches snapshots, the first of which is the monitor's baseline, at iteration 0.

    A step costs a sketch of each tensor, and its distances from the one before and the one at half of its iterations.
    """

    def __init__(self, first: Snapshot) -> None:
        self._dx, self._niters = first.dx, [0]
        self._where = {0: first.in_frame.frame} if first.in_frame else {}
        lit = first.in_frame.lit if first.in_frame else None
        self._tensors = {name: _Tensor(name, values.shape, lit) for name, values in first.values.items()}
        self._note(first, list(first.values), 0)

    def note(
        self,
        snapshot: Snapshot,
        niter: int,
        without: Collection[str] = (),
        beside: Callable[[], Snapshot | None] = lambda: None,
    ) -> None:
        """Note the snapshot of iteration `niter`; what was noted of it and of later ones before is forgotten.

        `without`: the tensors that are not known at this iteration. One whose shape has changed begins anew. `beside`:
        takes phase or amplitude where the other is watched alone, for the object's contrast. Where that cannot be
        measured, for whatever reason, which is raised, all else is noted, and no change at this iteration is known.
        """
        self._niters = [*(known for known in self._niters if known < niter), niter]
        if snapshot.in_frame:
            self._where[niter] = snapshot.in_frame.frame
        names = [name for name in snapshot.values if name not in without]
        self._note(snapshot, names, niter)
        contrast = _contrasts([one for one in (snapshot, beside()) if one])
        for name in names:
            self._tensors[name].measure(niter, contrast.get(name, self._dx))

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
            one.note(sketch, niter, self._dx)

    def verdict(
        self, learning_rates: Mapping[str, Curve], tolerances: Mapping[str, Tolerance], loss: Curve
    ) -> RunVerdict:
        """Return the verdict on all that was noted; learning rates and tolerances are by tensor."""
        dx, settings = self._dx, EngineSettings("learning rate" if learning_rates else "step")
        engine = EngineHistories(loss=loss, learning_rates=dict(learning_rates), settings=settings)
        gone = vanished({name: tensor.strengths for name, tensor in self._tensors.items()})

        def doublings(quantity: Quantity, until: int | None = None) -> Doublings:
            tolerance = tolerances.get(quantity.key)
            return doublings_of(
                self._tensors[quantity.key].motion(engine, dx, gone[quantity.key], until),
                quantity,
                quantity.tolerance if tolerance is None else tolerance.value(dx),
                engine.learning_rates.get(quantity.recorded_as, []),
                loss,
            )

        found = {quantity.key: doublings(quantity) for quantity in QUANTITIES if quantity.key in self._tensors}
        counting = {name: counting_of(quantity_of(name).recorded_as, engine) for name in found}
        late = stopped_late(found, self._niters[-1], counting)
        before = {key: doublings(quantity_of(key), since) for key, since in late.items()}
        niters = self._niters[1:] or self._niters  # of the baseline there is no checkpoint
        return conclude(RunEvidence(found, niters, engine, before, self._where))


def _contrasts(snapshots: Sequence[Snapshot]) -> dict[str, float]:
    """Return what changes of the tensors of these snapshots are measured by; on the CPU where memory is short."""
    tensors = {name: framed(name, snapshot) for snapshot in snapshots for name in snapshot.values}

    def of_copies() -> dict[str, float]:
        return contrasts({name: there_on_host(tensor) for name, tensor in tensors.items()})

    return with_less([lambda: contrasts(tensors), of_copies])


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
        self.strengths: dict[int, float] = {}
        self._contrasts: dict[int, float] = {}

    def note(self, sketch: Sketch, niter: int, dx: float) -> None:
        """Remember a snapshot, and how far it is from the one before and the one at half."""
        if self._niters and niter <= self._niters[-1]:
            self._forget_from(niter)
        known = [*(niters := list(self._sketches)), niter]
        half = half_of(known, Counting())
        at = [known[-2]] if niters else []
        at += [known[half]] if half is not None else []
        found = self._distances(sketch, at, dx)
        self._moves += self._move(sketch, found, dx)
        if half is not None:
            self._doubled.append((niter, known[half], found.aligned[-1]))
        self._niters.append(niter)
        self._finite.append(bool(np.isfinite(sketch.values).all()))
        self.strengths[niter] = self._quantity.strength(self.places, sketch)
        self._sketches[niter] = sketch
        self._thin(niter)

    def measure(self, niter: int, contrast: float) -> None:
        """Remember what the snapshot of iteration `niter` holds, by which its changes are measured."""
        self._contrasts[niter] = contrast

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
        self._contrasts = {one: contrast for one, contrast in self._contrasts.items() if one < niter}
        self._finite = self._finite[:count]
        self.strengths = {one: strength for one, strength in self.strengths.items() if one < niter}

    def motion(self, engine: EngineHistories, dx: float, gone: Collection[int], until: int | None = None) -> Motion:
        """Return how the tensor moved up to the snapshot of iteration `until`, since when it stands still, or the last.

        The values of one that stands still are those of the last sketch, also where the one of then is gone. It had
        vanished at the iterations `gone`.
        """
        last = self._sketches[self._niters[-1]]
        niters = self._niters[: None if until is None else bisect_right(self._niters, until)]
        niter = niters[-1]
        counting = counting_of(self._quantity.recorded_as, engine)
        at = [one for one in self._sketches if one < niter]
        found = self._distances(last, at, dx)
        to_last = list(zip(at, found.aligned, strict=True))
        lag = lag_of(len(niters) - 1)  # without the baseline, which no checkpoint is
        broken = [not finite or at in gone for finite, at in zip(self._finite, niters, strict=False)]
        broken_since = since_when(niters, broken)
        moves = self._moves[: len(niters) - 1]
        still = still_since(niters, moves)
        stopped = stopped_since(self._quantity.recorded_as, engine, niters[-2] if len(niters) > 1 else 0, niter)
        return Motion(
            niter=niter,
            contrasts=self._contrasts,
            doubled=[one for one in self._doubled_at(counting, dx) if one[0] <= niter],
            to_last=to_last,
            drift_ratio=self._drift_ratio(dict(to_last), niters, lag),
            lag=lag,
            counting=counting,
            broken_since=niter
            if broken_since is None and math.isnan(self._contrasts.get(niter, 0.0))
            else broken_since,
            stopped_since=min((since for since in (still, stopped) if since is not None), default=None),
            too_few=self._quantity.too_few_to_align(self.places.shape),
            reason=VANISHED if niter in gone else NOT_FINITE,
        )

    def _doubled_at(self, counting: Counting, dx: float) -> list[tuple[int, int, float]]:
        """Return the doublings; where checkpoints at equal phases of a cycle count, worked out anew of those."""
        if not counting.cycle:
            return self._doubled
        known = [niter for niter in self._sketches if niter]

        def distance(place: int, half: int) -> float:
            return self._distances(self._sketches[known[place]], [known[half]], dx).aligned[0]

        return doublings_between(known, counting, distance)

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
