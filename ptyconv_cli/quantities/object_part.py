"""What amplitude and phase of the object have in common. Formulas: docs/metrics.md and docs/verdict.md."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptyconv_cli.quantities.quantity import IMAGES, Quantity, Series
from ptyconv_cli.results.run_analysis import Change, RemovedAmbiguities

if TYPE_CHECKING:
    from ptyconv_cli.metrics.arrays import Array
    from ptyconv_cli.metrics.framed import Framed
    from ptyconv_cli.metrics.sketch import Distances, Places, Sketch, Values
    from ptyconv_cli.metrics.snapshot import Pair
    from ptyconv_cli.results.frame import Undone


class ObjectPart(Quantity):
    """A part of the object's transmission, (omode, slice, y, x), compared in the scanned region."""

    axes = ("omode", "slice", "y", "x")
    is_object = True
    of = "of the object's contrast"
    drawn_as = IMAGES
    in_first_row = True

    @property
    def series(self) -> tuple[Series, ...]:
        """Background and foreground."""
        return tuple(
            Series(f"{self.key}_{mask[0]}g", self.key, f"{self.label}, {mask}", self.series_unit, mask)
            for mask in ("background", "foreground")
        )

    def changed(self, pair: "Pair") -> dict[str, Change]:
        """Return the mean change of background and foreground."""
        from ptyconv_cli.metrics.percentiles import mean_change_outside

        if pair.in_frame:
            return self._aligned(pair)
        both = mean_change_outside(pair.now, pair.before, pair.percentile_range, None, pair.chunk)
        return {series.key: Change(*found) for series, found in zip(self.series, both, strict=True)}

    def _aligned(self, pair: "Pair") -> dict[str, Change]:
        """Return the changes, and the aligned ones: of what is lit, in masks of the values in the frame of the run."""
        from ptyconv_cli.metrics.aligned import align_object
        from ptyconv_cli.metrics.arrays import square_of_change
        from ptyconv_cli.metrics.percentiles import mean_change_outside, mean_left_outside, same_masks

        assert pair.in_frame is not None
        now, before = pair.in_frame
        as_in_files = now.values is pair.now and before.values is pair.before
        square = None
        if not as_in_files:
            square = square_of_change(pair.now, pair.before) / math.prod(pair.now.shape) * now.voxels
        left, removed = align_object(now, before, pair.dx, pair.chunk, square)
        removed = _whole(removed, pair.undone, pair.dx)
        percentiles, chunk = pair.percentile_range, pair.chunk
        if as_in_files and same_masks(now):
            both = mean_change_outside(pair.now, pair.before, percentiles, left, chunk)
            return {
                series.key: Change(*found, removed, found.voxels)
                for series, found in zip(self.series, both, strict=True)
            }
        sample = left.sample if now.values is pair.now else None
        raw = mean_change_outside(pair.now, pair.before, percentiles, None, chunk, sample)
        aligned = mean_left_outside(now, left, percentiles, chunk)
        return {
            series.key: Change(of_raw.mean, of_raw.voxels, of_left.mean, removed, of_left.voxels)
            for series, of_raw, of_left in zip(self.series, raw, aligned, strict=True)
        }

    def framed(self, values: "Array", in_frame: Any = None, lit: Any = None) -> Any:
        """Return it as it is in the frame of the run, with what the scan lit."""
        from ptyconv_cli.metrics.framed import Framed

        return Framed(self.own, values, lit) if in_frame is None else in_frame

    def too_few_to_align(self, shape: Sequence[int]) -> bool:
        """Say whether there are so few voxels that the fields of the ambiguities explain any change."""
        omodes, slices, height, width = shape
        if height * width == 1:  # which has no contrast either, by which a change could be measured
            return True
        if math.prod(shape) > omodes * slices + 4:  # a field for each plane, two ramps and a shift
            return False
        from ptyconv_cli.metrics.aligned import explain_any_change  # of ordinary runs it is not needed

        return explain_any_change(self.own, shape)

    def moments(self, values: "Framed") -> "list[Array]":
        """Return the sum of squares of each plane, in its own unit."""
        return values.squares()

    def contrast_of(self, values: "Framed", moments: Sequence[float]) -> float:
        """Return its own share of the object's contrast; see `quantities.snapshots.contrasts`."""
        return math.sqrt(values.mean_of(moments))

    def places(self, shape: Sequence[int], lit: Any = None) -> "Places":
        """Return lit voxels with their gradients."""
        from ptyconv_cli.metrics.sketch import Places

        return Places(tuple(shape), gradients=True, lit=lit)

    def distances_between(
        self, places: "Places", later: "Sketch", earlier: "Sequence[Values]", dx: float
    ) -> "Distances":
        """Return the distances, in rad or dimensionless, without what the later snapshot's fields explain."""
        from ptyconv_cli.metrics.sketch import distances_of_planes

        return distances_of_planes(places, later, earlier, self.own)

    def sizes(self, shape: Sequence[int]) -> dict[str, str]:
        """Return how many modes and slices there are, and how large they are."""
        if len(shape) != 4:
            return {}
        modes, slices, height, width = shape
        return {"slices": str(slices), "object modes": str(modes), "object size": f"{height} × {width} px"}


def _whole(removed: RemovedAmbiguities, undone: "Undone", dx: float) -> RemovedAmbiguities:
    """Return what was removed with what had been undone before; `dx` in Å per px."""
    y, x = removed.shift or (0.0, 0.0)
    found = replace(removed, shift=(y + dx * undone.shift[0], x + dx * undone.shift[1]))
    if undone.order:
        found = replace(found, order=list(undone.order))
    if removed.ramp is not None:
        found = replace(found, ramp=(removed.ramp[0] + undone.ramp[0] / dx, removed.ramp[1] + undone.ramp[1] / dx))
    if not undone.offset or removed.offset is None:
        return found
    offset = [
        [one + other for one, other in zip(*of_mode, strict=True)]
        for of_mode in zip(removed.offset, undone.offset, strict=True)
    ]
    return replace(found, offset=offset)
