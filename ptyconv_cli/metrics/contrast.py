"""What a snapshot itself holds, over the whole scanned region: the measure for how much it changed.

Formulas: docs/verdict.md.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ptyconv_cli.metrics.device import precise
from ptyconv_cli.results.series import OF_OBJECT


def contrasts(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the contrast by tensor, of a snapshot's values (see `snapshot.Snapshot`); positions have none.

    Of the object that of its complex transmission, the same for phase and amplitude: √(Cp² + Ca²), in rad. Of the probe
    the RMS of its intensity divided by its mean. NaN where a value is not finite.
    """
    square = sum(_square(name, values[name]) for name in OF_OBJECT if name in values)
    found = {name: math.sqrt(square) for name in OF_OBJECT if name in values}
    if "probe" in values:
        intensity = values["probe"].to(precise(values["probe"].device))
        mean = intensity.mean()
        found["probe"] = float((intensity / mean).square().mean().sqrt())
    return found


def _square(name: str, tensor: Tensor) -> float:
    """Return the mean square of an object tensor (omode, slice, y, x), less its mean on each slice.

    Of the phase a ramp in y and one in x on the first slice is left out, too, the same for all object modes.
    """
    omodes, _, height, width = tensor.shape
    dtype = precise(tensor.device)
    y, x = (torch.arange(size, dtype=dtype, device=tensor.device) - (size - 1) / 2 for size in (height, width))
    square = torch.zeros((), dtype=dtype, device=tensor.device)
    along_y, along_x = torch.zeros_like(square), torch.zeros_like(square)
    for planes in tensor:
        for level, plane in enumerate(planes):
            left = plane.to(dtype) - plane.mean(dtype=dtype)
            square += left.square().sum()
            if name == "objp" and level == 0:
                along_y, along_x = along_y + left.sum(1) @ y, along_x + left.sum(0) @ x
    if name == "objp":  # ramps on a plane without its mean are orthogonal to each other and to that
        for along, size in ((along_y, width * y.square().sum()), (along_x, height * x.square().sum())):
            square -= along.square() / (omodes * size).clamp(min=1)
    return max(float(square), 0.0) / tensor.numel() if not math.isnan(float(square)) else math.nan
