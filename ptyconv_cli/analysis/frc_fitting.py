"""Lays the pictures that ring correlations are of on each other."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.metrics.fit import Fit, better_orientation, fit, is_seen
from ptyconv_cli.metrics.image import FEWEST, Image, Overlap, Shift, overlap, register

DOUBTFUL = 3.0
"""Up to this multiple of what noise would give it is tried whether a picture fits better turned or mirrored."""

TRIED = 3
"""How many pairs of pictures are tried at most, to see where two runs lie on each other."""


class Fitting:
    """Lays pictures of one run, or of two `runs`, on each other; `warnings` for the user.

    Those of one run lie where they are, to a few pixels; of two, where `find_place` found. Where nothing in
    common is seen there, they may lie elsewhere.
    """

    def __init__(self, runs: Sequence[Path]) -> None:
        self._runs, self.warnings = runs, list[str]()
        self._near: Shift = (0.0, 0.0)
        self._found: tuple[Image, Image, Overlap] | None = None

    def find_place(self, pairs: Iterable[tuple[Image, Image]]) -> None:
        """Find where the pictures of two runs lie on each other, by the first of the pairs on which it shows.

        Raises PtyconvError where noise would fit as well on all that are tried, or the pictures are too small.
        """
        failed: list[tuple[Image, Image, Fit | None]] = []
        for now, other in pairs:
            if not (_has_contrast(now) and _has_contrast(other)):
                continue
            self._check_size(now, other)
            found = fit(now, other)
            if found and found.agreement > found.noise:
                self._near = found.common.shift
                self._found = now, other, found.common
                self._warn(now, other, found)
                return
            failed.append((now, other, found))
            if len(failed) == TRIED:
                break
        if failed:
            now, other, found = failed[0]
            values = f": {found.agreement:.2f}, of noise up to {found.noise:.2f}" if found else ""
            raise PtyconvError(
                f"{self._called}: nothing in common is seen: the mean ring correlation is not above that of noise"
                f"{values}. {_hint(better_orientation(now, other))}"
            )

    def _warn(self, now: Image, other: Image, found: Fit) -> None:
        better = better_orientation(now, other) if found.agreement < DOUBTFUL * found.noise else None
        if better:
            self.warnings.append(f"The mean ring correlation is only {found.agreement:.2f}. {_hint(better)}")
        if found.rival:
            away = math.dist(found.rival, found.common.shift)
            self.warnings.append(
                f"The second one fits as well {away:.0f} px away, as in a crystal: which place is right is not known. "
                "The one that needs the smallest shift is taken."
            )

    def common(self, now: Image, other: Image) -> Overlap | None:
        """Return what two pictures have in common, the other one shifted; None where that is too little.

        Where it is no more than noise has, they are left where they lie, for noise would find itself a place, as are
        pictures that are flat or hold NaN. Raises PtyconvError where the pictures are too small.
        """
        if self._found and now is self._found[0] and other is self._found[1]:
            return self._found[2]
        self._check_size(now, other)
        as_they_are = overlap(now, other, self._near)
        if as_they_are is None or not (_has_contrast(now) and _has_contrast(other)):
            return as_they_are
        found = register(now, other, self._near)
        if found and is_seen(found):
            return found
        elsewhere = fit(now, other)
        return elsewhere.common if elsewhere and elsewhere.agreement > elsewhere.noise else as_they_are

    @property
    def _called(self) -> str:
        return " and ".join(map(str, self._runs))

    def _check_size(self, now: Image, other: Image) -> None:
        if min(*now.shape, *other.shape) < FEWEST:
            sizes = [f"{image.shape[0]} × {image.shape[1]}" for image in (now, other)][: len(self._runs)]
            raise PtyconvError(
                f"{self._called}: too small for rings: the scanned region is {' and '.join(sizes)} px, and {FEWEST} px "
                "a side are needed"
            )


def _has_contrast(image: Image) -> bool:
    """Say whether a picture is finite, and not flat."""
    return bool(np.isfinite(image).all()) and float(np.ptp(image)) > 0


def _hint(better: tuple[str, float] | None) -> str:
    if better is None:
        return "Are they of one place, neither rotated nor mirrored?"
    how, agreement = better
    return (
        f"The second one fits better {how}, with a ring correlation of {agreement:.2f}: was it reconstructed in "
        "another orientation?"
    )
