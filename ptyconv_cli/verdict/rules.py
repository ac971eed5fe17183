"""The states of a quantity, rule by rule: pure functions of its evidence. docs/verdict.md says the same in words."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.run_analysis import Doubling, Doublings
from ptyconv_cli.verdict.learning_rates import has_ended, mean_rate, rate_at
from ptyconv_cli.verdict.loss import LossSoFar
from ptyconv_cli.verdict.segments import FARTHEST, NEAREST

LESS, MORE = 0.95, 1.25
"""Times another change per doubling: below the first it falls, above the second it grows."""

THERE = 0.5
"""Share of the largest contrast so far from which on the object was there."""

FLAT = 0.15
"""Slope of ln(distance to the last) over ln(iterations before it) below which checkpoints scatter about a point."""

RATE_FELL = 1.5
"""Factor by which a learning rate must fall over a doubling to be what limits the change."""


@dataclass(frozen=True)
class Evidence:
    """What the state of a quantity goes by, since its iterations count, from `begin` on.

    `points`: the changes per doubling, in order; `to_last`: by iteration, how far checkpoints are from the last one,
    `niter`, in the unit of the change, in order; `drift_ratio` over `lag` checkpoints, NaN where it is not known;
    `learning_rates` empty where they are not known, which restart every `cycle` iterations, 0: they don't; `loss`: what
    that did, None where it is not recorded.
    `broken_since` and `stopped_since`: the iteration from which on it is NaN, or is not optimised or stood still, None
    where it is not so. `widest`: the largest scatter about a point that is one, in the unit of the change.
    """

    niter: int
    tolerance: float
    points: Sequence[Doubling]
    to_last: Curve = field(default_factory=list)
    drift_ratio: float = math.nan
    lag: int = 0
    learning_rates: Curve = field(default_factory=list)
    cycle: int = 0
    loss: LossSoFar | None = None
    begin: int = 0
    broken_since: int | None = None
    stopped_since: int | None = None
    widest: float = math.inf

    @property
    def last(self) -> Doubling | None:
        """The doubling that ends at the last checkpoint, None where there is none, or it is not finite."""
        last = self.points[-1] if self.points and self.points[-1].niter == self.niter else None
        return last if last and math.isfinite(last.relative) else None

    @property
    def before(self) -> Doubling | None:
        """The doubling that ends where the last one begins, or as near to there as checkpoints allow."""
        last = self.last
        near = [
            point
            for point in self.points[:-1]
            if NEAREST <= (self.niter - self.begin) / (point.niter - self.begin) <= FARTHEST
            and math.isfinite(point.relative)
        ]
        if last is None or not near:
            return None
        return min(near, key=lambda point: abs(math.log((point.niter - self.begin) / (last.since - self.begin))))

    @property
    def growth(self) -> float:
        """How many times the doubling before the last one changed it, NaN where that is not known."""
        last, before = self.last, self.before
        if last is None or before is None:
            return math.nan
        return last.relative / before.relative if before.relative else math.inf if last.relative else math.nan

    @property
    def once_there(self) -> list[Doubling]:
        """The doublings since there was something to change: of what grows from nothing, early ones mean little."""
        largest = max((point.contrast for point in self.points if math.isfinite(point.contrast)), default=math.nan)
        finite = [point for point in self.points if math.isfinite(point.relative)]
        return [point for point in finite if not point.contrast < THERE * largest]

    @property
    def least(self) -> Doubling | None:
        """The doubling that changed it least, since it was there."""
        return min(self.once_there, key=lambda point: point.relative, default=None)

    @property
    def loss_still_falls(self) -> bool:
        """Whether the loss explains that it moves."""
        return self.loss is not None and self.loss.still_falls

    @property
    def schedule_ended(self) -> bool:
        """Whether its learning rate fell to next to nothing over the last doubling."""
        last = self.last
        return last is not None and has_ended(self.learning_rates, last.since, self.niter, self.cycle)

    def over_the_last(self) -> Curve:
        """Return the distances to the last of the checkpoints since half of the iterations."""
        last = self.last
        half = self.niter if last is None else min(last.since, self.begin + (self.niter - self.begin) // 2)
        return [(niter, distance) for niter, distance in self.to_last if niter >= half]


class Rule(NamedTuple):
    """A `state`, and of which evidence it `holds`; `when`: the same in words."""

    state: str
    when: str
    holds: Callable[[Evidence], bool]


def _within(evidence: Evidence) -> bool:
    """Say whether neither the last doubling nor, by its trend, the next moves it by more than the tolerance."""
    last, growth = evidence.last, evidence.growth
    if last is None or not _is_near(evidence):
        return False
    beyond = last.relative * max(growth, 1.0) if last.relative and not math.isnan(growth) else last.relative
    return beyond <= evidence.tolerance


def _is_near(evidence: Evidence) -> bool:
    """Say whether all checkpoints since half of the iterations lie within the tolerance of the last one."""
    return all(distance <= evidence.tolerance for _, distance in evidence.over_the_last())


def _only_follows_its_rate(evidence: Evidence) -> bool:
    """Say whether it changes less only because its learning rate fell: change over rate did not fall."""
    last, before = evidence.last, evidence.before
    assert last is not None
    assert before is not None
    earlier, later = (mean_rate(evidence.learning_rates, point.since, point.niter) for point in (before, last))
    now = rate_at(evidence.learning_rates, evidence.niter, evidence.cycle)
    if not (earlier > 0 and later > 0) or now * RATE_FELL > earlier:
        return False
    return last.relative / later >= before.relative / earlier


def _scatters_about_a_point(evidence: Evidence) -> bool:
    last = evidence.last
    assert last is not None
    if last.relative <= evidence.tolerance and _is_near(evidence):
        return False  # it is only the trend that leads beyond it
    if not evidence.drift_ratio < math.sqrt(evidence.lag) + 1 or not scatter(evidence) <= evidence.widest:
        return False
    found = [(evidence.niter - n, distance) for n, distance in evidence.over_the_last() if distance > 0]
    if len(found) < 3:
        return False
    apart, distances = np.log(np.array(found, np.float64)).T
    return float(np.polyfit(apart, distances, 1)[0]) < FLAT


def scatter(evidence: Evidence) -> float:
    """Return the RMS distance from the point that it scatters about: √2 less than that between two checkpoints."""
    squares = [distance**2 for _, distance in evidence.over_the_last()]
    return math.sqrt(sum(squares) / len(squares) / 2) if squares else math.nan


def _drifts(evidence: Evidence) -> bool:
    last, least = evidence.last, evidence.least
    assert last is not None
    grows = least is not None and last.relative > MORE * least.relative
    return grows and last.relative > evidence.tolerance and not evidence.loss_still_falls


RULES = (
    Rule(
        "broken",
        "NaN or infinity in the last checkpoint; the intensity of the probe, or what the object lets through of it, "
        "below a thousandth of the largest so far",
        lambda evidence: evidence.broken_since is not None,
    ),
    Rule(
        "not optimised",
        "learning rate 0, not optimised by the engine, or unchanged (but for rounding) over the last two intervals",
        lambda evidence: evidence.stopped_since is not None,
    ),
    Rule(
        "insufficient",
        "no earlier checkpoint has from a quarter of the last one's iterations to 1/1.4 of them, or none of these can "
        "be compared with one before it",
        lambda evidence: evidence.last is None or evidence.before is None,
    ),
    Rule(
        "step-limited",
        "it would be converged, but its learning rate fell by more than a factor of 1.5 since the doubling before, and "
        "the change did not fall more than the rate",
        lambda evidence: _within(evidence) and _only_follows_its_rate(evidence),
    ),
    Rule(
        "converged",
        "the last doubling changed it by no more than the tolerance, every checkpoint from half on lies within the "
        "tolerance of the last, and by its trend the next doubling stays within it",
        _within,
    ),
    Rule(
        "jittering",
        "it moves, or a checkpoint from half on lies, beyond the tolerance, and the checkpoints from half on scatter "
        "about one point, by no more than half of the contrast",
        _scatters_about_a_point,
    ),
    Rule(
        "converging",
        "the doubling changed less than 0.95 of what the one before did",
        lambda evidence: evidence.growth < LESS,
    ),
    Rule(
        "drifting",
        "the doubling changed more than the tolerance and 1.25 times the least so far, and the loss fell by less than "
        "a tenth of its whole fall",
        _drifts,
    ),
    Rule("moving", "anything else: about as much as before, or more while the loss still falls", lambda evidence: True),
)
"""The first that fits is the state."""

STATES = (
    "broken",
    "drifting",
    "jittering",
    "moving",
    "step-limited",
    "converging",
    "insufficient",
    "converged",
    "not optimised",
)
"""From the worst on."""

NOT_CONVERGED = ("broken", "drifting", "jittering", "moving", "step-limited", "converging")
"""States of which it is known that the run has not converged."""


@dataclass(frozen=True)
class Judgement:
    """The `state` of a quantity, and what goes with it: see `results.run_analysis.Doublings`."""

    state: str
    since: int | None = None
    size: float | None = None


def judge(evidence: Evidence) -> Judgement:
    """Return the state of a quantity: that of the first of the rules that fits."""
    state = next(rule.state for rule in RULES if rule.holds(evidence))
    if state == "jittering":
        assert evidence.last is not None
        return Judgement(state, evidence.last.since, scatter(evidence))
    since = {
        "broken": evidence.broken_since,
        "not optimised": evidence.stopped_since,
        "converged": _within_since(evidence),
    }
    return Judgement(state, since.get(state))


def _within_since(evidence: Evidence) -> int:
    """Return the first iteration from which on all checkpoints lie within the tolerance of the last."""
    since = evidence.niter
    for niter, distance in reversed(evidence.to_last):
        if not distance <= evidence.tolerance:
            break
        since = niter
    return since


def is_moving(found: Doublings) -> bool:
    """Say whether it is known of a quantity that it has not converged."""
    return found.state in NOT_CONVERGED and not has_converged(found)


def has_converged(found: Doublings) -> bool:
    """Say whether a quantity moves no more than its tolerance, also where it jitters about a point within that."""
    return found.state == "converged" or (found.size is not None and found.size <= found.tolerance)
