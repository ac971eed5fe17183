"""Walks over the checkpoints of a run and compares each with the one before. See docs/performance.md."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ptyconv_cli.analysis.steps import CachedSteps, Step
from ptyconv_cli.checkpoints.headers import Header, leave_out
from ptyconv_cli.checkpoints.prefetch import Arrays, Prefetch
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.metrics.change import Change, tensor_changes
from ptyconv_cli.metrics.device import memory_to_read_into, one_thread_an_operation, to_device, too_much_for
from ptyconv_cli.metrics.phase import unwrap
from ptyconv_cli.metrics.sketch import Places, Sketch
from ptyconv_cli.metrics.snapshot import Snapshot, snapshot_of
from ptyconv_cli.results.run_analysis import LeftOut
from ptyconv_cli.results.settings import MonitorSettings
from ptyconv_cli.workers import Workers, result_of

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Found:
    """The results of a walk: the steps in order, how many of them were `known`, and checkpoints that were unreadable.

    `phase`: for a phase that wraps, the one to unwrap the next snapshot with.
    """

    steps: list[Step]
    left_out: list[LeftOut]
    phase: Tensor | None
    known: int


class CacheIsStale(Exception):
    """The last cached checkpoint cannot be read any more, so that the walk cannot continue from it."""


class _Ready(NamedTuple):
    """A checkpoint that is ready to be compared, and the memory it was read into."""

    header: Header
    snapshot: Snapshot
    memory: Arrays


class _GettingReady:
    """Yields checkpoints ready to be compared, one after the other; those that cannot be read go to `left_out`.

    `phase`: for a phase that wraps, the one to unwrap the next snapshot with.
    """

    def __init__(
        self, headers: Sequence[Header], reading: Prefetch, device: torch.device, strict: bool, known: CachedSteps
    ) -> None:
        self._headers, self._reading, self._device, self._strict = headers, reading, device, strict
        self._goes_on = bool(known.steps)
        self.phase = known.phase
        self.left_out: list[LeftOut] = []

    def __iter__(self) -> Iterator[_Ready]:
        for header in self._headers:
            begins = self._goes_on and header is self._headers[0]
            try:
                memory = self._reading.next()
            except CheckpointError as error:
                if begins:
                    raise CacheIsStale(str(error)) from error
                if self._strict:
                    raise
                left_out = leave_out(header.path, error, newest=header is self._headers[-1])
                self.left_out.append(replace(left_out, niter=header.niter))
                self._reading.reuse({})
                continue
            snapshot = snapshot_of(to_device(memory, self._device), header.dx)
            if header.phase_wraps and "objp" in snapshot.values:
                self._continue_phase(snapshot.values["objp"], begins)
            yield _Ready(header, snapshot, memory)

    def _continue_phase(self, phase: Tensor, begins: bool) -> None:
        """Unwrap a snapshot's phase, in place; for the snapshot that the walk continues from, use the cached phase."""
        if begins and self.phase is not None:
            phase.copy_(self.phase.where(~phase.isnan(), phase))
        else:
            self.phase = unwrap(phase, self.phase)


def walk(
    headers: Sequence[Header],
    reading: Prefetch,
    settings: MonitorSettings,
    device: torch.device,
    strict: bool,
    progress: Progress,
    known: CachedSteps,
) -> Found:
    """Compare consecutive checkpoints; leave out those that cannot be read, or, if `strict`, raise CheckpointError.

    While two checkpoints are compared, the next is prepared and the one after it read; their memory is reused in turns.
    `known`: the steps of an earlier walk up to the first of these checkpoints, from which this one continues; raises
    CacheIsStale where that checkpoint cannot be read any more. Other parameters as of `analysis.run.analyze_run`.
    """
    steps, getting_ready = list(known.steps), _GettingReady(headers, reading, device, strict, known)
    options = settings.percentile_range, settings.aligned
    comparers = Workers(2 if device.type == "cpu" else 1)  # one tensor keeps a GPU busy
    with one_thread_an_operation(), comparers, too_much_for(device):
        checkpoints = iter(getting_ready)
        previous, current = next(checkpoints, None), next(checkpoints, None)
        places: dict[str, Places] = {}
        if previous and settings.aligned:
            places = {name: Places(name, tuple(t.shape), t.device) for name, t in previous.snapshot.values.items()}
        if previous and not steps:
            steps.append(_first_step(previous, places))
        progress(1, len(headers))
        while previous and current:
            comparing = {
                name: comparers.submit(tensor_changes, name, current.snapshot, previous.snapshot, *options)
                for name in current.snapshot.values
            }
            sketching = {
                name: comparers.submit(of_one.sketch, current.snapshot.values[name]) for name, of_one in places.items()
            }
            following = next(checkpoints, None)
            steps.append(_step(previous, current, comparing, sketching))
            progress(headers.index(current.header) + 1, len(headers))
            reading.reuse(memory_to_read_into(previous.memory, device))
            previous, current = current, following
    return Found(steps, getting_ready.left_out, getting_ready.phase, len(known.steps))


def _first_step(first: _Ready, places: dict[str, Places]) -> Step:
    values = first.snapshot.values
    sketches = {name: of_one.sketch(values[name]) for name, of_one in places.items()}
    not_finite = {name: True for name, tensor in values.items() if not tensor.isfinite().all()}
    return Step(first.header, None, {}, sketches, not_finite)


def _step(
    previous: _Ready,
    current: _Ready,
    comparing: dict[str, Future[dict[str, Change]]],
    sketching: dict[str, Future[Sketch]],
) -> Step:
    """Gather the results at a checkpoint; where a tensor's changes are not finite, check the tensor itself."""
    changes, suspicious = dict[str, Change](), dict[str, Tensor]()
    for name, comparison in comparing.items():
        of_tensor = result_of(comparison)
        changes |= of_tensor
        values = [v for change in of_tensor.values() for v in (change.value, change.aligned) if v is not None]
        if not all(map(math.isfinite, values)):
            suspicious[name] = current.snapshot.values[name]
    not_finite = {name: not tensor.isfinite().all() for name, tensor in suspicious.items()}
    sketches = {name: result_of(sketch) for name, sketch in sketching.items()}
    return Step(current.header, previous.header.niter, changes, sketches, not_finite)
