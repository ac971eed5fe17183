"""The verdict on a run, from what was found of its quantities. Rules: docs/verdict.md."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results.frame import Frame
from ptyconv_cli.results.history import EngineHistories
from ptyconv_cli.results.run_analysis import Doublings, RunVerdict
from ptyconv_cli.verdict import advice, sentences
from ptyconv_cli.verdict.evidence import loss_of
from ptyconv_cli.verdict.keep import Keep, keep_of
from ptyconv_cli.verdict.learning_rates import cycle_of
from ptyconv_cli.verdict.loss import LossSoFar
from ptyconv_cli.verdict.rules import NOT_CONVERGED, STATES, has_converged, is_moving
from ptyconv_cli.verdict.segments import Counting


@dataclass(frozen=True)
class RunEvidence:
    """What a verdict on a run goes by.

    `doublings`: what was found of each quantity, by key, at least one; `niters` of the checkpoints, in order; `engine`:
    what that recorded. `before`: what those of `stopped_late` were until they stopped. `frames`: by iteration, where
    object and probe were. `resumed_from`: the checkpoint that the run was resumed from, if the iterations before that
    are not among these; "" where they are.
    """

    doublings: Mapping[str, Doublings]
    niters: Sequence[int]
    engine: EngineHistories = field(default_factory=EngineHistories)
    before: Mapping[str, Doublings] = field(default_factory=dict)
    frames: Mapping[int, Frame] = field(default_factory=dict)
    resumed_from: str = ""

    @property
    def niter(self) -> int:
        """The last iteration."""
        return self.niters[-1]


def conclude(run: RunEvidence) -> RunVerdict:
    """Return the verdict on a run: that of its object, or, where none was optimised, of the rest."""
    judged = {key: found for key, found in {**run.doublings, **run.before}.items() if found.state != "not optimised"}
    # Of too few positions the ambiguities explain any change; of an object that cannot be said, so that it counts.
    judged = {key: found for key, found in judged.items() if quantity_of(key).is_object or not found.too_few} or judged
    cycle = max((cycle_of(rates) for rates in run.engine.learning_rates.values()), default=0)
    loss = loss_of(run.engine.loss, run.niter, cycle=cycle)
    keep = keep_of({**run.doublings, **run.before}, run.niters, loss)
    if not judged:
        return _stands_still(run, keep, loss)
    key = _worst(judged)
    worst = judged[key]
    state, since = ("converged", _since(judged)) if has_converged(worst) else (worst.state, None)
    since = worst.since if state == "broken" else since
    if loss and loss.left is not None and state != "broken":
        state, since = "broken", loss.left
    if run.resumed_from and state in ("converged", "step-limited"):
        state, since = "insufficient", None
    said = advice.Situation(run.engine, loss, keep, run.niters, _suspects(judged, key), run.resumed_from)
    return RunVerdict(
        state=state,
        worst=key,
        sentence=" ".join(_sentences(run, state, key, judged, said)),
        advice=advice.advice(state, key, worst, said, _stopped(run, key)),
        since=since,
        doublings=_without_forecasts(run.doublings) if state == "broken" else dict(run.doublings),
        remark=" ".join(filter(None, _remarks(run, state, key, worst, loss))),
        keep=keep.niter if keep else None,
        keep_because=keep.because if keep else "",
        loss_lowest_at=loss.lowest_at if loss else None,
        all_converged=state == "converged" and all(has_converged(found) for found in judged.values()),
    )


def _without_forecasts(doublings: Mapping[str, Doublings]) -> dict[str, Doublings]:
    """Return changes per doubling of a run that diverged: that these will go on so is not to be expected."""
    return {key: replace(one, forecast=None) for key, one in doublings.items()}


def _sentences(
    run: RunEvidence, state: str, key: str, judged: Mapping[str, Doublings], said: advice.Situation
) -> list[str]:
    """Return what is said of a run: of the quantity that the verdict is of, of the others, and of what stopped."""
    worst, loss = judged[key], said.loss
    if state == "broken" and worst.state != "broken":
        assert loss is not None
        return [sentences.of_divergence(run.engine.loss, loss, run.niter)]
    parts = {one: found for one, found in judged.items() if quantity_of(one).is_object} or dict(judged)
    if has_converged(worst) or (run.resumed_from and worst.state == "step-limited"):
        found = [sentences.of_converged(parts)]
        found += [sentences.of_resumed(run.resumed_from)] if run.resumed_from else []
    elif worst.state == "insufficient" and not worst.too_few:
        found = [sentences.of_missing(key, worst, run.niters)]
    else:
        found = [sentences.of_quantity(key, worst, loss)]
    if state == "converged" and quantity_of(key).is_object:
        found += [sentences.of_other(one, judged[one], still=True) for one in _others_that_move(judged)]
    elif state not in ("broken", "insufficient"):
        found += [sentences.of_other(one, judged[one]) for one in said.suspects]
    stopped = _stopped(run, key)
    return [*found, sentences.of_stop(*stopped)] if stopped else found


def _remarks(run: RunEvidence, state: str, key: str, worst: Doublings, loss: LossSoFar | None) -> list[str]:
    """Return what else there is to know: of the loss, of settings that changed, or are not known, of what walked."""
    rates_matter = state == "converged" and not run.engine.learning_rates and run.engine.settings.rate_word
    return [
        sentences.of_loss(loss) if loss and loss.left is None else "",
        sentences.of_change(key, worst) if state != "broken" else "",
        sentences.NO_RATES if rates_matter else "",
        _walk(run.doublings, run.frames),
    ]


def _since(judged: Mapping[str, Doublings]) -> int | None:
    """Return the iteration since which the object, or, without one, all has converged."""
    parts = [found for key, found in judged.items() if quantity_of(key).is_object] or list(judged.values())
    return max((found.since for found in parts if found.since is not None), default=None)


def _stopped(run: RunEvidence, key: str) -> tuple[str | None, int] | None:
    """Return what stopped changing early, and after which iteration; None of it: all of the run."""
    if key not in run.before:
        return None
    stopped = None if all(found.state == "not optimised" for found in run.doublings.values()) else key
    return stopped, max(run.doublings[one].since or 0 for one in ([stopped] if stopped else run.before))


def _walk(doublings: Mapping[str, Doublings], frames: Mapping[int, Frame]) -> str:
    """Say by how much the object walked over its last doubling; "" where it hardly did."""
    last = next((one.points[-1] for key, one in doublings.items() if quantity_of(key).is_object and one.points), None)
    if last is None or last.since not in frames or last.niter not in frames:
        return ""
    return sentences.of_walk(frames[last.since], frames[last.niter], last.since, last.niter)


def stopped_late(doublings: Mapping[str, Doublings], niter: int, counting: Mapping[str, Counting]) -> dict[str, int]:
    """Return which quantities stopped changing after the middle of what counts, and after which iteration each did.

    That they stand still says little of them: it is what they were until then that counts. Of those that are not the
    object's that is so only where nothing is optimised any more. `counting`: by key; `niter`: the last one.
    """
    stopped = {key: found.since or 0 for key, found in doublings.items() if found.state == "not optimised"}
    counts = stopped if len(stopped) == len(doublings) else [key for key in stopped if quantity_of(key).is_object]
    found = {}
    for key in counts:
        begin = counting.get(key, Counting()).begin(stopped[key])
        if 2 * (stopped[key] - begin) > niter - begin:
            found[key] = stopped[key]
    return found


def not_converged(verdict: RunVerdict) -> list[str]:
    """Return the labels of what has not converged, of all that is optimised."""
    return [
        quantity_of(key).label
        for key, found in verdict.doublings.items()
        if found.state != "not optimised" and not found.too_few and not has_converged(found)
    ]


TOO_EARLY = 4
"""How such a command ends where it cannot be said yet."""


def exit_code(verdict: RunVerdict, everything: bool = False) -> int:
    """Return how a command ends that is asked whether a run has converged: 0 yes, 3 no, 4 it cannot be said.

    If `everything` is asked for, it has only where probe, positions and the rest have, too.
    """
    if verdict.state == "converged":
        return 3 if everything and not verdict.all_converged else 0
    return 3 if verdict.state in NOT_CONVERGED else TOO_EARLY


def _worst(judged: Mapping[str, Doublings]) -> str:
    """Return the quantity that the verdict is of: a broken one, else of the object the one in the worst state.

    Of two alike the one that is farther beyond its tolerance. Where no object was optimised, of the rest.
    """
    parts = [key for key in judged if quantity_of(key).is_object] or list(judged)

    def rank(key: str) -> tuple[bool, bool, float, int]:
        found = judged[key]
        moves = is_moving(found)
        beyond = found.points[-1].relative / found.tolerance if found.points else 0.0
        place = STATES.index("converged" if has_converged(found) else found.state)
        return found.state != "broken", not moves, -beyond if moves and math.isfinite(beyond) else 0.0, place

    broken = [key for key, found in judged.items() if found.state == "broken"]
    return min(broken or parts, key=rank)


def _others_that_move(judged: Mapping[str, Doublings]) -> list[str]:
    """Return the quantities, but for the object's, of which it is known that they have not converged."""
    return [key for key, found in judged.items() if not quantity_of(key).is_object and is_moving(found)]


def _suspects(judged: Mapping[str, Doublings], key: str) -> list[str]:
    """Return which of those move beyond their tolerance, the farthest first, besides the one that the verdict is of."""
    beyond = {
        one: judged[one].points[-1].relative / judged[one].tolerance
        for one in _others_that_move(judged)
        if one != key and judged[one].points
    }
    return sorted((one for one, times in beyond.items() if times > 1), key=lambda one: -beyond[one])


def _stands_still(run: RunEvidence, keep: Keep | None, loss: LossSoFar | None) -> RunVerdict:
    doublings = dict(run.doublings)
    since: int | None = max(found.since or 0 for found in doublings.values())
    assert since is not None
    state, sentence, what_to_do = "converged", sentences.of_stop(None, since).lower(), advice.OPTIMISE_MORE
    if since <= run.niters[0]:
        state, since, what_to_do = "insufficient", None, advice.OPTIMISE
        sentence = "nothing changed from the first checkpoint to the last: nothing of it was optimised."
    return RunVerdict(
        state=state,
        worst=next(iter(doublings)),
        sentence=sentence,
        advice=what_to_do,
        since=since,
        doublings=doublings,
        keep=keep.niter if keep else None,
        keep_because=keep.because if keep else "",
        loss_lowest_at=loss.lowest_at if loss else None,
        all_converged=state == "converged",
    )
