"""The changes per doubling as people read them: a table of words, for a terminal or a page to lay out."""

from collections.abc import Sequence
from typing import NamedTuple

from ptyconv_cli.results.doublings import QUANTITIES, TOO_FEW, Doubling, Doublings, Forecast
from ptyconv_cli.results.verdict import RunVerdict
from ptyconv_cli.verdict.segments import NEAR
from ptyconv_cli.verdict.sentences import rounded

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
        if of_one and not (of_one.state == "not optimised" and quantity.key in ("tilt", "thickness"))
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
