"""What a pass over voxels is made over: values, by which they are masked, and their changes. With numpy."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import in_single, is_numpy, on_host
from ptyconv_cli.metrics.device import upload
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.planes import OFFSET, Residual, coordinates, pieces, pieces_in_frame

Voxels = NDArray[np.floating]


class Raw:
    """Flat values, and their changes from `previous`."""

    kinds = 1

    def __init__(self, current: Voxels, previous: Voxels) -> None:
        self.count, self._current, self._previous = len(current), current, previous

    def at(self, places: NDArray[np.int64]) -> Voxels:
        """Return the values at flat places."""
        return self._current[places]

    def parts(self, chunk: int) -> Iterator[tuple[Voxels, Voxels]]:
        """Yield the values and their changes (kind, voxels) in order, in parts, each to be used until the next."""
        current, memory = self._current, np.empty((1, min(chunk, self.count)), self._current.dtype)
        for start in range(0, self.count, chunk):
            now = current[start : start + chunk]
            changes = memory[:, : len(now)]
            np.subtract(now, self._previous[start : start + chunk], out=changes[0])
            yield now, changes


class WithLeft(Raw):
    """Flat values, and two kinds of changes: from the previous ones, and what a fit leaves of that."""

    kinds = 2

    def __init__(self, current: Voxels, previous: Voxels, residual: Residual) -> None:
        super().__init__(current, previous)
        self._residual = residual

    def parts(self, chunk: int) -> Iterator[tuple[Voxels, Voxels]]:
        """As `Raw.parts`."""
        start = 0
        for changes in pieces(self._residual, chunk):
            stop = start + changes.shape[1]
            yield self._current[start:stop], changes
            start = stop


class InFrame:
    """The lit values of a part of an object in the frame of the run, and what a fit leaves of their change."""

    kinds = 1

    def __init__(self, now: Framed, residual: Residual) -> None:
        self.count, self._now, self._residual = now.voxels, now, residual

    def at(self, places: NDArray[np.int64]) -> Voxels:
        """As `Raw.at`, of lit voxels."""
        height, width = self._now.shape[-2:]
        of_plane = height * width
        if self._now.lit is not None:
            lit = np.flatnonzero(self._now.lit)
            places = places // len(lit) * of_plane + lit[places % len(lit)]
        plane, values, affine = places // of_plane, in_single(self._now.values).reshape(-1), self._now.affine
        chosen = values[places] if is_numpy(values) else on_host(values[upload(places, values.device)])
        found = chosen * affine.factors[plane] + affine.offsets[plane]
        if self._now.own == OFFSET:
            y, x = coordinates(height)[places // width % height], coordinates(width)[places % width]
            found -= (plane % self._now.shape[1] == 0) * (affine.ramp[0] * y + affine.ramp[1] * x)
        return np.asarray(found, chosen.dtype)

    def parts(self, chunk: int) -> Iterator[tuple[Voxels, Voxels]]:
        """As `Raw.parts`."""
        for values, left in pieces_in_frame(self._residual, self._now.affine, chunk):
            yield values, left[None]
