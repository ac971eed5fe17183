"""The probe: its intensity, summed over its modes. Formulas: docs/metrics.md and docs/verdict.md."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptyconv_cli.quantities.quantity import AS_MUCH, INTENSITY, Quantity
from ptyconv_cli.results.run_analysis import Change, Region, RemovedAmbiguities

if TYPE_CHECKING:
    from ptyconv_cli.metrics.arrays import Array
    from ptyconv_cli.metrics.sketch import Distances, Places, Sketch, Values
    from ptyconv_cli.metrics.snapshot import Pair


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
    forecast = AS_MUCH
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

    def changed(self, pair: "Pair") -> dict[str, Change]:
        """Return sum |I_k - I_(k-1)| / (sum I_(k-1) + 1e-8); NaN, for 0 / 0, where neither has any intensity."""
        from ptyconv_cli.metrics.aligned import align_probe
        from ptyconv_cli.metrics.arrays import namespace, numbers, total

        now, before = pair.now, pair.before
        sums = [total(namespace(now).abs(now - before)), total(before)]
        if not pair.in_frame:
            return {self.key: Change(_relative(*numbers(sums)))}
        left, removed = align_probe(*pair.in_frame, pair.dx)
        *whole, aligned_change = numbers([*sums, total(namespace(left).abs(left))])
        if any(pair.undone.probe):
            removed = _whole(removed, pair, left)
        return {self.key: Change(_relative(*whole), aligned=aligned_change, removed=removed)}

    def too_few_to_align(self, shape: Sequence[int]) -> bool:
        """Say whether it is a single pixel: the total is removed."""
        return math.prod(shape) <= 1

    def moments(self, values: "Array") -> "list[Array]":
        """Return the means of its intensity, and of that squared."""
        from ptyconv_cli.metrics.arrays import namespace, precise

        xp = namespace(values)
        intensity = xp.astype(values, precise(values))
        return [xp.mean(intensity), xp.mean(intensity * intensity)]

    def contrast_of(self, values: "Array", moments: Sequence[float]) -> float:
        """Return the RMS of its intensity divided by its mean, NaN where there is none."""
        mean, square = moments
        return math.sqrt(square) / abs(mean) if mean else math.nan

    def strength(self, places: "Places", sketch: "Sketch") -> float:
        """Return the total intensity."""
        return sketch.total

    def size_in_frame(self, rms: float, mean: float, dx: float) -> float:
        """Return it in mean intensities."""
        return rms / mean if mean else math.nan

    def places(self, shape: Sequence[int], lit: Any = None) -> "Places":
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


def _whole(removed: RemovedAmbiguities, pair: "Pair", left: "Array") -> RemovedAmbiguities:
    """Return what was removed with the shift that had been undone before."""
    from ptyconv_cli.metrics.arrays import rms, total

    change = rms(pair.now - pair.before) / float(total(pair.before))
    share = 1 - rms(left) / change if change else 0.0
    y, x = (part + pair.dx * other for part, other in zip(removed.shift or (0.0, 0.0), pair.undone.probe, strict=True))
    return replace(removed, share=share if math.isnan(share) else max(share, 0.0), shift=(y, x))
