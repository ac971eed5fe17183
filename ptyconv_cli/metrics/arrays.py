"""Arrays of numpy on a CPU, of torch on a GPU: the same lines of arithmetic serve both, by the array API standard.

The standard: https://data-apis.org/array-api. Nothing here loads torch; an array of it brings it along.
"""

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
    return isinstance(array, np.ndarray)


def precise(array: Array) -> Any:
    """Return the type to sum an array in: float64 where its device has that (Apple's GPUs have not)."""
    xp = namespace(array)
    return xp.float32 if str(device(array)).startswith("mps") else xp.float64


def in_single(array: Array) -> Array:
    """Return half-precision numbers, which numpy handles slowly or not at all, in float32; others as they are."""
    if array.dtype.itemsize >= 4:
        return array
    return array.astype(np.float32) if is_numpy(array) else array.float()


def numbers(scalars: list[Array]) -> list[float]:
    """Return arrays without axes as numbers, together: a GPU is waited for once."""
    found: list[float] = namespace(scalars[0]).stack(scalars).tolist()
    return found


def on_host(array: Array) -> np.ndarray:
    """Return an array as numpy's."""
    return np.asarray(array if is_numpy(array) else array.cpu().numpy())


def magnitude(values: Array) -> Array:
    """Return |values| of complex numbers, rounded as torch rounds it: numpy's own abs is off by a bit at a third."""
    return np.hypot(values.real, values.imag) if is_numpy(values) else values.abs()


def all_finite(array: Array) -> bool:
    """Say whether no number is NaN or infinite."""
    xp = namespace(array)
    return bool(xp.all(xp.isfinite(array)))
