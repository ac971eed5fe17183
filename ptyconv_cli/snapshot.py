"""What is kept of a model at one iteration. Nothing here knows about files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ptyconv_cli.region import Region


class Model(Protocol):
    """What is read of a model, live or in a checkpoint.

    `optimizable_tensors`: by name, `obja` and `objp` float (omode, slice, y, x), `objp` in rad, and
    `probe_pos_shifts` float (N, 2) in px, y first: tensors, or what has their `shape`, `device` and
    `new_empty` and a method `read_into(target, index)` that fills a tensor with what the index selects.
    `crop_pos`: int (N, 2), top-left corner [y, x] of every probe window in object pixels. `dx`: pixel size in Å.
    """

    @property
    def optimizable_tensors(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def crop_pos(self) -> Tensor: ...  # noqa: D102
    @property
    def dx(self) -> Any: ...  # noqa: D102

    def get_complex_probe_view(self) -> Tensor:
        """Return the probe, complex (pmode, y, x)."""


@dataclass(frozen=True)
class Snapshot:
    """Copies of the tracked tensors, by name, on the model's device, and the pixel size `dx` in Å.

    `obja`: 1 - amplitude and `objp`: phase in rad, both (omode, slice, y, x) of the scanned region; `probe`: intensity
    summed over the modes (y, x); `probe_pos_shifts`: (N, 2) px.
    """

    values: dict[str, Tensor]
    dx: float


def take_snapshot(
    model: Model,
    tensors: tuple[str, ...],
    region: Region,
    device: torch.device | None = None,
    into: Snapshot | None = None,
) -> Snapshot:
    """Copy what is tracked out of the model, which is left as it is.

    Copies, not views: an engine updates its tensors in place, and a view would be compared with itself. They are kept
    on `device`, by default where the model has its tensors. `into`: a snapshot of the same model that nobody needs any
    more; its memory is used again. Raises ValueError where the model lacks a tensor or the region holds no voxel.
    """
    values = {name: _copy(model, name, region, device, None if into is None else into.values[name]) for name in tensors}
    return Snapshot(values, float(model.dx))


def _copy(model: Model, name: str, region: Region, device: torch.device | None, target: Tensor | None) -> Tensor:
    if name == "probe":
        # Engine's rounding: |psi| is rounded to float32 before it is squared. Re^2 + Im^2 would differ from the
        # recorded values by up to 7e-4 of them where a probe hardly changes.
        intensity: Tensor = model.get_complex_probe_view().abs().square().sum(0)
        return intensity if device is None else intensity.to(device)
    if name not in model.optimizable_tensors:
        raise ValueError(f"the model has no tensor {name}; it has {', '.join(model.optimizable_tensors)}")
    source = model.optimizable_tensors[name]
    of_object = name != "probe_pos_shifts"
    index, shape = (region.slices, region.shape_in(source.shape)) if of_object else (..., tuple(source.shape))
    if 0 in shape:
        raise ValueError(
            f"the scanned region ({region}) holds no voxel of {name}, whose shape is {tuple(source.shape)}"
        )
    if target is None:
        target = source.new_empty(shape, device=device or source.device)
    if isinstance(source, Tensor):
        target.copy_(source[index])
    else:
        source.read_into(target, index)
    return torch.sub(target.new_ones(()), target, out=target) if name == "obja" else target
