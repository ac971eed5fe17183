"""Lays the pictures that ring correlations are of on each other."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.metrics.chance import CERTAIN, LEAST, evidence, is_seen, likelihood
from ptyconv_cli.metrics.fit import Fit, better_orientation, fit
from ptyconv_cli.metrics.image import FEWEST, Image, Overlap, Shift, overlap, register
from ptyconv_cli.results.frc import NO_MORE

DOUBTFUL = 10 * CERTAIN
"""Up to this likelihood it is tried whether a picture fits better turned or mirrored."""

ALIKE = 0.5
"""Pictures of one place whose correlation is less may fit better elsewhere."""

TRIED = 3
"""How many pairs of pictures are tried at most, to see where two runs lie on each other."""


class Fitting:
    """Lays pictures of one run, or of two `runs`, on each other; `warnings` for the user.

    Those of one run lie where they are, to a few pixels; of two, where `find_place` found. Where little in common is
    seen there, all places are searched.
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
            if found and found.beyond_chance:
                self._near = found.common.shift
                self._found = now, other, found.common
                self._warn(now, other, found)
                return
            failed.append((now, other, found))
            if len(failed) == TRIED:
                break
        if failed:
            now, other, found = failed[0]
            value = f" (correlation {found.common.correlation:.2f})" if found else ""
            raise PtyconvError(
                f"{self._called}: nothing in common is seen{value}: {NO_MORE}. {_hint(better_orientation(now, other))}"
            )

    def _warn(self, now: Image, other: Image, found: Fit) -> None:
        better = better_orientation(now, other) if likelihood(found.common) < DOUBTFUL else None
        if better:
            self.warnings.append(f"The correlation is only {found.common.correlation:.2f}. {_hint(better)}")
        if found.rival:
            away = math.dist(found.rival, found.common.shift)
            self.warnings.append(
                f"The second one fits as well {away:.0f} px away, as in a crystal: which place is right is not known. "
                "The one that needs the smallest shift is taken."
            )

    def common(self, now: Image, other: Image) -> tuple[Overlap | None, bool]:
        """Return what two pictures have in common, the other one shifted, and whether that is more than chance.

        None where too little is in common. Where it is no more than chance, they are left where they lie, for noise
        would find itself a place, as are pictures that are flat or hold NaN. Raises PtyconvError where the pictures are
        too small.
        """
        if self._found and now is self._found[0] and other is self._found[1]:
            return self._found[2], True
        self._check_size(now, other)
        as_they_are = overlap(now, other, self._near)
        if as_they_are is None or not (_has_contrast(now) and _has_contrast(other)):
            return as_they_are, False
        there = register(now, other, self._near)
        near = there if there and self._is_seen(there) else None
        if near and near.correlation >= ALIKE:
            return near, True
        anywhere = fit(now, other, self._near)
        if anywhere and evidence(anywhere.common).is_certain:  # for chance has had its turn nearby
            return anywhere.common, True
        return near or as_they_are, near is not None

    def _is_seen(self, common: Overlap) -> bool:
        """Say whether pictures have something in common near where they are known to lie on each other."""
        of_one_place = self._found is not None
        return likelihood(common) >= LEAST if of_one_place else is_seen(common)

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
    how, correlation = better
    return (
        f"The second one fits better {how}, with a correlation of {correlation:.2f}: was it reconstructed in another "
        "orientation?"
    )
