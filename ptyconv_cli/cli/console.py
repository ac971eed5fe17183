"""Prints: text, the verdict, coloured lines, progress bars, and a table that is redrawn in place."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

import click

from ptyconv_cli.results.run_analysis import RunVerdict
from ptyconv_cli.results.text import cut, printable, text_width, with_place_kept, wrapped
from ptyconv_cli.verdict.sentences import FORETOLD, TITLE, Row, doublings_table, verdict_line

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


def that_fit(widths: Mapping[str, int], room: int, given_up: Sequence[str]) -> dict[str, int]:
    """Return the columns of a table for which there is room, with their widths: those `given_up` go first, in order."""
    shown = dict(widths)
    for name in given_up:
        if sum(shown.values()) > room:
            shown.pop(name, None)
    return shown


def left_out(columns: int, place: str = "") -> list[str]:
    """Say how many columns of a table there is no room for, and which file has them."""
    if not columns:
        return []
    others = f"{columns} column{'' if columns == 1 else 's'} left out: widen the terminal"
    return wrapped(f"{others}, or see {place}" if place else others, text_width(), "  ")


COLOURS = {
    "converged": "green",
    "converging": "yellow",
    "jittering": "yellow",
    "step-limited": "yellow",
    "drifting": "red",
    "broken": "red",
}


def say_verdict(verdict: RunVerdict) -> None:
    """Print a verdict, each line in the colour of its state."""
    for line, state in verdict_lines(verdict):
        say_coloured(line, state)


def say_coloured(line: str, state: str) -> None:
    """Print a line in the colour of a state."""
    plain = False if os.environ.get("NO_COLOR") or _is_dumb() else None  # else click colours on terminals only
    click.echo(click.style(printable(line), fg=COLOURS.get(state)), color=plain)


def say(text: str, err: bool = False) -> None:
    """Print text without control characters to standard output or, if `err`, standard error."""
    click.echo(printable(text, keep="\n"), err=err)


def can_redraw(stream: TextIO | None) -> bool:
    """Say whether lines can be drawn over: on a terminal that can move its cursor; a closed stream is None."""
    return _on_terminal(stream) and not _is_dumb()


def _on_terminal(stream: TextIO | None) -> bool:
    return bool(stream and stream.isatty())


def _is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"


def say_wrapped(text: str, indent: str = "") -> None:
    """Print text in lines that the terminal has room for, to standard output."""
    say("\n".join(wrapped(text, text_width(), indent)))


def say_errors(text: str) -> None:
    """Print errors, or notes of several lines, to standard error."""
    say(as_errors(text), err=True)


def as_errors(text: str) -> str:
    """Return lines as standard error shows them: wrapped on a terminal, else whole, to be searched in a log."""
    if not _on_terminal(sys.stderr):
        return text
    return "\n".join(part for line in text.split("\n") for part in _parts(line))


def _parts(line: str) -> list[str]:
    if line.startswith("  --"):  # options to copy
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    return wrapped(with_place_kept(line), text_width(), f"{indent}  ") or [""]


@contextmanager
def progress_bar(label: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with the numbers done and in all, which shows them on a terminal only."""
    if hidden or not can_redraw(sys.stderr):
        yield lambda done, total: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr, show_pos=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)
            if not done:
                bar.render_progress()  # which an update by 0 does not do

        yield progress


class Screen:
    """Lines on a terminal that are redrawn in place."""

    def __init__(self) -> None:
        self._rows = 0

    def draw(self, lines: Sequence[tuple[str, str]]) -> None:
        """Draw lines, each in the colour of a state, in place of those drawn before.

        They are cut to the size of the terminal, because lines that have scrolled away cannot be redrawn.
        """
        self.clear()
        columns, rows = shutil.get_terminal_size()
        for line, state in lines[: max(rows - 1, 1)]:
            say_coloured(cut(line, columns), state)
            self._rows += 1

    def clear(self) -> None:
        """Erase what was drawn."""
        if self._rows:
            click.echo(f"\x1b[{self._rows}A\x1b[J", nl=False, color=True)  # no colour codes, which click would strip
        self._rows = 0
