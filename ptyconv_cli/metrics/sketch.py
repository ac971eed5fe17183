"""Sketches of snapshots: values and gradients at a fixed random subset of the voxels, for the trajectory."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ptyconv_cli.metrics.device import precise

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
    """The voxels (or positions) at which tensors of one shape are sketched: `at`, their flat indices in order."""

    def __init__(self, name: str, shape: tuple[int, ...], device: torch.device | str = "cpu") -> None:
        self.name, self.shape = name, shape
        count = shape[0] if name == "probe_pos_shifts" else int(np.prod(shape))
        # Its own generator: the same places every time, and the caller's random state is untouched.
        kept = np.random.default_rng(0).choice(count, min(count, MOST), replace=False, shuffle=False)
        self.at = np.sort(kept)
        self.all_voxels = count
        self._at = torch.from_numpy(self.at).to(device)
        self._neighbours = [] if name == "probe_pos_shifts" else [self._along(axis) for axis in (-2, -1)]

    def _along(self, axis: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next and the previous voxels along an axis, up to its ends, and how far apart they are."""
        step = self.shape[-1] if axis == -2 else 1
        place = self._at // step % self.shape[axis]
        has_next, has_one_before = place < self.shape[axis] - 1, place > 0
        apart = (has_next.long() + has_one_before).clamp(min=1)
        return self._at + step * has_next, self._at - step * has_one_before, apart

    def ramps(self, part: slice) -> np.ndarray:
        """Return the coordinates (y, x) in px on the first slice of each object mode, 0 elsewhere (2, voxels)."""
        (_, slices, height, width), at = self.shape, self.at[part]
        on_first = at // (height * width) % slices == 0
        y, x = at // width % height - (height - 1) / 2, at % width - (width - 1) / 2
        return np.asarray(np.stack([y, x]) * on_first)

    def sketch(self, tensor: Tensor) -> Sketch:
        """Sketch a tensor: 1 - amplitude or phase (omode, slice, y, x), intensity (y, x) or positions (N, 2)."""
        if not self._neighbours:
            return Sketch(tensor[self._at].float().cpu().numpy(), np.empty((2, 0), np.float32), 0.0)
        voxels = tensor.reshape(-1)
        rows = [voxels[self._at]]
        rows += [(voxels[following] - voxels[before]) / apart for following, before, apart in self._neighbours]
        numbers = torch.stack(rows).float().cpu().numpy()
        total = float(tensor.sum(dtype=precise(tensor.device))) if self.name == "probe" else 0.0
        return Sketch(numbers[0], numbers[1:], total)
