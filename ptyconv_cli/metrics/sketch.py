"""Sketches of snapshots: values and gradients at a fixed random subset of the voxels, for the trajectory."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ptyconv_cli.metrics.arrays import Array, device_of, in_single, namespace, together_on_host, total

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
