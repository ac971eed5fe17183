"""The verdict in words: its sentences, and the table of the changes per doubling."""

import math
from collections.abc import Mapping, Sequence

from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.quantities.quantity import CONTRAST
from ptyconv_cli.results.frame import Frame, minus, plus
from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.run_analysis import Doubling, Doublings, RunVerdict
from ptyconv_cli.results.text import listed, unbroken
from ptyconv_cli.verdict.loss import LossSoFar
from ptyconv_cli.verdict.rules import LESS, MORE
from ptyconv_cli.verdict.segments import FARTHEST, NEAREST

SCALED = 0.03
"""Share by which a change differs from that of a doubling from which on the words say so."""

NO_RATES = "No learning rates are recorded: whether a change is small only because they fell is not known."

PLURAL = {"holds": "hold", "has": "have", "is": "are", "jitters": "jitter", "moves": "move", "drives": "drive"}


def amount(key: str, relative: float) -> str:
    """Return a change of a quantity with its unit and what it is measured by, as "23 % of the object's contrast"."""
    quantity = quantity_of(key)
    return " ".join(filter(None, [short_amount(key, relative), quantity.of]))


def short_amount(key: str, relative: float) -> str:
    """Return a change of a quantity with its unit alone, as "23 %" or "0.35 px"."""
    return f"{rounded(relative)} {quantity_of(key).unit}"


def rounded(number: float) -> str:
    """Return a number with two digits, as people read it: 0.35, 3.4, 23, 230; < 0.01 for what is less."""
    if not math.isfinite(number):
        return "?"
    if abs(number) < 0.01:
        return "0" if number == 0 else "< 0.01"
    digits = 0 if abs(number) >= 9.95 else 1 if abs(number) >= 0.995 else 2
    return f"{number:.{digits}f}".removesuffix(".0")


def of_quantity(key: str, found: Doublings, loss: LossSoFar | None) -> str:
    """Say what became of a quantity that has not converged, over the last doubling."""
    label = quantity_of(key).label
    if found.state == "broken":
        return f"the {label} {verb(key, found.reason)} since iteration {found.since}."
    if found.too_few:
        return f"there is too little of the {label} to align: it cannot be said whether the run has converged."
    if found.state == "jittering":
        return f"since iteration {found.since or found.points[-1].since} {_jitters(key, found)}."
    last = found.points[-1]
    changed = f"{interval(last)} the {label} changed by {amount(key, last.relative)}{_per_doubling(found)}"
    changed += f" ({_tolerated(key, found)})"
    if found.state == "step-limited":
        return f"{changed}, and less than before only because {_whose(key)} learning rate fell."
    beyond = " By this trend the next doubling goes beyond that." if _goes_beyond(found) else ""
    return f"{changed}{_compared(key, found)}{_loss_meanwhile(found, loss)}.{beyond}"


def _tolerated(key: str, found: Doublings) -> str:
    return f"{found.tolerance:.3g} {quantity_of(key).unit} tolerated"


def _whose(key: str) -> str:
    return "their" if quantity_of(key).plural else "its"


def _goes_beyond(found: Doublings) -> bool:
    last = found.points[-1].relative
    return last <= found.tolerance < last * found.growth


def _loss_meanwhile(found: Doublings, loss: LossSoFar | None) -> str:
    """Say what the loss did meanwhile, where that says something of what moved."""
    if loss is None or math.isnan(loss.share):
        return ""
    if loss.still_falls:
        return ", while the loss still falls"
    if found.state == "converging" and loss.falls:
        return ""
    if loss.falls:
        return ", while the loss hardly falls"
    return ", while the loss rises" if loss.rises else ", while the loss does not fall"


def of_other(key: str, found: Doublings, still: bool = False) -> str:
    """Say by how much another quantity moves; `still`: although the object does not."""
    label = quantity_of(key).label
    begin = label.capitalize() if quantity_of(key).plural else f"The {label}"
    if found.state == "step-limited":
        return f"{begin} {verb(key, 'moves')} less only because {_whose(key)} learning rate fell."
    moves = f"still {verb(key, 'moves')}" if still else f"{verb(key, 'moves')} as well"
    last, follows = found.points[-1].relative, ", while the object hardly does" if still else ""
    if _goes_beyond(found):
        of, unit = f" {quantity_of(key).of}".rstrip(), quantity_of(key).unit
        by = f"by {last:.2g} {unit}{of} per doubling, within the {found.tolerance:.3g} {unit} tolerated"
        return f"{begin} {moves}, {by}, but more each time{follows}."
    return f"{begin} {moves}, by {amount(key, last)} per doubling ({_tolerated(key, found)}){follows}."


def of_divergence(loss: Curve, found: LossSoFar, niter: int) -> str:
    """Say since when a run has diverged, and how far its loss is from its least."""
    known = [(at, value) for at, value in loss if at <= niter]
    now, least = known[-1][1], dict(known)[found.lowest_at]
    says = f"it was {least:.4g} at {found.lowest_at}, and is {now:.4g}" if math.isfinite(now) else "it is no number"
    return f"the run diverged: its loss left for good after iteration {found.left} ({says})."


def of_loss(found: LossSoFar) -> str:
    """Say that the loss has risen, "" where it hardly has; that of the first iterations does not count."""
    if not found.rose:
        return ""
    return f"The loss is {rounded(100 * found.rose)} % higher than at iteration {found.lowest_at}."


def of_change(key: str, found: Doublings) -> str:
    """Say what a change of the settings during the last doubling brought, "" where there was none."""
    if found.changed is None or not math.isfinite(found.changed.relative):
        return ""
    since = f"since then the {quantity_of(key).label} changed by {amount(key, found.changed.relative)}"
    return f"The settings changed after iteration {found.changed.niter}; {since}."


def of_missing(key: str, found: Doublings, niters: Sequence[int]) -> str:
    """Say between which iterations there is no checkpoint to compare the last of these with, or only one doubling."""
    last, begin = niters[-1], found.begin
    if found.points and found.points[-1].niter == last and math.isfinite(found.points[-1].relative):
        by = f"{amount(key, found.points[-1].relative)}{_per_doubling(found)} ({_tolerated(key, found)})"
        changed = f"{interval(found.points[-1])} the {quantity_of(key).label} changed by {by}"
        return f"too early to tell: {changed}, and there is no doubling before to compare that with."
    low, high = begin + math.ceil((last - begin) / FARTHEST), begin + math.floor((last - begin) / NEAREST)
    if high <= begin or high < 1:
        return "too early to tell: it takes more iterations."
    where = f"at iteration {low}" if low >= high else f"between iterations {max(low, 1)} and {high}"
    return f"too early to tell: there is no checkpoint {where}, to compare that of {last} with."


def of_resumed(parent: str) -> str:
    """Say that the iterations before a resume are not known."""
    return (
        f"But it was resumed from {unbroken(parent)}, and the iterations before that are not counted: "
        "whether it has converged cannot be said."
    )


FAR = 0.5
"""Pixels from which on it is said that the object walked."""


def of_walk(before: Frame, now: Frame, since: int, niter: int) -> str:
    """Say that the object walked, together with probe or positions, "" where it hardly did."""
    by = minus(plus(*now.object), plus(*before.object))
    if not math.hypot(*by) > FAR:
        return ""
    others = {
        "the probe": minus(plus(*now.probe), plus(*before.probe)),
        "the scan positions": minus(now.at, before.at) if now.at and before.at else (0.0, 0.0),
    }
    along = [name for name, moved in others.items() if math.hypot(*moved) > FAR / 2]
    how = f"{listed(['the object', *along])} moved together" if along else "the object as a whole moved"
    pixels = rounded(math.hypot(*by))
    return f"From iteration {since} to {niter} {how} by {pixels} px, which changes no pattern, and was removed."


def interval(last: Doubling) -> str:
    """Return from where to where a change is."""
    return f"from iteration {last.since} to {last.niter}"


def verb(key: str, words: str) -> str:
    """Return words that begin with a verb in the singular, in the plural where the quantity is: holds, hold."""
    one, *rest = words.split(" ")
    return " ".join([PLURAL[one], *rest]) if quantity_of(key).plural else words


def it(key: str) -> str:
    """Return the pronoun of a quantity."""
    return "them" if quantity_of(key).plural else "it"


def _jitters(key: str, found: Doublings) -> str:
    label, size = quantity_of(key).label, found.size or 0.0
    by = f"by {amount(key, size)}, so that two checkpoints differ by {short_amount(key, math.sqrt(2) * size)}"
    return f"the {label} {verb(key, 'jitters')} about a point, {by} ({_tolerated(key, found)})"


def _per_doubling(found: Doublings) -> str:
    """Return what to add where the last interval is clearly not a doubling, so that the change was scaled to one."""
    last = found.points[-1]
    if not found.contrast:
        return ""
    changed = last.distance / found.contrast * (100.0 if found.unit == CONTRAST else 1.0)
    return " per doubling" if abs(changed - last.relative) > SCALED * last.relative else ""


def _compared(key: str, found: Doublings) -> str:
    """Compare the last change with the doubling before, and, of what drifts, with the least."""
    if math.isnan(found.growth):
        return ""
    how = "more than" if found.growth > MORE else "less than" if found.growth < LESS else "about as much as"
    before = found.points[-1].relative / found.growth if found.growth else math.nan
    compared = f", {how} over the doubling before ({short_amount(key, before)})"
    if found.state != "drifting" or found.quietest is None:
        return compared
    least = short_amount(key, found.quietest.relative)
    return f"{compared}, and more than the least, at iteration {found.quietest.niter} ({least})"


def of_converged(parts: Mapping[str, Doublings]) -> str:
    """Say by how much the last doubling changed each of these quantities, all of which have converged."""
    calm = {key: found for key, found in parts.items() if found.points and found.state != "jittering"}
    jitters = [_jitters(key, found) for key, found in parts.items() if found.state == "jittering"]
    if not calm:
        return f"{_sentence_case(listed(jitters))}."
    intervals = {interval(found.points[-1]) for found in calm.values()}
    when = intervals.pop() if len(intervals) == 1 else "over the last doubling"
    by = [f"the {quantity_of(key).label} changed by {_with_tolerance(key, found, calm)}" for key, found in calm.items()]
    whose = {quantity_of(key).of for key in calm}
    of = f" {whose.pop()}" if len(whose) == 1 and whose != {""} else ""
    limits = {_tolerated(key, found) for key, found in calm.items()}
    limit = f" ({limits.pop()})" if len(limits) == 1 else ""
    also = f" {_sentence_case(listed(jitters))}." if jitters else ""
    changes = listed([by[0], *(one.replace(" changed by", " by") for one in by[1:])])
    return f"{when} {changes}{of}{limit}.{also}"


def _with_tolerance(key: str, found: Doublings, parts: Mapping[str, Doublings]) -> str:
    """Return a change, with its tolerance where the parts have different ones, and what it is of where that differs."""
    change = short_amount(key, found.points[-1].relative)
    whose, limits = ({quantity_of(one).of for one in parts}, {_tolerated(one, p) for one, p in parts.items()})
    of = f" {quantity_of(key).of}" if len(whose) > 1 and quantity_of(key).of else ""
    return f"{change}{of}" + (f" ({_tolerated(key, found)})" if len(limits) > 1 else "")


def _sentence_case(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def of_stop(key: str | None, niter: int) -> str:
    """Say that a quantity, or, of None, all of a run, stopped changing."""
    what = "Nothing changed" if key is None else f"The {quantity_of(key).label} did not change"
    return f"{what} after iteration {niter}."


def verdict_line(verdict: RunVerdict) -> str:
    """Return the verdict in a line: its state, since when it has converged, and its sentence."""
    return f"{verdict.state}{' ' if verdict.converged_since else ': '}{since_and_sentence(verdict)}"


def since_and_sentence(verdict: RunVerdict) -> str:
    """Return the sentence, after since when the object has converged, if it has."""
    return f"since iteration {verdict.since}: {verdict.sentence}" if verdict.converged_since else verdict.sentence


def keep_line(verdict: RunVerdict) -> str:
    """Return which checkpoint to keep, and why, in a line; "" where that was not asked."""
    return "" if verdict.keep is None else f"keep iteration {verdict.keep}: {verdict.keep_because}"
