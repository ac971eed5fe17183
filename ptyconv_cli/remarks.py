"""What a user should know before trusting the numbers."""

import math
from collections.abc import Iterable

from ptyconv_cli.history import Agreement, Point
from ptyconv_cli.series import SERIES

FAR_FROM_LIVE = 0.01
"""Beyond it the engine's record and the checkpoints cannot be of the same tensors.

Below it lie the engine's own approximations: 1e-4 from drawing 16 million voxels of larger objects, 1e-3 from the
rounding of an intensity on another device where a probe hardly changes.
"""


def remarks_on_points(points: dict[str, list[Point]]) -> list[str]:
    """Say where a mask was empty, a value is not finite, or the intervals differ."""
    found = []
    for series in SERIES:
        at = points.get(series.key, [])
        empty = [point for point in at if point.voxels == 0 and not math.isnan(point.value)]
        if empty:
            side = "below the low" if series.mask == "background" else "above the high"
            found.append(
                f"{series.key} is 0 {_where(empty, at)} because no voxel lies {side} percentile, not because nothing "
                "changed: many voxels share one value there, as they do where a constraint clips the object "
                "(obja_thresh, objp_postiv). It says nothing about convergence. Other --percentiles may help."
            )
        broken = [point for point in at if not math.isfinite(point.value)]
        if broken:
            found.append(
                f"{series.key} is not finite {_where(broken, at)}: {series.tensor} holds NaN or infinity in the "
                f"scanned region from iteration {broken[0].niter} on, or did in the checkpoint before."
            )
    intervals = {point.niter - point.since for at in points.values() for point in at if point.since is not None}
    if len(intervals) > 1:
        found.append(
            f"The checkpoints are {min(intervals)} to {max(intervals)} iterations apart. A change adds up over its "
            "interval: compare values only per iteration (ptyconv plot --per-iteration)."
        )
    return found


def remarks_on_live_record(agreement: dict[str, Agreement]) -> list[str]:
    """Say where the engine's own record is too far away to be of the same tensors."""
    far = [
        f"{key} by up to {found.max_relative_difference:.1%}"
        for key, found in agreement.items()
        if found.max_relative_difference is not None and found.max_relative_difference > FAR_FROM_LIVE
    ]
    if not far:
        return []
    return [f"The engine's live record differs ({', '.join(far)}): were the checkpoints changed or mixed with others?"]


def _where(some: Iterable[Point], all_points: list[Point]) -> str:
    niters = [point.niter for point in some]
    if len(niters) == len(all_points):
        return "throughout"
    if len(niters) == 1:
        return f"at iteration {niters[0]}"
    return f"at {len(niters)} of {len(all_points)} points, iterations {niters[0]} to {niters[-1]},"
