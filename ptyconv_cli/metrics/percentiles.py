"""Exact means of a change over the voxels below a low and above a high percentile, in one pass over the voxels.

The two percentiles are bracketed from a small seeded sample. One pass, in chunks, sums the changes outside the brackets
and collects the voxels inside; only those are sorted, to find the percentiles and complete the sums. If a percentile
lies outside its bracket, that is widened and the pass repeated. See docs/performance.md.
"""

from torch import Tensor

from ptyconv_cli.metrics import percentiles_cpu, percentiles_gpu
from ptyconv_cli.metrics.order_statistics import MaskedMean
from ptyconv_cli.metrics.planes import Residual


def mean_change_outside(
    current: Tensor, previous: Tensor, percentile_range: tuple[float, float], residual: Residual | None = None
) -> tuple[MaskedMean, MaskedMean]:
    """Return the means of |current - previous| over voxels with current < p_low, and over those with current > p_high.

    And over the same voxels the mean |residual|, where that is given: the aligned change. `current` and `previous` are
    real tensors of one shape on one device; p_low and p_high are the percentiles of all voxels of `current` with linear
    interpolation, as `numpy.percentile` gives them in float64. Where `current` holds a NaN it has no percentiles, and
    the means are NaN. Sums are in float64, except on MPS, which has none. Formula: docs/metrics.md.
    """
    if current.dtype.itemsize < 4:  # half precision, which numpy handles slowly or not at all
        current, previous = current.float(), previous.float()
    current, previous = current.flatten(), previous.flatten()
    way = _on_cpu if current.device.type == "cpu" else _on_gpu
    return way(current, previous, percentile_range, residual)


def _on_cpu(
    current: Tensor, previous: Tensor, percentile_range: tuple[float, float], residual: Residual | None
) -> tuple[MaskedMean, MaskedMean]:
    # On a CPU, numpy compares and selects several times faster than torch.
    pieces = None if residual is None else lambda voxels: (piece.numpy() for piece in residual.pieces(voxels))
    return percentiles_cpu.mean_change_outside(current.numpy(), previous.numpy(), percentile_range, pieces)


def _on_gpu(
    current: Tensor, previous: Tensor, percentile_range: tuple[float, float], residual: Residual | None
) -> tuple[MaskedMean, MaskedMean]:
    whole = None if residual is None else residual.whole().flatten()
    return percentiles_gpu.mean_change_outside(current, previous, percentile_range, whole)
