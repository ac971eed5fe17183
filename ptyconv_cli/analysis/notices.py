"""What a user should know before trusting the numbers."""

from collections.abc import Iterable

from ptyconv_cli.analysis.agreement import FAR
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.run_analysis import Agreement, LeftOut, RunBoundary
from ptyconv_cli.results.series import SERIES, Series


def notices_on_points(points: dict[str, list[Point]], percentile_range: tuple[float, float]) -> list[str]:
    """Say where a mask was empty, or the intervals differ."""
    found = []
    for series in SERIES:
        at = points.get(series.key, [])
        empty = [point for point in at if point.voxels == 0]
        if empty:
            found.append(f"{series.key} is 0 {_where(empty, at)} {_why_empty(series, percentile_range)}")
    intervals = {point.interval for at in points.values() for point in at if point.interval is not None}
    if len(intervals) > 1:
        found.append(
            f"The checkpoints are {min(intervals)} to {max(intervals)} iterations apart. A change adds up over its "
            "interval: compare values only per iteration (ptyconv plot --per-iteration)."
        )
    return found


def notices_on_boundaries(boundaries: list[RunBoundary]) -> list[str]:
    """Say across which boundaries nothing is compared."""
    return [
        f"After iteration {begin.niter} {begin.what}, and {begin.difference}: no change is computed across that."
        for begin in boundaries
        if begin.difference
    ]


def notices_on_not_finite(not_finite: dict[str, list[int]], niters: list[int]) -> list[str]:
    """Say from which iteration on, of the analyzed ones, a tensor held NaN or infinity."""
    found = []
    for tensor, bad in not_finite.items():
        if not bad:
            found.append(f"{tensor} changed by more than its numbers can say: the values are null in the JSON.")
            continue
        where = f"at {'iteration' if len(bad) == 1 else 'iterations'} {', '.join(map(str, bad))}"
        if bad == niters[-len(bad) :]:
            where = f"from iteration {bad[0]} on"
        found.append(
            f"{tensor} holds NaN or infinity in the scanned region {where}: how much it changed, to and from there, is "
            "not known (null in the JSON)."
        )
    return found


def notices_on_left_out(left_out: list[LeftOut], points: dict[str, list[Point]]) -> list[str]:
    """Say which files were left out, and which interval became wider by it."""
    found = []
    for file in left_out:
        wider = (
            f" The change at iteration {point.niter} is since iteration {point.since}."
            for point in next(iter(points.values()), [])
            if point.since is not None and file.niter is not None and point.since < file.niter < point.niter
        )
        found.append(f"{file.file} was left out: {file.reason}.{next(wider, '')}")
    return found


def notices_on_live_record(agreement: dict[str, Agreement]) -> list[str]:
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
