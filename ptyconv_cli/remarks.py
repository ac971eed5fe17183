"""What a user should know before trusting the numbers."""

import math
from collections.abc import Iterable

from ptyconv_cli.agreement import FAR
from ptyconv_cli.history import Agreement, Point
from ptyconv_cli.series import SERIES, Series


def remarks_on_points(points: dict[str, list[Point]], percentile_range: tuple[float, float]) -> list[str]:
    """Say where a mask was empty, a value is not finite, or the intervals differ."""
    found = []
    for series in SERIES:
        at = points.get(series.key, [])
        empty = [point for point in at if point.voxels == 0]
        if empty:
            found.append(f"{series.key} is 0 {_where(empty, at)} {_why_empty(series, percentile_range)}")
        broken = [point for point in at if not math.isfinite(point.value)]
        if broken:
            found.append(
                f"{series.key} is not finite {_where(broken, at)}; {series.tensor} holds NaN or infinity in the "
                f"scanned region from iteration {broken[0].niter} on, or did in the checkpoint before."
            )
    intervals = {point.interval for at in points.values() for point in at if point.interval is not None}
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
        if found.max_relative_difference is not None and found.max_relative_difference > FAR
    ]
    if not far:
        return []
    return [f"The engine's live record differs ({', '.join(far)}): were the checkpoints changed or mixed with others?"]


def _why_empty(series: Series, percentile_range: tuple[float, float]) -> str:
    below = series.mask == "background"
    percentile = percentile_range[0] if below else percentile_range[1]
    if percentile == (0 if below else 100):
        return f"because no voxel can lie {'below' if below else 'above'} percentile {percentile:g}."
    return (
        f"because its mask is empty: no voxel lies strictly {'below' if below else 'above'} percentile {percentile:g}. "
        "So it is where many voxels share one value, as where a constraint clips the object (obja_thresh, "
        "objp_postiv) or where it is constant. This 0 says nothing about convergence; other --percentiles may help."
    )


def _where(some: Iterable[Point], all_points: list[Point]) -> str:
    niters = [point.niter for point in some]
    if len(niters) == len(all_points):
        return "throughout"
    if len(niters) == 1:
        return f"at iteration {niters[0]}"
    return f"at {len(niters)} of {len(all_points)} points, iterations {niters[0]} to {niters[-1]}"
