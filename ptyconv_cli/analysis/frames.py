"""A run, checkpoint by checkpoint, to look at: images of object and probe, and their aligned differences."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ptyconv_cli.analysis.comparable import Comparable, flattened, read_comparable
from ptyconv_cli.analysis.parts import check_memory, check_voxels, region_of_run
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.checkpoints.headers import Header, leave_out
from ptyconv_cli.checkpoints.prefetch import Arrays, Prefetch
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.metrics.aligned import align_object, align_positions, align_probe
from ptyconv_cli.metrics.arrays import Array, namespace, on_host
from ptyconv_cli.metrics.device import to_device, too_much_for
from ptyconv_cli.metrics.phase import unwrap, unwrap_apart
from ptyconv_cli.metrics.snapshot import Snapshot, intensity, snapshot_of
from ptyconv_cli.results.run_analysis import LeftOut
from ptyconv_cli.results.series import OF_OBJECT
from ptyconv_cli.verdict.segments import half_of

MOST = 40
"""Checkpoints that are shown at most."""

MOST_SLICES, MOST_MODES = 24, 8
"""Slices of the object, and modes of the probe, that are shown one by one at most."""

SAMPLES = 3
"""Checkpoints that say which contrast suits all."""

TRIES = 40
"""Times as many places as there are to be checkpoints on the logarithmic axis, at most."""


class Layer(NamedTuple):
    """What an image is of: a tensor (`obja`, `objp`, `probe`), or the slice or mode of that `number`, from 1."""

    tensor: str
    number: int | None = None


class Picture(NamedTuple):
    """An image (y, x), and its aligned differences `to_last` and `to_half`, None where it is not compared.

    Of `objp` the phase in rad, summed over the slices, of `obja` the amplitude, its mean over them, of several object
    modes the mean; the phase less the plane that fits best. Of `probe` the intensity; the differences of its sum over
    the modes are relative to the peak of the one that is compared.
    """

    image: np.ndarray
    to_last: np.ndarray | None = None
    to_half: np.ndarray | None = None


class Frame(NamedTuple):
    """A checkpoint's pictures by layer, and its scan `positions` (N, 2) in px.

    `half`: the iteration that `to_half` compares with, None where there is none; `shares`: of the probe's intensity in
    each of its modes.
    """

    header: Header
    half: int | None
    pictures: dict[Layer, Picture]
    positions: np.ndarray | None
    shares: list[float]


@dataclass(frozen=True)
class Frames:
    """What there is to look at of a run: `chosen` checkpoints of each part in which all can be compared, in order."""

    run: Comparable
    chosen: list[list[Header]]
    strict: bool

    @property
    def last(self) -> Header:
        """The last checkpoint."""
        return self.chosen[-1][-1]

    @property
    def niters(self) -> list[int]:
        """The iterations of the chosen checkpoints."""
        return [header.niter for part in self.chosen for header in part]

    def slices(self) -> list[int]:
        """Return the numbers of the slices that are shown one by one, none of a single one."""
        return _some(
            next((self.last.shapes[name][1] for name in OF_OBJECT if name in self.run.tensors), 1), MOST_SLICES
        )

    def modes(self) -> list[int]:
        """Return the numbers of the probe's modes that are shown one by one, none of a single one."""
        modes = self.last.shapes["probe"][0] if "probe" in self.run.tensors else 1
        return list(range(1, min(modes, MOST_MODES) + 1)) if modes > 1 else []  # the first ones are the strongest

    def samples(self, device: str) -> Iterator[dict[Layer, np.ndarray]]:
        """Yield images of the last checkpoint, and of those at about half and a quarter of its iterations.

        They say which contrast suits all. What cannot be read is passed over: `read` says so.
        """
        part, places = self.chosen[-1], [len(self.chosen[-1]) - 1]
        niters = [header.niter for header in part]
        while len(places) < SAMPLES and (half := half_of(niters, [0], places[-1])) is not None:
            places.append(half)
        later: Array | None = None
        with self._reading(part, [part[place] for place in places], device) as reader:
            for place in places:
                now = reader.read(part[place])
                if now:
                    later = _continue(now, later)
                    with too_much_for(device):
                        yield {layer: picture.image for layer, picture in self._pictures(now, None, None).items()}
                    reader.done_with([now])

    def read(self, device: str) -> Iterator[Frame]:
        """Yield the frames from the last to the first, on the way reading each checkpoint twice at most.

        Checkpoints that cannot be read are left out, as `run.left_out` says then, or, if `strict`, raise
        CheckpointError. Across the boundary of a part nothing is compared. Raises NoRoom where memory is short.
        """
        for part in reversed(self.chosen):
            halves = _halves(part)
            order = [header for k in reversed(range(len(part))) for header in (part[k], halves[k]) if header]
            with self._reading(part, order, device) as reader:
                yield from self._of_part(part, halves, reader, part is self.chosen[-1])

    @contextmanager
    def _reading(self, part: Sequence[Header], order: Sequence[Header], device: str) -> "Iterator[_Reader]":
        """Read checkpoints of a part in this order."""
        tensors = self.run.tensors
        region = region_of_run(part[0], tensors)
        check_memory(part[0], region, tensors)
        check_voxels(part[0], region, tensors, device)
        with Prefetch(order, tensors, region, turns=1) as reading:
            yield _Reader(reading, device, self)

    def _of_part(
        self, part: Sequence[Header], halves: Sequence[Header | None], reader: "_Reader", is_last: bool
    ) -> Iterator[Frame]:
        last: _Read | None = None
        later: Array | None = None
        for header, half_header in zip(reversed(part), reversed(halves), strict=True):
            now = reader.read(header)
            if now:
                later = _continue(now, later)
            half = reader.read(half_header) if half_header else None
            if not now:
                continue
            if half:
                _continue(half, later)
            last = last or (now if is_last else None)
            with too_much_for(reader.device):
                pictures = self._pictures(now, last, half)
            positions = now.snapshot.values.get("probe_pos_shifts")
            copied = None if positions is None else on_host(positions).copy()
            yield Frame(header, half.header.niter if half else None, pictures, copied, now.shares())
            reader.done_with([one for one in (now, half) if one and one is not last])

    @np.errstate(all="ignore")  # what is not finite is shown as such
    def _pictures(self, now: "_Read", last: "_Read | None", half: "_Read | None") -> dict[Layer, Picture]:
        found: dict[Layer, Picture] = {}
        slices = self.slices()
        for name in [name for name in OF_OBJECT if name in now.snapshot.values]:
            images = _images(name, on_host(now.snapshot.values[name]), slices)
            to_last, to_half = (_differences(name, now, other, slices) for other in (last, half))
            for layer, image in images.items():
                found[layer] = Picture(_level(name, image), to_last.get(layer), to_half.get(layer))
        if "probe" in now.snapshot.values:
            whole = on_host(now.snapshot.values["probe"])
            found[Layer("probe")] = Picture(whole, _probe_difference(now, last), _probe_difference(now, half))
            modes = zip(range(1, len(now.modes) + 1), now.modes, strict=True)
            found |= {Layer("probe", number): Picture(mode) for number, mode in modes if number in self.modes()}
        return found


def frames_of_run(run_dir: str | Path, asked: Selection, chain: Sequence[Path] | str = ()) -> Frames:
    """Choose what to look at of a run: at most `MOST` checkpoints, evenly in log iteration, the first and the last too.

    Parameters and errors as of `analysis.run.analyze_run`.
    """
    run = read_comparable(Path(run_dir), asked, chain)
    chosen = set(spread([header.niter for part in run.parts for header in part]))
    parts = [[header for header in part if header.niter in chosen] for part in run.parts]
    return Frames(run, [part for part in parts if part], asked.strict)


def spread(niters: Sequence[int], most: int = MOST) -> list[int]:
    """Return at most so many of the iterations, in order, evenly in their logarithm, with the first and the last.

    Where the early ones are too far apart for that, the later ones are closer.
    """
    if len(niters) <= most:
        return list(niters)
    logs = np.log(np.maximum(niters, 1))
    best: list[int] = []
    for places in range(most, TRIES * most):
        targets = np.linspace(logs[0], logs[-1], places)
        after = np.clip(np.searchsorted(logs, targets), 1, len(logs) - 1)
        nearest = np.where(targets - logs[after - 1] < logs[after] - targets, after - 1, after)
        found = sorted({0, *nearest.tolist(), len(niters) - 1})
        if len(found) > most:
            break
        best = found
    return [niters[k] for k in best]


def displacements(now: np.ndarray, before: np.ndarray, dx: float) -> np.ndarray:
    """Return where positions (N, 2) in px went, in Å, without what all of them did together."""
    left, _ = align_positions(now, before, dx)
    return dx * np.asarray(left, float)


@dataclass(frozen=True)
class _Read:
    """A checkpoint that was read: its snapshot, the intensities of the probe's modes, and the memory they are in."""

    header: Header
    snapshot: Snapshot
    modes: np.ndarray
    memory: Arrays

    def shares(self) -> list[float]:
        """Return the share of the probe's intensity in each of its modes, NaN where there is no intensity."""
        of_each = self.modes.sum((1, 2), dtype=float)
        with np.errstate(all="ignore"):
            return list((of_each / of_each.sum()).tolist())


class _Reader:
    """Reads checkpoints in the order in which they were asked for; those that are done with give their memory."""

    def __init__(self, reading: Prefetch, device: str, frames: Frames) -> None:
        self._reading, self.device, self._frames = reading, device, frames
        self._free: list[Arrays] = []

    def read(self, header: Header) -> _Read | None:
        """Return the next checkpoint, None where it cannot be read."""
        try:
            memory = self._reading.next()
        except CheckpointError as error:
            if self._frames.strict:
                raise
            self._leave_out(header, error)
            return None
        finally:
            self._reading.reuse(self._free.pop() if self._free else {})
        probe = memory.get("probe")
        modes = np.empty((0, 0, 0)) if probe is None else np.stack([intensity(mode[None]) for mode in probe])
        with too_much_for(self.device), np.errstate(all="ignore"):
            return _Read(header, snapshot_of(to_device(memory, self.device), header.dx), modes, memory)

    def done_with(self, read: Sequence[_Read]) -> None:
        """Let the memory of these be filled again."""
        self._free += [one.memory for one in read]

    def _leave_out(self, header: Header, error: CheckpointError) -> None:
        file: LeftOut = replace(leave_out(header.source, error, newest=False), niter=header.niter)
        if file not in self._frames.run.left_out:
            self._frames.run.left_out.append(file)


def _some(count: int, most: int) -> list[int]:
    """Return the numbers from 1 to `count`, of very many only some; none where there is but one."""
    if count < 2:
        return []
    return sorted({round(number) for number in np.linspace(1, count, min(count, most))})


def _halves(part: Sequence[Header]) -> list[Header | None]:
    """Return for each checkpoint the one at half of its iterations, None where there is none."""
    niters = [header.niter for header in part]
    places = [half_of(niters, [0], place) for place in range(len(part))]
    return [None if place is None else part[place] for place in places]


def _continue(now: _Read, later: Array | None) -> Array | None:
    """Unwrap a phase that wraps by the one after it, in place, and return a copy for the one before it."""
    phase = now.snapshot.values.get("objp")
    if not now.header.phase_wraps or phase is None:
        return None
    known = unwrap(phase, None) if later is None else unwrap_apart(phase, later)
    return namespace(known).asarray(known, copy=True)


def _images(name: str, values: np.ndarray, slices: Sequence[int]) -> dict[Layer, np.ndarray]:
    """Return values (omode, slice, y, x) of a tensor as images (y, x): of all slices, and of some one by one.

    Of several object modes the mean; of the slices the sum of the phase, the mean of the amplitude.
    """
    count = values.shape[1]
    whole = values.sum(1, dtype=float).mean(0) / (count if name == "obja" else 1)
    one_by_one = {Layer(name, k): values[:, k - 1].mean(0, dtype=float) for k in slices if k <= count}
    return {Layer(name): whole, **one_by_one}


def _level(name: str, image: np.ndarray) -> np.ndarray:
    """Return an image as it is shown: the phase without its plane, for offset and ramp are ambiguities."""
    return flattened(image) if name == "objp" else 1 - image


def _differences(name: str, now: _Read, other: _Read | None, slices: Sequence[int]) -> dict[Layer, np.ndarray]:
    """Return the aligned difference of a snapshot from another, as images; of the same one 0."""
    if other is None:
        return {}
    value = now.snapshot.values[name]
    if now is other:
        return _images(name, np.zeros(value.shape, np.float32), slices)
    residual, _ = align_object(name, value, other.snapshot.values[name], now.header.dx)
    left = on_host(residual.whole()).reshape(tuple(value.shape))
    sign = -1 if name == "obja" else 1  # snapshots hold 1 - amplitude
    return {layer: sign * image for layer, image in _images(name, left, slices).items()}


def _probe_difference(now: _Read, other: _Read | None) -> np.ndarray | None:
    if other is None:
        return None
    current, before = now.snapshot.values["probe"], other.snapshot.values["probe"]
    if now is other:
        return np.zeros(tuple(current.shape))
    left, _ = align_probe(current, before, now.header.dx)
    before = on_host(before).astype(float)
    peak = before.max() / before.sum()
    found: np.ndarray = np.asarray(on_host(left), float) / peak
    return found
