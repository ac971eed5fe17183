"""The verdict on a run, from the states of its quantities. Rules: docs/verdict.md."""

from collections.abc import Mapping
from dataclasses import replace

from ptyconv_cli.results.doublings import Doublings
from ptyconv_cli.results.verdict import RunVerdict
from ptyconv_cli.verdict import sentences
from ptyconv_cli.verdict.rules import LESS, STATES

OBJECT = ("objp", "obja")

NOT_CONVERGED = ("broken", "drifting", "jittering", "step-limited", "converging")
"""States of which it is known that the run has not converged."""

NO_RATES = "No learning rates are recorded: whether a change is small only because they fell is not known."


def has_converged(found: Doublings) -> bool:
    """Say whether a quantity moves no more than its tolerance, also where it jitters about a point within that."""
    return found.state == "converged" or (found.size is not None and found.size <= found.tolerance)


def conclude(doublings: Mapping[str, Doublings], rates_known: bool = True) -> RunVerdict:
    """Return the verdict on a run from its quantities, by key; at least one is needed."""
    optimised = {key: found for key, found in doublings.items() if found.state != "not optimised"}
    # What cannot be aligned says nothing, unless there is nothing else, or it is broken.
    optimised = {key: found for key, found in optimised.items() if not found.too_few} or optimised
    if not optimised:
        return _stands_still(dict(doublings))
    key = _worst(optimised)
    worst = optimised[key]
    if has_converged(worst):
        state, sentence, drivers = "converged", sentences.of_converged(optimised), []
        since = max((found.since for found in optimised.values() if found.since is not None), default=None)
    else:
        state, sentence, since = worst.state, sentences.of_quantity(key, worst), worst.since
        drivers = _drivers(optimised, key) if state in ("drifting", "converging") else []
    followed = [one for one, found in optimised.items() if found.state == "step-limited" and one != key]
    said = " ".join(
        [
            sentence,
            *(sentences.of_driver(one, optimised[one]) for one in drivers),
            *([sentences.of_step_limited(followed)] if followed and state != "broken" else []),
        ]
    )
    advice = sentences.advice(state, key, worst, drivers)
    return RunVerdict(state, key, said, advice, since, dict(doublings), "" if rates_known else NO_RATES)


def stands_still_since(verdict: RunVerdict) -> int | None:
    """Return the iteration after which nothing of a run was optimised any more, None where something is."""
    found = verdict.doublings.values()
    if any(one.state != "not optimised" for one in found):
        return None
    return max(one.since or 0 for one in found)


def stopped_early(until: RunVerdict, since: int, doublings: Mapping[str, Doublings]) -> RunVerdict:
    """Return the verdict on a run that stands still: that on what it was `until` then; `doublings` of its end."""
    sentence = f"{until.sentence} Nothing changed after iteration {since}."
    return replace(until, sentence=sentence, doublings=dict(doublings))


def exit_code(verdict: RunVerdict) -> int:
    """Return how a command ends that is asked whether a run has converged: 0 yes, 3 no, 4 it cannot be said."""
    return 0 if verdict.state == "converged" else 3 if verdict.state in NOT_CONVERGED else 4


def _worst(optimised: Mapping[str, Doublings]) -> str:
    """Return the quantity that the verdict is of: a broken one, else the object, or, if that has converged, the rest.

    Of phase and amplitude it is the one that is farther beyond its tolerance, of the rest the one in the worst state.
    """

    def rank(key: str) -> tuple[bool, bool, int, float]:
        found = optimised[key]
        converged = has_converged(found)
        beyond = found.points[-1].relative / found.tolerance if found.points else 0.0
        state = STATES.index("converged" if converged else found.state)
        of_object = key in OBJECT and not converged
        return found.state != "broken", not of_object, 0 if of_object and found.points else state, -beyond

    return min(optimised, key=rank)


def _drivers(optimised: Mapping[str, Doublings], key: str) -> list[str]:
    """Return the other quantities beyond tolerance that move no less with each doubling, the most growing first."""
    others = {one: found for one, found in optimised.items() if one != key and one not in OBJECT and found.points}
    moving = [
        one
        for one, found in others.items()
        if not has_converged(found) and found.points[-1].relative > found.tolerance and found.growth >= LESS
    ]
    return sorted(moving, key=lambda one: -others[one].growth)


def _stands_still(doublings: dict[str, Doublings]) -> RunVerdict:
    since = max(found.since or 0 for found in doublings.values())
    sentence = f"nothing changed after iteration {since}: the run stands still."
    advice = "stop: more iterations will change nothing, unless more of it is optimised"
    return RunVerdict("converged", next(iter(doublings)), sentence, advice, since, doublings)
