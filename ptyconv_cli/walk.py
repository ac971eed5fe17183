"""Walks over the checkpoints of a run and compares each with the one before."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import torch

from ptyconv_cli.change import Change, tensor_changes
from ptyconv_cli.checkpoints.ahead import Arrays, ReadAhead
from ptyconv_cli.checkpoints.run import Header, leave_out
from ptyconv_cli.device import choose_device, memory_to_read_into, one_thread_an_operation, to_device
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.history import LeftOut, Point, TakenOut
from ptyconv_cli.phase import unwrap
from ptyconv_cli.settings import MonitorSettings
from ptyconv_cli.sketch import Places, Sketch
from ptyconv_cli.snapshot import Snapshot, snapshot_of

Progress = Callable[[int, int], None]

T = TypeVar("T")


@dataclass
class Found:
    """What a walk finds: the changes by series key, and the rest as in `history.RunAnalysis`.

    `sketches` of every snapshot by tensor, and their `places`; empty where the aligned change was not asked for.
    """

    device: str
    points: dict[str, list[Point]] = field(default_factory=dict)
    aligned_points: dict[str, list[Point]] = field(default_factory=dict)
    taken_out: dict[str, list[tuple[int, TakenOut]]] = field(default_factory=dict)
    places: dict[str, Places] = field(default_factory=dict)
    sketches: dict[str, list[Sketch]] = field(default_factory=dict)
    used: list[Header] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    not_finite: dict[str, list[int]] = field(default_factory=dict)

    def followed_by(self, later: "Found") -> "Found":
        """Return what two walks found, one after the other; snapshots of two cannot be compared by their sketches."""

        def join(one: dict[str, list[T]], other: dict[str, list[T]]) -> dict[str, list[T]]:
            return {key: one.get(key, []) + other.get(key, []) for key in {**one, **other}}

        return replace(
            later,
            points=join(self.points, later.points),
            aligned_points=join(self.aligned_points, later.aligned_points),
            taken_out=join(self.taken_out, later.taken_out),
            used=self.used + later.used,
            left_out=self.left_out + later.left_out,
            not_finite=join(self.not_finite, later.not_finite),
        )


class _Ready(NamedTuple):
    """A checkpoint that is ready to be compared, and the memory that it was read into."""

    header: Header
    snapshot: Snapshot
    memory: Arrays


def walk(
    headers: Sequence[Header],
    reading: ReadAhead,
    settings: MonitorSettings,
    device_name: str,
    strict: bool,
    progress: Progress,
) -> Found:
    """Compare consecutive checkpoints; leave out those that cannot be read, or, if `strict`, raise CheckpointError.

    While two checkpoints are compared, the next one is got ready and the one after it is read; their memory takes
    turns. Parameters as of `analyze.analyze_run`.
    """
    device = choose_device(device_name)
    found = Found(str(device))
    options = settings.percentile_range, settings.aligned

    def read_one_after_the_other() -> Iterator[_Ready]:
        phase = None
        for header in headers:
            try:
                memory = reading.next()
            except CheckpointError as error:
                if strict:
                    raise
                left_out = leave_out(header.path, error, newest=header is headers[-1])
                found.left_out.append(replace(left_out, niter=header.niter))
                reading.reuse({})
            else:
                found.used.append(header)
                snapshot = snapshot_of(to_device(memory, device), header.dx)
                if header.phase_wraps and "objp" in snapshot.values:
                    phase = unwrap(snapshot.values["objp"], phase)
                yield _Ready(header, snapshot, memory)

    comparers = ThreadPoolExecutor(2 if device.type == "cpu" else 1)  # one tensor keeps a GPU busy
    with one_thread_an_operation(), comparers, _too_much_for(device):
        checkpoints = read_one_after_the_other()
        previous, current = next(checkpoints, None), next(checkpoints, None)
        if previous:  # of the others, the changes tell
            _note_what_is_not_finite(found, previous, previous.snapshot.values)
            if settings.aligned:
                _begin_sketches(found, previous.snapshot)
        progress(1, len(headers))
        while previous and current:
            comparing = {
                name: comparers.submit(tensor_changes, name, current.snapshot, previous.snapshot, *options)
                for name in current.snapshot.values
            }
            sketching = {
                name: comparers.submit(places.sketch, current.snapshot.values[name])
                for name, places in found.places.items()
            }
            following = next(checkpoints, None)
            for name, changes in comparing.items():
                _note(found, name, changes.result(), previous, current)
            for name, sketch in sketching.items():
                found.sketches[name].append(sketch.result())
            progress(headers.index(current.header) + 1, len(headers))
            reading.reuse(memory_to_read_into(previous.memory, device))
            previous, current = current, following
    return found


def _begin_sketches(found: Found, first: Snapshot) -> None:
    for name, tensor in first.values.items():
        found.places[name] = Places(name, tuple(tensor.shape), tensor.device)
        found.sketches[name] = [found.places[name].sketch(tensor)]


def _note(found: Found, name: str, changes: dict[str, Change], previous: _Ready, current: _Ready) -> None:
    """Add the changes of a tensor to what was found; where they say that it isn't finite, find out which it is."""
    niter, since = current.header.niter, previous.header.niter
    for key, change in changes.items():
        found.points.setdefault(key, []).append(Point(niter, since, change.value, change.voxels))
        if change.aligned is not None:
            found.aligned_points.setdefault(key, []).append(Point(niter, since, change.aligned, change.voxels))
    taken_out = next(iter(changes.values())).taken_out  # the same of all series of a tensor
    if taken_out:
        found.taken_out.setdefault(name, []).append((niter, taken_out))
    values = [value for change in changes.values() for value in (change.value, change.aligned) if value is not None]
    if all(map(math.isfinite, values)):
        return
    found.not_finite.setdefault(name, [])
    _note_what_is_not_finite(found, current, [name])


def _note_what_is_not_finite(found: Found, checkpoint: _Ready, tensors: Iterable[str]) -> None:
    for name in tensors:
        if not checkpoint.snapshot.values[name].isfinite().all():
            found.not_finite.setdefault(name, []).append(checkpoint.header.niter)


@contextmanager
def _too_much_for(device: torch.device) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # PyTorch has an error of its own for CUDA, and none for the CPU and MPS.
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        other = "" if device.type == "cpu" else "--device cpu, or "
        raise PtyconvError(f"{device}: too little memory is free; try {other}fewer tensors (-t)") from error
