"""Measures a live model with less memory where there is too little of it: in the end on the CPU."""

from collections.abc import Callable
from typing import TypeVar

from ptyconv_cli.metrics.arrays import Array, device_of, is_numpy, on_host
from ptyconv_cli.metrics.change import tensor_changes
from ptyconv_cli.metrics.device import give_back, is_out_of_memory, to_device
from ptyconv_cli.metrics.snapshot import Model, Snapshot, take_tensor
from ptyconv_cli.results.region import Region
from ptyconv_cli.results.run_analysis import Change

SMALL_PIECES = 1 << 16
"""Voxels worked on at a time where memory is short."""

Result = TypeVar("Result")


def taken(model: Model, name: str, region: Region, device: str | None) -> Array:
    """Copy a tensor as `take_tensor` does; to the host where the device has no room for it."""

    def take(on: str | None) -> Callable[[], Array]:
        return lambda: take_tensor(model, name, region, on)

    return with_less([take(device), take(device), take("cpu")])


def compared(
    name: str, now: Array, before: Array, dx: float, percentile_range: tuple[float, float], aligned: bool
) -> dict[str, Change]:
    """Return the changes of a tensor as `tensor_changes` does, on the device of `now`, or else on the CPU.

    Raises ValueError where the shape has changed.
    """
    if now.shape != before.shape:
        raise ValueError(f"its shape changed from {tuple(before.shape)} to {tuple(now.shape)}")

    def compare(chunk: int | None, on_cpu: bool) -> Callable[[], dict[str, Change]]:
        def changes() -> dict[str, Change]:
            pair = (on_host(now), on_host(before)) if on_cpu else (now, _beside(name, now, before))
            current, previous = (Snapshot({name: values}, dx) for values in pair)
            return tensor_changes(name, current, previous, percentile_range, aligned, chunk)

        return changes

    return with_less([compare(None, False), compare(SMALL_PIECES, False), compare(None, True)])


def _beside(name: str, now: Array, before: Array) -> Array:
    """Return an earlier tensor where the present one is: for want of memory it may have been kept on the host."""
    if is_numpy(now):
        return on_host(before)
    there = device_of(now)
    return to_device({name: before}, str(there))[name] if is_numpy(before) else before.to(there)


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
