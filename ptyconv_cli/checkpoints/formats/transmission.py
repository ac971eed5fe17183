"""What readers share whose object is a complex transmission, or a real potential; and views of parts of datasets."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from types import EllipsisType
from typing import Any

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.checkpoints.formats.tree import MOST_NUMBERS
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results.run_analysis import Region

SQUARE = 1e-6
"""Largest relative difference of its sides for which a pixel counts as square."""

MOST_MODES = 1000
"""Position-dependent modes of a probe."""

ANGSTROM = 1e10
"""In a metre."""

AMPLITUDE, POSITIONS = "obja", "probe_pos_shifts"
"""The keys of the quantities that readers say something of."""

REAL_OBJECT = {AMPLITUDE: "the object is a phase alone, and has no amplitude"}
"""What a checkpoint with such an object is `lacking`."""


class View:
    """A part of a stack of arrays, or an array with its last two axes swapped; nothing is read before it is indexed.

    `place`: the indices of the first axes, `slice(None)` for one that is kept; `swapped`: whether the stack has
    (…, x, y), as MATLAB's files have it.
    """

    def __init__(self, stack: Any, place: Sequence[int | slice] = (), swapped: bool = False) -> None:
        self._stack, self._place, self._swapped = stack, tuple(place), swapped
        kept = [size for size, index in zip(stack.shape, self._place, strict=False) if isinstance(index, slice)]
        shape = (*kept, *stack.shape[len(self._place) :])
        self.shape = (*shape[:-2], *shape[:-3:-1]) if swapped else shape
        self.dtype = stack.dtype

    def __getitem__(self, index: tuple[Any, ...] | EllipsisType) -> np.ndarray:
        """Read what an index selects, which is `...`, or `...` and slices of the last two axes."""
        slices = () if index is ... else index[1:]
        part = np.asarray(self._stack[(*self._place, ..., *(slices[::-1] if self._swapped else slices))])
        return np.swapaxes(part, -1, -2) if self._swapped else part


class Centred:
    """A probe whose middle is stored in its corner, as of an FFT; it is put right when it is read, as a whole."""

    def __init__(self, stored: Any) -> None:
        self._stored = stored
        self.shape, self.dtype = tuple(stored.shape), stored.dtype

    def __getitem__(self, index: EllipsisType) -> np.ndarray:
        """Read all of it."""
        return np.fft.fftshift(np.asarray(self._stored[index]), (-2, -1))


class MeanProbe:
    """A probe (mode, y, x) whose first mode is the sum of `varying` ones (y, x) with the means of `weights` (N, mode).

    The others are those of `first`.
    """

    def __init__(self, first: Any, varying: Sequence[Any], weights: Any) -> None:
        self._first, self._varying, self._weights = first, varying, weights
        self.shape, self.dtype = tuple(first.shape), np.dtype(np.complex128)

    def __getitem__(self, index: EllipsisType) -> np.ndarray:
        """Read all of it."""
        probe = np.array(self._first[index], np.complex128)
        means = np.asarray(self._weights[...], np.float64).mean(0)
        probe[0] = sum(weight * mode[...] for weight, mode in zip(means, self._varying, strict=True))
        return probe


class TransmissionCheckpoint(Checkpoint):
    """A checkpoint with a complex transmission, whose absolute value is the amplitude and whose angle is the phase.

    A reader sets the attributes of `Checkpoint`, and defines `object_data`, `probe_data`, `crop_pos` and, where scan
    positions are refined, `shifts`; where the probe depends on the position, `weights`. A real object is a phase in
    rad: `phase_wraps` is False then, and `lacking` says that there is no amplitude. Numbers are computed in float64.

    `modes_first`: whether the object is (omode, y, x) rather than (slice, y, x).
    """

    precision = np.float64
    phase_wraps = True
    windows_may_exceed = True
    stores_fixed_positions = True
    modes_first = False

    def object_data(self) -> Any:
        """Return the object, complex or real, (slice, y, x), (omode, y, x) or (y, x), indexed only when it is read."""
        raise NotImplementedError

    def probe_data(self) -> Any:
        """Return the probe, complex (mode, y, x) or (y, x), indexed only when it is read."""
        raise NotImplementedError

    def shifts(self) -> np.ndarray | None:
        """Return scan positions as `Checkpoint.tensor` has them, None where there is no series of them."""
        return None

    def weights(self) -> Any:
        """Return the weights (N, mode) of position-dependent probe modes, indexed only when they are read.

        None where there are none, as of a single mode.
        """
        return None

    def mean_probe(self, modes: Any) -> Any:
        """Return the probe (mode, y, x) of position-dependent modes (OPR mode, mode, y, x): its mean over positions.

        Those but the first are modes of the first incoherent mode alone, as pty-chi has it. Without weights that fit,
        which is a remark, the first of them.
        """
        first, count = View(modes, [0]), modes.shape[0]
        if count > MOST_MODES:
            raise CheckpointError(f"{self.path}: probe: {count} position-dependent modes are more than any run has")
        if count == 1:
            return first
        with suppress(CheckpointError):
            weights = self.weights()
            if weights is not None and weights.shape[1] == count:
                return MeanProbe(first, [View(modes, [number, 0]) for number in range(count)], weights)
        remark = f"{self.path}: has no weights for its {count} position-dependent probe modes: the first is followed."
        self.remarks += [] if remark in self.remarks else [remark]
        return first

    def explained(self, what: str) -> AbstractContextManager[None]:
        """Turn what reading stumbles over into CheckpointError, which says `what` could not be read."""
        return nullcontext()

    def tensor(self, name: str) -> Any:
        """Return what is stored of a tensor: of the object the transmission."""
        if name in self.lacking:
            return None
        if quantity_of(name).is_object:
            return self.object_data()
        held = {"probe": self.probe_data, "probe_weights": self.weights, POSITIONS: self.shifts}
        return held[name]() if name in held else None

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor with all its axes."""
        shape = super().shape_of(name)
        axes = quantity_of(name).axes
        if shape is None or "y" not in axes:
            return shape
        if len(shape) == 2:
            shape = (1, *shape)
        if len(axes) == 3 or len(shape) != 3:
            return shape
        first, *rest = shape
        return (first, 1, *rest) if self.modes_first else (1, first, *rest)

    def read(self, name: str, region: Region, into: np.ndarray | None = None) -> np.ndarray:
        """Return a tensor, of the object only the region, in float64, the probe in complex128; `into` is filled."""
        stored, is_object = self.tensor(name), quantity_of(name).is_object
        with self.explained(name):
            part = np.asarray(stored[region.slices if is_object else ...])
        shape = self.shape_of(name) or ()
        if into is None:
            into = np.empty(region.shape_in(shape) if is_object else shape, self.kind_of(name))
        part = part.reshape(into.shape)
        if is_object and part.dtype.kind == "c":
            part = part.astype(np.complex128)
            part = np.abs(part) if name == AMPLITUDE else np.angle(part)
        into[...] = part
        return into

    def pixel_size(self, height: float, width: float) -> float:
        """Return the size of a pixel of the given height and width; where it is not square, that is a remark."""
        if not (0 < height < math.inf and 0 < width < math.inf):
            raise CheckpointError(f"{self.path}: the pixel size is {height:g} × {width:g} Å")
        mean = math.sqrt(height * width)
        if abs(height - width) > SQUARE * mean:
            self.remarks.append(
                f"The object's pixels are not square ({height:.6g} × {width:.6g} Å): its shift and ramp in Å use "
                "their geometric mean."
            )
        return mean

    def room(self) -> np.ndarray:
        """Return by how much the object is larger than the probe (y, x), in px."""
        shape = self.shape_of("objp") or (0, 0)
        return np.array(shape[-2:]) - self.probe_shape()

    def corners(self, positions: np.ndarray) -> np.ndarray:
        """Return the whole corners nearest to `positions` (N, 2) of corners in px; a half is rounded up.

        Where one is NaN or infinite, which the run's verdict will speak of, it is in the middle of the object. Raises
        CheckpointError where one is so far away that it can be no position.
        """
        positions = np.where(np.isfinite(positions), positions, self.room() / 2)
        if np.abs(positions).max(initial=0) > MOST_NUMBERS:
            raise CheckpointError(f"{self.path}: scan positions lie outside any object")
        return np.asarray(np.floor(positions + 0.5).astype(np.int64))

    def corners_of_shapes(self) -> np.ndarray:
        """Return the first and the last corner that the object has room for, where nothing is known of positions."""
        return np.stack([np.zeros(2, np.int64), np.maximum(self.room(), 0)])
