"""The aligned change: a change after removing the ambiguities that the data cannot constrain. Pure functions.

To first order each ambiguity of ptychography adds a known field to the change from one snapshot to the next. Every
function here fits those fields to the change by least squares, and returns the residual and the ambiguities removed.
Formulas: docs/metrics.md.
"""

import math

import numpy as np
import torch
from torch import Tensor

from ptyconv_cli.metrics.device import precise
from ptyconv_cli.metrics.planes import CHANGE, GRADIENT_X, GRADIENT_Y, OWN, RAMP_X, RAMP_Y, Planes, Residual, products
from ptyconv_cli.metrics.projection import Array, equal_sums, fit, fit_planes
from ptyconv_cli.results.run_analysis import RemovedAmbiguities


def align_object(name: str, current: Tensor, previous: Tensor, dx: float) -> tuple[Residual, RemovedAmbiguities]:
    """Align the change of `obja`, as 1 - amplitude, or of `objp` in rad, both (omode, slice, y, x); `dx` in Å per px.

    Both lose a lateral shift that is common to all slices; the phase also loses a constant per slice and a linear ramp
    on the first slice; the amplitude a factor per slice, whose product over the slices is the same for every object
    mode.
    """
    omodes, slices, *place = current.shape
    if current.dtype.itemsize < 4:
        current, previous = current.float(), previous.float()
    planes = Planes(name, current.reshape(-1, *place), previous.reshape(-1, *place), slices)
    common = [GRADIENT_Y, GRADIENT_X, *([RAMP_Y, RAMP_X] if name == "objp" else [])]
    sums = products(planes)
    of_fields = sums[:, [OWN, *common]]
    ties = equal_sums(omodes, slices) if name == "obja" else None
    own, shared, explained = fit_planes(of_fields[:, :, [OWN, *common]], of_fields[:, :, [CHANGE]], ties)
    factors = dict(zip(common, shared[:, 0].tolist(), strict=True))
    left = Residual(planes, own[:, 0], factors)
    square = sums[:, CHANGE, CHANGE].sum()
    share, shift = _share(square - explained[0], square), _shift(2 * shared[:2, 0], dx)  # 2: of twice the gradients
    per_slice = own.reshape(omodes, slices)
    if name == "obja":  # whose change is minus that of the amplitude
        return left, RemovedAmbiguities(share, shift, scale=(-per_slice).tolist())
    ramp = (factors[RAMP_Y] / dx, factors[RAMP_X] / dx)
    return left, RemovedAmbiguities(share, shift, offset=per_slice.tolist(), ramp=ramp)


def align_probe(current: Tensor, previous: Tensor, dx: float) -> tuple[Tensor, RemovedAmbiguities]:
    """Align the change of the probe intensity (y, x): normalize both intensities, and remove a lateral shift.

    The residual is that of intensities whose total is 1; NaN where one has no intensity. `dx`: pixel size in Å.
    """
    dtype = precise(current.device)
    current, previous = current.to(dtype), previous.to(dtype)
    totals = torch.stack([current.sum(), previous.sum()])
    total, total_before = totals
    now = current / total
    change, whole = now - previous / total_before, (current - previous) / total_before
    gradients = [
        torch.gradient(now, dim=axis)[0] if size > 1 else torch.zeros_like(now) for axis, size in enumerate(now.shape)
    ]
    rows = torch.stack([*gradients, change, whole]).flatten(1)
    numbers = torch.cat([(rows @ rows.T).flatten(), totals]).tolist()  # together: a GPU is waited for once
    sums = np.reshape(numbers[:16], (4, 4))
    factors = fit(sums[:2, :2], sums[:2, 2:3])[:, 0]
    left = change - float(factors[0]) * gradients[0] - float(factors[1]) * gradients[1]
    share = _share(sums[2, 2] - factors @ sums[:2, 2], sums[3, 3])
    scale = numbers[16] / numbers[17] - 1 if numbers[17] else math.nan
    return left, RemovedAmbiguities(share, _shift(factors, dx), scale=[[scale]])


def align_positions(current: Tensor, previous: Tensor, dx: float) -> tuple[Tensor, RemovedAmbiguities]:
    """Align the change of positions (N, 2) in px, y first: remove the mean displacement; `dx` in Å per px."""
    change = (current - previous).to(precise(current.device))
    mean = change.mean(0)
    left = change - mean
    numbers = torch.cat([mean, left.square().sum()[None], change.square().sum()[None]]).tolist()
    return left, RemovedAmbiguities(_share(*numbers[2:]), (dx * numbers[0], dx * numbers[1]))


def _shift(of_gradients: Array, dx: float) -> tuple[float, float]:
    """Return the shift (y, x) in Å from the coefficients of the gradients: a shift s is a change -s · gradient."""
    y, x = (-dx * of_gradients).tolist()
    return y, x


def _share(square_left: float, square: float) -> float:
    """Return the fraction of the change's norm that was removed, from the squared norms after and before."""
    if square == 0:
        return 0.0
    share = 1 - math.sqrt(max(square_left, 0.0) / square)
    return share if math.isnan(share) else max(share, 0.0)
