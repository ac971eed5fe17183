"""The distances between all snapshots of a tensor, raw and aligned, from their sketches. With numpy, in float64.

The aligned distance between two snapshots is the residual of their difference after a fit by the later one's fields, as
for the aligned change, but on the sketched voxels. Formulas: docs/metrics.md.
"""

from collections.abc import Iterator

import numpy as np

from ptyconv_cli.metrics.projection import Array, equal_sums, fit_planes
from ptyconv_cli.metrics.sketch import Places, Sketch
from ptyconv_cli.results.series import SERIES
from ptyconv_cli.results.trajectory import Trajectory, Triangle

VOXELS, SNAPSHOTS = 1 << 12, 64
"""Worked on at a time, so that memory does not grow with the square of the number of snapshots."""

SAME = 1e-13
"""A squared distance below this fraction of the two from the reference is rounding of float32 numbers."""


@np.errstate(all="ignore")  # a distance from values that are not finite is NaN
def trajectory(places: Places, sketches: list[Sketch], niters: list[int], dx: float) -> Trajectory:
    """Return the RMS distances between snapshots: in rad, in Å (`dx` Å per px), or dimensionless.

    Raw intensities are in units of the last snapshot's mean intensity, aligned ones each in units of its own.
    """
    if places.name == "probe_pos_shifts":
        positions = dx * np.stack([sketch.values for sketch in sketches]).astype(np.float64)
        raw, aligned = (_of_positions(moved) for moved in (positions, positions - positions.mean(1, keepdims=True)))
    else:
        raw, aligned = _of_voxels(places, sketches)
    unit = next(series.unit for series in SERIES if series.tensor == places.name)
    unit = "mean intensities" if places.name == "probe" else unit
    return Trajectory(niters, unit, len(places.at), places.all_voxels, _triangle(raw), _triangle(aligned))


def _triangle(distances: Array) -> Triangle:
    return [of_one[:k] for k, of_one in enumerate(distances.tolist())]


def _of_positions(positions: Array) -> Array:
    """Return the RMS distances (K, K) of positions (K, N, 2)."""
    return np.sqrt([np.square(positions - one).sum(-1).mean(-1) for one in positions])


def _of_voxels(places: Places, sketches: list[Sketch]) -> tuple[Array, Array]:
    """Return the raw and the aligned RMS distances (K, K) of K sketches."""
    raw_scales = scales = np.ones(len(sketches))
    if places.name == "probe":
        means = np.array([sketch.total for sketch in sketches]) / places.all_voxels
        means[means == 0] = 1  # a probe of zeros stays one
        raw_scales, scales = np.full_like(means, 1 / means[-1]), 1 / means
    raw = _squares(_Values(sketches, raw_scales), places)
    values = _Values(sketches, scales)
    left = raw if places.name != "probe" else _squares(values, places)
    left = np.maximum(left - _explained(values, places), 0) * (left > 0)
    return np.sqrt(raw / len(places.at)), np.sqrt(left / len(places.at))


class _Values:
    """The values and gradients of sketches, each multiplied by its scale, in float64.

    Values are relative to one reference snapshot, so that little precision is lost where squares are subtracted.
    """

    def __init__(self, sketches: list[Sketch], scales: Array) -> None:
        self.sketches, self.scales = sketches, scales[:, None]
        finite = [k for k, sketch in enumerate(sketches) if np.isfinite(sketch.values).all()]
        self._reference = (finite or [-1])[-1]

    def __len__(self) -> int:
        return len(self.sketches)

    def changes(self, part: slice) -> Array:
        """Return the values (K, voxels) of a part of the voxels, minus those of the reference."""
        values = self.scales * np.array([sketch.values[part] for sketch in self.sketches], np.float64)
        return np.asarray(values - values[self._reference])

    def fields(self, places: Places, part: slice, some: slice) -> Array:
        """Return the fields (snapshots, field, voxels) on a part of the voxels, the plane's own field first."""
        sketches, name = self.sketches[some], places.name
        values = np.array([sketch.values[part] for sketch in sketches], np.float64)
        own = {"objp": np.ones_like(values), "obja": 1 - values, "probe": np.zeros_like(values)}[name]
        fields = [own, *(self.scales[some] * [sketch.gradients[axis, part] for sketch in sketches] for axis in (0, 1))]
        if name == "objp":
            fields += [np.broadcast_to(ramp, own.shape) for ramp in places.ramps(part)]
        return np.stack(fields, 1)


def _squares(values: _Values, places: Places) -> Array:
    """Return the sums over the voxels of the squared differences between all snapshots (K, K)."""
    products = np.zeros((len(values),) * 2)
    for _, part in _pieces(places):
        changes = values.changes(part)
        products += changes @ changes.T
    own = np.diag(products)
    both = own[:, None] + own
    squares = both - 2 * products
    return np.where(squares < SAME * both, 0, squares)


def _explained(values: _Values, places: Places) -> Array:
    """Return how much of those squares the fields of the row's snapshot explain (K, K)."""
    count = len(values)
    planes = int(np.prod(places.shape[:-2], dtype=int))
    ties = equal_sums(*places.shape[:2]) if places.name == "obja" else None
    explained = np.zeros((count, count))
    for start in range(0, count, SNAPSHOTS):
        some = slice(start, min(start + SNAPSHOTS, count))
        snapshots, fields_of_plane = some.stop - start, 5 if places.name == "objp" else 3
        of_fields = np.zeros((planes, snapshots, fields_of_plane, fields_of_plane))
        with_changes = np.zeros((planes, snapshots, fields_of_plane, count))
        for plane, part in _pieces(places):
            changes, fields = values.changes(part), values.fields(places, part, some)
            of_fields[plane] += fields @ fields.transpose(0, 2, 1)
            # One product of two large matrices is many times faster than one for each snapshot.
            with_changes[plane] += (fields.reshape(-1, fields.shape[-1]) @ changes.T).reshape(*fields.shape[:2], -1)
        for k in range(some.start, some.stop):
            products, right = of_fields[:, k - start], with_changes[:, k - start]
            explained[k] = fit_planes(products, right[..., [k]] - right, ties)[2]
    return explained


def _pieces(places: Places) -> Iterator[tuple[int, slice]]:
    """Cut the sketched voxels into parts of a single plane each."""
    height, width = places.shape[-2:]
    plane_of = places.at // (height * width)
    ends = np.searchsorted(plane_of, np.arange(plane_of[-1] + 1), side="right").tolist()
    for plane, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
        for start in range(first, end, VOXELS):
            yield plane, slice(start, min(start + VOXELS, end))
