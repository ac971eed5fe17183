"""Strips: the pictures of one thing, iteration by iteration, all in one setting, within a number of bytes."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from ptyconv_cli.page.levels import LARGEST, Setting, averaged, encoded, fitting, smaller
from ptyconv_cli.workers import Workers, result_of

Levels = Callable[[np.ndarray], np.ndarray]
"""Turns the values of an image into levels."""

SHRINK = 0.85
"""By how much the sides of all pictures are made shorter at a time, where together they take too much."""

SMALLEST = 24
"""Pixels of a side of a picture that is not made smaller any more."""


@dataclass
class Strip:
    """The pictures of one thing by iteration, of which one may take about `most` bytes.

    `unknown`: by iteration, how many of an image's pixels are not finite. Where none is, there is no picture.
    """

    most: float
    pictures: dict[int, bytes] = field(default_factory=dict)
    unknown: dict[int, int] = field(default_factory=dict)
    setting: Setting | None = None
    _coming: dict[int, Future[bytes]] = field(default_factory=dict)

    def add(self, niter: int, values: np.ndarray, levels_of: Levels, workers: Workers) -> None:
        """Have the picture of an image (y, x) made, in the setting that fits the first one that shows anything."""
        missing = int(np.count_nonzero(~np.isfinite(values)))
        if missing:
            self.unknown[niter] = missing
        if missing == values.size:
            return
        if self.setting is None:
            levels = levels_of(averaged(values, LARGEST))
            if levels.min() == levels.max():  # which says nothing of the others, and takes no bytes
                self.pictures[niter] = encoded(levels, None)
                return
            self.setting = fitting(levels, self.most)
        self._coming[niter] = workers.submit(_made, values, levels_of, self.setting)

    def finish(self) -> None:
        """Wait for the pictures."""
        self.pictures |= {niter: result_of(one) for niter, one in self._coming.items()}
        self._coming.clear()

    @property
    def size(self) -> int:
        """The bytes of all pictures."""
        return sum(map(len, self.pictures.values()))


def _made(values: np.ndarray, levels_of: Levels, setting: Setting) -> bytes:
    return encoded(levels_of(averaged(values, setting.side)), setting.quality)


def fit_together(strips: Iterable[Strip], most: float) -> None:
    """Make all pictures smaller until together they take no more than so many bytes, or are as small as can be."""
    found, side = list(strips), LARGEST
    while sum(strip.size for strip in found) > most and side > SMALLEST:
        side = round(SHRINK * side)
        for strip in found:
            strip.pictures = {niter: smaller(one, side) for niter, one in strip.pictures.items()}
