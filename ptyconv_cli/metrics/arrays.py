"""Arrays of numpy on a CPU, of torch on a GPU: the same lines of arithmetic serve both, by the array API standard.

The standard: https://data-apis.org/array-api. Nothing here loads torch; an array of it brings it along.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

Array = Any
"""An array of numpy or of torch; checkers of types know no common one."""


def namespace(array: Array) -> Any:
    """Return the functions of the standard for an array's library."""
    return array_namespace(array)


def device_of(array: Array) -> Any:
    """Return the device an array is on, as its library names it."""
    return device(array)


def is_numpy(array: Array) -> bool:
    """Say whether an array is one of numpy, and so on a CPU."""
    return isinstance(array, np.ndarray | np.generic)


def has_double(array: Array) -> bool:
    """Say whether an array's device has float64: Apple's GPUs have not, nor some of Intel's."""
    if is_numpy(array):
        return True
    kind = str(device(array)).partition(":")[0]
    return kind in ("cpu", "cuda") or (kind != "mps" and _can_sum_doubles(namespace(array), device(array)))


@lru_cache
def _can_sum_doubles(torch: Any, on: Any) -> bool:
    try:
        return float(torch.ones(2, dtype=torch.float64, device=on).sum()) == 2
    except (RuntimeError, TypeError):
        return False


def precise(array: Array) -> Any:
    """Return the type to sum an array in: float64 where its device has that."""
    xp = namespace(array)
    return xp.float64 if has_double(array) else xp.float32


def in_single(array: Array) -> Array:
    """Return half-precision numbers, which numpy handles slowly or not at all, in float32; others as they are."""
    if array.dtype.itemsize >= 4:
        return array
    return array.astype(np.float32) if is_numpy(array) else array.float()


def total(values: Array) -> Array:
    """Return the sum of an array, precisely, as one without axes.

    On a GPU in two steps, first over the last axis: torch makes a copy of what it is to sum in another type.
    """
    xp, dtype = namespace(values), precise(values)
    if not is_numpy(values) and values.ndim > 1:
        values = values.sum(-1)
    return xp.sum(values, dtype=dtype)


def square_of_change(now: Array, before: Array) -> float:
    """Return the sum of squares of the change between two arrays of one shape, a plane at a time: memory is short."""
    planes = (array.reshape(-1, *array.shape[-2:]) for array in (now, before))
    squares = []
    for one, other in zip(*planes, strict=True):
        change = one - other
        change *= change
        squares.append(total(change))
    return sum(numbers(squares))


def rms(values: Array) -> float:
    """Return the RMS of an array's numbers."""
    values = namespace(values).astype(values, precise(values))
    return math.sqrt(float(total(values * values)) / math.prod(values.shape))


def products(rows: Array) -> Array:
    """Return the products of rows (row, number) with each other, summed over the numbers (row, row).

    On a GPU without a product of matrices, for which an engine may have allowed less precise numbers.
    """
    if is_numpy(rows):
        return rows @ rows.T
    xp = namespace(rows)
    return xp.stack([(rows * row).sum(-1) for row in rows])


def numbers(scalars: Sequence[Array]) -> list[float]:
    """Return arrays without axes as numbers, together: a GPU is waited for once."""
    found: list[float] = namespace(scalars[0]).stack(list(scalars)).tolist()
    return found


def on_host(array: Array) -> np.ndarray:
    """Return an array as numpy's."""
    return np.asarray(array if is_numpy(array) else array.cpu().numpy())


def together_on_host(arrays: Sequence[Array]) -> list[np.ndarray]:
    """Return arrays as numpy's; those of a GPU in one copy, for which it is waited for once."""
    there = [array for array in arrays if not is_numpy(array)]
    if not there:
        return list(arrays)
    torch = namespace(there[0])
    as_bytes = [array.contiguous().reshape(-1).view(torch.uint8) for array in there]
    copied, start, found = on_host(torch.cat(as_bytes)), 0, []
    for array in arrays:
        if is_numpy(array):
            found.append(array)
            continue
        dtype = np.dtype(numpy_type(array))
        stop = start + array.numel() * dtype.itemsize
        found.append(np.frombuffer(copied[start:stop].tobytes(), dtype).reshape(tuple(array.shape)))
        start = stop
    return found


def numpy_type(array: Array) -> str:
    """Return numpy's name for the type of an array's numbers."""
    return str(array.dtype).removeprefix("torch.")


def magnitude(values: Array) -> Array:
    """Return |values| of complex numbers, rounded as torch rounds it: numpy's own abs is off by a bit at a third."""
    return np.hypot(values.real, values.imag) if is_numpy(values) else values.abs()


def all_finite(array: Array) -> bool:
    """Say whether no number is NaN or infinite."""
    xp = namespace(array)
    return bool(xp.all(xp.isfinite(array)))
