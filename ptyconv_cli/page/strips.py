"""Strips: the pictures of one thing, iteration by iteration, all in one setting, within a number of bytes."""

import math
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from ptyconv_cli.page.levels import LARGEST, Setting, averaged, encoded, fitting, smaller
from ptyconv_cli.workers import Workers, result_of

Levels = Callable[[np.ndarray], np.ndarray]
"""Turns the values of an image into levels."""

CAREFUL = 0.7
"""Share of the bytes that the first picture may take, lest others take more."""

SMALLEST = 24
"""Pixels of a side of a picture that is not made smaller any more."""


@dataclass
class Choice:
    """How pictures that are alike are stored, so that one takes about `most` bytes: as fits the first of them."""

    most: float
    setting: Setting | None = None

    def of(self, levels: np.ndarray) -> Setting:
        """Return the setting; where there is none yet, choose it by the levels of a picture."""
        self.setting = self.setting or fitting(levels, CAREFUL * self.most)
        return self.setting


@dataclass
class Strip:
    """The pictures of one thing by iteration, stored as `choice` has it.

    `unknown`: by iteration, how many of an image's pixels are not finite. Where none is, there is no picture.
    """

    choice: Choice
    pictures: dict[int, bytes] = field(default_factory=dict)
    unknown: dict[int, int] = field(default_factory=dict)
    _coming: dict[int, Future[bytes]] = field(default_factory=dict)

    def add(self, niter: int, values: np.ndarray, levels_of: Levels, workers: Workers) -> None:
        """Have the picture of an image (y, x) made, as fits the first one that shows anything."""
        # The sum tells faster that all are finite.
        missing = 0 if np.isfinite(values.sum(dtype=float)) else int(np.count_nonzero(~np.isfinite(values)))
        if missing:
            self.unknown[niter] = missing
        if missing == values.size:
            return
        setting = self.choice.setting
        if setting is None:
            levels = levels_of(averaged(values, LARGEST))
            if levels.min() == levels.max():  # which says nothing of the others, and takes no bytes
                self.pictures[niter] = encoded(levels, None)
                return
            setting = self.choice.of(levels)
        self._coming[niter] = workers.submit(_made, values, levels_of, setting)

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
    found = list(strips)
    while (size := sum(strip.size for strip in found)) > most:
        before = size
        share = max(0.97 * math.sqrt(most / size), 0.5)
        for strip in found:
            strip.pictures = {niter: smaller(one, share, SMALLEST) for niter, one in strip.pictures.items()}
        if sum(strip.size for strip in found) >= before:
            break
