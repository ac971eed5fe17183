"""Snapshots: the tracked tensors of a model at one iteration, live or from a checkpoint. No files here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ptyconv_cli.metrics.arrays import Array, in_single, is_numpy, magnitude, namespace
from ptyconv_cli.results.frame import Undone

MOST_VOXELS = (1 << 31) - 1
"""Of one tensor on a GPU: some of torch's operations count with 32 bits."""

if TYPE_CHECKING:
    from torch import Tensor

    from ptyconv_cli.metrics.registration import InFrame


class Model(Protocol):
    """What a snapshot needs of a live model.

    `optimizable_tensors`: by the quantities' keys, as PtyRAD has them: object amplitude and phase in rad float (omode,
    slice, y, x), scan positions float (N, 2) in px, y first.
    `crop_pos`: int (N, 2), top-left corner [y, x] of every probe window in object pixels. `dx`: pixel size in Å.
    """

    @property
    def optimizable_tensors(self) -> "Mapping[str, Tensor]": ...  # noqa: D102
    @property
    def crop_pos(self) -> "Tensor": ...  # noqa: D102
    @property
    def dx(self) -> Any: ...  # noqa: D102

    def get_complex_probe_view(self) -> "Tensor":
        """Return the probe, complex (pmode, y, x)."""


@dataclass(frozen=True)
class Snapshot:
    """What is compared of the tracked tensors, by the quantities' keys, and the pixel size `dx` in Å.

    On a CPU they are numpy's, on a GPU torch's, but for what is so little that it stays on the host. Of the object only
    the scanned region: `obja` is 1 - amplitude and `objp` the phase in rad, both (omode, slice, y, x). `probe` is the
    intensity summed over the modes (y, x). `in_frame`: the same in the frame of the run, None where nothing is aligned.
    """

    values: dict[str, Array]
    dx: float
    in_frame: "InFrame | None" = None


class Pair(NamedTuple):
    """Two snapshots of a tensor, `before` and `now`, and how they are to be compared.

    `in_frame`: the same two in the frame of the run, `metrics.framed.Framed` of an object, None where the aligned
    change is not asked for; `undone`: what lies between their frames. `dx` in Å per px; about `chunk` voxels of an
    object are worked on at a time.
    """

    now: Array
    before: Array
    dx: float
    percentile_range: tuple[float, float]
    in_frame: tuple[Any, Any] | None = None
    undone: Undone = Undone()
    chunk: int | None = None


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def intensity(probe: Array) -> Array:
    """Return the intensity (y, x) of a complex probe (mode, y, x), in the engine's rounding.

    |psi| is rounded to float32 before it is squared. Re² + Im² would differ from the recorded values by up to 7e-4 of
    them where a probe hardly changes.
    """
    modes = magnitude(probe)
    modes *= modes
    return namespace(modes).sum(modes, axis=0)


def there(tensor: "Tensor", device: str | None) -> Array:
    """Return a model's tensor on a device, by default its own; on a CPU as numpy's array, of the same memory there."""
    tensor = tensor.detach()
    if device == "cpu" and tensor.device.type != "cpu" and not tensor.is_contiguous() and tensor.ndim > 2:
        planes = list(np.ndindex(*tensor.shape[:-2]))  # of the whole, a copy would first be made on the device
        first = there(tensor[planes[0]], device)
        found = np.empty(tuple(tensor.shape), first.dtype)
        for plane in planes:
            found[plane] = there(tensor[plane], device)
        return found
    tensor = tensor.to(device or tensor.device)
    tensor = in_single(tensor) if tensor.is_floating_point() else tensor  # numpy has no bfloat16
    return tensor.resolve_conj().resolve_neg().numpy() if tensor.device.type == "cpu" else tensor


def copied(array: Array) -> Array:
    """Return a copy without gaps."""
    if is_numpy(array):
        return np.array(array, order="C")
    return array.clone() if array.is_contiguous() else array.contiguous()


def without_gaps(array: Array) -> Array:
    """Return an array without gaps, itself where it has none."""
    return np.ascontiguousarray(array) if is_numpy(array) else array.contiguous()


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def unwrap(phase: Array, before: Array | None) -> Array:
    """Add full turns to a phase in rad, in place, so that it differs by half a turn at most from `before`, the one
    before it.

    The difference is then the angle of current × conj(previous), and accumulates from snapshot to snapshot. The first
    snapshot, with none before it, is unwrapped around its circular mean.

    Returns the phase to unwrap the next snapshot with: this one, but where it is NaN the one before.
    """
    xp = namespace(phase)
    middle = _circular_mean(phase) if before is None else before
    phase -= middle
    phase += math.pi
    phase %= 2 * math.pi
    phase -= math.pi
    phase += middle
    broken = xp.isnan(phase)
    return xp.where(broken, middle, phase) if xp.any(broken) else phase


def _circular_mean(phase: Array) -> Array:
    xp = namespace(phase)
    sine, cosine = (xp.sum(xp.where(xp.isnan(part), 0, part)) for part in (xp.sin(phase), xp.cos(phase)))
    return xp.atan2(sine, cosine)


def continuous(phase: np.ndarray) -> np.ndarray:
    """Return a phase (y, x) in rad with full turns added so that neighbours differ by half a turn at most.

    Where that cannot be so everywhere, as around a phase vortex, by as little as least squares allow: Ghiglia & Romero,
    J. Opt. Soc. Am. A 11, 107 (1994), without weights. The ramp is taken away first, so that most phases are not
    wrapped any more. NaN and infinity are left as they are.
    """
    if not np.isfinite(phase).all():
        return phase
    phase = np.asarray(phase, dtype=np.float64)
    wave = np.exp(1j * phase)
    slopes = [float(np.angle(_steps(wave, axis).sum())) for axis in (0, 1)]
    y, x = np.indices(phase.shape)
    ramp = slopes[0] * y + slopes[1] * x
    ramp += _circular_mean(phase - ramp)
    flat = wrapped(phase - ramp)
    if any(abs(np.diff(flat, axis=axis)).max(initial=0) > math.pi for axis in (0, 1)):
        smooth = _integrated(*(wrapped(np.diff(flat, axis=axis)) for axis in (0, 1)))
        flat = smooth + wrapped(flat - smooth)
    return np.asarray(ramp + flat)


def _steps(wave: np.ndarray, axis: int) -> np.ndarray:
    """Return the steps of a wave's phase from each pixel to the next along an axis, as complex numbers."""
    before, after = (np.delete(wave, end, axis) for end in (-1, 0))
    return np.asarray(after * before.conj())


def wrapped(phase: np.ndarray) -> np.ndarray:
    """Return a phase in rad between -π and π."""
    return np.asarray((phase + math.pi) % (2 * math.pi) - math.pi)


def _integrated(down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the values (y, x) whose steps `down` (y - 1, x) and `right` (y, x - 1) are nearest to these.

    Poisson's equation, on mirror images of the values, which make them periodic.
    """
    height, width = right.shape[0], down.shape[1]
    divergence = np.diff(np.pad(down, ((1, 1), (0, 0))), axis=0) + np.diff(np.pad(right, ((0, 0), (1, 1))), axis=1)
    mirrored = np.pad(divergence, ((0, height), (0, width)), mode="symmetric")
    y, x = (2 * np.cos(2 * np.pi * of_axis) for of_axis in (np.fft.fftfreq(2 * height), np.fft.rfftfreq(2 * width)))
    bend = y[:, None] + x - 4
    bend[0, 0] = 1  # the mean, which is free
    found: np.ndarray = np.fft.irfft2(np.fft.rfft2(mirrored) / bend, mirrored.shape)[:height, :width]
    return found
