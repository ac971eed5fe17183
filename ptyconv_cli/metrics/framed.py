"""A part of an object in the frame of its run: what aligned numbers are of. Formulas: docs/metrics.md."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import (
    Array,
    namespace,
    numbers,
    numpy_type,
    on_host,
    precise,
    together_on_host,
)
from ptyconv_cli.metrics.device import beside
from ptyconv_cli.metrics.planes import OFFSET, SMALL, Affine, coordinates

Numbers = NDArray[np.float64]


class Framed:
    """Values (omode, slice, y, x) of a phase in rad, or of 1 - amplitude, and the voxels `lit` (y, x) by the scan.

    `own`: `planes.OFFSET` of a phase, `planes.FACTOR` of 1 - amplitude. `lit` on the host, None for all.
    """

    def __init__(self, own: str, values: Array, lit: NDArray[np.bool_] | None = None) -> None:
        self.own, self.values, self.lit = own, values, lit
        self._light: Array | None = None
        self._moments: tuple[Numbers, Numbers, tuple[float, float]] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the values."""
        return tuple(self.values.shape)

    @property
    def voxels(self) -> int:
        """How many of them are lit."""
        height, width = self.shape[-2:]
        of_plane = height * width if self.lit is None else int(self.lit.sum())
        return math.prod(self.shape[:2]) * of_plane

    @property
    def light(self) -> Array | None:
        """Which voxels are lit (y, x), as numbers of 1 and 0 where the values are; None for all."""
        if self.lit is not None and self._light is None:
            self._light = beside(self.lit.astype(numpy_type(self.values)), self.values)
        return self._light

    @property
    def means(self) -> Numbers:
        """What each plane is from (plane): its mean, of the first slices of a phase that of what is not the ramp."""
        return self._known()[0]

    @property
    def units(self) -> Numbers:
        """What the amplitude of each plane is measured in (plane); 1 of a phase."""
        return self._known()[1]

    @property
    def ramp(self) -> tuple[float, float]:
        """The ramp (y, x) per px that fits the first slices of a phase best; 0 of an amplitude."""
        return self._known()[2]

    def _known(self) -> tuple[Numbers, Numbers, tuple[float, float]]:
        """Return means, units and ramp, which are worked out once; perhaps twice, where two threads ask at a time."""
        if self._moments is None:
            sums = self._sums()
            means, ramp = sums[:, 0] / (self.voxels / len(sums)), self._ramp(sums)
            units = self._units(means)
            if self.own == OFFSET and self.lit is not None:  # whose middle need not be that of the region
                y, x = (coordinates(size) for size in self.shape[-2:])
                middle = self.lit.sum(1) @ y / self.lit.sum(), self.lit.sum(0) @ x / self.lit.sum()
                means[:: self.shape[1]] -= ramp[0] * middle[0] + ramp[1] * middle[1]
            self._moments = means, units, ramp
        return self._moments

    @np.errstate(all="ignore")  # of nothing there is no mean, and the unit is 1
    def _units(self, means: Numbers) -> Numbers:
        """Return the mean amplitudes, but for what object modes differ by.

        The product over the slices of each mode is that of the mean mode.
        """
        if self.own == OFFSET:
            return np.ones(len(means))
        of_slices = (1 - means).reshape(self.shape[:2])
        of_modes = of_slices.prod(1, keepdims=True)
        found = of_slices * (abs(of_modes.mean() / of_modes)) ** (1 / self.shape[1])
        return np.asarray(np.where(np.isfinite(found) & (found > 0), found, 1.0)).ravel()

    def _ramp(self, sums: Numbers) -> tuple[float, float]:
        if self.own != OFFSET:
            return 0.0, 0.0
        height, width = self.shape[-2:]
        y, x = coordinates(height), coordinates(width)
        first, count = sums.reshape(*self.shape[:2], 3)[:, 0].mean(0), self.voxels / len(sums)
        if self.lit is None:  # y and x are 0 on average, in each other's direction too
            along, squares = np.zeros(2), np.diag([width * (y @ y), height * (x @ x)])
        else:
            of_rows, of_columns, mixed = self.lit.sum(1), self.lit.sum(0), y @ self.lit.astype(float) @ x
            along = np.array([of_rows @ y, of_columns @ x])
            squares = np.array([[of_rows @ y**2, mixed], [mixed, of_columns @ x**2]]) - np.outer(along, along) / count
        with_values = first[1:] - first[0] * along / count
        if not np.isfinite(with_values).all():
            return math.nan, math.nan
        found = np.linalg.lstsq(squares, with_values, rcond=1e-12)[0]
        return float(found[0]), float(found[1])

    @property
    def affine(self) -> Affine:
        """What makes phases whose planes have no mean, and no ramp, or 1 - amplitudes in their units."""
        if self.own == OFFSET:
            return Affine(self.units, -self.means, self.ramp)
        return Affine(1 / self.units, 1 - 1 / self.units, (0.0, 0.0))

    def mean_square(self) -> float:
        """Return the mean square of the lit values in the frame, less the mean of each plane, and a phase's ramp."""
        return self.mean_of(numbers(self.squares()))

    def mean_of(self, squares: Sequence[float]) -> float:
        """Return the mean square of the values, of the `squares` of their planes."""
        return float((np.array(squares) / self.units**2).sum()) / self.voxels

    def squares(self) -> list[Array]:
        """Return the sum of squares of each plane, in its own unit, where the values are: what `mean_square` is of."""
        xp, slices = namespace(self.values), self.shape[1]
        of_planes, ramp, squares = self.values.reshape(-1, *self.shape[-2:]), self._ramp_there(), []
        left = xp.empty_like(of_planes[0])
        for number, plane in enumerate(of_planes):
            left[...] = plane
            left -= float(self.means[number])
            if ramp is not None and number % slices == 0:
                left -= ramp
            if self.light is not None:
                left *= self.light
            left *= left
            squares.append(xp.sum(xp.sum(left, axis=1), dtype=precise(left)))
        return squares

    def _ramp_there(self) -> Array | None:
        """Return the ramp of a phase (y, x), where the values are; None of an amplitude."""
        if self.own != OFFSET:
            return None
        y, x = (part * coordinates(size) for part, size in zip(self.ramp, self.shape[-2:], strict=True))
        return beside((y[:, None] + x).astype(numpy_type(self.values)), self.values)

    def _sums(self) -> Numbers:
        """Return the sums over each plane of its values, and of those times y and x (plane, 3); these of first slices.

        Of the others they are 0.
        """
        xp, slices = namespace(self.values), self.shape[1]
        y, x = coordinates(self.shape[-2]), coordinates(self.shape[-1])
        double = precise(self.values) if math.prod(self.shape) < SMALL else self.values.dtype
        rows, columns = [], []
        for number, plane in enumerate(self.values.reshape(-1, *self.shape[-2:])):
            of_plane = plane if self.light is None else plane * self.light
            rows.append(xp.sum(of_plane, axis=1, dtype=double))
            if self.own == OFFSET and number % slices == 0:
                columns.append(xp.sum(of_plane, axis=0, dtype=double))
        of_rows, *of_columns = together_on_host([xp.stack(rows), *([xp.stack(columns)] if columns else [])])
        of_rows = of_rows.astype(float)
        found = np.zeros((len(rows), 3))
        found[:, 0] = of_rows.sum(1)
        if columns:
            found[::slices, 1], found[::slices, 2] = of_rows[::slices] @ y, of_columns[0].astype(float) @ x
        return found


def there_on_host(tensor: "Framed | Array | None") -> "Framed | Array | None":
    """Return what is aligned of a tensor on the host."""
    if isinstance(tensor, Framed):
        return Framed(tensor.own, on_host(tensor.values), tensor.lit)
    return None if tensor is None else on_host(tensor)
