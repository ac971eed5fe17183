"""What to do about a run, in the words of its engine. Nothing here ends a run, or fixes a tensor, without a test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ptyconv_cli.quantities import QUANTITIES, quantity_of
from ptyconv_cli.quantities.quantity import Quantity
from ptyconv_cli.results.history import EngineHistories
from ptyconv_cli.results.run_analysis import Doublings
from ptyconv_cli.results.text import duration
from ptyconv_cli.verdict.keep import Keep
from ptyconv_cli.verdict.learning_rates import cycle_of, has_ended
from ptyconv_cli.verdict.loss import LossSoFar
from ptyconv_cli.verdict.rules import LESS
from ptyconv_cli.verdict.segments import FARTHEST, NEAREST, Counting, half_of
from ptyconv_cli.verdict.sentences import it, rounded, short_amount, verb

OPTIMISE = "look at the settings: which of the object, probe and positions are to be optimised"

OPTIMISE_MORE = "more iterations will change nothing, unless more of it is optimised"

MOST_TRIED = 50
"""Iterations, of those to come, of which it is tried whether one has two doublings behind it, as far as the last."""

HALVES = (
    "whether more iterations help shows in two halves of the data: reconstruct each, then "
    "ptyconv frc HALF_A HALF_B --halves"
)


@dataclass(frozen=True)
class Situation:
    """What advice goes by, besides the state: what the `engine` recorded, the `loss`, and the checkpoint to `keep`.

    `niters`: of the checkpoints; `suspects`: the keys of what else moves beyond its tolerance; `resumed_from`: as of
    `conclusion.RunEvidence`.
    """

    engine: EngineHistories
    loss: LossSoFar | None
    keep: Keep | None
    niters: Sequence[int]
    suspects: list[str]
    resumed_from: str = ""

    @property
    def niter(self) -> int:
        """The last iteration."""
        return self.niters[-1]


def advice(state: str, key: str, found: Doublings, said: Situation, stopped: tuple[str | None, int] | None) -> str:
    """Say what to do about a run whose verdict is of one quantity."""
    if said.resumed_from and state == "insufficient" and found.state != "insufficient":
        return "put both runs on one axis: --chain auto, or --chain FIRST with the folder of the first"
    if stopped and state != "converged":
        return _on_stop(*stopped)
    if found.too_few and state != "broken":
        return "look at the raw changes: analyze -v prints them"
    if state == "broken":
        return _on_broken(key, said)
    if state == "insufficient":
        return _on_insufficient(found, said)
    if state == "converged":
        return "; ".join(filter(None, [CONVERGED, _as_many_again(key, found, said)]))
    if state == "step-limited":
        return f"to know whether it has converged, go on with a constant {_rate(quantity_of(key), said)}"
    if said.loss and said.loss.still_falls:
        return f"go on{_with(said.engine.settings.iterations)}: the loss still falls{_more(key, found, said)}"
    first, *others = [*_on_moving(state, key, found, said), HALVES]
    return ". ".join([first, *(f"{other[0].upper()}{other[1:]}" for other in others)])


CONVERGED = "it can end here; that it hardly changes does not say that it is correct"


def _on_moving(state: str, key: str, found: Doublings, said: Situation) -> list[str]:
    """Return what to do where the object moves and the loss hardly falls."""
    suspects = [_suspect(quantity_of(one), said) for one in said.suspects]
    if state == "jittering":
        more = "" if found.growth < LESS else f"more iterations alone will not calm {it(key)}"
        lower = f"lower the {_rate(quantity_of(key), said)}" if said.engine.settings.rate_word else ""
        return [*filter(None, [": ".join(filter(None, [lower, more]))]), *suspects]
    if state == "converging":
        more, needed = _with(said.engine.settings.iterations), short_amount(key, found.tolerance)
        return [f"go on{more}, if you need {needed}{_more(key, found, said)}"]
    return suspects


def _suspect(quantity: Quantity, said: Situation) -> str:
    """Say how to find out whether a quantity that moves, too, is what moves the object."""
    since = said.keep.niter if said.keep else said.niter
    fixing = said.engine.settings.fixing.get(quantity.key, "")
    how = _with(fixing.format(niter=since))
    label, them, drives = quantity.label, it(quantity.key), verb(quantity.key, "drives")
    again = "run on" if since == said.niter else "run again"
    return f"to know whether the {label} {drives} it, {again} with {them} fixed from iteration {since} on{how}"


def _on_broken(key: str, said: Situation) -> str:
    """Say from where to start again, and what to change."""
    begin = f"start again from iteration {said.keep.niter}" if said.keep else "start again"
    settings = said.engine.settings
    if not settings.rate_word:
        return f"{begin}, with other settings"
    names = [settings.rates[one.key] for one in QUANTITIES if one.is_object and one.key in settings.rates]
    name = settings.rates.get(key, "") if not quantity_of(key).is_object else " and ".join(dict.fromkeys(names))
    return f"{begin}, with a smaller {settings.rate_word}{_with(name)}"


def _on_insufficient(found: Doublings, said: Situation) -> str:
    settings, enough = said.engine.settings, _first_with_a_verdict(said.niters, found.begin)
    go_on = f"go on to iteration {enough} at least{_with(settings.iterations)}"
    if found.points:
        return go_on
    return f"{go_on}, or keep a checkpoint of the iterations before, too{_with(settings.saving)}"


def _first_with_a_verdict(niters: Sequence[int], begin: int) -> int:
    """Return the first iteration, of those at which the engine would go on to save, that has two doublings behind it.

    Where that would be many, not each of them is tried.
    """
    counting, saved = Counting((begin,)), [niter for niter in niters if niter > begin] or [begin + 1]
    compared = [niter for place, niter in enumerate(saved) if half_of(saved, counting, place) is not None]
    apart = saved[-1] - (saved[-2] if len(saved) > 1 else begin)
    apart *= math.ceil((saved[-1] - begin) / (MOST_TRIED * apart))
    while True:
        saved.append(saved[-1] + apart)
        if half_of(saved, counting) is None:
            continue
        low, high = (begin + (saved[-1] - begin) / times for times in (FARTHEST, NEAREST))
        if any(low <= niter <= high for niter in compared):
            return saved[-1]
        compared.append(saved[-1])


def _rate(quantity: Quantity, said: Situation) -> str:
    """Return what the engine calls how far it moves a quantity, with the name of that setting."""
    settings = said.engine.settings
    return f"{settings.rate_word or 'step'} of the {quantity.label}{_with(settings.rates.get(quantity.key, ''))}"


def _with(setting: str) -> str:
    """Return the name of a setting behind what it sets, "" where it is not known."""
    return f" ({setting})" if setting else ""


def _more(key: str, found: Doublings, said: Situation) -> str:
    """Say what as many iterations again will bring, or need, behind a semicolon; "" where that is not known."""
    again = _new_schedule(key, found, said) or _as_many_again(key, found, said)
    return f"; {again}" if again else ""


def _new_schedule(key: str, found: Doublings, said: Situation) -> str:
    """Say that the schedule of the learning rate ended; "" where it did not."""
    quantity = quantity_of(key)
    rates, last = said.engine.learning_rates.get(quantity.recorded_as, []), found.points[-1:]
    if not last or not has_ended(rates, last[0].since, said.niter, cycle_of(rates)):
        return ""
    return f"the {_rate(quantity, said)} has fallen to almost 0, so begin its schedule anew"


def _as_many_again(key: str, found: Doublings, said: Situation) -> str:
    """Say by how much as many iterations again will change a quantity, and how long they take."""
    forecast = found.forecast
    if forecast is None or not math.isfinite(forecast.high):
        return ""
    more = forecast.niter - said.niter
    seconds = dict(said.engine.seconds)
    taken = seconds.get(said.niter, 0.0) - seconds.get(found.begin, 0.0)
    time = f" (about {duration(taken)})" if taken > 0 and math.isfinite(taken) else ""
    low, high = rounded(forecast.low), short_amount(key, forecast.high)
    by = high if high.startswith("<") else f"{'0' if low.startswith('<') else low} to {high}"
    return f"{more} more iterations{time} will change the {quantity_of(key).label} by {by}"


def _on_stop(key: str | None, niter: int) -> str:
    """Say what to do where a quantity, or, of None, all of a run, stopped changing before it had converged."""
    if key is None:
        return f"look why nothing changed after iteration {niter}: the run had not converged by then"
    return f"optimise the {quantity_of(key).label} again: by iteration {niter} it had not converged"
