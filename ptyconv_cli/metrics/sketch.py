"""Sketches: the values at some places of a tensor, and the distances between snapshots that they give."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ptyconv_cli.metrics.aligned import equal_sums, fit_planes
from ptyconv_cli.metrics.arrays import Array, device_of, in_single, namespace, together_on_host, total
from ptyconv_cli.metrics.fields import too_few_to_align

MOST = 1 << 16
"""The most voxels, or positions, in a sketch."""


class Sketch(NamedTuple):
    """Float32 `values` (voxels) and their gradients per px (2, voxels); or positions (N, 2), which have no gradients.

    `total`: the sum over all voxels.
    """

    values: np.ndarray
    gradients: np.ndarray
    total: float

    @property
    def rms(self) -> float:
        """The RMS of the values."""
        return float(np.sqrt(np.square(self.values, dtype=np.float64).mean()))


class Places:
    """The voxels (or positions) at which tensors of one shape are sketched, `kept` of `all_voxels`."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape = name, shape
        self.all_voxels = shape[0] if name == "probe_pos_shifts" else math.prod(shape)
        self.kept = min(self.all_voxels, MOST)
        self._on_device: tuple[Array, Array] | None = None

    @cached_property
    def at(self) -> np.ndarray:
        """Their flat indices, in order."""
        # Its own generator: the same places every time, and the caller's random state is untouched.
        drawn = np.random.default_rng(0).choice(self.all_voxels, self.kept, replace=False, shuffle=False)
        return np.sort(drawn)

    def ramps(self, part: slice) -> np.ndarray:
        """Return the coordinates (y, x) in px on the first slice of each object mode, 0 elsewhere (2, voxels)."""
        (_, slices, height, width), at = self.shape, self.at[part]
        on_first = at // (height * width) % slices == 0
        y, x = at // width % height - (height - 1) / 2, at % width - (width - 1) / 2
        return np.asarray(np.stack([y, x]) * on_first)

    def sketch(self, tensor: Array) -> Sketch:
        """Sketch a tensor: 1 - amplitude or phase (omode, slice, y, x), intensity (y, x) or positions (N, 2)."""
        return sketches([(self, tensor)])[0]

    def _numbers(self, tensor: Array) -> list[Array]:
        """Return, where a tensor is, its values and gradients at these places; of a probe also the sum of all."""
        xp, (at, apart) = namespace(tensor), self._there(tensor)
        tensor = in_single(tensor)
        if self.name == "probe_pos_shifts":
            return [xp.take(tensor, at, axis=0)]
        found = xp.reshape(xp.take(xp.reshape(tensor, (-1,)), at), (5, -1))
        gradients = (found[1::2, :] - found[2::2, :]) / apart
        numbers = xp.concat([found[:1, :], gradients])
        return [numbers, total(tensor)] if self.name == "probe" else [numbers]

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
            neighbours = [] if self.name == "probe_pos_shifts" else [self._along(axis) for axis in (-2, -1)]
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
def sketches(tensors: Sequence[tuple[Places, Array]]) -> list[Sketch]:
    """Sketch tensors, each at its places; a GPU is waited for once."""
    of_each = [places._numbers(tensor) for places, tensor in tensors]
    there, found = iter(together_on_host([numbers for numbers_of_one in of_each for numbers in numbers_of_one])), []
    for (places, _), numbers_of_one in zip(tensors, of_each, strict=True):
        numbers, *sums = (next(there) for _ in numbers_of_one)
        numbers = numbers.astype(np.float32)
        if places.name == "probe_pos_shifts":
            found.append(Sketch(numbers, np.empty((2, 0), np.float32), 0.0))
        else:
            found.append(Sketch(numbers[0], numbers[1:], float(sums[0]) if sums else 0.0))
    return found


VOXELS = 1 << 12
"""Worked on at a time, so that all of it stays in the processor's cache."""


class Values(NamedTuple):
    """What is needed of an earlier snapshot: its float32 `values` as in a `Sketch`, and the `total` over all voxels."""

    values: np.ndarray
    total: float


class Distances(NamedTuple):
    """RMS distances from earlier snapshots: in rad, in Å, or dimensionless.

    Of a probe, raw ones are in the units of its intensity, aligned ones in mean intensities, each in its own.
    """

    raw: list[float]
    aligned: list[float]


@np.errstate(all="ignore")  # a distance from what is not finite is a NaN that tells, not an accident
def distances(places: Places, later: Sketch, earlier: Sequence[Values], dx: float) -> Distances:
    """Return the RMS distances of a snapshot from earlier ones; `dx` in Å per px.

    The aligned ones are NaN where there is too little to align.
    """
    if not earlier:
        return Distances([], [])
    found = _distances(places, later, earlier, dx)
    return found._replace(aligned=[math.nan] * len(earlier)) if too_few_to_align(places.name, places.shape) else found


def _distances(places: Places, later: Sketch, earlier: Sequence[Values], dx: float) -> Distances:
    if places.name == "probe_pos_shifts":
        moved = dx * (later.values.astype(np.float64) - np.array([one.values for one in earlier], np.float64))
        raw, aligned = (_rms_displacement(d) for d in (moved, moved - moved.mean(1, keepdims=True)))
        return Distances(raw.tolist(), aligned.tolist())
    values = np.array([one.values for one in earlier])
    if places.name != "probe":
        squares, left = _squares(places, later, values, 1.0, np.ones(len(values)))
        return Distances(_rms(squares, places), _rms(left, places))
    scale, scales = _per_mean(later.total, places), np.array([_per_mean(one.total, places) for one in earlier])
    _, left = _squares(places, later, values, scale, scales)
    changes = later.values - values.astype(np.float64)
    return Distances(_rms(np.square(changes).sum(1), places), _rms(left, places))


def _per_mean(total: float, places: Places) -> float:
    """Return the factor that makes an intensity's mean 1; there is none (NaN) for a probe without intensity."""
    return places.all_voxels / total if total else math.nan


def _rms_displacement(moved: Array) -> Array:
    return np.asarray(np.sqrt(np.square(moved).sum(-1).mean(-1)))


def _rms(squares: Array, places: Places) -> list[float]:
    found: list[float] = np.sqrt(squares / len(places.at)).tolist()
    return found


def _squares(places: Places, later: Sketch, earlier: np.ndarray, scale: float, scales: Array) -> tuple[Array, Array]:
    """Return the sums over the voxels of the squared differences (J), and what the later one's fields leave of them.

    `earlier` (J, voxels); `scale` and `scales` (J) are what values and gradients are multiplied by first.
    """
    planes = int(np.prod(places.shape[:-2], dtype=int))
    fields_of_plane = 5 if places.name == "objp" else 3
    of_fields = np.zeros((planes, fields_of_plane, fields_of_plane))
    with_changes = np.zeros((planes, fields_of_plane, len(earlier)))
    squares = np.zeros(len(earlier))
    for plane, part in _pieces(places):
        changes = scale * later.values[part].astype(np.float64) - scales[:, None] * earlier[:, part]
        fields = _fields(places, later, part, scale)
        squares += np.einsum("jv,jv->j", changes, changes)
        of_fields[plane] += fields @ fields.T
        with_changes[plane] += fields @ changes.T
    ties = equal_sums(*places.shape[:2]) if places.name == "obja" else None
    explained = fit_planes(of_fields, with_changes, ties)[2]
    return squares, np.maximum(squares - explained, 0) * (squares > 0)


def _fields(places: Places, later: Sketch, part: slice, scale: float) -> Array:
    """Return the fields (field, voxels) on a part of the voxels, a plane's own field first."""
    values = later.values[part].astype(np.float64)
    own = {"objp": np.ones_like(values), "obja": 1 - values, "probe": np.zeros_like(values)}[places.name]
    fields = [own, *(scale * later.gradients[axis, part].astype(np.float64) for axis in (0, 1))]
    if places.name == "objp":
        fields += list(places.ramps(part))
    return np.stack(fields)


def _pieces(places: Places) -> Iterator[tuple[int, slice]]:
    """Cut the sketched voxels into parts of a single plane each."""
    height, width = places.shape[-2:]
    plane_of = places.at // (height * width)
    ends = np.searchsorted(plane_of, np.arange(plane_of[-1] + 1), side="right").tolist()
    for plane, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
        for start in range(first, end, VOXELS):
            yield plane, slice(start, min(start + VOXELS, end))
