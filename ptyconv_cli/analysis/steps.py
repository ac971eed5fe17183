"""What is found at each checkpoint, and the earlier ones that it is compared with."""

import weakref
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.quantities import all_series, quantity_of
from ptyconv_cli.results.frame import Frame
from ptyconv_cli.results.history import LAG, MOST, Point
from ptyconv_cli.results.run_analysis import Change, LeftOut, RemovedAmbiguities
from ptyconv_cli.verdict.segments import Counting, half_of

if TYPE_CHECKING:
    from ptyconv_cli.metrics.arrays import Array
    from ptyconv_cli.metrics.sketch import Places, Sketch, Values

IN_MEMORY = 1 << 23
"""Bytes of new rows that are kept in memory; more go into a temporary file."""


IN_FRAME = "_in_frame"
"""Behind a tensor's name: of rows in the frame of the run."""


class StaleRow(Exception):
    """A row of an earlier analysis is not what was written."""


class CachedRows(NamedTuple):
    """The rows that an earlier analysis left in a file, one for each of their `checksums` (CRC-32)."""

    path: Path
    checksums: Sequence[int]


class Rows:
    """Float32 arrays of one shape, a row for each checkpoint.

    Of new rows more than a few go into a temporary file, which is gone with this object; those in the cache stay there.
    """

    def __init__(self, shape: tuple[int, ...], cached: CachedRows | None = None) -> None:
        self.shape, self._size = shape, 4 * int(np.prod(shape))
        self._cached = cached or CachedRows(Path(), ())
        self.checksums = list(self._cached.checksums)

    @cached_property
    def _new(self) -> IO[bytes]:
        import tempfile  # slow to load, and often there is nothing new

        file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed with this object
        weakref.finalize(self, file.close)
        return file

    def add(self, values: np.ndarray) -> None:
        """Add a row; raise PtyconvError where there is no room for it."""
        content = values.astype(np.float32).tobytes()
        try:
            self._new.seek(0, 2)
            self._new.write(content)
        except OSError as error:
            from tempfile import gettempdir

            folder = gettempdir()
            raise PtyconvError(
                f"{folder}: no room for temporary files ({error.strerror}); set the variable TMPDIR to another folder"
            ) from error
        self.checksums.append(zlib.crc32(content))

    def read(self, row: int) -> np.ndarray:
        """Return a row; raise StaleRow where an earlier analysis did not leave it as its checksum says."""
        new = row - len(self._cached.checksums)
        if new >= 0:
            self._new.seek(new * self._size)
            content = self._new.read(self._size)
        else:
            content = self._read_cached(row)
        if zlib.crc32(content) != self.checksums[row]:
            raise StaleRow(f"{self._cached.path}: row {row} is not what was written")
        return np.frombuffer(content, np.float32).reshape(self.shape)

    def _read_cached(self, row: int) -> bytes:
        try:
            with self._cached.path.open("rb") as file:
                file.seek(row * self._size)
                return file.read(self._size)
        except OSError as error:
            raise StaleRow(str(error)) from error

    def append_to(self, path: Path) -> None:
        """Write the new rows into a file, behind the cached ones, which are there already; OSError where that fails."""
        with path.open("r+b" if self._cached.checksums else "wb") as file:
            file.truncate(len(self._cached.checksums) * self._size)
            file.seek(0, 2)
            self._new.seek(0)
            while content := self._new.read(1 << 22):
                file.write(content)


class Compared(NamedTuple):
    """How far a tensor of one checkpoint is from earlier ones: `at` their places in the run, in order (J).

    `raw` and `aligned` (J): see `metrics.sketch.Distances`. `size`: the RMS of its own values, in px for positions,
    and `total` their sum over all voxels, of a probe; `units`: see `metrics.sketch.Sketch`, and `strength` as of
    `quantities.quantity.Quantity`. `kept` of `all_voxels` were compared; `moved`: whether it is elsewhere in the
    frame of the run, and has a row of its own there.
    """

    at: list[int]
    raw: list[float]
    aligned: list[float]
    size: float
    total: float
    units: list[float]
    kept: int
    all_voxels: int
    moved: bool
    strength: float

    @property
    def mean(self) -> float:
        """The mean of all voxels, of a probe; 0 of others."""
        return self.total / self.all_voxels

    def to(self, place: int, aligned: bool = True) -> float:
        """Return the distance to an earlier place; KeyError where it was not compared with that."""
        try:
            found = self.at.index(place)
        except ValueError:
            raise KeyError(place) from None
        return (self.aligned if aligned else self.raw)[found]


@dataclass(frozen=True)
class Step:
    """What is found at a checkpoint: the changes since iteration `since`, by series key; it is None of the first one.

    `compared`: by tensor, how far it is from earlier checkpoints, empty where the aligned change was not asked for.
    `contrasts`: see `quantities.snapshots.contrasts`, empty where nothing is aligned. `not_finite`: the tensors that
    hold NaN or infinity, and those that do not, but changed by more than numbers can say: True and False.
    `totals`: by tensor, of what is an intensity, all of it. `frame`: where its object and probe were; None where
    nothing is aligned. `contents`: by tensor, the checksum (CRC-32) of what was read.
    """

    header: Header
    since: int | None
    changes: dict[str, Change]
    compared: dict[str, Compared]
    not_finite: dict[str, bool]
    contrasts: dict[str, float] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    frame: Frame | None = None
    contents: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CachedSteps:
    """What is known from an earlier walk: its steps, and, of a phase that wraps, what the next snapshot's follows.

    `phase` as it is, and `phase_in_frame`; `rows`: by tensor, the sketched values that it left, and, by its name and
    `IN_FRAME`, those in the frame of the run.
    """

    steps: list[Step] = field(default_factory=list)
    phase: np.ndarray | None = None
    phase_in_frame: np.ndarray | None = None
    rows: dict[str, CachedRows] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """The results of a walk: the steps in order, how many of them were `known`, and checkpoints that were unreadable.

    `phase`: for a phase that wraps, the one to unwrap the next snapshot with, and `phase_in_frame` the same there.
    """

    steps: list[Step]
    left_out: list[LeftOut]
    phase: np.ndarray | None
    phase_in_frame: np.ndarray | None
    known: int


class CacheIsStale(Exception):
    """The last cached checkpoint cannot be read any more, so that the walk cannot continue from it."""


class Curves:
    """The results of a run's steps, by series key or tensor, in order.

    One object can serve one analysis after the other of a run that grows: what was gathered is not gathered again.

    `points`: the changes; `aligned_points`: the aligned ones, empty where they were not asked for; `removed`: the
    ambiguities removed, as (niter, ambiguities); `not_finite`: the iterations at which a tensor held NaN or infinity,
    none where only its changes are not finite.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._gathered: list[tuple[int, dict[str, Change]]] = []
        self.points: dict[str, list[Point]] = {}
        self.aligned_points: dict[str, list[Point]] = {}
        self.removed: dict[str, list[tuple[int, RemovedAmbiguities]]] = {}
        self.not_finite: dict[str, list[int]] = {}

    def of(self, steps: Sequence[Step]) -> "Curves":
        """Return the curves of these steps, which begin with those that were gathered last, or are gathered anew."""
        known = len(self._gathered)
        so_far = zip(steps, self._gathered, strict=False)
        if len(steps) < known or any(s.changes is not changes or s.header.niter != at for s, (at, changes) in so_far):
            self._begin()
            known = 0
        for step in steps[known:]:
            self._add(step)
        found = Curves()
        for name in ("points", "aligned_points", "removed", "not_finite"):
            setattr(found, name, {key: list(curve) for key, curve in getattr(self, name).items()})
        return found

    def _add(self, step: Step) -> None:
        niter = step.header.niter
        self._gathered.append((niter, step.changes))
        for key, change in step.changes.items():
            self.points.setdefault(key, []).append(Point(niter, step.since, change.value, change.voxels))
            if change.aligned is not None:
                point = Point(niter, step.since, change.aligned, change.aligned_voxels)
                self.aligned_points.setdefault(key, []).append(point)
        of_tensors = {one.tensor: step.changes[one.key].removed for one in all_series() if one.key in step.changes}
        for tensor, what in of_tensors.items():  # the same of all series of a tensor
            if what:
                self.removed.setdefault(tensor, []).append((niter, what))
        for tensor, is_its_own in step.not_finite.items():
            self.not_finite.setdefault(tensor, []).extend([niter] if is_its_own else [])


def shown_before(place: int) -> range:
    """Return up to `MOST - 1` places before one, spread evenly: every one, or every second, fourth ..."""
    step = 1
    while -(-place // step) > MOST - 1:
        step *= 2
    return range(0, place, step)


def compared_with(niters: Sequence[int], counting: Counting) -> list[int]:
    """Return the places of the earlier checkpoints that the last of these is compared with, in order.

    `counting`: how the tensor's iterations count.
    """
    last = len(niters) - 1
    half = half_of(niters, counting)
    found = {*shown_before(last), last - 1, last - LAG, last - 1 if half is None else half}
    return sorted(place for place in found if place >= 0)


class Comparer:
    """Compares one tensor of each checkpoint of a run, in order, with earlier ones.

    `name` of the tensor, and the `shape` of what is compared of it; `counting`: how its iterations count; `dx` in Å per
    px; `known`: what was found at the first checkpoints, in an earlier analysis, which left their `rows`, and, where
    they are elsewhere in the frame of the run, those there (`rows_in_frame`).
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dx: float,
        counting: Counting,
        known: Sequence[Compared] = (),
        rows: CachedRows | None = None,
        rows_in_frame: CachedRows | None = None,
    ) -> None:
        self.name = name
        self._quantity, self._dx, self._counting = quantity_of(name), dx, counting
        self._shape, self._lit = shape, None
        self._known, self._cached = list(known), (rows, rows_in_frame)
        self._memory: dict[int, Values] = {}

    def light(self, lit: Any) -> None:
        """Have only voxels compared that are `lit` by the scan (y, x); None for all."""
        self._lit = lit

    @cached_property
    def places(self) -> "Places":
        """Where it is compared; what does that is loaded only where a checkpoint is new."""
        return self._quantity.places(self._shape, self._lit)

    @cached_property
    def rows(self) -> Rows:
        """The values as they are in files."""
        kept = self._known[0].kept if self._known else self.places.kept
        return Rows((kept, *(self._shape[1:] if self._quantity.by_rows else ())), self._cached[0])

    @cached_property
    def rows_in_frame(self) -> Rows:
        """The values in the frame of the run, of those checkpoints where these are others."""
        return Rows(self.rows.shape, self._cached[1])

    def compare(self, tensor: "Array", in_frame: Any, niters: Sequence[int]) -> Compared:
        """Compare the checkpoint at the last of the iterations `niters`, of all checkpoints up to it.

        `tensor`: its values, as in `metrics.snapshot.Snapshot`; `in_frame`: see `quantities.snapshots.framed`.
        """
        place, sketch = len(niters) - 1, self.places.sketch(tensor, in_frame)
        at = compared_with(niters, self._counting)
        found = self._quantity.distances(self.places, sketch, [self._values(one) for one in at], self._dx)
        self.rows.add(sketch.values)
        moved = sketch.in_frame is not sketch.values
        if moved:
            self.rows_in_frame.add(sketch.in_frame)
        self._remember(place, sketch)
        kept, all_voxels = self.places.kept, self.places.all_voxels
        units = sketch.units.tolist()
        numbers = sketch.rms, sketch.total, units, kept, all_voxels, moved, self._quantity.strength(self.places, sketch)
        compared = Compared(at, found.raw, found.aligned, *numbers)
        self._known.append(compared)
        return compared

    def _remember(self, place: int, sketch: "Sketch") -> None:
        from ptyconv_cli.metrics.sketch import Values

        self._memory[place] = Values.of(sketch)
        soon = {*shown_before(place + 1), *range(place + 1 - LAG, place + 1)}
        self._memory = {one: values for one, values in self._memory.items() if one in soon}

    def _values(self, place: int) -> "Values":
        if place not in self._memory:
            from ptyconv_cli.metrics.sketch import Values

            known, values = self._known[place], self.rows.read(place)
            row = sum(one.moved for one in self._known[:place])
            in_frame = self.rows_in_frame.read(row) if known.moved else values
            self._memory[place] = Values(values, in_frame, known.total, np.array(known.units))
        return self._memory[place]

    def rows_by_name(self) -> Iterator[tuple[str, Rows]]:
        """Yield the rows under the names that they are kept under."""
        yield self.name, self.rows
        if self.rows_in_frame.checksums:
            yield self.name + IN_FRAME, self.rows_in_frame

    def checksums(self, place: int) -> Iterator[tuple[str, int]]:
        """Yield the checksums of a checkpoint's rows, under the names that they are kept under."""
        yield self.name, self.rows.checksums[place]
        if self._known[place].moved:
            row = sum(one.moved for one in self._known[:place])
            yield self.name + IN_FRAME, self.rows_in_frame.checksums[row]
