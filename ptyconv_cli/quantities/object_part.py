"""What amplitude and phase of the object have in common. Formulas: docs/metrics.md and docs/verdict.md."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptyconv_cli.quantities.quantity import IMAGES, Quantity, Series
from ptyconv_cli.results.run_analysis import Change

if TYPE_CHECKING:
    from ptyconv_cli.metrics.arrays import Array
    from ptyconv_cli.metrics.sketch import Distances, Places, Sketch, Values


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

    def changed(
        self,
        now: "Array",
        before: "Array",
        dx: float,
        percentile_range: tuple[float, float],
        aligned: bool,
        chunk: int | None,
    ) -> dict[str, Change]:
        """Return the mean change of background and foreground."""
        from ptyconv_cli.metrics.aligned import align_object
        from ptyconv_cli.metrics.percentiles import mean_change_outside

        left, removed = align_object(self.own, now, before, dx, chunk) if aligned else (None, None)
        both = mean_change_outside(now, before, percentile_range, left, chunk)
        return {series.key: Change(*found, removed) for series, found in zip(self.series, both, strict=True)}

    def too_few_to_align(self, shape: Sequence[int]) -> bool:
        """Say whether there are so few voxels that the fields of the ambiguities explain any change."""
        omodes, slices, height, width = shape
        if height * width == 1:  # which has no contrast either, by which a change could be measured
            return True
        if math.prod(shape) > omodes * slices + 4:  # a field for each plane, two ramps and a shift
            return False
        from ptyconv_cli.metrics.aligned import explain_any_change  # of ordinary runs it is not needed

        return explain_any_change(self.own, shape)

    def mean_square(self, values: "Array") -> float:
        """Return the mean square of its values, less their mean on each slice, and a phase's ramp."""
        from ptyconv_cli.metrics.planes import mean_square

        return mean_square(self.own, values)

    def contrast(self, values: "Array") -> float:
        """Return its own share of the object's contrast; see `quantities.snapshots.contrasts`."""
        return math.sqrt(self.mean_square(values))

    def places(self, shape: Sequence[int]) -> "Places":
        """Return voxels with their gradients."""
        from ptyconv_cli.metrics.sketch import Places

        return Places(tuple(shape), gradients=True)

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
