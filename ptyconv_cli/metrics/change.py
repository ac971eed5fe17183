"""The changes between two snapshots, raw as PtyRAD's own monitor records them, and aligned. Pure functions.

The only code that compares two snapshots, for checkpoints and a live model alike. Formulas: docs/metrics.md.
"""

import math

import numpy as np

from ptyconv_cli.metrics.aligned import align_object, align_positions, align_probe
from ptyconv_cli.metrics.arrays import Array, namespace, numbers, total
from ptyconv_cli.metrics.fields import too_few_to_align
from ptyconv_cli.metrics.percentiles import mean_change_outside
from ptyconv_cli.metrics.snapshot import Snapshot
from ptyconv_cli.results.run_analysis import Change


def changes(
    current: Snapshot, previous: Snapshot, percentile_range: tuple[float, float], aligned: bool
) -> dict[str, Change]:
    """Return the change since `previous` of every tracked series, by key, in the order and units of
    `results.series.SERIES`.
    """
    found: dict[str, Change] = {}
    for name in current.values:
        found |= tensor_changes(name, current, previous, percentile_range, aligned)
    return found


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def tensor_changes(
    name: str,
    current: Snapshot,
    previous: Snapshot,
    percentile_range: tuple[float, float],
    aligned: bool,
    chunk: int | None = None,
) -> dict[str, Change]:
    """Return the changes since `previous` of the series of one tensor, as `changes` does.

    The aligned ones are NaN where there is too little to align. Of an object about `chunk` voxels are worked on at a
    time.
    """
    now, before, dx = current.values[name], previous.values[name], current.dx
    if aligned and too_few_to_align(name, now.shape):
        found = tensor_changes(name, current, previous, percentile_range, False, chunk)
        return {key: change._replace(aligned=math.nan) for key, change in found.items()}
    if name == "probe":
        return {name: _change_of_probe(now, before, dx, aligned)}
    if name == "probe_pos_shifts":
        return {name: _change_of_positions(now, before, dx, aligned)}
    left, removed = align_object(name, now, before, dx, chunk) if aligned else (None, None)
    background, foreground = mean_change_outside(now, before, percentile_range, left, chunk)
    return {f"{name}_bg": Change(*background, removed), f"{name}_fg": Change(*foreground, removed)}


def _change_of_probe(now: Array, before: Array, dx: float, aligned: bool) -> Change:
    if not aligned:
        return Change(probe_change(now, before))
    left, removed = align_probe(now, before, dx)
    *sums, aligned_change = numbers([*_sums_of_probe(now, before), total(namespace(left).abs(left))])
    return Change(_relative(*sums), aligned=aligned_change, removed=removed)


def _change_of_positions(now: Array, before: Array, dx: float, aligned: bool) -> Change:
    change = Change(rms_displacement(now - before, dx))
    if not aligned:
        return change
    left, removed = align_positions(now, before, dx)
    return change._replace(aligned=rms_displacement(left, dx), removed=removed)


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def probe_change(current: Array, previous: Array) -> float:
    """Return sum |I_k - I_(k-1)| / (sum I_(k-1) + 1e-8) of two probe intensities (y, x); dimensionless.

    NaN, for 0 / 0, where neither has any intensity: 0 would look like a probe that has converged.
    """
    return _relative(*numbers(_sums_of_probe(current, previous)))


def _sums_of_probe(current: Array, previous: Array) -> list[Array]:
    return [total(namespace(current).abs(current - previous)), total(previous)]


def _relative(change: float, before: float) -> float:
    return change / (before + 1e-8) if change or before else math.nan


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def rms_displacement(displacements: Array, dx: float) -> float:
    """Return the RMS of displacements (N, 2) in px, in Å; `dx` in Å per px."""
    return dx * math.sqrt(float(total(displacements * displacements)) / len(displacements))
