"""How `--help` is laid out: as click does it, but without a word broken in two, also on a narrow terminal."""

import re
from collections.abc import Iterable

import click

from ptyconv_cli.results.text import wrapped

HYPHEN = "\N{NON-BREAKING HYPHEN}"
"""Stands for a hyphen while click wraps text, for click breaks lines there."""

NARROW, LONGEST_TERM = 60, 7
"""Columns below which only options that are so short have their description beside them."""

DEEPEST = 4
"""Spaces that a line which has to be wrapped begins with at most; one with more goes on from the line before."""


class Help(click.HelpFormatter):
    """Lays out help, at any width from 38 columns on."""

    def write_text(self, text: str) -> None:
        """Write paragraphs; lines that click would leave as they are get wrapped where they are too long."""
        room = self.width - self.current_indent
        paragraphs = (_fitted(part, room) if part.startswith("\b\n") else part for part in text.split("\n\n"))
        super().write_text("\n\n".join(paragraphs).replace("-", HYPHEN))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write options, or commands, with their descriptions."""
        widest = col_max if self.width >= NARROW else LONGEST_TERM
        super().write_dl([(term, said.replace("-", HYPHEN)) for term, said in rows], widest, col_spacing)

    def getvalue(self) -> str:
        """Return what was written."""
        return super().getvalue().replace(HYPHEN, "-")


def _fitted(paragraph: str, room: int) -> str:
    if all(len(line) <= room for line in paragraph.split("\n")):
        return paragraph
    lines = []
    for line in re.sub(rf"\n {{{DEEPEST + 1},}}", " ", paragraph).split("\n"):
        indent = " " * min(len(line) - len(line.lstrip()), DEEPEST)
        fits = len(line) <= room
        lines += [line] if fits else [indent + part for part in wrapped(line.strip(), room - len(indent), "  ")]
    return "\n".join(lines)
