"""How far a snapshot of a tensor is from earlier ones, raw and aligned, from their sketches. With numpy, in float64.

The aligned distance is what the later one's fields leave of the difference, as between consecutive snapshots, but here
on the sketched voxels. Formulas: docs/metrics.md.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ptyconv_cli.metrics.fields import too_few_to_align
from ptyconv_cli.metrics.projection import Array, equal_sums, fit_planes
from ptyconv_cli.metrics.sketch import Places, Sketch

VOXELS = 1 << 12
"""Worked on at a time, so that all of it stays in the processor's cache."""


class Values(NamedTuple):
    """What is needed of an earlier snapshot: its float32 `values` as in a `Sketch`, and the `total` over all voxels."""

    values: np.ndarray
    total: float


class Distances(NamedTuple):
    """RMS distances from earlier snapshots: in rad, in Å, or dimensionless.

    Of a probe, raw ones are in the units of its intensity, aligned ones in mean intensities, each in its own.
    """

    raw: list[float]
    aligned: list[float]


@np.errstate(all="ignore")  # a distance from what is not finite is a NaN that tells, not an accident
def distances(places: Places, later: Sketch, earlier: Sequence[Values], dx: float) -> Distances:
    """Return the RMS distances of a snapshot from earlier ones; `dx` in Å per px.

    The aligned ones are NaN where there is too little to align.
    """
    if not earlier:
        return Distances([], [])
    found = _distances(places, later, earlier, dx)
    return found._replace(aligned=[math.nan] * len(earlier)) if too_few_to_align(places.name, places.shape) else found


def _distances(places: Places, later: Sketch, earlier: Sequence[Values], dx: float) -> Distances:
    if places.name == "probe_pos_shifts":
        moved = dx * (later.values.astype(np.float64) - np.array([one.values for one in earlier], np.float64))
        raw, aligned = (_rms_displacement(d) for d in (moved, moved - moved.mean(1, keepdims=True)))
        return Distances(raw.tolist(), aligned.tolist())
    values = np.array([one.values for one in earlier])
    if places.name != "probe":
        squares, left = _squares(places, later, values, 1.0, np.ones(len(values)))
        return Distances(_rms(squares, places), _rms(left, places))
    scale, scales = _per_mean(later.total, places), np.array([_per_mean(one.total, places) for one in earlier])
    _, left = _squares(places, later, values, scale, scales)
    changes = later.values - values.astype(np.float64)
    return Distances(_rms(np.square(changes).sum(1), places), _rms(left, places))


def _per_mean(total: float, places: Places) -> float:
    """Return the factor that makes an intensity's mean 1; there is none (NaN) for a probe without intensity."""
    return places.all_voxels / total if total else math.nan


def _rms_displacement(moved: Array) -> Array:
    return np.asarray(np.sqrt(np.square(moved).sum(-1).mean(-1)))


def _rms(squares: Array, places: Places) -> list[float]:
    found: list[float] = np.sqrt(squares / len(places.at)).tolist()
    return found


def _squares(places: Places, later: Sketch, earlier: np.ndarray, scale: float, scales: Array) -> tuple[Array, Array]:
    """Return the sums over the voxels of the squared differences (J), and what the later one's fields leave of them.

    `earlier` (J, voxels); `scale` and `scales` (J) are what values and gradients are multiplied by first.
    """
    planes = int(np.prod(places.shape[:-2], dtype=int))
    fields_of_plane = 5 if places.name == "objp" else 3
    of_fields = np.zeros((planes, fields_of_plane, fields_of_plane))
    with_changes = np.zeros((planes, fields_of_plane, len(earlier)))
    squares = np.zeros(len(earlier))
    for plane, part in _pieces(places):
        changes = scale * later.values[part].astype(np.float64) - scales[:, None] * earlier[:, part]
        fields = _fields(places, later, part, scale)
        squares += np.einsum("jv,jv->j", changes, changes)
        of_fields[plane] += fields @ fields.T
        with_changes[plane] += fields @ changes.T
    ties = equal_sums(*places.shape[:2]) if places.name == "obja" else None
    explained = fit_planes(of_fields, with_changes, ties)[2]
    return squares, np.maximum(squares - explained, 0) * (squares > 0)


def _fields(places: Places, later: Sketch, part: slice, scale: float) -> Array:
    """Return the fields (field, voxels) on a part of the voxels, a plane's own field first."""
    values = later.values[part].astype(np.float64)
    own = {"objp": np.ones_like(values), "obja": 1 - values, "probe": np.zeros_like(values)}[places.name]
    fields = [own, *(scale * later.gradients[axis, part].astype(np.float64) for axis in (0, 1))]
    if places.name == "objp":
        fields += list(places.ramps(part))
    return np.stack(fields)


def _pieces(places: Places) -> Iterator[tuple[int, slice]]:
    """Cut the sketched voxels into parts of a single plane each."""
    height, width = places.shape[-2:]
    plane_of = places.at // (height * width)
    ends = np.searchsorted(plane_of, np.arange(plane_of[-1] + 1), side="right").tolist()
    for plane, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
        for start in range(first, end, VOXELS):
            yield plane, slice(start, min(start + VOXELS, end))
