"""The verdict in words: a sentence, what to do, and the table of the changes per doubling."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ptyconv_cli.quantities import QUANTITIES, quantity_of
from ptyconv_cli.quantities.quantity import CONTRAST
from ptyconv_cli.results.frame import Frame, minus, plus
from ptyconv_cli.results.run_analysis import TOO_FEW, Doubling, Doublings, Forecast, RunVerdict
from ptyconv_cli.results.text import listed
from ptyconv_cli.verdict.segments import NEAR

MORE, MUCH_MORE = 1.25, 1.75
"""Times the change of the doubling before from which on the words say so."""

SCALED = 0.03
"""Share by which a change differs from that of a doubling from which on the words say so."""

EARLY = 80
"""Iterations up to which a run that moves ever more may only be setting out."""

OPTIMISE = "look at the settings: which of the object, probe and positions are to be optimised"

FIXED_ADVICE = {
    "converged": "stop, if the result is right: it no longer changes, which does not say that it is correct",
    "insufficient": "continue, and ask again after about twice the iterations",
}
"""By state, where nothing more is to be said."""

PLURAL = {"holds": "hold", "has": "have", "is": "are", "jitters": "jitter", "moves": "move"}


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


def of_quantity(key: str, found: Doublings) -> str:
    """Say what became of a quantity that has not converged, over the last doubling."""
    label = quantity_of(key).label
    if found.state == "broken":
        return f"the {label} {_verb(key, found.reason)} since iteration {found.since}."
    if found.too_few:
        return f"there is too little of the {label} to align: it cannot be said whether the run has converged."
    if found.state == "insufficient":
        return "too early to tell: it takes checkpoints at about a quarter, half and all of the iterations."
    last = found.points[-1]
    if found.state == "jittering":
        return f"since iteration {last.since} {_jitters(key, found, amount)}."
    changed = f"{interval(last)} the {label} changed by {amount(key, last.relative)}{_per_doubling(found)}"
    if found.state == "step-limited":
        whose = "their" if quantity_of(key).plural else "its"
        return f"{changed}, and less than before only because {whose} learning rate fell."
    return f"{changed}, {_compared(key, found)}{_outlook(key, found)}."


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


def _verb(key: str, words: str) -> str:
    """Return words that begin with a verb in the singular, in the plural where the quantity is: holds, hold."""
    verb, *rest = words.split(" ")
    return " ".join([PLURAL[verb], *rest]) if quantity_of(key).plural else words


def _jitters(key: str, found: Doublings, in_words: Callable[[str, float], str]) -> str:
    return f"the {quantity_of(key).label} {_verb(key, 'jitters')} about a point, by {in_words(key, found.size or 0.0)}"


def _per_doubling(found: Doublings) -> str:
    """Return what to add where the last interval is clearly not a doubling, so that the change was scaled to one."""
    last = found.points[-1]
    if not found.contrast:
        return ""
    changed = last.distance / found.contrast * (100.0 if found.unit == CONTRAST else 1.0)
    return " per doubling" if abs(changed - last.relative) > SCALED * last.relative else ""


def _compared(key: str, found: Doublings) -> str:
    how = "more than" if found.growth > MORE else "about as much as" if found.state == "drifting" else "less than"
    before = found.points[-1].relative / found.growth if found.growth else math.nan
    return f"{how} over the doubling before ({short_amount(key, before)})"


def _outlook(key: str, found: Doublings) -> str:
    """Say when it will be within the tolerance, or, of what drifts, when it was quietest."""
    if found.reaches is not None:
        return f"; at this pace within {short_amount(key, found.tolerance)} by iteration {found.reaches}"
    if found.state == "drifting" and found.quietest and moved_away(found):
        return f"; quietest at {found.quietest.niter} ({short_amount(key, found.quietest.relative)})"
    return ""


def moved_away(found: Doublings) -> bool:
    """Say whether a quantity changes clearly more now than where it was quietest, which was not at its first doubling.

    Of an early one little can be said: it is short.
    """
    quietest, first = found.quietest, found.points[0]
    return (
        quietest is not None and quietest.niter > first.niter and found.points[-1].relative > MORE * quietest.relative
    )


def of_driver(key: str, found: Doublings) -> str:
    """Say how much more another quantity moved than before, which may be what moves the object."""
    label = quantity_of(key).label
    begin = label.capitalize() if quantity_of(key).plural else f"The {label}"
    verb = "moved" if quantity_of(key).plural else "changed"
    return f"{begin} {verb} by {amount(key, found.points[-1].relative)}, {_times(found.growth)} before."


def of_step_limited(keys: list[str]) -> str:
    """Say which quantities change less only because their learning rates fell."""
    labels = listed([quantity_of(key).label for key in keys])
    return f"The {labels} only followed the learning rate, which fell."


def _times(growth: float) -> str:
    if growth < MORE:
        return "about as much as"
    if growth < MUCH_MORE or growth > 100:
        return "more than" if growth > 100 else f"{growth:.1f} times as much as"
    return "twice as much as" if growth < 2.5 else f"{growth:.0f} times as much as"


def of_converged(quantities: dict[str, Doublings]) -> str:
    """Say by how much the last doubling changed each quantity of a run that has converged."""
    calm = {key: found for key, found in quantities.items() if found.points and found.state != "jittering"}
    jitters = [_jitters(key, found, short_amount) for key, found in quantities.items() if found.state == "jittering"]
    if not calm:
        return f"no more than tolerated {listed(jitters)}."
    intervals = {interval(found.points[-1]) for found in calm.values()}
    when = intervals.pop() if len(intervals) == 1 else "over the last doubling"
    by = {key: short_amount(key, found.points[-1].relative) for key, found in calm.items()}
    changes = [f"{quantity_of(key).label} by {change}" for key, change in by.items()]
    also = f" And {listed(jitters)}." if jitters else ""
    return f"{when} it changed no more than tolerated: {listed(changes)}.{also}"


def of_stop(key: str | None, niter: int) -> str:
    """Say that a quantity, or, of None, all of a run, stopped changing."""
    what = "Nothing changed" if key is None else f"The {quantity_of(key).label} did not change"
    return f"{what} after iteration {niter}."


def advice_on_stop(key: str | None, niter: int) -> str:
    """Say what to do where a quantity, or, of None, all of a run, stopped changing before it had converged."""
    if key is None:
        return f"look why nothing changed after iteration {niter}: the run had not converged by then"
    return f"optimise the {quantity_of(key).label} again: by iteration {niter} it had not converged"


def advice(state: str, key: str, found: Doublings, drivers: list[str]) -> str:
    """Say in one line what to do about a run."""
    label = quantity_of(key).label
    if state == "broken":
        before = f"a checkpoint before iteration {found.since}, if there is one"
        return f"stop: start again from {before}, with a smaller learning rate"
    if found.too_few:
        return "look at the raw changes: analyze -v prints them"
    if state == "jittering":
        return f"lower the learning rate of the {label}: more iterations alone will not calm {_it(key)}"
    if state == "step-limited":
        verb = _verb(key, "moves")
        return f"continue with a constant learning rate: as it is, the {label} merely {verb} in smaller steps"
    if drivers:
        driver = quantity_of(drivers[0]).label
        quiet = f" from iteration {found.quietest.niter} on" if found.quietest and moved_away(found) else ""
        return f"look at the learning rate of the {driver}: lower it, or keep the {driver} fixed{quiet}"
    if state == "converging":
        return _advice_on_converging(key, found)
    return _advice_on_drifting(key, found) if state == "drifting" else FIXED_ADVICE[state]


def _advice_on_converging(key: str, found: Doublings) -> str:
    last = found.points[-1]
    if found.reaches is not None:
        return f"continue: about {found.reaches - last.niter} more iterations"
    if last.relative <= found.tolerance:
        return f"continue: the {quantity_of(key).label} {_verb(key, 'is')} nearly within the tolerance"
    return "continue only with a larger learning rate: at this pace it takes too long"


def _advice_on_drifting(key: str, found: Doublings) -> str:
    if found.quietest and moved_away(found):
        return f"stop: compare with the checkpoint of iteration {found.quietest.niter}, and lower the learning rate"
    if found.points[-1].niter < EARLY:
        return FIXED_ADVICE["insufficient"]
    return f"stop, or change the settings: more iterations will move {_it(key)} as much again"


def _it(key: str) -> str:
    return "them" if quantity_of(key).plural else "it"


MOST_COLUMNS = 4

TITLE, FORETOLD = "change per doubling", "as much again"
"""What is above the labels, and above the forecasts."""


class Row(NamedTuple):
    """A quantity: its `label`, `unit` and `state`, its `changes`, one for each column, and its forecast (`foretold`).

    `instead`: what is said where there are no changes to show, "" where there are.
    """

    label: str
    unit: str
    state: str
    changes: list[str]
    foretold: str
    instead: str


class Table(NamedTuple):
    """The last doublings, as "60→120", in `heads`; a row for each quantity; `foretold`: whether any has a forecast."""

    heads: list[str]
    foretold: bool
    rows: list[Row]


def verdict_line(verdict: RunVerdict) -> str:
    """Return the verdict in a line: its state and sentence."""
    return f"{verdict.state}: {verdict.sentence}"


def doublings_table(verdict: RunVerdict) -> Table | None:
    """Return the changes over the last doublings, None where there are none yet."""
    columns = _columns(verdict)
    if not columns:
        return None
    found = [(quantity, verdict.doublings.get(quantity.key)) for quantity in QUANTITIES]
    rows = [
        Row(
            quantity.label,
            quantity.unit,
            of_one.state,
            _changes(of_one, columns),
            _foretold(of_one.forecast),
            _instead(of_one),
        )
        for quantity, of_one in found
        if of_one and not (of_one.state == "not optimised" and not quantity.axes)
    ]
    foretold = any(of_one.forecast for of_one in verdict.doublings.values())
    return Table([f"{point.since}→{point.niter}" for point in columns], foretold, rows)


def _instead(found: Doublings) -> str:
    if found.state == "not optimised":
        since = f" since {found.since}" if found.since and found.points and found.points[0].niter <= found.since else ""
        return f"not optimised{since}"
    return TOO_FEW if found.too_few else ""


def _changes(found: Doublings, columns: Sequence[Doubling]) -> list[str]:
    at = {(point.since, point.niter): rounded(point.relative) for point in found.points}
    return [at.get((one.since, one.niter), "-") for one in columns]


def _foretold(forecast: Forecast | None) -> str:
    if forecast is None:
        return "-"
    low, high = (rounded(limit) for limit in (forecast.low, forecast.high))
    if high.startswith("<"):
        return rounded(forecast.relative)
    return f"{rounded(forecast.relative)} ({'0' if low.startswith('<') else low} to {high})"


def _columns(verdict: RunVerdict) -> list[Doubling]:
    """Return the last doublings, each ending where the next begins, of the quantity that the verdict is of."""
    of_one = [verdict.doublings[verdict.worst], *verdict.doublings.values()]
    points = next((found.points for found in of_one if found.points), [])
    chain = list(points[-1:])
    while chain and len(chain) < MOST_COLUMNS:
        begin = chain[0].since
        before = min((p for p in points if p.niter < chain[0].niter), key=lambda p: abs(p.niter - begin), default=None)
        if before is None or not begin / NEAR <= before.niter <= begin * NEAR:
            break
        chain.insert(0, before)
    return chain
