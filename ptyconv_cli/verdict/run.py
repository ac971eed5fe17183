"""The verdict on a run, from the states of its quantities. Rules: docs/verdict.md."""

import math
from collections.abc import Mapping, Sequence

from ptyconv_cli.results.doublings import Doublings
from ptyconv_cli.results.series import OF_OBJECT
from ptyconv_cli.results.verdict import RunVerdict
from ptyconv_cli.verdict import sentences
from ptyconv_cli.verdict.rules import LESS, STATES
from ptyconv_cli.verdict.segments import begin_of

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
) -> RunVerdict:
    """Return the verdict on a run from its quantities, by key; at least one is needed.

    `first`: the first iteration that was looked at. `before`: what those of `stopped_late` were until they stopped.
    """
    before = before or {}
    judged = {key: found for key, found in {**doublings, **before}.items() if found.state != "not optimised"}
    # Of too few positions the ambiguities explain any change; of an object that cannot be said, so that it counts.
    judged = {key: found for key, found in judged.items() if key in OF_OBJECT or not found.too_few} or judged
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
    return RunVerdict(state, key, " ".join(said), advice, since, dict(doublings), "" if rates_known else NO_RATES)


def stopped_late(doublings: Mapping[str, Doublings], niter: int, begins: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return which quantities stopped changing after the middle of their segment, and after which iteration each did.

    That they stand still says little of them: it is what they were until then that counts. Of those that are not the
    object's that is so only where nothing is optimised any more. `begins`: by key, the iterations after which segments
    begin; `niter`: the last one.
    """
    stopped = {key: found.since or 0 for key, found in doublings.items() if found.state == "not optimised"}
    counts = stopped if len(stopped) == len(doublings) else [key for key in stopped if key in OF_OBJECT]
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
        of_object = key in OF_OBJECT and state in NOT_CONVERGED
        beyond = found.points[-1].relative / found.tolerance if found.points else 0.0
        place = 0 if of_object else STATES.index(state)
        return state != "broken", not of_object, place, -beyond if math.isfinite(beyond) else 0.0

    return min(optimised, key=rank)


def _drivers(optimised: Mapping[str, Doublings], key: str) -> list[str]:
    """Return the other quantities beyond tolerance that move no less with each doubling, the most growing first."""
    others = {one: found for one, found in optimised.items() if one != key and one not in OF_OBJECT and found.points}
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
