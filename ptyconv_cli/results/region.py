"""The scanned region: only there do the data constrain the object. See docs/metrics.md."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Region(NamedTuple):
    """A half-open range of object pixels in y and in x."""

    y_start: int
    y_stop: int
    x_start: int
    x_stop: int

    @property
    def slices(self) -> tuple[Any, ...]:
        """The index that cuts the region out of the last two axes of an array."""
        return ..., slice(self.y_start, self.y_stop), slice(self.x_start, self.x_stop)

    def shape_in(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the region in an array of the given shape; raise ValueError where that is empty."""
        rows, columns = (len(range(size)[part]) for size, part in zip(shape[-2:], self.slices[1:], strict=True))
        if not rows * columns:
            raise ValueError(f"the scanned region ({self}) holds no voxel of the object, whose shape is {tuple(shape)}")
        return *shape[:-2], rows, columns

    def within(self, shape: Sequence[int]) -> "Region":
        """Return the part of the region that lies in an array of the given shape."""
        height, width = shape[-2:]
        return Region(*(min(bound, size) for bound, size in zip(self, (height, height, width, width), strict=True)))

    def holds_any(self) -> bool:
        """Say whether there is any pixel in it."""
        return self.y_start < self.y_stop and self.x_start < self.x_stop

    def __str__(self) -> str:
        return f"y {self.y_start}:{self.y_stop}, x {self.x_start}:{self.x_stop} px"


def scanned_region(crop_pos: np.ndarray, probe_shape: tuple[int, int]) -> Region:
    """Return the region that the probe centres, `crop_pos + (Py // 2, Px // 2)`, span.

    `crop_pos` int (N, 2): top-left corner [y, x] of every probe window in object pixels; `probe_shape` (Py, Px) in px.
    As PtyRAD has it, the Python slice [min - 1 : max] in y and in x, with bounds clamped at 0. Formula:
    docs/metrics.md.
    """
    (y_min, x_min), (y_max, x_max) = crop_pos.min(0).tolist(), crop_pos.max(0).tolist()
    y_half, x_half = probe_shape[0] // 2, probe_shape[1] // 2
    bounds = (y_min + y_half - 1, y_max + y_half, x_min + x_half - 1, x_max + x_half)
    return Region(*(max(bound, 0) for bound in bounds))
