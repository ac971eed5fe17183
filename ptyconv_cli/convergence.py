"""The convergence monitor, for an engine's loop: a drop-in for PtyRAD's own. See docs/live.md."""

import math
import sys
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from textwrap import shorten
from typing import Any, Protocol

import numpy as np
import torch

from ptyconv_cli.metrics.arrays import Array, on_host
from ptyconv_cli.metrics.sketch import Distances, Sketch, Values, sketches
from ptyconv_cli.metrics.snapshot import Model, Snapshot
from ptyconv_cli.quantities import QUANTITIES, of_object, quantity_of
from ptyconv_cli.quantities.quantity import Quantity
from ptyconv_cli.quantities.settings import MonitorSettings, Tolerance, check_tolerances
from ptyconv_cli.quantities.snapshots import compared, contrasts, taken, with_less
from ptyconv_cli.results.history import LAG, Curve, EngineHistories, lag_of
from ptyconv_cli.results.run_analysis import Change, Doublings, RunVerdict, scanned_region
from ptyconv_cli.verdict.evidence import (
    NOT_FINITE,
    VANISHED,
    Motion,
    doublings_of,
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
        self._beside: Snapshot | None = None
        self._tensors = {name: _Tensor(name, values.shape) for name, values in first.values.items()}
        self._note(first.values, 0)

    def note(self, snapshot: Snapshot, niter: int, without: Collection[str] = ()) -> None:
        """Note the snapshot of iteration `niter`; what was noted of it and of later ones before is forgotten.

        `without`: the tensors that are not known at this iteration. One whose shape has changed begins anew.
        """
        self._last, self._niter = snapshot, niter
        self._note({name: values for name, values in snapshot.values.items() if name not in without}, niter)

    def look_beside(self, snapshot: Snapshot | None) -> None:
        """Take phase or amplitude where the other is watched alone, for the object's contrast; None lets it go."""
        self._beside = snapshot

    def _note(self, values: Mapping[str, Array], niter: int) -> None:
        for name, tensor in values.items():
            if tuple(tensor.shape) != self._tensors[name].places.shape:
                self._tensors[name] = _Tensor(name, tensor.shape)
        of_each = [self._tensors[name] for name in values]
        noted = [(one.places, tensor) for one, tensor in zip(of_each, values.values(), strict=True)]

        def of_copies() -> list[Sketch]:
            return [places.sketch(on_host(tensor)) for places, tensor in noted]

        found = with_less([lambda: sketches(noted), lambda: sketches(noted), of_copies])
        for one, sketch in zip(of_each, found, strict=True):
            one.note(sketch, niter, self._last.dx)

    def verdict(self, learning_rates: Mapping[str, Curve], tolerances: Mapping[str, Tolerance]) -> RunVerdict:
        """Return the verdict on all that was noted; learning rates and tolerances are by tensor."""
        values, dx = self._last.values | (self._beside.values if self._beside else {}), self._last.dx

        def of_copies() -> dict[str, float]:
            return contrasts({name: on_host(tensor) for name, tensor in values.items()})

        measured_by = with_less([lambda: contrasts(values), of_copies])
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
        return conclude(found, 0, bool(learning_rates), before)


class _Tensor:
    """What is remembered of one tensor: the newer sketches by iteration, and plain numbers of all snapshots."""

    def __init__(self, name: str, shape: Sequence[int]) -> None:
        self._quantity = quantity_of(name)
        self.places = self._quantity.places(shape)
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
        self._moves += found.raw[:1]
        if half is not None:
            self._doubled.append((niter, known[half], found.aligned[-1]))
        self._niters.append(niter)
        self._finite.append(bool(np.isfinite(sketch.values).all()))
        self._totals.append(sketch.total)
        self._sketches[niter] = sketch
        self._thin(niter)

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
        still = still_since(niters, moves, self._quantity.size_of(last.rms, dx))
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
        earlier = [Values(self._sketches[niter].values, self._sketches[niter].total) for niter in at]
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


class LiveModel(Model, Protocol):
    """A model in an engine: as `metrics.snapshot.Model`, with the dicts that the changes are written to.

    `convergence_iters`: by series key, lists of (niter, value); a plain dict or a defaultdict.
    `convergence_aligned_iters`: the same for the aligned changes; it is made where the model has none.
    """

    convergence_iters: dict[str, list[tuple[int, float]]]
    convergence_aligned_iters: dict[str, list[tuple[int, float]]]


class ConvergenceMonitor:
    """Records how much a model's tensors change between snapshots of it; a drop-in for PtyRAD's own monitor.

    The first snapshot is taken here, so make the monitor before the first update. The scanned region is fixed here
    too. `params` may have:

    - `tensors`: any of the keys and short names in `quantities`; default all that the model has.
    - `every_n_iters`: a whole number of iterations, or None (default) to follow the engine's saving.
    - `percentile_range`: (low, high) in percent, default [15, 85]; they bound background and foreground.
    - `snapshot_device`: "cpu" keeps the snapshot in the host's memory, which is slower but spares the GPU's.
    - `aligned`: also compute the aligned changes, into a record of their own; default False. Sketches of some sixty
      snapshots at most are then kept for the `verdict`.

    The model is only read: no gradient, no random number, and, except for `snapshot_device`, positions and the
    sketches, nothing is moved off its device while that has memory. `last` is the last snapshot; what it holds is
    replaced by `step`.

    Raises ValueError for parameters that are not allowed and for a model that lacks a tracked tensor. Later on it never
    ends a reconstruction: see `step`.
    """

    @torch.no_grad()
    def __init__(self, params: Mapping[str, Any], model: Model) -> None:
        settings = MonitorSettings.from_params(params)
        if "tensors" not in params:
            settings = replace(
                settings, tensors=tuple(one for one in settings.tensors if quantity_of(one).is_in(model))
            )
        self.settings = settings
        height, width = model.get_complex_probe_view().shape[-2:]
        self.region = scanned_region(model.crop_pos.cpu().numpy(), (height, width))
        self.last = Snapshot({name: self._taken(model, name) for name in self.settings.tensors}, float(model.dx))
        self._evidence = LiveEvidence(self.last) if self.settings.aligned else None

    def should_step(self, niter: int, save_iters: int | None) -> bool:
        """Say whether `niter` is due: every `every_n_iters`, by default every `save_iters`, by default never."""
        interval = self.settings.every_n_iters or save_iters
        return interval is not None and interval > 0 and niter % interval == 0

    @torch.no_grad()
    def step(self, model: LiveModel, niter: int) -> None:
        """Append (niter, change since the last snapshot) to every tracked series of `model.convergence_iters`.

        With `aligned`, also append the aligned change to `model.convergence_aligned_iters`. What cannot be measured,
        for whatever reason, is NaN, with one RuntimeWarning; where memory is short, the CPU does it. The next step
        tries again.
        """
        found, problems = self._measured(model)
        if self._evidence:
            with _noted(problems, "the verdict"):
                self._evidence.look_beside(None)
                self._evidence.note(self.last, niter, problems)
                self._evidence.look_beside(self._beside(model))
        with _noted(problems, "the record"):
            self._record(model, niter, found)
        if problems:
            _warn(niter, problems)

    def _record(self, model: LiveModel, niter: int, found: Mapping[str, Change]) -> None:
        for key, change in found.items():
            model.convergence_iters.setdefault(key, []).append((niter, change.value))
            if change.aligned is not None:
                if not hasattr(model, "convergence_aligned_iters"):
                    model.convergence_aligned_iters = {}
                model.convergence_aligned_iters.setdefault(key, []).append((niter, change.aligned))

    def _measured(self, model: Model) -> tuple[dict[str, Change], dict[str, str]]:
        """Return the changes since the last snapshot, by series key, and make this snapshot the last one.

        One tensor after the other, so that of a single one there are two copies. Also return, by tensor, why it could
        not be measured: its changes are NaN. One that could not even be copied is compared with the same one again at
        the next step.
        """
        found, problems = dict[str, Change](), dict[str, str]()
        settings, kept = self.settings, self.last.values
        for name in settings.tensors:
            changes = _unknown(name, settings.aligned)
            with _noted(problems, name):
                now = self._taken(model, name)
                before, kept[name] = kept[name], now
                changes = compared(name, now, before, self.last.dx, settings.percentile_range, settings.aligned)
            found |= changes
            now = before = None  # before the next one is copied
        return found, problems

    def verdict(
        self,
        learning_rates: Mapping[str, Curve] | None = None,
        tolerances: Mapping[str, float | str] | None = None,
    ) -> RunVerdict:
        """Return the verdict on what `step` has recorded, by the rules of `ptyconv analyze`: docs/verdict.md.

        `learning_rates`: by tensor, pairs of (niter, rate), by which a change that falls only with its learning rate is
        known; `tolerances`: by tensor, as {"phase": "2%", "positions": "0.05px"}: see
        `quantities.settings.check_tolerances`. Raises ValueError for others, and unless the monitor was made with
        `aligned`.
        """
        if self._evidence is None:
            raise ValueError("a verdict goes by the aligned changes: make the monitor with {'aligned': True}")
        return self._evidence.verdict(learning_rates or {}, check_tolerances(tolerances or {}))

    def _beside(self, model: Model) -> Snapshot | None:
        """Return phase or amplitude where only the other is tracked: the object's contrast is that of both."""
        others = [name for name in of_object() if name not in self.settings.tensors]
        return Snapshot({others[0]: self._taken(model, others[0])}, self.last.dx) if len(others) == 1 else None

    def _taken(self, model: Model, name: str) -> Array:
        return taken(model, name, self.region, self.settings.snapshot_device)


@contextmanager
def _noted(problems: dict[str, str], what: str) -> Iterator[None]:
    """Note what goes wrong in the `with` block, and go on: a monitor must never end a reconstruction."""
    try:
        yield
    except Exception as error:
        problems[what] = shorten(str(error).strip().partition("\n")[0], 200).rstrip(".") or type(error).__name__


def _unknown(name: str, aligned: bool) -> dict[str, Change]:
    """Return changes that are not known, of all series of a tensor."""
    change = Change(math.nan, aligned=math.nan if aligned else None)
    return {series.key: change for series in quantity_of(name).series}


def _warn(niter: int, problems: Mapping[str, str]) -> None:
    causes = "; ".join(f"{what}: {cause}" for what, cause in problems.items())
    text = f"ptyconv's monitor at iteration {niter}: {causes}. Recorded as NaN; the next step tries again."
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=4)
    except RuntimeWarning:  # where warnings are errors
        print(text, file=sys.stderr)


def create_convergence_monitor(params: Mapping[str, Any] | None, model: Model) -> ConvergenceMonitor | None:
    """Return a monitor of `model`, or None where `params` is None (monitoring switched off)."""
    return None if params is None else ConvergenceMonitor(params, model)
