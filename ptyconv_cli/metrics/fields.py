"""Whether anything of a tensor's change would be left once the ambiguities are removed."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ptyconv_cli.metrics.aligned import equal_sums, null_space
from ptyconv_cli.metrics.arrays import Array


def too_few_to_align(name: str, shape: Sequence[int]) -> bool:
    """Say whether the ambiguities explain any change of a tensor, so that an aligned one would always be 0.

    `shape` of what is compared: of the object (omode, slice, y, x) in the scanned region, of the probe (y, x), or of
    the positions (N, 2).
    """
    if name == "probe_pos_shifts":
        return shape[0] <= 1  # their mean is removed
    voxels = math.prod(shape)
    if name == "probe":
        return voxels <= 1  # the total is removed
    omodes, slices, height, width = shape
    if height * width == 1:  # which has no contrast either, by which a change could be measured
        return True
    if voxels > omodes * slices + 4:  # a field for each plane, two ramps and a shift
        return False
    values = np.random.default_rng(0).normal(size=(omodes, slices, height, width))  # of which all have the rank
    fields = np.stack([field.ravel() for field in _fields(name, values)])
    ties = equal_sums(omodes, slices) if name == "obja" else None
    if ties is not None:
        fields = null_space(np.pad(ties, ((0, 0), (0, len(fields) - omodes * slices)))).T @ fields
    return bool(np.linalg.matrix_rank(fields) == voxels)


def _fields(name: str, values: Array) -> Iterator[Array]:
    """Yield the fields that are fitted to a change (omode, slice, y, x), those of the planes first."""
    for plane in np.ndindex(values.shape[:2]):
        own = np.zeros_like(values)
        own[plane] = 1 if name == "objp" else values[plane]
        yield own
    for axis in (2, 3):
        if values.shape[axis] > 1:
            yield np.gradient(values, axis=axis)
        if name == "objp":
            ramp = np.zeros_like(values)
            ramp[:, 0] = np.indices(values.shape)[axis][:, 0]
            yield ramp
