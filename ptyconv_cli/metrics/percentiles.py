"""Exact means of a change over the voxels below a low and above a high percentile, in one pass over the voxels.

The two percentiles are bracketed from a small seeded sample. One pass, in chunks, sums the changes outside the brackets
and collects the voxels inside; only those are sorted, to find the percentiles and complete the sums. If a percentile
lies outside its bracket, that is widened and the pass repeated. See docs/performance.md.
"""

from functools import partial

from ptyconv_cli.metrics.arrays import Array, in_single, is_numpy
from ptyconv_cli.metrics.order_statistics import MaskedMean
from ptyconv_cli.metrics.planes import Residual


def mean_change_outside(
    current: Array,
    previous: Array,
    percentile_range: tuple[float, float],
    residual: Residual | None = None,
    chunk: int | None = None,
) -> tuple[MaskedMean, MaskedMean]:
    """Return the means of |current - previous| over voxels with current < p_low, and over those with current > p_high.

    And over the same voxels the mean |residual|, where that is given: the aligned change. `current` and `previous` are
    real arrays of one shape on one device; p_low and p_high are the percentiles of all voxels of `current` with linear
    interpolation, as `numpy.percentile` gives them in float64. Where `current` holds a NaN it has no percentiles, and
    the means are NaN. Sums are in float64. `chunk`: about how many voxels are worked on at a time. Formula:
    docs/metrics.md.
    """
    current, previous = (in_single(array).reshape(-1) for array in (current, previous))
    if is_numpy(current):
        from ptyconv_cli.metrics import percentiles_cpu, planes_cpu

        pieces = None if residual is None else partial(planes_cpu.pieces, residual)
        return percentiles_cpu.mean_change_outside(current, previous, percentile_range, pieces, chunk)
    from ptyconv_cli.metrics import percentiles_gpu, planes_gpu

    if residual is None:
        raw = percentiles_gpu.RawChanges(current, previous)
        return percentiles_gpu.mean_change_outside(current, raw, percentile_range, chunk=chunk)
    aligned = planes_gpu.AlignedChanges(residual)
    return percentiles_gpu.mean_change_outside(current, aligned, percentile_range, residual.sample, chunk)
