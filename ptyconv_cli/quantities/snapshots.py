"""Snapshots over all quantities: taken of a live model or of what was read, compared, and measured.

With less memory where there is too little of it: in the end on the CPU.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from ptyconv_cli.metrics import snapshot
from ptyconv_cli.metrics.arrays import Array, device_of, is_numpy, on_host, together_on_host, total
from ptyconv_cli.metrics.device import give_back, is_out_of_memory, to_device
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.snapshot import Model, Pair, Snapshot, there
from ptyconv_cli.quantities import of_object, quantity_of
from ptyconv_cli.results.frame import Undone
from ptyconv_cli.results.run_analysis import Change, Region

SMALL_PIECES = 1 << 16
"""Voxels worked on at a time where memory is short."""

Result = TypeVar("Result")


def snapshot_of(arrays: Mapping[str, Array], dx: float, device: str = "cpu") -> Snapshot:
    """Make a snapshot on a device of tensors as they are in files, whose memory it may use.

    By the quantities' keys; the object is already cropped.
    """
    some = {name: array for name, array in arrays.items() if not quantity_of(name).on_host}
    there = dict(arrays) | to_device(some, device)
    return Snapshot({name: quantity_of(name).prepared(array) for name, array in there.items()}, dx)


def take_tensor(model: Model, name: str, region: Region, device: str | None = None) -> Array:
    """Copy a tracked tensor of a live model, which is only read, as in `Snapshot.values`.

    A copy, not a view: an engine updates its tensors in place, and a view would be compared with itself. It is kept on
    `device`, by default that of the model's tensor; what is little, on the host. Raises ValueError where the model
    lacks the tensor, the region holds no voxel, or too many for a GPU.
    """
    quantity = quantity_of(name)
    held = quantity.of_model(model)
    if problem := quantity.problem(held):
        raise ValueError(f"{name}: {problem}")
    tensor = held.detach()
    if quantity.is_object:
        voxels = math.prod(region.shape_in(tensor.shape))  # raises the ValueError
        if voxels > snapshot.MOST_VOXELS and "cpu" not in (device, tensor.device.type):
            raise ValueError(f'{name}: {voxels:,} voxels are too many for a GPU; set snapshot_device to "cpu"')
        tensor = tensor[region.slices]
    return quantity.copied(there(tensor, "cpu" if quantity.on_host else device))


def changes(
    current: Snapshot, previous: Snapshot, percentile_range: tuple[float, float], aligned: bool
) -> dict[str, Change]:
    """Return the change since `previous` of every tracked series, by key."""
    found: dict[str, Change] = {}
    for name in current.values:
        found |= tensor_changes(name, current, previous, percentile_range, aligned)
    return found


def tensor_changes(
    name: str,
    current: Snapshot,
    previous: Snapshot,
    percentile_range: tuple[float, float],
    aligned: bool,
    chunk: int | None = None,
) -> dict[str, Change]:
    """Return the changes since `previous` of the series of one tensor; see `Quantity.changes`."""
    pair = Pair(current.values[name], previous.values[name], current.dx, percentile_range, chunk=chunk)
    if aligned:
        both = framed(name, current), framed(name, previous)
        undone = Undone()
        if current.in_frame and previous.in_frame:
            undone = current.in_frame.frame.since(previous.in_frame.frame)
        pair = pair._replace(in_frame=both, undone=undone)
    return quantity_of(name).changes(pair)


def framed(name: str, snapshot: Snapshot) -> Any:
    """Return what is aligned of a tensor: as it is in the frame of the run, see `Quantity.framed`."""
    in_frame = snapshot.in_frame
    there = in_frame.tensors.get(name) if in_frame else None
    return quantity_of(name).framed(snapshot.values[name], there, in_frame.lit if in_frame else None)


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def contrasts(tensors: Mapping[str, Any]) -> dict[str, float]:
    """Return what changes of tensors, as of `framed`, are measured by, by key; of positions nothing is.

    A GPU is waited for once.

    Of the object that of its complex transmission, the same for phase and amplitude: √(Cp² + Ca²), in rad. NaN where a
    value is not finite. Formulas: docs/verdict.md.
    """
    of_each = {name: quantity_of(name).moments(tensor) for name, tensor in tensors.items()}
    moments = iter(together_on_host([moment for of_one in of_each.values() for moment in of_one]))
    found = {}
    for name, of_one in of_each.items():
        if of_one:
            found[name] = quantity_of(name).contrast_of(tensors[name], [float(next(moments)) for _ in of_one])
    parts = [name for name in of_object() if name in found]
    return found | dict.fromkeys(parts, math.hypot(*(found[name] for name in parts)))


def totals(values: Mapping[str, Array]) -> dict[str, float]:
    """Return the total of each intensity in a snapshot's values, by key."""
    return {name: float(total(tensor)) for name, tensor in values.items() if quantity_of(name).has_total}


def taken(model: Model, name: str, region: Region, device: str | None) -> Array:
    """Copy a tensor as `take_tensor` does; to the host where the device has no room for it."""

    def take(on: str | None) -> Callable[[], Array]:
        return lambda: take_tensor(model, name, region, on)

    return with_less([take(device), take(device), take("cpu")])


def compared(
    name: str, current: Snapshot, previous: Snapshot, percentile_range: tuple[float, float], aligned: bool
) -> dict[str, Change]:
    """Return the changes of a tensor as `tensor_changes` does, on the device of `current`, or else on the CPU.

    Raises ValueError where the shape has changed.
    """
    now, before = current.values[name], previous.values[name]
    if now.shape != before.shape:
        raise ValueError(f"its shape changed from {tuple(before.shape)} to {tuple(now.shape)}")

    def compare(chunk: int | None, there: Callable[[Array], Array]) -> Callable[[], dict[str, Change]]:
        def of_pair() -> dict[str, Change]:
            one, other = (_elsewhere(name, snapshot, there) for snapshot in (current, previous))
            return tensor_changes(name, one, other, percentile_range, aligned, chunk)

        return of_pair

    beside = _beside(now)
    return with_less([compare(None, beside), compare(SMALL_PIECES, beside), compare(None, on_host)])


def framed_beside(name: str, snapshot: Snapshot, now: Array) -> Any:
    """Return what `framed` does, where the array `now` is: for want of memory that may be elsewhere."""
    return framed(name, _elsewhere(name, snapshot, _beside(now)))


def _beside(now: Array) -> Callable[[Array], Array]:
    """Return what brings an array to where the present one is: for want of memory it may have been kept on the host."""

    def beside(array: Array) -> Array:
        if is_numpy(now):
            return on_host(array)
        return to_device({"": array}, str(device_of(now)))[""] if is_numpy(array) else array.to(device_of(now))

    return beside


def _elsewhere(name: str, snapshot: Snapshot, there: Callable[[Array], Array]) -> Snapshot:
    """Return a tensor of a snapshot elsewhere; itself, where it is there."""
    values, in_frame = {name: there(snapshot.values[name])}, snapshot.in_frame
    if in_frame and name in in_frame.tensors:
        one = in_frame.tensors[name]
        if not isinstance(one, Framed):
            found = there(one)
        else:
            moved = values[name] if one.values is snapshot.values[name] else there(one.values)
            found = one if moved is one.values else Framed(one.own, moved, one.lit)
        in_frame = in_frame._replace(tensors={name: found})
    return Snapshot(values, snapshot.dx, in_frame)


def with_less(ways: list[Callable[[], Result]]) -> Result:
    """Return the result of the first way for which memory suffices; raises what the last one raises."""
    *others, last = ways
    for way in others:
        try:
            return way()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        give_back()
    return last()
