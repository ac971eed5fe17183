"""Fourier ring correlation over the iterations, of one run or of two. See docs/frc.md."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ptyconv_cli.analysis.frc_fitting import Fitting
from ptyconv_cli.analysis.frc_pairs import Pair, doublings_of_run, left_out_text, pairs_of_two, worth_trying
from ptyconv_cli.analysis.frc_pictures import Pictures
from ptyconv_cli.checkpoints.chain import AUTO, Selection
from ptyconv_cli.checkpoints.fingerprint import one_look
from ptyconv_cli.checkpoints.naming import check_pattern
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.metrics.frc import Rings, below_from_the_start, crossing, ring_correlation, threshold_curve
from ptyconv_cli.metrics.registration import Overlap
from ptyconv_cli.results.frc import Frc, FrcPoint
from ptyconv_cli.results.series import OF_OBJECT
from ptyconv_cli.results.settings import check_whole_number
from ptyconv_cli.version import __version__


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
    pictures, fitting = Pictures(tensor, slice_number, strict), Fitting(found.runs)
    if run_b is not None:
        fitting.find_place(filter(None, map(pictures.try_pair, worth_trying(found.pairs))))
    read = pictures.of_one(found.pairs) if run_b is None else pictures.of_two(found.pairs)
    points = []
    for pair, now, other in read:
        points.append(_point(pair, fitting.common(now, other), curve))
        progress(len(points), len(found.pairs))
    left_out = [left_out_text(file) for file in pictures.left_out]
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
        points=points,
        warnings=[*found.warnings, *left_out, *fitting.warnings, *_on_nan(points)],
        ptyconv_version=__version__,
    )


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
