"""Snapshots: the tracked tensors of a model at one iteration, live or from a checkpoint. No files here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ptyconv_cli.results.region import Region
from ptyconv_cli.results.series import OF_OBJECT


class Model(Protocol):
    """What a snapshot needs of a live model.

    `optimizable_tensors`: by name, `obja` and `objp` float (omode, slice, y, x), `objp` in rad, and
    `probe_pos_shifts` float (N, 2) in px, y first.
    `crop_pos`: int (N, 2), top-left corner [y, x] of every probe window in object pixels. `dx`: pixel size in Å.
    """

    @property
    def optimizable_tensors(self) -> Mapping[str, Tensor]: ...  # noqa: D102
    @property
    def crop_pos(self) -> Tensor: ...  # noqa: D102
    @property
    def dx(self) -> Any: ...  # noqa: D102

    def get_complex_probe_view(self) -> Tensor:
        """Return the probe, complex (pmode, y, x)."""


@dataclass(frozen=True)
class Snapshot:
    """Copies of the tracked tensors, by name, and the pixel size `dx` in Å.

    `obja`: 1 - amplitude and `objp`: phase in rad, both (omode, slice, y, x) of the scanned region; `probe`: intensity
    summed over the modes (y, x); `probe_pos_shifts`: (N, 2) px.
    """

    values: dict[str, Tensor]
    dx: float


def take_snapshot(
    model: Model, tensors: tuple[str, ...], region: Region, device: torch.device | None = None
) -> Snapshot:
    """Copy the tracked tensors of a live model, which is only read.

    Copies, not views: an engine updates its tensors in place, and a view would be compared with itself. They are kept
    on `device`, by default that of the model's tensors. Raises ValueError where the model lacks a tensor or the region
    holds no voxel.
    """
    found = {}
    for name in tensors:
        if name == "probe":
            tensor = _tracked(name, model.get_complex_probe_view()).to(device=device)
        elif name in model.optimizable_tensors:
            tensor = model.optimizable_tensors[name]
            if name in OF_OBJECT:
                region.shape_in(tensor.shape)  # raises the ValueError
                tensor = tensor[region.slices]
            tensor = _tracked(name, tensor.to(device=device, copy=True, memory_format=torch.contiguous_format))
        else:
            raise ValueError(f"the model has no tensor {name}; it has {', '.join(model.optimizable_tensors)}")
        found[name] = tensor
    return Snapshot(found, float(model.dx))


def snapshot_of(tensors: Mapping[str, Tensor], dx: float) -> Snapshot:
    """Make a snapshot of tensors as in a model, whose memory it reuses; the object is already cropped."""
    return Snapshot({name: _tracked(name, tensor) for name, tensor in tensors.items()}, dx)


def _tracked(name: str, tensor: Tensor) -> Tensor:
    if name == "obja":
        return tensor.neg_().add_(1)  # 1 - amplitude, in place
    if name == "probe":
        # Engine's rounding: |psi| is rounded to float32 before it is squared. Re^2 + Im^2 would differ from the
        # recorded values by up to 7e-4 of them where a probe hardly changes.
        return tensor.abs().square().sum(0)
    return tensor
