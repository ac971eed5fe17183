"""Fourier ring correlation over the iterations, of one run or of two. See docs/frc.md."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ptyconv_cli.analysis.frc_pairs import Pair, Reading, doublings_of_run, left_out_text, pairs_of_two
from ptyconv_cli.checkpoints.chain import AUTO, Selection
from ptyconv_cli.checkpoints.fingerprint import one_look
from ptyconv_cli.checkpoints.naming import check_pattern
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.metrics.frc import Rings, below_from_the_start, crossing, ring_correlation, threshold_curve
from ptyconv_cli.metrics.image import Image
from ptyconv_cli.metrics.orientation import best_orientation
from ptyconv_cli.metrics.registration import FEWEST, Overlap, Shift, fit, overlap, register
from ptyconv_cli.results.frc import Frc, FrcPoint
from ptyconv_cli.results.series import OF_OBJECT
from ptyconv_cli.results.settings import check_whole_number
from ptyconv_cli.version import __version__

WELL, CLEARLY = 0.5, 0.1
"""Up to this mean ring correlation it is tried whether a picture fits better turned or mirrored, clearly, by so much."""


def frc(
    run_a: str | Path,
    run_b: str | Path | None = None,
    *,
    tensor: str = "objp",
    slice_number: int | None = None,
    threshold: str | float = "one-bit",
    every: int | None = None,
    select: str | None = None,
    names: str | None = None,
    chain: Sequence[str | Path] | str = (),
    strict: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Frc:
    """Correlate pictures ring by ring: of a run at half and at all of its iterations, or of two runs at the same.

    - `run_a`, `run_b`: folders of runs, or files with several snapshots; of two also files with one checkpoint each.
    - `tensor`: objp or obja, summed over the slices, or of the slice with `slice_number`, from 1 on.
    - `threshold`: "one-bit", "half-bit", or a number between 0 and 1.
    - The rest as of `analysis.run.analyze_run`; `chain` is for one run.

    Formulas: docs/frc.md. Raises ValueError for settings that are not allowed, and PtyconvError, with a message for the
    user, where runs cannot be read or compared: no doubling, no iteration in common, another pixel size, too little in
    common.
    """
    if tensor not in OF_OBJECT:
        raise ValueError(f"tensor must be one of {', '.join(OF_OBJECT)}; got {tensor!r}")
    check_whole_number("slice_number", slice_number)
    check_whole_number("every", every)
    if isinstance(chain, str) and chain != AUTO:
        raise ValueError(f"chain must be a list of folders, or {AUTO!r}; got {chain!r}")
    if chain and run_b is not None:
        raise ValueError("chain is for one run")
    curve = threshold_curve(threshold)
    asked = Selection((tensor,), every, select, strict, names=check_pattern(names))
    with one_look():
        if run_b is None:
            earlier = chain if isinstance(chain, str) else [Path(folder) for folder in chain]
            found = doublings_of_run(Path(run_a), asked, earlier)
        else:
            found = pairs_of_two(Path(run_a), Path(run_b), asked)
    reading = Reading(tensor, slice_number, strict)
    # Of two runs from the last pair on, where there is most to see of how they lie on each other.
    read = reading.of_one(found.pairs) if run_b is None else reading.of_two(found.pairs[::-1])
    fitting = _Fitting(found.runs)
    points = []
    for pair, now, other in read:
        points.append(_point(pair, fitting.common(now, other), curve))
        progress(len(points), len(found.pairs))
    left_out = [left_out_text(file) for file in reading.left_out]
    if not points:
        raise PtyconvError(f"{run_a}: no two checkpoints that belong together can be read; {left_out[0]}")
    if not any(point.finite for point in points):
        raise PtyconvError(f"{run_a}: {tensor} holds NaN or infinity in each checkpoint that is compared")
    return Frc(
        runs=[str(run.resolve()) for run in found.runs],
        names=_names(found.runs),
        tensor=tensor,
        slices=found.pairs[-1].now.header.shapes[tensor][1],
        slice_number=slice_number,
        threshold=str(threshold),
        dx=found.pairs[-1].now.header.dx,
        points=sorted(points, key=lambda point: point.niter),
        warnings=[*found.warnings, *left_out, *fitting.warnings, *_on_nan(points)],
        ptyconv_version=__version__,
    )


class _Fitting:
    """Lays pictures on each other, those of two `runs` near where the ones before did; `warnings` for the user."""

    def __init__(self, runs: Sequence[Path]) -> None:
        self._runs, self.warnings = runs, list[str]()
        self._near: Shift | None = (0.0, 0.0) if len(runs) == 1 else None

    def common(self, now: Image, other: Image) -> Overlap:
        """Return what two pictures have in common, the other one shifted; raise PtyconvError where that is too little.

        Of pictures that hold NaN, as they are: so will be what comes of them.
        """
        if not (np.isfinite(now).all() and np.isfinite(other).all()):
            found = overlap(now, other, self._near or (0.0, 0.0))
        elif self._near is None:
            found = self._fitted(now, other)
        else:
            found = register(now, other, self._near)
        if found is None:
            sizes = [f"{image.shape[0]} × {image.shape[1]}" for image in (now, other)][: len(self._runs)]
            raise PtyconvError(
                f"{self._called}: too small for rings: {FEWEST} px a side are needed in common, and the scanned region "
                f"is {' and '.join(sizes)} px"
            )
        if len(self._runs) == 2 and np.isfinite(now).all() and np.isfinite(other).all():
            self._near = found.shift
        return found

    @property
    def _called(self) -> str:
        return " and ".join(map(str, self._runs))

    def _fitted(self, now: Image, other: Image) -> Overlap | None:
        """Return what two pictures have in common where they fit best; raise PtyconvError where noise fits as well."""
        found = fit(now, other)
        if found is None or found.agreement > WELL:
            return found and found.common
        turned = best_orientation(now, other)
        least = max(found.agreement + CLEARLY, turned.fit.noise) if turned else 0
        fits_better = turned is not None and turned.how != "" and turned.fit.agreement > least
        hint = "Are they of one place, neither rotated nor mirrored?"
        if turned and fits_better:
            how_well = f"{turned.how}, with a ring correlation of {turned.fit.agreement:.2f}"
            hint = f"The second run fits better {how_well}: was it reconstructed in another orientation?"
        if found.agreement <= found.noise:
            raise PtyconvError(
                f"{self._called}: nothing in common is seen: the ring correlation is {found.agreement:.2f} on average, "
                f"and that of noise up to {found.noise:.2f}. {hint}"
            )
        if fits_better:
            self.warnings.append(f"The ring correlation is only {found.agreement:.2f} on average. {hint}")
        return found.common


def _point(pair: Pair, common: Overlap, curve: Callable[[Rings], Rings]) -> FrcPoint:
    height, width = common.one.shape
    rings = ring_correlation(*common.transforms, width)
    threshold = curve(rings.pixels)
    dx = pair.now.header.dx
    ring_width = 1 / (min(height, width) * dx)
    crossed = crossing(rings.values, threshold)
    known = rings.values[np.isfinite(rings.values)]
    return FrcPoint(
        niter=pair.now.header.niter,
        other=pair.other.header.niter,
        ring_width=ring_width,
        frc=rings.values.tolist(),
        threshold=threshold.tolist(),
        resolution=None if crossed is None else 1 / (min(crossed, len(threshold)) * ring_width),
        coarse=below_from_the_start(rings.values, threshold),
        area=float(known.mean()) if known.size else math.nan,
        correlation=common.correlation,
        shift=(dx * common.shift[0], dx * common.shift[1]),
        overlap=(height, width),
    )


def _on_nan(points: Sequence[FrcPoint]) -> list[str]:
    broken = [str(point.niter) for point in points if not point.finite]
    return [f"No correlation at iteration {', '.join(broken)}: a picture holds NaN or infinity."] if broken else []


def _names(runs: Sequence[Path]) -> list[str]:
    """Return the names of runs: of their folders or files, with those above where they are the same."""
    whole = [run.absolute().parts for run in runs]
    for count in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-count:]) for parts in whole]
        if len(set(names)) == len(names):
            break
    return names
