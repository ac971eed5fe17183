"""Has a quantity converged, and the run? Pure functions of the changes per doubling. Rules: docs/verdict.md."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results.frame import Frame
from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.run_analysis import Doubling, Doublings, RunVerdict
from ptyconv_cli.verdict import sentences
from ptyconv_cli.verdict.segments import NEAR, begin_of

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
    """The `state` of a quantity, and what goes with it: see `results.run_analysis.Doublings`."""

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


NOT_CONVERGED = ("broken", "drifting", "jittering", "step-limited", "converging")
"""States of which it is known that the run has not converged."""

NO_RATES = "No learning rates are recorded: whether a change is small only because they fell is not known."


def has_converged(found: Doublings) -> bool:
    """Say whether a quantity moves no more than its tolerance, also where it jitters about a point within that."""
    return found.state == "converged" or (found.size is not None and found.size <= found.tolerance)


def conclude(
    doublings: Mapping[str, Doublings],
    first: int = 0,
    rates_known: bool = True,
    before: Mapping[str, Doublings] | None = None,
    frames: Mapping[int, Frame] | None = None,
) -> RunVerdict:
    """Return the verdict on a run from its quantities, by key; at least one is needed.

    `first`: the first iteration that was looked at. `before`: what those of `stopped_late` were until they stopped.
    `frames`: by iteration, where object and probe were.
    """
    before = before or {}
    judged = {key: found for key, found in {**doublings, **before}.items() if found.state != "not optimised"}
    # Of too few positions the ambiguities explain any change; of an object that cannot be said, so that it counts.
    judged = {key: found for key, found in judged.items() if quantity_of(key).is_object or not found.too_few} or judged
    if not judged:
        return _stands_still(dict(doublings), first)
    key = _worst(judged)
    worst = judged[key]
    if has_converged(worst):
        state, sentence, drivers = "converged", sentences.of_converged(judged), []
        since = max((found.since for found in judged.values() if found.since is not None), default=None)
    else:
        state, sentence, since = worst.state, sentences.of_quantity(key, worst), worst.since
        drivers = _drivers(judged, key) if state in ("drifting", "converging") else []
    advice = sentences.advice(state, key, worst, drivers)
    said = [sentence, *(sentences.of_driver(one, judged[one]) for one in drivers)]
    followed = [one for one, found in judged.items() if found.state == "step-limited" and one != key]
    if followed and state != "broken":
        said.append(sentences.of_step_limited(followed))
    if key in before:
        stopped = None if all(found.state == "not optimised" for found in doublings.values()) else key
        stop = max(doublings[one].since or 0 for one in ([stopped] if stopped else before))
        said.append(sentences.of_stop(stopped, stop))
        advice = advice if state == "converged" else sentences.advice_on_stop(stopped, stop)
    remarks = ["" if rates_known else NO_RATES, _walk(doublings, frames or {})]
    return RunVerdict(state, key, " ".join(said), advice, since, dict(doublings), " ".join(filter(None, remarks)))


def _walk(doublings: Mapping[str, Doublings], frames: Mapping[int, Frame]) -> str:
    """Say by how much the object walked over its last doubling; "" where it hardly did."""
    last = next((one.points[-1] for key, one in doublings.items() if quantity_of(key).is_object and one.points), None)
    if last is None or last.since not in frames or last.niter not in frames:
        return ""
    return sentences.of_walk(frames[last.since], frames[last.niter], last.since, last.niter)


def stopped_late(doublings: Mapping[str, Doublings], niter: int, begins: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return which quantities stopped changing after the middle of their segment, and after which iteration each did.

    That they stand still says little of them: it is what they were until then that counts. Of those that are not the
    object's that is so only where nothing is optimised any more. `begins`: by key, the iterations after which segments
    begin; `niter`: the last one.
    """
    stopped = {key: found.since or 0 for key, found in doublings.items() if found.state == "not optimised"}
    counts = stopped if len(stopped) == len(doublings) else [key for key in stopped if quantity_of(key).is_object]
    found = {}
    for key in counts:
        begin = begin_of(stopped[key], begins.get(key, (0,)))
        if 2 * (stopped[key] - begin) > niter - begin:
            found[key] = stopped[key]
    return found


def exit_code(verdict: RunVerdict) -> int:
    """Return how a command ends that is asked whether a run has converged: 0 yes, 3 no, 4 it cannot be said."""
    return 0 if verdict.state == "converged" else 3 if verdict.state in NOT_CONVERGED else 4


def _worst(optimised: Mapping[str, Doublings]) -> str:
    """Return the quantity that the verdict is of: a broken one, else the object, or, if that does not move, the rest.

    Of phase and amplitude it is the one that is farther beyond its tolerance, of the rest the one in the worst state.
    """

    def rank(key: str) -> tuple[bool, bool, int, float]:
        found = optimised[key]
        state = "converged" if has_converged(found) else found.state
        of_object = quantity_of(key).is_object and state in NOT_CONVERGED
        beyond = found.points[-1].relative / found.tolerance if found.points else 0.0
        place = 0 if of_object else STATES.index(state)
        return state != "broken", not of_object, place, -beyond if math.isfinite(beyond) else 0.0

    return min(optimised, key=rank)


def _drivers(optimised: Mapping[str, Doublings], key: str) -> list[str]:
    """Return the other quantities beyond tolerance that move no less with each doubling, the most growing first."""
    others = {
        one: found for one, found in optimised.items() if one != key and not quantity_of(one).is_object and found.points
    }
    moving = [
        one
        for one, found in others.items()
        if not has_converged(found) and found.points[-1].relative > found.tolerance and found.growth >= LESS
    ]
    return sorted(moving, key=lambda one: -others[one].growth)


def _stands_still(doublings: dict[str, Doublings], first: int) -> RunVerdict:
    since = max(found.since or 0 for found in doublings.values())
    if since <= first:
        sentence = "nothing changed from the first checkpoint to the last: nothing of it was optimised."
        return RunVerdict("insufficient", next(iter(doublings)), sentence, sentences.OPTIMISE, None, doublings)
    sentence = f"nothing changed after iteration {since}: the run stands still."
    advice = "stop: more iterations will change nothing, unless more of it is optimised"
    return RunVerdict("converged", next(iter(doublings)), sentence, advice, since, doublings)
