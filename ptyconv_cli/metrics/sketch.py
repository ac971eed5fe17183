"""Sketches: the values at some places of a tensor, and the distances between snapshots that they give."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ptyconv_cli.metrics.aligned import align_weights, equal_sums, fit_planes
from ptyconv_cli.metrics.arrays import Array, device_of, in_single, namespace, rms, together_on_host, total
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.planes import FACTOR, NOTHING, OFFSET
from ptyconv_cli.results import history


class Sketch(NamedTuple):
    """Float32 `values` (voxels), or (row, number), as files have them, and `in_frame`: those in the frame of the run.

    `gradients` of the latter, per px (2, voxels), none where not wanted; `total`: the sum over all voxels, 0 where not
    wanted; `units` of planes of an amplitude (plane): see `framed.Framed.units`, else 1.
    """

    values: np.ndarray
    in_frame: np.ndarray
    gradients: np.ndarray
    total: float
    units: np.ndarray

    @property
    def rms(self) -> float:
        """The RMS of the values."""
        return float(np.sqrt(np.square(self.values, dtype=np.float64).mean()))


class Places:
    """The voxels at which tensors of one shape are sketched, `kept` of `all_voxels`.

    With `rows`, what counts as a voxel is all that a tensor (N, n) holds of one of N. With `gradients`, along y and x.
    With `total`, the sum over all voxels. Of an object only voxels that are `lit` (y, x), None for all.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        rows: bool = False,
        gradients: bool = False,
        with_total: bool = False,
        lit: np.ndarray | None = None,
    ) -> None:
        self.shape, self.rows, self.gradients, self.with_total, self.lit = shape, rows, gradients, with_total, lit
        of_plane = math.prod(shape[-2:]) if lit is None else int(lit.sum())
        self.all_voxels = shape[0] if rows else math.prod(shape[:-2]) * of_plane
        self.kept = min(self.all_voxels, history.MOST_SKETCHED)
        self._on_device: tuple[Array, Array] | None = None

    @cached_property
    def at(self) -> np.ndarray:
        """Their flat indices, in order."""
        # Its own generator: the same places every time, and the caller's random state is untouched.
        drawn = np.random.default_rng(0).choice(self.all_voxels, self.kept, replace=False, shuffle=False)
        drawn.sort()
        if self.lit is None:
            return drawn
        lit = np.flatnonzero(self.lit)
        return np.asarray(drawn // len(lit) * self.lit.size + lit[drawn % len(lit)])

    def ramps(self, part: slice) -> np.ndarray:
        """Return the coordinates (y, x) in px on the first slice of each object mode, 0 elsewhere (2, voxels)."""
        (_, slices, height, width), at = self.shape, self.at[part]
        on_first = at // (height * width) % slices == 0
        y, x = at // width % height - (height - 1) / 2, at % width - (width - 1) / 2
        return np.asarray(np.stack([y, x]) * on_first)

    def sketch(self, tensor: Array, in_frame: "Array | Framed | None" = None) -> Sketch:
        """Sketch a tensor of the shape of these places; `in_frame`: the same in the frame of the run, if not itself."""
        return sketches([(self, tensor, in_frame)])[0]

    def _numbers(self, tensor: Array, in_frame: Array) -> list[Array]:
        """Return, where a tensor is, its values, those in the frame with gradients, and the sum of all, if wanted."""
        xp, (at, apart) = namespace(tensor), self._there(tensor)
        if self.rows:
            return [xp.take(in_single(tensor), at, axis=0)]
        numbers = xp.take(xp.reshape(in_single(in_frame), (-1,)), at)
        if self.gradients:
            found = xp.reshape(numbers, (5, -1))
            numbers = xp.concat([found[:1, :], (found[1::2, :] - found[2::2, :]) / apart])
        as_in_file = [xp.take(xp.reshape(in_single(tensor), (-1,)), at[: self.kept])] if tensor is not in_frame else []
        return [numbers, *as_in_file, *([total(tensor)] if self.with_total else [])]

    def leave_device(self) -> None:
        """Forget what is on a device."""
        self._on_device = None

    def _there(self, tensor: Array) -> tuple[Array, Array]:
        """Return, where a tensor is, the indices to take of it, and how far the neighbours along y and x are apart.

        The indices are those of the voxels, and of their next and previous ones along y and along x, up to the edges.
        """
        on = device_of(tensor)
        if self._on_device is None or device_of(self._on_device[0]) != on:
            xp = namespace(tensor)
            neighbours = [self._along(axis) for axis in (-2, -1)] if self.gradients else []
            at = np.concatenate([self.at, *(indices for two, _ in neighbours for indices in two)])
            apart = np.array([distance for _, distance in neighbours], np.float32)
            self._on_device = xp.asarray(at, device=on), xp.asarray(apart, device=on)
        return self._on_device

    def _along(self, axis: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Return the next and the previous voxels along an axis, up to its ends, and how far apart they are."""
        step = self.shape[-1] if axis == -2 else 1
        place = self.at // step % self.shape[axis]
        has_next, has_one_before = place < self.shape[axis] - 1, place > 0
        apart = np.maximum(has_next.astype(int) + has_one_before, 1)
        return (self.at + step * has_next, self.at - step * has_one_before), apart


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def sketches(tensors: "Sequence[tuple[Places, Array, Array | Framed | None]]") -> list[Sketch]:
    """Sketch tensors, each at its places, and as it is in the frame of the run; a GPU is waited for once."""
    of_each = []
    for places, tensor, in_frame in tensors:
        there = in_frame.values if isinstance(in_frame, Framed) else tensor if in_frame is None else in_frame
        of_each.append(places._numbers(tensor, there))
    copied, found = iter(together_on_host([numbers for numbers_of_one in of_each for numbers in numbers_of_one])), []
    for (places, _, in_frame), numbers_of_one in zip(tensors, of_each, strict=True):
        numbers, *others = (next(copied) for _ in numbers_of_one)
        numbers = numbers.astype(np.float32)
        values, gradients = (numbers[0], numbers[1:]) if places.gradients else (numbers, np.empty((2, 0), np.float32))
        sum_of_all = float(others.pop()) if places.with_total and not places.rows else 0.0
        as_in_file = others[0].astype(np.float32) if others else values
        units = in_frame.units if isinstance(in_frame, Framed) else np.ones(1)
        found.append(Sketch(as_in_file, values, gradients, sum_of_all, units))
    return found


VOXELS = 1 << 12
"""Worked on at a time, so that all of it stays in the processor's cache."""


class Values(NamedTuple):
    """What is needed of an earlier snapshot: `values`, `in_frame`, `total` and `units` as in a `Sketch`."""

    values: np.ndarray
    in_frame: np.ndarray
    total: float
    units: np.ndarray

    @classmethod
    def of(cls, sketch: Sketch) -> "Values":
        """Return those of a sketch."""
        return cls(sketch.values, sketch.in_frame, sketch.total, sketch.units)


class Distances(NamedTuple):
    """RMS distances from earlier snapshots, in the unit of the quantity."""

    raw: list[float]
    aligned: list[float]


def differences(later: Sketch, earlier: Sequence[Values]) -> list[float]:
    """Return the RMS of the differences of a snapshot's values from those of earlier ones."""
    found = later.values - np.array([one.values for one in earlier], np.float64)
    return np.sqrt(np.square(found).reshape(len(earlier), -1).mean(1)).tolist()  # type: ignore[no-any-return]


def displacements(later: Sketch, earlier: Sequence[Values], dx: float) -> Distances:
    """Return the RMS displacements of positions (N, 2) in px, in Å, and those without the mean; `dx` in Å per px."""
    moved = dx * (later.values.astype(np.float64) - np.array([one.values for one in earlier], np.float64))
    raw, aligned = (_rms_displacement(d) for d in (moved, moved - moved.mean(1, keepdims=True)))
    return Distances(raw.tolist(), aligned.tolist())


def distances_of_weights(later: Sketch, earlier: Sequence[Values]) -> Distances:
    """Return the distances of weights of modes (N, mode), and those without what other modes explain."""
    left = [align_weights(later.values, one.values)[0] for one in earlier]
    return Distances(differences(later, earlier), [rms(of_one) for of_one in left])


def distances_of_planes(places: Places, later: Sketch, earlier: Sequence[Values], own: str) -> Distances:
    """Return the distances of an object's phase or 1 - amplitude; `own`: `planes.OFFSET` or `planes.FACTOR`.

    Aligned in the frame of the run, and of amplitudes in their units.
    """
    products = _products(places, later, np.array([one.in_frame for one in earlier]), own)
    units = np.array([one.units for one in earlier])
    left = _left(places, products.in_units(later.units, units) if own == FACTOR else products, own)
    as_in_files = later.in_frame is later.values and all(one.in_frame is one.values for one in earlier)
    raw = _rms(products.squares.sum(0), places) if as_in_files else differences(later, earlier)
    return Distances(raw, _rms(left, places))


def distances_of_intensities(places: Places, later: Sketch, earlier: Sequence[Values]) -> Distances:
    """Return the distances of intensities (y, x), and, in mean intensities, those of such with the same total."""
    scale = _per_mean(later.total, places)
    scaled = later._replace(in_frame=scale * later.in_frame, gradients=scale * later.gradients)
    others = np.array([_per_mean(one.total, places) * one.in_frame for one in earlier])
    left = _left(places, _products(places, scaled, others, NOTHING), NOTHING)
    return Distances(differences(later, earlier), _rms(left, places))


def _per_mean(total: float, places: Places) -> float:
    """Return the factor that makes an intensity's mean 1; there is none (NaN) for a probe without intensity."""
    return places.all_voxels / total if total else math.nan


def mean_of_planes(places: Places, values: np.ndarray) -> np.ndarray:
    """Return the mean of the sketched values of each plane (plane); 0 of one that has none."""
    height, width = places.shape[-2:]
    planes, count = places.at // (height * width), math.prod(places.shape[:-2])
    sums = np.bincount(planes, values.astype(np.float64), count)
    return np.asarray(sums / np.maximum(np.bincount(planes, minlength=count), 1))


def _rms_displacement(moved: Array) -> Array:
    return np.asarray(np.sqrt(np.square(moved).sum(-1).mean(-1)))


def _rms(squares: Array, places: Places) -> list[float]:
    found: list[float] = np.sqrt(squares / len(places.at)).tolist()
    return found


class _Products(NamedTuple):
    """Sums over the voxels of planes: of `fields` with each other (plane, field, field) and with changes (plane, field,
    J), and of the `squares` of the changes (plane, J).
    """

    fields: Array
    with_changes: Array
    squares: Array

    def in_units(self, units: np.ndarray, units_before: np.ndarray) -> "_Products":
        """Return those of amplitudes a in units u (plane) and (J, plane): the changes are a_j / u_j - a / u."""
        now, before = 1 / units[:, None], 1 / units_before.T
        own, more = self.with_changes[:, 0], before - now  # in terms of changes a_j - a, and of a, the own field
        squares = before**2 * self.squares + 2 * before * more * own + more**2 * self.fields[:, :1, 0]
        with_changes = before[:, None] * self.with_changes + more[:, None] * self.fields[:, :, :1]
        return _Products(now[..., None] ** 2 * self.fields, now[..., None] * with_changes, squares)


def _products(places: Places, later: Sketch, earlier: np.ndarray, own: str) -> _Products:
    """Return the sums over the voxels that the fit needs; `earlier` (J, voxels) in the frame of the run."""
    planes = int(np.prod(places.shape[:-2], dtype=int))
    fields_of_plane = 5 if own == OFFSET else 3
    of_fields = np.zeros((planes, fields_of_plane, fields_of_plane))
    with_changes = np.zeros((planes, fields_of_plane, len(earlier)))
    squares = np.zeros((planes, len(earlier)))
    for plane, part in _pieces(places):
        changes = later.in_frame[part].astype(np.float64) - earlier[:, part]
        fields = _fields(places, later, part, own)
        squares[plane] += np.einsum("jv,jv->j", changes, changes)
        of_fields[plane] += fields @ fields.T
        with_changes[plane] += fields @ changes.T
    return _Products(of_fields, with_changes, squares)


def _left(places: Places, products: _Products, own: str) -> Array:
    """Return the sums of the squares of what the fields leave of the changes (J)."""
    ties = equal_sums(*places.shape[:2]) if own == FACTOR else None
    squares, explained = products.squares.sum(0), fit_planes(products.fields, products.with_changes, ties)[2]
    return np.asarray(np.maximum(squares - explained, 0) * (squares > 0))


def _fields(places: Places, later: Sketch, part: slice, own: str) -> Array:
    """Return the fields (field, voxels) on a part of the voxels, a plane's own field first."""
    values = later.in_frame[part].astype(np.float64)
    of_plane = {OFFSET: np.ones_like(values), FACTOR: 1 - values, NOTHING: np.zeros_like(values)}[own]
    gradients = later.gradients[:, part].astype(np.float64)
    return np.stack([of_plane, *gradients, *(places.ramps(part) if own == OFFSET else ())])


def _pieces(places: Places) -> Iterator[tuple[int, slice]]:
    """Cut the sketched voxels into parts of a single plane each."""
    height, width = places.shape[-2:]
    plane_of = places.at // (height * width)
    ends = np.searchsorted(plane_of, np.arange(plane_of[-1] + 1), side="right").tolist()
    for plane, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
        for start in range(first, end, VOXELS):
            yield plane, slice(start, min(start + VOXELS, end))
