"""The planes (slices) of an object, cut into blocks, and the fields on them that explain a change.

The fields on a plane are one of its own (for a phase 1, for 1 - amplitude the amplitude), twice the gradients of the
current snapshot in y and in x (twice, which saves an operation), and, on the first slice of a phase, the coordinates.
Two passes go over the voxels: one for the products that the fit needs, one for its residual. Each has a way for numpy,
in blocks that fit the processor's cache, and one for torch: `planes_cpu` and `planes_gpu`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import Array, is_numpy

OWN, GRADIENT_Y, GRADIENT_X, CHANGE, RAMP_X, RAMP_Y = range(6)
"""The places of the fields, and of the change, among the products."""

Block = tuple[slice, slice]
"""A range of planes and a range of rows: whole planes, or rows of a single one."""


class Planes(NamedTuple):
    """`current` and `previous` (plane, y, x) of `obja`, as 1 - amplitude, or `objp`; `slices` of each object mode."""

    name: str
    current: Array
    previous: Array
    slices: int

    @property
    def has_ramps(self) -> NDArray[np.bool_]:
        """Which planes ramps are fitted on (plane)."""
        return np.asarray((np.arange(len(self.current)) % self.slices == 0) & (self.name == "objp"))

    def blocks(self, voxels: int) -> Iterator[Block]:
        """Cut the planes, in order, into blocks of about so many voxels."""
        planes, height, width = self.current.shape
        rows, together = max(voxels // width, 1), max(voxels // (height * width), 1)
        for plane in range(0, planes, together):
            for row in range(0, height, rows):
                yield slice(plane, min(plane + together, planes)), slice(row, min(row + rows, height))

    def products(self, voxels: int | None = None) -> "Products":
        """Return the sums that the fit needs; about so many `voxels` are worked on at a time."""
        found: Products = _way(self.current).products(self, voxels)
        return found


class Products(NamedTuple):
    """The `sums` over each plane's voxels of the products of fields and change (plane, 6, 6).

    In the order of `OWN` to `RAMP_Y`; 0 for ramps where a plane has none. `sample`: the sample of the current values,
    in order, which a GPU has brought along, so that it is waited for once; None where it has not.
    """

    sums: NDArray[np.float64]
    sample: NDArray[np.floating] | None = None


class Residual(NamedTuple):
    """What the fit leaves of a change.

    `own`: coefficients of the planes' own fields (plane); `common`: those of the other fields, by field; `sample`: see
    `Products`.
    """

    planes: Planes
    own: NDArray[np.float64]
    common: dict[int, float]
    sample: NDArray[np.floating] | None = None

    def whole(self) -> Array:
        """Return it whole (plane, y, x)."""
        return _way(self.planes.current).whole(self)


def _way(array: Array) -> Any:
    if is_numpy(array):
        from ptyconv_cli.metrics import planes_cpu

        return planes_cpu
    from ptyconv_cli.metrics import planes_gpu

    return planes_gpu


def coordinates(size: int) -> NDArray[np.float64]:
    """Return the coordinates of voxels along an axis in px, from its middle, so that their mean is 0."""
    return np.arange(size, dtype=np.float64) - (size - 1) / 2
