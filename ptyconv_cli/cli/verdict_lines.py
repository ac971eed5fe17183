"""The verdict for a terminal: a sentence, the table of changes per doubling, and what to do."""

from ptyconv_cli.results.text import text_width, wrapped
from ptyconv_cli.results.verdict import RunVerdict
from ptyconv_cli.verdict.table import FORETOLD, TITLE, Row, doublings_table, verdict_line

LABEL_WIDTH = 21
NARROWEST = 8

FORECAST_WIDTH = 22
"""Of the widest forecast, as \"0.35 (0.10 to 0.73)\", and what is before it."""

Line = tuple[str, str]
"""A line, and the state that it is about, for its colour."""


def verdict_lines(verdict: RunVerdict) -> list[Line]:
    """Return the verdict line by line; the last one says what to do."""
    lines = [(line, verdict.state) for line in wrapped(verdict_line(verdict), text_width())]
    table = _table_lines(verdict)
    lines += [("", ""), *table] if table else []
    lines += [("", ""), *((line, "") for line in wrapped(verdict.remark, text_width()))] if verdict.remark else []
    return [*lines, ("", ""), *((line, verdict.state) for line in wrapped(verdict.advice, text_width()))]


def _table_lines(verdict: RunVerdict) -> list[Line]:
    """Return the changes over as many of the last doublings as there is room for, a row for each quantity."""
    table = doublings_table(verdict)
    if table is None:
        return []
    width = max(NARROWEST, *(len(head) + 2 for head in table.heads))
    room = text_width() - LABEL_WIDTH
    foretold = table.foretold and room >= width + FORECAST_WIDTH
    shown = min(max((room - (FORECAST_WIDTH if foretold else 0)) // width, 1), len(table.heads))
    title = f"{TITLE:<{LABEL_WIDTH}}" + "".join(f"{head:>{width}}" for head in table.heads[-shown:])
    lines = [(title + (f"   {FORETOLD}" if foretold else ""), "")]
    for row in table.rows:
        label = f"{row.label:<{LABEL_WIDTH - 4}}{row.unit:<4}"
        if row.instead:
            first, *others = wrapped(row.instead, room - 3)
            lines += [(f"{label}   {first}", row.state), *((" " * (LABEL_WIDTH + 3) + line, "") for line in others)]
        else:
            lines.append((f"{label}{_cells(row, width, shown, foretold)}".rstrip(), row.state))
    missing = len(table.heads) - shown + (table.foretold and not foretold)
    return lines + [(line, "") for line in left_out(missing)]


def _cells(row: Row, width: int, shown: int, foretold: bool) -> str:
    changes = "".join(f"{change:>{width}}" for change in row.changes[-shown:])
    return f"{changes}   {row.foretold}" if foretold else changes


def left_out(columns: int, place: str = "") -> list[str]:
    """Say how many columns of a table there is no room for, and which file has them."""
    if not columns:
        return []
    others = f"{columns} column{'' if columns == 1 else 's'} left out: widen the terminal"
    return wrapped(f"{others}, or see {place}" if place else others, text_width(), "  ")
