"""Compares each checkpoint of a run with the one before, and reads ahead. See docs/performance.md."""

import math
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ptyconv_cli.analysis.registration import FileSource, registration_of
from ptyconv_cli.analysis.steps import CachedSteps, CacheIsStale, Compared, Comparer, Found, Step
from ptyconv_cli.checkpoints.headers import Header, leave_out
from ptyconv_cli.checkpoints.opening import fingerprint, open_checkpoint
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.metrics.arrays import Array, all_finite, device_of, namespace, on_host
from ptyconv_cli.metrics.device import give_back, to_device, too_much_for, wait_for
from ptyconv_cli.metrics.registration import InFrame
from ptyconv_cli.metrics.snapshot import Snapshot, unwrap
from ptyconv_cli.metrics.translation import mirrored
from ptyconv_cli.quantities import of_object, quantity_of, wrapping
from ptyconv_cli.quantities.registration import Registration
from ptyconv_cli.quantities.settings import MonitorSettings
from ptyconv_cli.quantities.snapshots import contrasts, framed, snapshot_of, tensor_changes, totals
from ptyconv_cli.quantities.wrapped_phase import without_turns
from ptyconv_cli.results.frame import Frame
from ptyconv_cli.results.run_analysis import Change, LeftOut, Region
from ptyconv_cli.workers import Workers, at_once, result_of

Arrays = dict[str, np.ndarray]
"""The tensors of one checkpoint by name, as its reader returns them; of the object only the scanned region."""

TURNS = 3
"""Checkpoints in memory at a time: two being compared, and one being read."""


class Prefetch:
    """Reads the tensors of one checkpoint after the other in a thread of its own; use it in a `with` statement.

    The first `turns` are read at once, each further one as soon as the arrays of another are handed back with `reuse`.
    `beside`: tensors that are read, too, but without which a checkpoint will do.
    """

    def __init__(
        self,
        headers: Iterable[Header],
        tensors: tuple[str, ...],
        region: Region,
        turns: int = TURNS,
        beside: tuple[str, ...] = (),
    ) -> None:
        self._headers, self._turns = iter(headers), turns
        self._tensors, self._beside, self._region = tensors, beside, region
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
            region = self._region.moved(header.away, 0)

            def read(name: str) -> np.ndarray:
                memory, shape = into.get(name), header.shapes.get(name, ())
                shape = region.shape_in(shape) if shape and quantity_of(name).is_object else shape
                return checkpoint.read(name, region, memory if memory is not None and memory.shape == shape else None)

            arrays = {name: read(name) for name in self._tensors}
            for name in self._beside:
                with suppress(CheckpointError):
                    arrays[name] = read(name)
        self._check(header)
        return arrays

    def _check(self, header: Header) -> None:
        if not fingerprint(header.path).may_have_its_content(header.fingerprint):
            raise CheckpointError(f"{header.path}: was rewritten during the analysis")


def _sums_of(arrays: Arrays) -> dict[str, int]:
    """Return the checksums (CRC-32) of arrays, by tensor."""
    return {
        name: zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data) for name, array in arrays.items()
    }


def contents_of(
    tensors: tuple[str, ...], region: Region, beside: tuple[str, ...], headers: Sequence[Header]
) -> Iterator[dict[str, int] | None]:
    """Read checkpoints and yield what is in them, as in `steps.Step.contents`; None of one that cannot be read."""
    with Prefetch(headers, tensors, region, turns=1, beside=beside) as reading:
        for _ in headers:
            try:
                arrays = reading.next()
            except CheckpointError:
                arrays = {}
                yield None
            else:
                yield _sums_of(arrays)
            reading.reuse(arrays)


Progress = Callable[[int, int], None]


class _Ready(NamedTuple):
    """A checkpoint that is ready to be compared, and the memory it was read into."""

    header: Header
    snapshot: Snapshot
    memory: Arrays
    contents: dict[str, int]


class _GettingReady:
    """Yields checkpoints ready to be compared, one after the other; those that cannot be read go to `left_out`.

    `registration`: what brings them into the frame of the run, None where nothing is aligned. `phase`: for a phase that
    wraps, the one to unwrap the next snapshot with.
    """

    def __init__(
        self,
        headers: Sequence[Header],
        reading: Prefetch,
        device: str,
        strict: bool,
        known: CachedSteps,
        tensors: tuple[str, ...],
        region: Region,
        registration: Registration | None,
    ) -> None:
        self._headers, self._reading, self._device, self._strict = headers, reading, device, strict
        self._tensors, self._region, self._registration, self._known = tensors, region, registration, known
        self._goes_on = bool(known.steps)
        self._before: InFrame | None = None
        self.phase = None if known.phase is None else to_device({"": known.phase}, device)[""]
        self.left_out: list[LeftOut] = []

    @property
    def phase_in_frame(self) -> Array | None:
        """The same in the frame of the run."""
        return self._registration.phase if self._registration else None

    def __iter__(self) -> Iterator[_Ready]:
        for header in self._headers:
            begins = self._goes_on and header is self._headers[0]
            try:
                memory = self._reading.next()
                contents = _sums_of(memory)  # before that is worked on
                snapshot = self._snapshot(header, memory, begins)
            except CheckpointError as error:
                if begins:
                    raise CacheIsStale(str(error)) from error
                if self._strict:
                    raise
                left_out = leave_out(header.source, error, newest=header is self._headers[-1])
                self.left_out.append(replace(left_out, niter=header.niter))
                self._reading.reuse({})
                continue
            wait_for(self._device)  # the threads that compare do not
            yield _Ready(header, snapshot, memory, contents)

    def _snapshot(self, header: Header, memory: Arrays, begins: bool) -> Snapshot:
        """Make a snapshot of what was read; raise CheckpointError where what else it takes cannot be read."""
        snapshot = snapshot_of({name: memory[name] for name in self._tensors}, header.dx, self._device)
        phase = wrapping(snapshot.values)
        if header.phase_wraps and phase:
            self._continue_phase(snapshot.values[phase], begins)
        if self._registration:
            snapshot = replace(snapshot, in_frame=self._in_frame(header, snapshot.values, memory, begins))
        return snapshot

    def _in_frame(self, header: Header, values: dict[str, Array], memory: Arrays, begins: bool) -> InFrame:
        """Bring a snapshot into the frame of the run; for the one that the walk continues from, it is known."""
        assert self._registration is not None
        source = FileSource(header, memory, self._region, self._device)
        frame = self._known.steps[-1].frame if begins else None
        with np.errstate(all="ignore"):  # what is not finite gives NaN, which tells
            if frame is None:
                self._before = self._registration.bring(values, source, self._before)
            else:
                known = self._known.phase_in_frame
                phase = None if known is None else to_device({"": known}, self._device)[""]
                self._before = self._registration.go_on_from(frame, values, source, phase)
            return self._before

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
    first: Header,
) -> Found:
    """Compare consecutive checkpoints; leave out those that cannot be read, or, if `strict`, raise CheckpointError.

    While two checkpoints are compared, the next one is got ready and the one after it is read; their memory takes
    turns. `known`: what is known up to the first of these checkpoints, from an earlier walk, which is gone on with.
    Raises CacheIsStale where that one cannot be read any more. `comparers`: by tensor, what compares it with earlier
    checkpoints, none where that was not asked for; `region` of the object in px, and the `first` checkpoint of these
    and of those that are known. Parameters otherwise as of `analysis.run.analyze_run`.
    """
    registration = registration_of(first, region, settings.tensors) if settings.aligned else None
    for comparer in comparers.values():
        comparer.light(registration.lit if registration else None)
    steps = list(known.steps)
    getting_ready = _GettingReady(headers, reading, device, strict, known, settings.tensors, region, registration)
    options = settings.percentile_range, settings.aligned
    workers = Workers(at_once(2) if device == "cpu" else 1)  # one tensor keeps a GPU busy
    with workers, too_much_for(device):
        checkpoints = iter(getting_ready)
        previous, current = next(checkpoints, None), next(checkpoints, None)
        if previous and not steps:
            steps.append(_first_step(previous, comparers, region))
        niters = [step.header.niter for step in steps]
        progress(1, len(headers))
        while previous and current:
            niters.append(current.header.niter)
            changing = {
                name: workers.submit(tensor_changes, name, current.snapshot, previous.snapshot, *options)
                for name in current.snapshot.values
            }
            comparing = {
                name: workers.submit(
                    comparer.compare, current.snapshot.values[name], framed(name, current.snapshot), niters
                )
                for name, comparer in comparers.items()
            }
            measuring = workers.submit(contrasts_of, current.header, current.snapshot, region) if comparers else None
            following = next(checkpoints, None)
            steps.append(_step(steps[-1], current, changing, comparing, measuring))
            progress(headers.index(current.header) + 1, len(headers))
            reading.reuse(previous.memory)
            previous, current = current, following
    phase, in_frame = (
        None if one is None else on_host(one) for one in (getting_ready.phase, getting_ready.phase_in_frame)
    )
    return Found(steps, getting_ready.left_out, phase, in_frame, len(known.steps))


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


def _first_step(first: _Ready, comparers: Mapping[str, Comparer], region: Region) -> Step:
    values = first.snapshot.values
    compared = {
        name: comparer.compare(values[name], framed(name, first.snapshot), [first.header.niter])
        for name, comparer in comparers.items()
    }
    not_finite = {name: True for name, tensor in values.items() if not all_finite(tensor)}
    measured = contrasts_of(first.header, first.snapshot, region) if comparers else {}
    frame = _frame_of(first.snapshot)
    return Step(first.header, None, {}, compared, not_finite, measured, totals(values), frame, first.contents)


def _frame_of(snapshot: Snapshot) -> Frame | None:
    return snapshot.in_frame.frame if snapshot.in_frame else None


def _step(
    previous: Step,
    current: _Ready,
    changing: dict[str, Future[dict[str, Change]]],
    comparing: dict[str, Future[Compared]],
    measuring: Future[dict[str, float]] | None,
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
    measured = result_of(measuring) if measuring else {}
    known = not_finite, measured, now, _frame_of(current.snapshot), current.contents
    return Step(current.header, previous.header.niter, changes, compared, *known)


def contrasts_of(header: Header, snapshot: Snapshot, region: Region) -> dict[str, float]:
    """Return what a checkpoint's tensors hold, by name.

    Where phase or amplitude alone is followed, the other is read, too, for a change of one is measured by both.
    """
    tensors = {name: framed(name, snapshot) for name in snapshot.values}
    followed = [name for name in of_object() if name in tensors]
    lacking = [name for name in of_object() if followed and name not in tensors and name in header.shapes]
    frame = _frame_of(snapshot) or Frame()
    with suppress(CheckpointError):  # it was not asked for, so it is no matter that it cannot be read
        for name in lacking:
            source = FileSource(header, {}, region, str(device_of(snapshot.values[followed[0]])))
            read = source.part(name, frame.object.whole, 0)
            if read is not None:
                values = mirrored(*read)
                lit = snapshot.in_frame.lit if snapshot.in_frame else None
                tensors[name] = quantity_of(name).framed(values, lit=lit)
                # A phase that wraps has an offset and a ramp, which are ambiguities.
                if header.phase_wraps and quantity_of(name).wraps:
                    tensors[name] = without_turns(tensors[name])
    return {name: value for name, value in contrasts(tensors).items() if name in snapshot.values}
