"""Snapshots: the tracked tensors of a model at one iteration, live or from a checkpoint. No files here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ptyconv_cli.metrics.arrays import Array, in_single, is_numpy, magnitude, namespace
from ptyconv_cli.results.region import Region
from ptyconv_cli.results.series import OF_OBJECT

MOST_VOXELS = (1 << 31) - 1
"""Of one tensor on a GPU: some of torch's operations count with 32 bits."""

if TYPE_CHECKING:
    from torch import Tensor


class Model(Protocol):
    """What a snapshot needs of a live model.

    `optimizable_tensors`: by name, `obja` and `objp` float (omode, slice, y, x), `objp` in rad, and
    `probe_pos_shifts` float (N, 2) in px, y first.
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
    """Copies of the tracked tensors, by name, and the pixel size `dx` in Å.

    On a CPU they are numpy's, on a GPU torch's, but for positions, which are few and stay on the host.

    `obja`: 1 - amplitude and `objp`: phase in rad, both (omode, slice, y, x) of the scanned region; `probe`: intensity
    summed over the modes (y, x); `probe_pos_shifts`: (N, 2) px.
    """

    values: dict[str, Array]
    dx: float


def take_tensor(model: Model, name: str, region: Region, device: str | None = None) -> Array:
    """Copy a tracked tensor of a live model, which is only read, as in `Snapshot.values`.

    A copy, not a view: an engine updates its tensors in place, and a view would be compared with itself. It is kept on
    `device`, by default that of the model's tensor; positions, which are few, on the host. Raises ValueError where the
    model lacks the tensor, the region holds no voxel, or too many for a GPU.
    """
    if name == "probe":
        return intensity(_there(model.get_complex_probe_view(), device))
    if name not in model.optimizable_tensors:
        raise ValueError(f"the model has no tensor {name}; it has {', '.join(model.optimizable_tensors)}")
    tensor = model.optimizable_tensors[name].detach()
    if name in OF_OBJECT:
        voxels = math.prod(region.shape_in(tensor.shape))  # raises the ValueError
        if voxels > MOST_VOXELS and "cpu" not in (device, tensor.device.type):
            raise ValueError(f'{name}: {voxels:,} voxels are too many for a GPU; set snapshot_device to "cpu"')
        return _copied(name, _there(tensor[region.slices], device))
    return _copied(name, _there(tensor, "cpu"))


def snapshot_of(arrays: Mapping[str, Array], dx: float) -> Snapshot:
    """Make a snapshot of tensors as in a model, whose memory it reuses; the object is already cropped."""
    found = dict(arrays)
    if "obja" in found:
        for plane in found["obja"].reshape(-1, *found["obja"].shape[-2:]):  # one at a time stays in the cache
            plane *= -1
            plane += 1
    if "probe" in found:
        found["probe"] = intensity(found["probe"])
    return Snapshot(found, dx)


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def intensity(probe: Array) -> Array:
    """Return the intensity (y, x) of a complex probe (mode, y, x), in the engine's rounding.

    |psi| is rounded to float32 before it is squared. Re² + Im² would differ from the recorded values by up to 7e-4 of
    them where a probe hardly changes.
    """
    modes = magnitude(probe)
    modes *= modes
    return namespace(modes).sum(modes, axis=0)


def _there(tensor: "Tensor", device: str | None) -> Array:
    """Return a model's tensor on a device, by default its own; on a CPU as numpy's array, of the same memory there."""
    tensor = tensor.detach()
    if device == "cpu" and tensor.device.type != "cpu" and not tensor.is_contiguous() and tensor.ndim > 2:
        planes = list(np.ndindex(*tensor.shape[:-2]))  # of the whole, a copy would first be made on the device
        first = _there(tensor[planes[0]], device)
        found = np.empty(tuple(tensor.shape), first.dtype)
        for plane in planes:
            found[plane] = _there(tensor[plane], device)
        return found
    tensor = tensor.to(device or tensor.device)
    tensor = in_single(tensor) if tensor.is_floating_point() else tensor  # numpy has no bfloat16
    return tensor.resolve_conj().resolve_neg().numpy() if tensor.device.type == "cpu" else tensor


def _copied(name: str, array: Array) -> Array:
    """Return a copy without gaps: of the transmission's amplitude 1 - amplitude."""
    if name == "obja":
        return np.ascontiguousarray(1 - array) if is_numpy(array) else (1 - array).contiguous()
    if is_numpy(array):
        return np.array(array, order="C")
    return array.clone() if array.is_contiguous() else array.contiguous()
