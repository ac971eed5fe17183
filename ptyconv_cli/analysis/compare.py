"""Compares each checkpoint of a run with the one before, and reads ahead. See docs/performance.md."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ptyconv_cli.analysis.steps import CachedSteps, CacheIsStale, Compared, Comparer, Found, Step
from ptyconv_cli.checkpoints.headers import Header, leave_out
from ptyconv_cli.checkpoints.opening import fingerprint, open_checkpoint
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.metrics.arrays import Array, all_finite, device_of, namespace, on_host
from ptyconv_cli.metrics.device import give_back, to_device, too_much_for, wait_for
from ptyconv_cli.metrics.snapshot import Snapshot, unwrap
from ptyconv_cli.quantities import of_object, quantity_of, wrapping
from ptyconv_cli.quantities.settings import MonitorSettings
from ptyconv_cli.quantities.snapshots import contrasts, snapshot_of, tensor_changes, totals
from ptyconv_cli.results.run_analysis import Change, LeftOut, Region
from ptyconv_cli.workers import Workers, at_once, result_of

Arrays = dict[str, np.ndarray]
"""The tensors of one checkpoint by name, as its reader returns them; of the object only the scanned region."""

TURNS = 3
"""Checkpoints in memory at a time: two being compared, and one being read."""


class Prefetch:
    """Reads the tensors of one checkpoint after the other in a thread of its own; use it in a `with` statement.

    The first `turns` are read at once, each further one as soon as the arrays of another are handed back with `reuse`.
    """

    def __init__(self, headers: Iterable[Header], tensors: tuple[str, ...], region: Region, turns: int = TURNS) -> None:
        self._headers, self._turns = iter(headers), turns
        self._tensors, self._region = tensors, region
        self._reader = Workers(1, "reader")  # HDF5 reads for one thread at a time anyway
        self._upcoming: deque[Future[Arrays]] = deque()

    def __enter__(self) -> "Prefetch":
        for _ in range(self._turns):
            self.reuse({})
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown()

    def next(self) -> Arrays:
        """Wait for the next checkpoint's arrays; raise CheckpointError where it could not be read."""
        return result_of(self._upcoming.popleft())

    def reuse(self, arrays: Arrays) -> None:
        """Hand back arrays that are no longer needed (or none), to be filled with the next checkpoint to read."""
        header = next(self._headers, None)
        if header is not None:
            self._upcoming.append(self._reader.submit(self._read, header, arrays))

    def _read(self, header: Header, into: Arrays) -> Arrays:
        self._check(header)
        with open_checkpoint(header.path, header.source.name) as checkpoint:
            arrays = {name: checkpoint.read(name, self._region, into.get(name)) for name in self._tensors}
        self._check(header)
        return arrays

    def _check(self, header: Header) -> None:
        if fingerprint(header.path) != header.fingerprint:
            raise CheckpointError(f"{header.path}: was rewritten during the analysis")


Progress = Callable[[int, int], None]


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
        self, headers: Sequence[Header], reading: Prefetch, device: str, strict: bool, known: CachedSteps
    ) -> None:
        self._headers, self._reading, self._device, self._strict = headers, reading, device, strict
        self._goes_on = bool(known.steps)
        self.phase = None if known.phase is None else to_device({"": known.phase}, device)[""]
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
                left_out = leave_out(header.source, error, newest=header is self._headers[-1])
                self.left_out.append(replace(left_out, niter=header.niter))
                self._reading.reuse({})
                continue
            snapshot = snapshot_of(memory, header.dx, self._device)
            phase = wrapping(snapshot.values)
            if header.phase_wraps and phase:
                self._continue_phase(snapshot.values[phase], begins)
            wait_for(self._device)  # the threads that compare do not
            yield _Ready(header, snapshot, memory)

    def _continue_phase(self, phase: Array, begins: bool) -> None:
        """Unwrap a snapshot's phase, in place; for the snapshot that the walk continues from, use the cached phase."""
        if begins and self.phase is not None:
            xp = namespace(phase)
            phase[...] = xp.where(xp.isnan(phase), phase, self.phase)
        else:
            self.phase = unwrap(phase, self.phase)


def walk(
    headers: Sequence[Header],
    reading: Prefetch,
    settings: MonitorSettings,
    device: str,
    strict: bool,
    progress: Progress,
    known: CachedSteps,
    comparers: Mapping[str, Comparer],
    region: Region,
) -> Found:
    """Compare consecutive checkpoints; leave out those that cannot be read, or, if `strict`, raise CheckpointError.

    While two checkpoints are compared, the next one is got ready and the one after it is read; their memory takes
    turns. `known`: what is known up to the first of these checkpoints, from an earlier walk, which is gone on with.
    Raises CacheIsStale where that one cannot be read any more. `comparers`: by tensor, what compares it with earlier
    checkpoints, none where that was not asked for; `region` of the object in px. Parameters otherwise as of
    `analysis.run.analyze_run`.
    """
    steps, getting_ready = list(known.steps), _GettingReady(headers, reading, device, strict, known)
    options = settings.percentile_range, settings.aligned
    workers = Workers(at_once(2) if device == "cpu" else 1)  # one tensor keeps a GPU busy
    with workers, too_much_for(device):
        checkpoints = iter(getting_ready)
        previous, current = next(checkpoints, None), next(checkpoints, None)
        if previous and not steps:
            steps.append(_first_step(previous, comparers))
        niters = [step.header.niter for step in steps]
        progress(1, len(headers))
        while previous and current:
            niters.append(current.header.niter)
            changing = {
                name: workers.submit(tensor_changes, name, current.snapshot, previous.snapshot, *options)
                for name in current.snapshot.values
            }
            comparing = {
                name: workers.submit(comparer.compare, current.snapshot.values[name], niters)
                for name, comparer in comparers.items()
            }
            following = next(checkpoints, None)
            steps.append(_step(steps[-1], current, changing, comparing))
            progress(headers.index(current.header) + 1, len(headers))
            reading.reuse(previous.memory)
            previous, current = current, following
        if previous and comparers:
            steps[-1] = replace(steps[-1], contrasts=contrasts_of(previous.header, previous.snapshot, region))
    phase = None if getting_ready.phase is None else on_host(getting_ready.phase)
    return Found(steps, getting_ready.left_out, phase, len(known.steps))


@contextmanager
def nothing_left_on(device: str, comparers: Mapping[str, Comparer]) -> Iterator[None]:
    """Give back at the end what a GPU had been asked for; around a walk, which holds snapshots until it has ended."""
    try:
        yield
    finally:
        for comparer in comparers.values():
            comparer.places.leave_device()
        if device != "cpu":
            give_back()


def _first_step(first: _Ready, comparers: Mapping[str, Comparer]) -> Step:
    values = first.snapshot.values
    compared = {name: comparer.compare(values[name], [first.header.niter]) for name, comparer in comparers.items()}
    not_finite = {name: True for name, tensor in values.items() if not all_finite(tensor)}
    return Step(first.header, None, {}, compared, not_finite, totals=totals(values))


def _step(
    previous: Step,
    current: _Ready,
    changing: dict[str, Future[dict[str, Change]]],
    comparing: dict[str, Future[Compared]],
) -> Step:
    """Gather the results at a checkpoint; where a tensor's changes are not finite, check the tensor itself."""
    changes, suspicious = dict[str, Change](), dict[str, Array]()
    for name, changed in changing.items():
        of_tensor = result_of(changed)
        changes |= of_tensor
        tensor = current.snapshot.values[name]
        values = [change.value for change in of_tensor.values()]
        if not quantity_of(name).too_few_to_align(tensor.shape):
            values += [change.aligned for change in of_tensor.values() if change.aligned is not None]
        if not all(map(math.isfinite, values)):
            suspicious[name] = tensor
    now = totals(current.snapshot.values)
    for name, total in now.items():
        if total == 0 or previous.totals.get(name) == 0:
            suspicious.pop(name, None)  # it is finite: there is none, and 0 / 0 is no number
    not_finite = {name: not all_finite(tensor) for name, tensor in suspicious.items()}
    compared = {name: result_of(future) for name, future in comparing.items()}
    return Step(current.header, previous.header.niter, changes, compared, not_finite, totals=now)


def contrasts_of(header: Header, snapshot: Snapshot, region: Region) -> dict[str, float]:
    """Return what a checkpoint's tensors hold, by name.

    Where phase or amplitude alone is followed, the other is read, too, for a change of one is measured by both.
    """
    values = dict(snapshot.values)
    followed = [name for name in of_object() if name in values]
    lacking = [name for name in of_object() if followed and name not in values and name in header.shapes]
    with suppress(CheckpointError):  # it was not asked for, so it is no matter that it cannot be read
        if lacking:
            with open_checkpoint(header.path, header.source.name) as checkpoint:
                arrays = {name: checkpoint.read(name, region) for name in lacking}
            values |= snapshot_of(arrays, header.dx, str(device_of(values[followed[0]]))).values
    return {name: value for name, value in contrasts(values).items() if name in snapshot.values}
