"""Fourier ring correlation over the iterations, of one run or of two. See docs/frc.md."""

import math
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from ptyconv_cli import __version__
from ptyconv_cli.analysis.frc_fitting import Fitting
from ptyconv_cli.analysis.frc_pictures import (
    Pair,
    Pairs,
    Pictures,
    doublings_of_run,
    pairs_of_two,
    worth_trying,
)
from ptyconv_cli.analysis.run_parts import left_out_text
from ptyconv_cli.checkpoints.chain import AUTO, Selection
from ptyconv_cli.checkpoints.discovery import check_pattern
from ptyconv_cli.checkpoints.opening import one_look
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.metrics.image import Overlap, Rings, crossing, threshold_curve
from ptyconv_cli.metrics.leakage import rings_of
from ptyconv_cli.quantities import of_object, quantity_of
from ptyconv_cli.quantities.settings import check_whole_number
from ptyconv_cli.results.frc import NO_MORE, NOTHING_TO_SEE, Frc, FrcPoint
from ptyconv_cli.results.text import few


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
    - `tensor`: objp (phase) or obja (amplitude), summed over the slices, or of the slice with `slice_number`, from 1.
    - `threshold`: "one-bit", "half-bit", or a number between 0 and 1.
    - The rest as of `analysis.run.analyze_run`; `chain` is for one run.

    Formulas: docs/frc.md. Raises ValueError for settings that are not allowed, and PtyconvError, with a message for the
    user, where runs cannot be read or compared: no doubling, no iteration in common, another pixel size, too little in
    common.
    """
    tensor = _checked_tensor(tensor)
    _check(slice_number, every, chain, run_b)
    curve = threshold_curve(threshold)
    asked = Selection((tensor,), every, select, strict, names=check_pattern(names))
    with one_look():
        if run_b is None:
            earlier = chain if isinstance(chain, str) else [Path(folder) for folder in chain]
            found = doublings_of_run(Path(run_a), asked, earlier, slice_number)
        else:
            found = pairs_of_two(Path(run_a), Path(run_b), asked, slice_number)
    last = found.pairs[-1].now.header
    points, warnings = _compared(found, Pictures(tensor, slice_number, strict), curve, progress)
    return Frc(
        runs=[str(run.resolve()) for run in found.runs],
        names=_names(found.runs),
        tensor=tensor,
        slices=last.shapes[tensor][1],
        slice_number=slice_number,
        threshold=str(threshold),
        dx=last.dx,
        points=points,
        warnings=[*found.warnings, *warnings],
        ptyconv_version=__version__,
    )


def _checked_tensor(name: str) -> str:
    """Return the key of a part of the object; raise ValueError for others."""
    with suppress(KeyError):
        if quantity_of(name).is_object:
            return quantity_of(name).key
    raise ValueError(f"tensor must be one of {', '.join(of_object())}; got {name!r}")


def _check(
    slice_number: int | None,
    every: int | None,
    chain: Sequence[str | Path] | str,
    run_b: str | Path | None,
) -> None:
    """Raise ValueError for settings that are not allowed."""
    check_whole_number("slice_number", slice_number)
    check_whole_number("every", every)
    if isinstance(chain, str) and chain != AUTO:
        raise ValueError(f"chain must be a list of folders, or {AUTO!r}; got {chain!r}")
    if chain and run_b is not None:
        raise ValueError("chain is for one run")


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def _compared(
    found: Pairs, pictures: Pictures, curve: Callable[[Rings], Rings], progress: Callable[[int, int], None]
) -> tuple[list[FrcPoint], list[str]]:
    """Compare the pictures of pairs; return warnings, too. Raises PtyconvError where no pair can be compared."""
    called, fitting = " and ".join(map(str, found.runs)), Fitting(found.runs)
    if len(found.runs) == 2:
        fitting.find_place(filter(None, map(pictures.try_pair, worth_trying(found.pairs))))
        read = pictures.of_two(found.pairs)
    else:
        read = pictures.of_one(found.pairs)
    points, apart = [], []
    with closing(read):  # here, and not when what an error holds is forgotten, in whichever thread
        for pair, now, other in read:
            common, beyond_chance = fitting.common(now, other)
            if common:
                points.append(_point(pair, common, beyond_chance, curve))
            else:
                apart.append(pair.now.header.niter)
            progress(len(points) + len(apart), len(found.pairs))
    warnings = [*(left_out_text(file) for file in pictures.left_out), *fitting.warnings]
    if apart:
        warnings.append(f"Not compared, because too little is in common there: iterations {few(map(str, apart))}.")
    chance = [str(point.niter) for point in points if point.finite and not point.beyond_chance]
    if chance:
        warnings.append(f"Nothing in common is seen at iterations {few(chance)}: {NO_MORE}.")
    nothing = [str(point.niter) for point in points if not point.finite]
    if nothing:
        warnings.append(f"No correlation at iterations {few(nothing)}: {NOTHING_TO_SEE}.")
    if not any(point.finite for point in points):
        raise PtyconvError(f"{called}: no pair of checkpoints can be compared. {' '.join(warnings)}")
    return points, warnings


def _point(pair: Pair, common: Overlap, beyond_chance: bool, curve: Callable[[Rings], Rings]) -> FrcPoint:
    height, width = common.one.shape
    rings, dx = common.rings, pair.now.header.dx
    threshold, ring_width = curve(rings.pixels), 1 / (min(height, width) * dx)
    own = rings_of(common) if beyond_chance else None
    crossed = crossing(own.values, curve(own.pixels)) if own else None
    known = rings.values[np.isfinite(rings.values)]
    return FrcPoint(
        niter=pair.now.header.niter,
        other=pair.other.header.niter,
        ring_width=ring_width,
        frc=rings.values.tolist(),
        threshold=threshold.tolist(),
        resolution=None if crossed is None else 1 / (min(crossed, len(threshold)) * ring_width),
        area=float(known.mean()) if known.size else math.nan,
        correlation=common.correlation,
        shift=(dx * common.shift[0], dx * common.shift[1]),
        overlap=(height, width),
        beyond_chance=beyond_chance,
    )


def _names(runs: Sequence[Path]) -> list[str]:
    """Return the names of runs: of their folders or files, with those above where they are the same."""
    whole = [run.absolute().parts for run in runs]
    for count in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-count:]) for parts in whole]
        if len(set(names)) == len(names):
            break
    return names
