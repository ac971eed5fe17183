"""Lays the pictures that are compared by Fourier ring correlation on each other."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.metrics.image import Image
from ptyconv_cli.metrics.orientation import better_orientation
from ptyconv_cli.metrics.registration import FEWEST, Fit, Overlap, Shift, fit, overlap, register

WELL = 0.8
"""Up to this mean ring correlation it is tried whether a picture fits better turned or mirrored."""


class Fitting:
    """Lays pictures of one run, or of two `runs`, on each other; `warnings` for the user.

    Those of one run lie where they are, to a few pixels; of two, where `find_place` found.
    """

    def __init__(self, runs: Sequence[Path]) -> None:
        self._runs, self.warnings = runs, list[str]()
        self._near: Shift = (0.0, 0.0)

    def find_place(self, pairs: Iterable[tuple[Image, Image]]) -> None:
        """Find where the pictures of two runs lie on each other, by the first of the pairs on which it shows.

        Raises PtyconvError where noise would fit as well on all of them, or they have too little in common.
        """
        first: tuple[Image, Image, Fit] | None = None
        for now, other in pairs:
            if not _finite(now, other):
                continue
            found = fit(now, other)
            if found is None:
                raise self._too_small(now, other)
            if found.agreement > found.noise:
                self._near = found.common.shift
                better = better_orientation(now, other) if found.agreement < WELL else None
                if better:
                    self.warnings.append(
                        f"The ring correlation is only {found.agreement:.2f} on average. {_hint(better)}"
                    )
                return
            first = first or (now, other, found)
        if first:
            now, other, found = first
            raise PtyconvError(
                f"{self._called}: nothing in common is seen: the ring correlation is {found.agreement:.2f} on average, "
                f"and that of noise up to {found.noise:.2f}. {_hint(better_orientation(now, other))}"
            )

    def common(self, now: Image, other: Image) -> Overlap:
        """Return what two pictures have in common, the other one shifted; raise PtyconvError where that is too little.

        Of pictures that hold NaN, as they are: so will be what comes of them.
        """
        found = register(now, other, self._near) if _finite(now, other) else overlap(now, other, self._near)
        if found is None:
            raise self._too_small(now, other)
        return found

    @property
    def _called(self) -> str:
        return " and ".join(map(str, self._runs))

    def _too_small(self, now: Image, other: Image) -> PtyconvError:
        sizes = [f"{image.shape[0]} × {image.shape[1]}" for image in (now, other)][: len(self._runs)]
        return PtyconvError(
            f"{self._called}: too small for rings: {FEWEST} px a side are needed in common, and the scanned region "
            f"is {' and '.join(sizes)} px"
        )


def _finite(*images: Image) -> bool:
    return all(bool(np.isfinite(image).all()) for image in images)


def _hint(better: tuple[str, float] | None) -> str:
    if better is None:
        return "Are they of one place, neither rotated nor mirrored?"
    how, agreement = better
    return (
        f"The second one fits better {how}, with a ring correlation of {agreement:.2f}: was it reconstructed in "
        "another orientation?"
    )
