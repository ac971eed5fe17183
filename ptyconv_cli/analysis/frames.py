"""A run, checkpoint by checkpoint, to look at: images of object and probe, and their aligned differences."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ptyconv_cli.analysis.compare import Prefetch
from ptyconv_cli.analysis.frames_reading import Read, Reader, brought_first
from ptyconv_cli.analysis.registration import read_beside, registration_of
from ptyconv_cli.analysis.run_parts import Comparable, check_memory, check_voxels, read_comparable, region_of_run
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.metrics.aligned import align_object, align_positions, align_probe, whole
from ptyconv_cli.metrics.arrays import on_host
from ptyconv_cli.metrics.device import too_much_for
from ptyconv_cli.quantities import drawn_as, of_object
from ptyconv_cli.quantities.quantity import ARROWS, IMAGES, INTENSITY, Quantity
from ptyconv_cli.quantities.snapshots import framed
from ptyconv_cli.verdict.segments import Counting, half_of

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


IMAGE, LAST, HALF = KINDS = ("image", "last", "half")
"""An image itself, and its aligned differences from the last one, and from the one at half of its iterations."""


class Pictures(NamedTuple):
    """Images (y, x) of one kind by layer, all in the frame of the first checkpoint of the run, or of a part of it.

    Of `objp` the phase in rad, summed over the slices, of `obja` the amplitude, its mean over them, of several object
    modes the mean; the phase less the plane that fits best. Differences of the amplitude are as if its mean were that
    of the last checkpoint, and those of the object 0 where the scan hardly lit it. Of `probe` the intensity; the
    differences of its sum over the modes are relative to the peak of the one that it is compared with.
    """

    kind: str
    images: dict[Layer, np.ndarray]


class Frame(NamedTuple):
    """A checkpoint: its `pictures`, to be looked at before the next frame, and its scan `positions` (N, 2) in px.

    `half`: the iteration that it is compared with as `HALF`, None where there is none; `shares`: of the probe's
    intensity in each of its modes.
    """

    header: Header
    half: int | None
    pictures: Iterator[Pictures]
    positions: np.ndarray | None
    shares: list[float]


@dataclass(frozen=True)
class Frames:
    """What there is to look at of a run: `chosen` checkpoints of each part in which all can be compared, in order.

    `counting`: how iterations count, and so halves; `most_slices` and `most_modes` that are shown one by one.
    """

    run: Comparable
    chosen: list[list[Header]]
    strict: bool
    counting: Counting = field(default_factory=Counting)
    most_slices: int = MOST_SLICES
    most_modes: int = MOST_MODES

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
        slices = next((self.last.shapes[name][1] for name in of_object() if name in self.run.tensors), 1)
        return _some(slices, self.most_slices)

    def modes(self) -> list[int]:
        """Return the numbers of the probe's modes that are shown one by one, none of a single one."""
        modes = next((self.last.shapes[one.key][0] for one in self._followed(INTENSITY)), 1)
        return list(range(1, min(modes, self.most_modes) + 1)) if modes > 1 else []  # the first ones are the strongest

    def _followed(self, kind: str) -> list[Quantity]:
        """Return the quantities of this run that are drawn in a way."""
        return [quantity for quantity in drawn_as(kind) if quantity.key in self.run.tensors]

    def samples(self, device: str) -> Iterator[Pictures]:
        """Yield images of the last checkpoint, and of those at about half and a quarter of its iterations.

        They say which contrast suits all. What cannot be read is passed over: `read` says so.
        """
        part, places = self.chosen[-1], [len(self.chosen[-1]) - 1]
        niters = [header.niter for header in part]
        while len(places) < SAMPLES and (half := half_of(niters, self.counting, places[-1])) is not None:
            places.append(half)
        with self._reading(part, [part[place] for place in places], device) as reader:
            for place in places:
                now = reader.read(part[place])
                if now:
                    yield from self._pictures(now, None, None, reader)
                    reader.done_with([now])

    def read(self, device: str) -> Iterator[Frame]:
        """Yield the frames from the last to the first, on the way reading each checkpoint twice at most.

        Checkpoints that cannot be read are left out, as `run.left_out` says then, or, if `strict`, raise
        CheckpointError. Across the boundary of a part nothing is compared. Raises NoRoom where memory is short.
        """
        for part in reversed(self.chosen):
            halves = _halves(part, self.counting)
            order = [header for k in reversed(range(len(part))) for header in (part[k], halves[k]) if header]
            with self._reading(part, order, device) as reader:
                yield from self._of_part(part, halves, reader, part is self.chosen[-1])

    @contextmanager
    def _reading(self, part: Sequence[Header], order: Sequence[Header], device: str) -> Iterator[Reader]:
        """Read checkpoints of a part in this order, as they are in the frame of its first one."""
        tensors = self.run.tensors
        region = region_of_run(part[0], tensors)
        check_memory(part[0], region, tensors)
        check_voxels(part[0], region, tensors, device)
        beside = read_beside(part, tensors)
        bringing = registration_of(part[0], region, tensors)
        alone = order[0] is part[0]
        first = None if alone else brought_first(bringing, part[0], tensors, region, beside, device)
        with Prefetch(order, tensors, region, turns=1, beside=beside) as reading:
            yield Reader(reading, device, self.run, self.strict, region, bringing, first)

    def _of_part(
        self, part: Sequence[Header], halves: Sequence[Header | None], reader: Reader, is_last: bool
    ) -> Iterator[Frame]:
        last: Read | None = None
        for header, half_header in zip(reversed(part), reversed(halves), strict=True):
            now = reader.read(header)
            half = reader.read(half_header, aside=True) if half_header else None
            if not now:
                continue
            last = last or (now if is_last else None)
            pictures = self._pictures(now, last, half, reader)
            positions = [now.snapshot.values[one.key] for one in self._followed(ARROWS)]
            copied = on_host(positions[0]).copy() if positions else None
            yield Frame(header, half.header.niter if half else None, pictures, copied, now.shares())
            reader.done_with([one for one in (now, half) if one and one is not last])

    def _pictures(self, now: Read, last: Read | None, half: Read | None, reader: Reader) -> Iterator[Pictures]:
        compared = {IMAGE: now, LAST: last, HALF: half}
        seen = sorted(self._followed(IMAGES), key=lambda one: one.key) + self._followed(INTENSITY)
        for quantity in seen:
            for kind, other in compared.items():
                if other is None:
                    continue
                with too_much_for(reader.device), np.errstate(all="ignore"):  # what is not finite is shown as such
                    earlier = other if kind != IMAGE else None
                    if quantity.is_object:
                        images = _of_object(quantity, now, earlier, self.slices(), reader.units[quantity.key])
                    else:
                        images = self._of_intensity(quantity.key, now, earlier)
                yield Pictures(kind, images)

    def _of_intensity(self, name: str, now: Read, other: Read | None) -> dict[Layer, np.ndarray]:
        if other:
            return {Layer(name): _difference(name, now, other)}
        modes = {Layer(name, number): now.modes[number - 1] for number in self.modes() if number <= len(now.modes)}
        return {Layer(name): on_host(framed(name, now.snapshot)), **modes}


def frames_of_run(
    run_dir: str | Path,
    asked: Selection,
    chain: Sequence[Path] | str = (),
    counting: Counting | None = None,
    most: int = MOST,
    keep: int | None = None,
) -> Frames:
    """Choose what to look at of a run: so many checkpoints at most, evenly in log iteration, with first and last.

    `counting` as of `Frames`; `keep`: an iteration that is to be among them, None for none; other parameters and errors
    as of `analysis.run.analyze_run`.
    """
    run, counting = read_comparable(Path(run_dir), asked, chain), counting or Counting()
    niters = [header.niter for part in run.parts for header in part]
    wanted = [keep] if keep in niters else []
    chosen = set(spread(niters, most, [*wanted, *doublings_before_the_last(niters, counting)]))
    parts = [[header for header in part if header.niter in chosen] for part in run.parts]
    return Frames(run, [part for part in parts if part], asked.strict, counting)


def doublings_before_the_last(niters: Sequence[int], counting: Counting) -> list[int]:
    """Return the iteration at half of the last one, the one at half of that, and so on."""
    found: list[int] = []
    place: int | None = len(niters) - 1
    while (place := half_of(niters, counting, place)) is not None:
        found.append(niters[place])
    return found


def spread(niters: Sequence[int], most: int = MOST, also: Sequence[int] = ()) -> list[int]:
    """Return at most so many of the iterations, in order, evenly in their logarithm, with the first and the last.

    And, as far as there is room for both, those that are `also` wanted. Where the early ones are too far apart for
    that, the later ones are closer.
    """
    if len(niters) <= most:
        return list(niters)
    if also:
        also = also[: most // 2]
        return sorted({*also, *spread(niters, most - len(also))})
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


def _some(count: int, most: int) -> list[int]:
    """Return the numbers from 1 to `count`, of very many only some; none where there is but one."""
    if min(count, most) < 2:
        return []
    return sorted({round(number) for number in np.linspace(1, count, min(count, most))})


def _halves(part: Sequence[Header], counting: Counting) -> list[Header | None]:
    """Return for each checkpoint the one at half of its iterations since a segment began, None where there is none."""
    niters = [header.niter for header in part]
    places = [half_of(niters, counting, place) for place in range(len(part))]
    return [None if place is None else part[place] for place in places]


def _of_object(
    part: Quantity, now: Read, other: Read | None, slices: Sequence[int], units: np.ndarray
) -> dict[Layer, np.ndarray]:
    """Return a part of an object as images, or its aligned difference from another one; from itself it is 0.

    `units` (plane) in which a difference is known.
    """
    name, current = part.key, framed(part.key, now.snapshot)
    if other is None:
        images = _images(part, on_host(current.values), slices)
        return {layer: part.as_image(image, current.lit) for layer, image in images.items()}
    if now is other:
        nothing = np.zeros(current.shape[-2:], np.float32)
        return {Layer(name, number): nothing for number in (None, *slices)}
    residual, _ = align_object(current, framed(name, other.snapshot), now.header.dx)
    left = on_host(whole(residual)) * units.astype(np.float32)[:, None, None]
    if current.lit is not None:
        left[:, ~current.lit] = 0
    images = _images(part, left.reshape(current.shape), slices)
    return {layer: part.as_image_of_change(image) for layer, image in images.items()}


def _images(part: Quantity, values: np.ndarray, slices: Sequence[int]) -> dict[Layer, np.ndarray]:
    """Return values (omode, slice, y, x) of an object as images (y, x): of all slices, and of some one by one.

    Of several object modes the mean; of the slices the sum or the mean, as suits the part of the object.
    """
    name, count = part.key, values.shape[1]
    together = values.sum(1, dtype=float).mean(0) / (count if part.over_slices == "mean" else 1)
    found = {Layer(name): np.asarray(together, np.float32)}
    for number in slices:
        if number <= count:  # of one object mode no copy
            of_modes = values[:, number - 1]
            found[Layer(name, number)] = of_modes[0] if len(of_modes) == 1 else of_modes.mean(0)
    return found


def _difference(name: str, now: Read, other: Read) -> np.ndarray:
    """Return the aligned difference of two intensities, relative to the peak of the earlier one."""
    current, before = (framed(name, one.snapshot) for one in (now, other))
    if now is other:
        return np.zeros(tuple(current.shape))
    left, _ = align_probe(current, before, now.header.dx)
    before = on_host(before).astype(float)
    peak = before.max() / before.sum()
    found: np.ndarray = np.asarray(on_host(left), float) / peak
    return found
