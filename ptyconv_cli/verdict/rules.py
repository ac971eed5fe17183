"""Has a series settled, and since when? Pure functions of histories. Rules: docs/verdict.md."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.results.history import Curve, Point
from ptyconv_cli.results.text import percent
from ptyconv_cli.results.verdict import SeriesVerdict
from ptyconv_cli.verdict.trend import theil_sen

FEWEST = 8
"""Finite points that a verdict needs."""

FLAT = 0.46
"""Slope of ln(change per iteration) over ln(iteration), to both sides, within which a series is flat.

A fall with the square root of the iterations, 0.5, must not pass, and half of the interval lies to each side of it.
"""

LOW = 0.1
"""Share of its peak that a settled series has fallen to."""

RECENT, DROP = 5, 0.24
"""The last points that are compared with those before, and how far (ln) below them they may be, their scatter added.

A series that was flat for long and then falls again is still flat on the whole.
"""

RISEN, RUNNING = 3.0, 3
"""Times its minimum that a series is above it, for so many points running, when it rises."""

FAR = 5.0
"""Ln of the multiple of the iterations so far beyond which nothing is foretold."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What the verdict on a series goes by, all of one segment.

    `points` of the aligned change; `learning_rates` of the tensor, empty where they are not known; `drift_ratios` of
    the tensor over `lag` snapshots, and the distances `travelled` over as many; `tolerance`: the distance that counts
    as settled, in the unit of the tensor's trajectory, None for the relative rule; `optimised`: whether the tensor was.
    """

    points: Sequence[Point]
    learning_rates: Curve = field(default_factory=list)
    drift_ratios: Curve = field(default_factory=list)
    travelled: Curve = field(default_factory=list)
    lag: int = 0
    tolerance: float | None = None
    optimised: bool = True

    def until(self, niter: int) -> "Evidence":
        """Return what was known at an iteration."""
        return replace(
            self,
            points=[point for point in self.points if point.niter <= niter],
            drift_ratios=[pair for pair in self.drift_ratios if pair[0] <= niter],
            travelled=[pair for pair in self.travelled if pair[0] <= niter],
        )


def judge(evidence: Evidence) -> SeriesVerdict:
    """Return the verdict on a series, and the iteration since which it has been the same."""
    verdict, since = _judge_now(evidence), None
    for point in reversed(evidence.points):
        if _judge_now(evidence.until(point.niter)).state != verdict.state:
            break
        since = point.niter
    return replace(verdict, since=since)


def _judge_now(evidence: Evidence) -> SeriesVerdict:
    """Return the verdict without its iteration. What has settled must have so at the snapshot before, too."""
    verdict = _judge_alone(evidence)
    if verdict.state == "settled" and _judge_alone(evidence.until(evidence.points[-2].niter)).state != "settled":
        return SeriesVerdict("insufficient", f"{verdict.reason}, but only since the last snapshot")
    return verdict


def _judge_alone(evidence: Evidence) -> SeriesVerdict:
    points = evidence.points
    if not evidence.optimised:
        return SeriesVerdict("not optimised", "the engine doesn't optimise it at this stage")
    if points and all(point.value == 0 and point.voxels != 0 for point in points):
        return SeriesVerdict("not optimised", "it didn't change at all")
    unusable = _unusable(points)
    if unusable:
        return SeriesVerdict("unusable", unusable)
    niters, changes = _per_iteration(points)
    if len(niters) < FEWEST:
        return SeriesVerdict("insufficient", f"a verdict needs {FEWEST} changes, it has {len(niters)}")
    if niters[-1] < 2 * niters[0]:
        return SeriesVerdict("insufficient", f"from iteration {niters[0]:.0f} to {niters[-1]:.0f} is no factor of 2")
    return _judge_trend(evidence, niters, changes)


def _unusable(points: Sequence[Point]) -> str:
    """Say why the last half of the points cannot be used, "" where it can."""
    recent = points[len(points) // 2 :]
    if sum(point.voxels == 0 for point in recent) > len(recent) / 2:
        return "its mask is empty: no voxel lies strictly beyond the percentile"
    broken = [not math.isfinite(point.value) for point in recent]
    if broken and (broken[-1] or sum(broken) > len(broken) / 2):
        return "its values are not finite"
    return ""


def _per_iteration(points: Sequence[Point]) -> tuple[Array, Array]:
    """Return iterations and changes per iteration, where they are known and above 0."""
    known = [(p.niter, p.value / p.interval) for p in points if p.interval and 0 < p.value < math.inf]
    niters, changes = np.array(known, np.float64).reshape(-1, 2).T
    return niters, changes


def _judge_trend(evidence: Evidence, niters: Array, changes: Array) -> SeriesVerdict:
    half = math.ceil(len(niters) / 2)
    times, logs = np.log(niters[-half:]), np.log(changes[-half:])
    slope = theil_sen(times, logs)
    level = float(np.median(changes[-max(len(changes) // 4, RUNNING) :]) / changes.max())
    if evidence.tolerance is not None and evidence.travelled:
        moved = f"it moved {evidence.travelled[-1][1]:.2g} over the last {evidence.lag} snapshots"
        if evidence.travelled[-1][1] <= evidence.tolerance:
            return SeriesVerdict("settled", f"{moved}, the tolerance is {evidence.tolerance:g}")
    if slope.low > FLAT:
        return SeriesVerdict("rising", f"its change per iteration grows (power {slope.median:.1f} of the iteration)")
    if (changes[-RUNNING:] > RISEN * changes.min()).all():
        return SeriesVerdict("rising", f"its change is {changes[-1] / changes.min():.1f} times its minimum")
    if slope.low > -FLAT and slope.high < FLAT and not _falls_again(times, logs, slope.median):
        return _judge_flat(evidence, level)
    if _follows_the_learning_rate(evidence, niters[-half:], logs):
        return SeriesVerdict("step-limited", "it changes less only because its learning rate falls")
    if slope.median < 0:
        return _improving(niters[-half:], logs, level)
    return SeriesVerdict("insufficient", "it scatters too much to tell")


def _judge_flat(evidence: Evidence, level: float) -> SeriesVerdict:
    drift = [ratio for _, ratio in evidence.drift_ratios[-RUNNING:] if math.isfinite(ratio)]
    if not drift:
        return SeriesVerdict("insufficient", "flat, but there are too few snapshots to tell jitter from travel")
    ratio, lag = float(np.median(drift)), evidence.lag
    if evidence.tolerance is not None:
        return SeriesVerdict("drifting", f"flat, and it moves more than the tolerance of {evidence.tolerance:g}")
    if ratio >= math.sqrt(lag) + 1:
        return SeriesVerdict(
            "drifting", f"its steps stay as they are and go one way (drift ratio {ratio:.1f} of {lag})"
        )
    if level > LOW:
        return SeriesVerdict("insufficient", f"flat, but still at {percent(level)} of its peak")
    return SeriesVerdict(
        "settled", f"flat at {percent(level)} of its peak, and it jitters (drift ratio {ratio:.1f} of {lag})"
    )


def _falls_again(times: Array, logs: Array, slope: float) -> bool:
    """Say whether the last points may be well below those before: their scatter counts against them."""
    before, last = logs[:-RECENT], np.sort(logs[-RECENT:])
    if len(before) < 3:
        return False
    left = logs - slope * times
    scatter = 1.4826 * np.median(np.abs(left - np.median(left)))  # as a standard deviation
    recent = last[1:-1].mean()  # without the extremes: one may be an outlier
    return bool(np.median(before) - recent + scatter >= DROP)


def _follows_the_learning_rate(evidence: Evidence, niters: Array, logs: Array) -> bool:
    """Say whether the change falls no quicker than the learning rate does, and that does fall."""
    recorded = dict(evidence.learning_rates)
    compared = {point.niter: range((point.since or 0) + 1, point.niter + 1) for point in evidence.points}
    rates = np.array([np.mean([recorded.get(n, math.nan) for n in compared[int(niter)]]) for niter in niters])
    if not (rates > 0).all() or rates[-1] > rates[0] / 2:
        return False
    return theil_sen(np.log(niters), logs - np.log(rates)).low > -FLAT


def _improving(niters: Array, logs: Array, level: float) -> SeriesVerdict:
    by_time = theil_sen(niters, logs)
    half_life = math.log(2) / -by_time.median if by_time.median < 0 else None
    reason = f"falls, at {percent(level)} of its peak"
    if half_life is None or level <= LOW:
        return SeriesVerdict("improving", reason, half_life=half_life)
    power = theil_sen(np.log(niters), logs)
    reached, earliest, latest = (
        round(niters[-1] * math.exp(math.log(level / LOW) / -slope)) if slope < -math.log(level / LOW) / FAR else None
        for slope in (power.median, power.low, power.high)
    )
    return SeriesVerdict("improving", reason, half_life=half_life, reaches=(reached, earliest, latest))
