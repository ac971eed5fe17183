"""The verdict for a terminal of 80 columns: a sentence, the table of changes per doubling, and what to do."""

from ptyconv_cli.results.text import wrapped
from ptyconv_cli.results.verdict import RunVerdict
from ptyconv_cli.verdict.table import FORETOLD, TITLE, Row, doublings_table, verdict_line

WIDTH, LABEL_WIDTH = 80, 21
NARROWEST = 8

FORECAST_WIDTH = 22
"""Of the widest forecast, as \"0.35 (0.10 to 0.73)\", and what is before it."""

Line = tuple[str, str]
"""A line, and the state that it is about, for its colour."""


def verdict_lines(verdict: RunVerdict) -> list[Line]:
    """Return the verdict line by line; the last one says what to do."""
    lines = [(line, verdict.state) for line in wrapped(verdict_line(verdict), WIDTH)]
    table = _table_lines(verdict)
    lines += [("", ""), *table] if table else []
    lines += [("", ""), *((line, "") for line in wrapped(verdict.remark, WIDTH))] if verdict.remark else []
    return [*lines, ("", ""), *((line, verdict.state) for line in wrapped(verdict.advice, WIDTH))]


def _table_lines(verdict: RunVerdict) -> list[Line]:
    """Return the changes over as many of the last doublings as there is room for, a row for each quantity."""
    table = doublings_table(verdict)
    if table is None:
        return []
    width = max(NARROWEST, *(len(head) + 2 for head in table.heads))
    shown = (WIDTH - LABEL_WIDTH - (FORECAST_WIDTH if table.foretold else 0)) // width
    title = f"{TITLE:<{LABEL_WIDTH}}" + "".join(f"{head:>{width}}" for head in table.heads[-shown:])
    lines = [(title + (f"   {FORETOLD}" if table.foretold else ""), "")]
    for row in table.rows:
        label = f"{row.label:<{LABEL_WIDTH - 4}}{row.unit:<4}"
        lines.append((f"{label}{_cells(row, width, shown, table.foretold)}".rstrip(), row.state))
    return lines


def _cells(row: Row, width: int, shown: int, foretold: bool) -> str:
    if row.instead:
        return f"   {row.instead}"
    changes = "".join(f"{change:>{width}}" for change in row.changes[-shown:])
    return f"{changes}   {row.foretold}" if foretold else changes
