"""The convergence monitor, for an engine's loop: a drop-in for PtyRAD's own. See docs/live.md."""

import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from textwrap import shorten
from typing import Any, Protocol

import torch

from ptyconv_cli.metrics.arrays import Array
from ptyconv_cli.metrics.registration import InFrame
from ptyconv_cli.metrics.snapshot import Model, Snapshot
from ptyconv_cli.metrics.translation import mirrored
from ptyconv_cli.quantities import of_object, quantity_of
from ptyconv_cli.quantities.live import ModelSource, geometry_of
from ptyconv_cli.quantities.registration import PROBE, Registration
from ptyconv_cli.quantities.settings import MonitorSettings, check_tolerances
from ptyconv_cli.quantities.snapshots import compared, framed, framed_beside, taken, with_less
from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.run_analysis import Change, RunVerdict, scanned_region
from ptyconv_cli.verdict.live import LiveEvidence

PLACE = "where the object is"
"""What may go wrong, besides a tensor."""


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
        geometry = geometry_of(model)
        if "tensors" not in params:
            settings = replace(
                settings, tensors=tuple(one for one in settings.tensors if quantity_of(one).is_in(model))
            )
        self.settings = settings
        self.region = scanned_region(geometry.corners, geometry.probe_shape)
        values = {name: self._taken(model, name) for name in self.settings.tensors}
        self.last, self._registration = Snapshot(values, geometry.dx), Registration(None)
        if self.settings.aligned:
            source = self._source(model)
            self._registration = Registration(source.lit())
            self.last = replace(self.last, in_frame=self._registration.bring(values, source, None))
        self._evidence = LiveEvidence(self.last) if self.settings.aligned else None
        self._loss: Any = None

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
        if self._evidence and PLACE not in problems:
            with _noted(problems, "the verdict"):
                self._evidence.note(self.last, niter, problems, partial(self._beside, model))
            self._loss = getattr(model, "loss_iters", None)
        with _noted(problems, "the record"):
            self._record(model, niter, found)
        if problems:
            causes = "; ".join(f"{what}: {cause}" for what, cause in problems.items())
            _warn(f"ptyconv's monitor at iteration {niter}: {causes}. Recorded as NaN; the next step tries again.", 4)

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
        settings, last, kept = self.settings, self.last, self.last.values
        in_frame, taken_before = None, dict[str, Array]()
        if settings.aligned:
            with _noted(problems, PLACE):
                in_frame, taken_before = self._brought_with_less(model, problems)
        if PLACE in problems:  # the next snapshot is compared with the last one whose place is known
            return {key: one for name in settings.tensors for key, one in _unknown(name, True).items()}, problems
        for name in settings.tensors:
            changes = _unknown(name, settings.aligned)
            if name in problems:
                found |= changes
                continue
            with _noted(problems, name):
                now = taken_before.pop(name) if name in taken_before else self._taken(model, name)
                before, kept[name] = kept[name], now
                changes |= self._changes_since(name, before, in_frame)
            found |= changes
            now = before = None  # before the next one is copied
        self.last = replace(last, in_frame=in_frame)
        return found, problems

    def _changes_since(self, name: str, before: Array, in_frame: InFrame | None) -> dict[str, Change]:
        """Return the changes of a tensor from an earlier one to the one that is kept, which is `in_frame`."""
        last = self.last
        now = Snapshot({name: last.values[name]}, last.dx, in_frame)
        earlier = Snapshot({name: before}, last.dx, last.in_frame)
        if in_frame and last.in_frame:  # what is known of a tensor is kept with it, and goes with it
            in_frame.tensors[name] = framed(name, now)
            there = {name: last.in_frame.tensors.pop(name)} if name in last.in_frame.tensors else {}
            earlier = replace(earlier, in_frame=last.in_frame._replace(tensors=there))
        return compared(name, now, earlier, self.settings.percentile_range, in_frame is not None)

    def _brought_with_less(self, model: Model, problems: dict[str, str]) -> tuple[InFrame, dict[str, Array]]:
        """Return what `_brought` does, on the CPU where memory is short."""
        device = self.settings.snapshot_device
        return with_less([partial(self._brought, model, on, problems) for on in (device, device, "cpu")])

    def _brought(self, model: Model, device: str | None, problems: dict[str, str]) -> tuple[InFrame, dict[str, Array]]:
        """Return where a model is in the frame of the first snapshot.

        And its object, where that has to be looked at as a whole: else its parts are copied one after the other. Also
        note which of them could not be copied.
        """
        source = ModelSource(model, self.region, device)
        followed = [name for name in of_object() if name in self.settings.tensors]
        frame, probe = self._registration.expect({}, source), dict.fromkeys({PROBE} & set(self.settings.tensors))
        if not followed or not self._registration.needs_all(frame, self.last.values[followed[0]].shape, source):
            return self._registration.in_frame(frame, {}, probe, source), {}
        taken_now = dict[str, Array]()
        for name in followed:
            with _noted(problems, name):
                taken_now[name] = taken(model, name, self.region, device)
        before = self.last.in_frame or InFrame(frame, {}, None)
        parts = {name: framed_beside(name, self.last, now) for name, now in taken_now.items()}
        found = self._registration.bring(taken_now | probe, source, before._replace(tensors=parts), frame)
        return found, taken_now

    def _source(self, model: Model) -> ModelSource:
        return ModelSource(model, self.region, self.settings.snapshot_device)

    def verdict(
        self,
        learning_rates: Mapping[str, Curve] | None = None,
        tolerances: Mapping[str, float | str] | None = None,
        loss: Curve | None = None,
    ) -> RunVerdict:
        """Return the verdict on what `step` has recorded, by the rules of `ptyconv analyze`: docs/verdict.md.

        `learning_rates`: by tensor, pairs of (niter, rate), by which a change that falls only with its learning
        rate is known; `tolerances`: by tensor, as {"phase": "2%", "positions": "0.05px"}: see
        `quantities.settings.check_tolerances`; `loss`: pairs of (niter, loss), by default the `loss_iters` of
        the model of the last `step`, if it has any; what is no such pairs counts as not known. Where something else
        goes wrong, that is what the verdict says, as "insufficient". Raises ValueError for learning rates or tolerances
        of another form, and unless the monitor was made with `aligned`.
        """
        if self._evidence is None:
            raise ValueError("a verdict goes by the aligned changes: make the monitor with {'aligned': True}")
        known = _as_curve(self._loss if loss is None else loss)
        rates, allowed, problems = _rates(learning_rates or {}), check_tolerances(tolerances or {}), dict[str, str]()
        with _noted(problems, "the verdict"):
            return self._evidence.verdict(rates, allowed, known)
        reason = f"no verdict could be worked out: {problems['the verdict']}"
        _warn(f"ptyconv's monitor: {reason}.", 3)
        return RunVerdict("insufficient", "", f"insufficient: {reason}", "", None, {})

    def _beside(self, model: Model) -> Snapshot | None:
        """Return phase or amplitude where only the other is tracked: the object's contrast is that of both."""
        others = [name for name in of_object() if name not in self.settings.tensors]
        if len(others) != 1:
            return None
        in_frame = self.last.in_frame
        away = in_frame.frame.object.whole if in_frame else (0, 0)
        elsewhere = self._source(model).part(others[0], away, 0) if any(away) else None
        moved = None if elsewhere is None else mirrored(*elsewhere)
        return Snapshot({others[0]: self._taken(model, others[0]) if moved is None else moved}, self.last.dx, in_frame)

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


def _as_curve(pairs: Any) -> Curve:
    """Return pairs of (niter, loss) as plain numbers, in order; none where they are something else."""
    try:
        return sorted((int(niter), float(value)) for niter, value in pairs)
    except Exception:  # an engine may call something else by that name, or have it where it cannot be read
        return []


def _rates(given: Any) -> dict[str, Curve]:
    try:
        return {name: [(int(niter), float(rate)) for niter, rate in pairs] for name, pairs in given.items()}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        form = '{"objp": [(1, 5e-4), (2, 5e-4)]}'
        raise ValueError(f"learning_rates: expected pairs of (niter, rate) by tensor, like {form}") from error


def _warn(text: str, level: int) -> None:
    """Warn of what the engine's loop, so many calls up, is to know of."""
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=level)
    except RuntimeWarning:  # where warnings are errors
        print(text, file=sys.stderr)


def create_convergence_monitor(params: Mapping[str, Any] | None, model: Model) -> ConvergenceMonitor | None:
    """Return a monitor of `model`, or None where `params` is None (monitoring switched off)."""
    return None if params is None else ConvergenceMonitor(params, model)
