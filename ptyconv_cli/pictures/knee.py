"""Where a curve knees: after its first steep part, before its long tail."""

import math

from ptyconv_cli.results.history import Curve

SMALLEST_KNEE = 0.1
"""Distance from a straight line, as a share of the curve's range, below which a curve counts as straight."""


def knee(curve: Curve) -> int | None:
    """Return the iteration at which a curve is farthest from the straight line between its ends.

    Both axes are linear. A curve of fewer than three finite values, or one that is nearly straight, knees nowhere:
    None is returned.
    """
    finite = [(niter, value) for niter, value in curve if math.isfinite(value)]
    if len(finite) < 3:
        return None
    (first, start), (last, end) = finite[0], finite[-1]
    values = [value for _, value in finite]
    height = max(values) - min(values)
    away = [abs(value - start - (end - start) * (niter - first) / (last - first)) for niter, value in finite]
    if max(away) <= SMALLEST_KNEE * height:
        return None
    return finite[away.index(max(away))][0]
