"""The table of the last changes per doubling, as texts: for the terminal and the page."""

from collections.abc import Sequence
from typing import NamedTuple

from ptyconv_cli.quantities import QUANTITIES
from ptyconv_cli.results.run_analysis import TOO_FEW, Doubling, Doublings, Forecast, RunVerdict
from ptyconv_cli.verdict.sentences import rounded

MOST_COLUMNS = 4

TITLE, TOLERATED, FORETOLD = "change per doubling", "tolerated", "as much again"
"""What is above the labels, the tolerances and the forecasts."""

NEAR = 1.25
"""Times the iterations of one column up to which the next may begin elsewhere than that one ends."""


class Row(NamedTuple):
    """A quantity: its `label`, `unit` and `state`, its `changes`, one for each column, `tolerated` and `foretold`.

    `instead`: what is said where there are no changes to show, "" where there are.
    """

    label: str
    unit: str
    state: str
    changes: list[str]
    tolerated: str
    foretold: str
    instead: str


class Table(NamedTuple):
    """The last doublings, as "60→120", in `heads`; a row for each quantity; `foretold`: whether any has a forecast.

    `note`: from where iterations count, "" where that is from the run's begin.
    """

    heads: list[str]
    foretold: bool
    rows: list[Row]
    note: str = ""


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
            f"{of_one.tolerance:.3g}",
            _foretold(of_one.forecast),
            _instead(of_one),
        )
        for quantity, of_one in found
        if of_one and not (of_one.state == "not optimised" and not quantity.axes)
    ]
    foretold = any(of_one.forecast for of_one in verdict.doublings.values())
    begin = verdict.doublings[verdict.worst].begin
    note = f"iterations count from {begin} on: there is nothing to compare with before" if begin else ""
    return Table([f"{point.since}→{point.niter}" for point in columns], foretold, rows, note)


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
    return high if high.startswith("<") else f"{'0' if low.startswith('<') else low} to {high}"


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
