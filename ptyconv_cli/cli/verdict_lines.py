"""The verdict for a terminal of 80 columns: a sentence, the table of changes per doubling, and what to do."""

from collections.abc import Sequence

from ptyconv_cli.results.doublings import QUANTITIES, TOO_FEW, Doubling, Doublings, Forecast
from ptyconv_cli.results.text import wrapped
from ptyconv_cli.results.verdict import RunVerdict
from ptyconv_cli.verdict.segments import NEAR
from ptyconv_cli.verdict.sentences import rounded

WIDTH, LABEL_WIDTH = 80, 21
MOST_COLUMNS, NARROWEST = 4, 8

FORECAST_WIDTH = 22
"""Of the widest forecast, as \"0.35 (0.10 to 0.73)\", and what is before it."""

Line = tuple[str, str]
"""A line, and the state that it is about, for its colour."""


def verdict_lines(verdict: RunVerdict) -> list[Line]:
    """Return the verdict line by line; the last one says what to do."""
    lines = [(line, verdict.state) for line in wrapped(verdict_line(verdict), WIDTH)]
    table = doublings_table(verdict)
    lines += [("", ""), *table] if table else []
    lines += [("", ""), *((line, "") for line in wrapped(verdict.remark, WIDTH))] if verdict.remark else []
    return [*lines, ("", ""), *((line, verdict.state) for line in wrapped(verdict.advice, WIDTH))]


def verdict_line(verdict: RunVerdict) -> str:
    """Return the verdict in a line: its state and sentence."""
    return f"{verdict.state}: {verdict.sentence}"


def doublings_table(verdict: RunVerdict) -> list[Line]:
    """Return the changes over the last doublings, a row for each quantity; nothing where there are none yet."""
    columns = _columns(verdict)
    if not columns:
        return []
    heads = [f"{point.since}→{point.niter}" for point in columns]
    width = max(NARROWEST, *(len(head) + 2 for head in heads))
    foretold = any(found.forecast for found in verdict.doublings.values())
    room = WIDTH - LABEL_WIDTH - (FORECAST_WIDTH if foretold else 0)
    columns, heads = columns[-(room // width) :], heads[-(room // width) :]
    title = f"{'change per doubling':<{LABEL_WIDTH}}" + "".join(f"{head:>{width}}" for head in heads)
    lines = [(title + ("   as much again" if foretold else ""), "")]
    for quantity in QUANTITIES:
        found = verdict.doublings.get(quantity.key)
        if found is None or (found.state == "not optimised" and quantity.key in ("tilt", "thickness")):
            continue
        label = f"{quantity.label:<{LABEL_WIDTH - 4}}{quantity.unit:<4}"
        lines.append((f"{label}{_row(found, columns, width, foretold)}".rstrip(), found.state))
    return lines


def _row(found: Doublings, columns: Sequence[Doubling], width: int, foretold: bool) -> str:
    if found.state == "not optimised":
        since = f" since {found.since}" if found.since and found.points and found.points[0].niter <= found.since else ""
        return f"   not optimised{since}"
    if found.too_few:
        return f"   {TOO_FEW}"
    at = {(point.since, point.niter): rounded(point.relative) for point in found.points}
    row = "".join(f"{at.get((one.since, one.niter), '-'):>{width}}" for one in columns)
    return f"{row}   {_foretold(found.forecast)}" if foretold else row


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
