"""Has a quantity converged? Pure functions of its changes per doubling. Rules: docs/verdict.md."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ptyconv_cli.results.doublings import Doubling
from ptyconv_cli.results.history import Curve
from ptyconv_cli.verdict.segments import NEAR

STATES = (
    "broken",
    "drifting",
    "jittering",
    "step-limited",
    "converging",
    "insufficient",
    "converged",
    "not optimised",
)
"""From the worst on."""

LESS = 0.8
"""Of the change of the doubling before: a doubling that brings less than this is converging."""

FLAT = 0.15
"""Slope of ln(distance to the last) over ln(iterations before it) below which checkpoints scatter about a point."""

RATE_FELL = 2.0
"""Factor by which a learning rate must fall over a doubling to be what limits the change."""

FARTHEST = 64
"""Multiple of the iterations so far beyond which nothing is foretold."""


@dataclass(frozen=True)
class Evidence:
    """What the verdict on one quantity goes by, all of its last segment, which begins after iteration `begin`.

    `points`: the changes per doubling, in order; `to_last`: by iteration, how far checkpoints are from the last one,
    `niter`, in the unit of the change, in order; `drift_ratio` over `lag` checkpoints, NaN where it is not known;
    `learning_rates` empty where they are not known. `broken_since` and `stopped_since`: the iteration from which on it
    is NaN, or is not optimised or stood still, None where it is not so.
    """

    niter: int
    tolerance: float
    points: Sequence[Doubling]
    to_last: Curve = field(default_factory=list)
    drift_ratio: float = math.nan
    lag: int = 0
    learning_rates: Curve = field(default_factory=list)
    begin: int = 0
    broken_since: int | None = None
    stopped_since: int | None = None

    @property
    def last(self) -> Doubling | None:
        """The doubling that ends at the last checkpoint."""
        return self.points[-1] if self.points and self.points[-1].niter == self.niter else None

    @property
    def before(self) -> Doubling | None:
        """The doubling that ends where the last one begins, or as near to there as half of the iterations allow."""
        return nearest_half(self.points, self.niter, self.begin)

    @property
    def growth(self) -> float:
        """How many times the doubling before the last one changed it, NaN where that is not known."""
        last, before = self.last, self.before
        if last is None or before is None:
            return math.nan
        return last.relative / before.relative if before.relative else math.inf if last.relative else math.nan


def nearest_half(points: Sequence[Doubling], niter: int, begin: int = 0) -> Doubling | None:
    """Return the point nearest to half of the iterations since `begin`, None where none is near enough."""
    half = (niter - begin) / 2
    nearest = min(points, key=lambda point: (abs(point.niter - begin - half), point.niter), default=None)
    if nearest is None or not 1 / NEAR <= (nearest.niter - begin) / half <= NEAR:
        return None
    return nearest


@dataclass(frozen=True)
class Judgement:
    """The `state` of a quantity, and what goes with it: see `results.doublings.Doublings`."""

    state: str
    since: int | None = None
    reaches: int | None = None
    size: float | None = None


def judge(evidence: Evidence) -> Judgement:
    """Return the state of a quantity: the first of docs/verdict.md's rules that fits."""
    if evidence.broken_since is not None:
        return Judgement("broken", evidence.broken_since)
    if evidence.stopped_since is not None:
        return Judgement("not optimised", evidence.stopped_since)
    last, before = evidence.last, evidence.before
    if last is None or before is None or not math.isfinite(last.relative + before.relative):
        return Judgement("insufficient")
    if _within(evidence, last):
        if _follows_the_learning_rate(evidence, last, before):
            return Judgement("step-limited")
        return Judgement("converged", _within_since(evidence))
    strays = last.relative > evidence.tolerance or not _near(evidence, last)  # else it is only the trend
    if strays and _scatters_about_a_point(evidence, last):
        return Judgement("jittering", last.since, size=_scatter(evidence, last))
    if last.relative < LESS * before.relative:
        return Judgement("converging", reaches=_reaches(evidence, last, before))
    return Judgement("drifting")


def _within(evidence: Evidence, last: Doubling) -> bool:
    """Say whether neither the last doubling nor, by its trend, the next moves it by more than the tolerance."""
    growth = max(1.0, evidence.growth) if last.relative else 1.0
    return _near(evidence, last) and last.relative * growth <= evidence.tolerance


def _near(evidence: Evidence, last: Doubling) -> bool:
    """Say whether all checkpoints of the last doubling lie within the tolerance of the last one."""
    return all(distance <= evidence.tolerance for _, distance in _over(evidence.to_last, last.since))


def _over(curve: Curve, since: int) -> Curve:
    return [(niter, value) for niter, value in curve if niter >= since]


def _within_since(evidence: Evidence) -> int:
    """Return the first iteration from which on all checkpoints lie within the tolerance of the last."""
    since = evidence.niter
    for niter, distance in reversed(evidence.to_last):
        if not distance <= evidence.tolerance:
            break
        since = niter
    return since


def _follows_the_learning_rate(evidence: Evidence, last: Doubling, before: Doubling) -> bool:
    """Say whether it changes less only because its learning rate fell: change over rate did not fall."""
    rates = [_mean_rate(evidence.learning_rates, point) for point in (before, last)]
    if not all(rate > 0 for rate in rates) or rates[1] * RATE_FELL > rates[0]:
        return False
    return last.relative / rates[1] >= before.relative / rates[0]


def _mean_rate(rates: Curve, point: Doubling) -> float:
    found = [rate for niter, rate in rates if point.since < niter <= point.niter]
    return sum(found) / len(found) if found else math.nan


def _scatters_about_a_point(evidence: Evidence, last: Doubling) -> bool:
    if not evidence.drift_ratio < math.sqrt(evidence.lag) + 1:
        return False
    found = [(evidence.niter - n, distance) for n, distance in _over(evidence.to_last, last.since) if distance > 0]
    if len(found) < 3:
        return False
    apart, distances = np.log(np.array(found, np.float64)).T
    return float(np.polyfit(apart, distances, 1)[0]) < FLAT


def _scatter(evidence: Evidence, last: Doubling) -> float:
    """Return the RMS distance from the point that it scatters about: √2 less than that between two checkpoints."""
    squares = [distance**2 for _, distance in _over(evidence.to_last, last.since)]
    return math.sqrt(sum(squares) / len(squares) / 2)


def _reaches(evidence: Evidence, last: Doubling, before: Doubling) -> int | None:
    """Return the iteration at which the power law through the last two doublings comes down to the tolerance."""
    if last.relative <= evidence.tolerance:
        return None  # it is there already, but for a checkpoint that is farther away
    done, ratio = evidence.niter - evidence.begin, (last.niter - evidence.begin) / (before.niter - evidence.begin)
    power = math.log(before.relative / last.relative) / math.log(ratio)
    factor = math.log(last.relative / evidence.tolerance) / power
    return evidence.begin + round(done * math.exp(factor)) if factor < math.log(FARTHEST) else None
