"""Prints: text, coloured lines, progress bars, and a table that is redrawn in place."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

import click

from ptyconv_cli.cli.verdict_lines import verdict_lines
from ptyconv_cli.results.text import cut, printable
from ptyconv_cli.results.verdict import RunVerdict

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
    return bool(stream and stream.isatty()) and not _is_dumb()


def _is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"


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
