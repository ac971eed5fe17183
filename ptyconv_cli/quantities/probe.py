"""The probe: its intensity, summed over its modes. Formulas: docs/metrics.md and docs/verdict.md."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ptyconv_cli.quantities.quantity import INTENSITY, Quantity
from ptyconv_cli.results.run_analysis import Change, Region

if TYPE_CHECKING:
    from ptyconv_cli.metrics.arrays import Array
    from ptyconv_cli.metrics.sketch import Distances, Places, Sketch, Values


class Probe(Quantity):
    """Complex (pmode, y, x) in files, intensity (y, x) where it is compared. Ambiguities: its total, and a shift."""

    key = "probe"
    label = "probe"
    series_label = "probe intensity"
    rate_label = "lr probe"
    of = "of its intensity"
    axes = ("pmode", "y", "x")
    is_complex = True
    has_total = True
    drawn_as = INTENSITY
    distance_unit = "mean intensities"
    image_title = "Probe intensity"
    page_shares = (8, 12)

    def of_model(self, model: Any) -> Any:
        """Return the probe of a live model."""
        return model.get_complex_probe_view()

    def copied(self, array: "Array") -> "Array":
        """Return its intensity."""
        return self.prepared(array)

    def prepared(self, array: "Array") -> "Array":
        """Return its intensity."""
        from ptyconv_cli.metrics.snapshot import intensity

        return intensity(array)

    def shape_compared(self, shape: Sequence[int], region: Region) -> tuple[int, ...]:
        """Return the shape (y, x)."""
        return tuple(shape[-2:])

    def changed(
        self,
        now: "Array",
        before: "Array",
        dx: float,
        percentile_range: tuple[float, float],
        aligned: bool,
        chunk: int | None,
    ) -> dict[str, Change]:
        """Return sum |I_k - I_(k-1)| / (sum I_(k-1) + 1e-8); NaN, for 0 / 0, where neither has any intensity."""
        from ptyconv_cli.metrics.aligned import align_probe
        from ptyconv_cli.metrics.arrays import namespace, numbers, total

        sums = [total(namespace(now).abs(now - before)), total(before)]
        if not aligned:
            return {self.key: Change(_relative(*numbers(sums)))}
        left, removed = align_probe(now, before, dx)
        *whole, aligned_change = numbers([*sums, total(namespace(left).abs(left))])
        return {self.key: Change(_relative(*whole), aligned=aligned_change, removed=removed)}

    def too_few_to_align(self, shape: Sequence[int]) -> bool:
        """Say whether it is a single pixel: the total is removed."""
        return math.prod(shape) <= 1

    def contrast(self, values: "Array") -> float:
        """Return the RMS of its intensity divided by its mean, NaN where there is none."""
        from ptyconv_cli.metrics.arrays import namespace, numbers, precise

        xp = namespace(values)
        intensity = xp.astype(values, precise(values))
        mean, square = numbers([xp.mean(intensity), xp.mean(intensity * intensity)])
        return math.sqrt(square) / abs(mean) if mean else math.nan

    def places(self, shape: Sequence[int]) -> "Places":
        """Return pixels with their gradients, and the total of all."""
        from ptyconv_cli.metrics.sketch import Places

        return Places(tuple(shape), gradients=True, with_total=True)

    def distances_between(
        self, places: "Places", later: "Sketch", earlier: "Sequence[Values]", dx: float
    ) -> "Distances":
        """Return raw distances in units of the intensity, aligned ones in mean intensities, each in its own."""
        from ptyconv_cli.metrics.sketch import distances_of_intensities

        return distances_of_intensities(places, later, earlier)

    def scale_of_raw(self, total: float, voxels: int) -> float:
        """Return the mean intensity, NaN where there is none."""
        return total / voxels or math.nan

    def sizes(self, shape: Sequence[int]) -> dict[str, str]:
        """Return how many modes there are, and how large they are."""
        if len(shape) != 3:
            return {}
        modes, height, width = shape
        return {"probe modes": str(modes), "probe size": f"{height} × {width} px"}


def _relative(change: float, before: float) -> float:
    return change / (before + 1e-8) if change or before else math.nan  # 0 would look like a probe that has converged
