"""The command `ptyconv`: the group of all commands, their help, and errors as messages with an exit code."""

import errno
import re
import signal
import sys
from collections import UserDict
from collections.abc import Iterable
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from ptyconv_cli import __version__
from ptyconv_cli.cli.console import as_errors
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.text import printable, text_width, wrapped

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


HOMES = {
    "analyze": "ptyconv_cli.cli.analyze:analyze",
    "check": "ptyconv_cli.cli.analyze:check",
    "frc": "ptyconv_cli.cli.frc:frc",
    "ls": "ptyconv_cli.cli.listing:list_runs",
    "maps": "ptyconv_cli.cli.pictures:maps",
    "plot": "ptyconv_cli.cli.pictures:plot",
    "report": "ptyconv_cli.cli.report_page:report",
}
"""By command, its module and its name there."""

BESIDE, SENTENCE = 13, 65
"""Columns that are not for what is said of a command in help, and letters of that at least."""


def _message(text: str) -> str:
    """Return an error as it is printed, without the "Error: " that click puts before it."""
    return as_errors(printable(f"Error: {text}", keep="\n")).removeprefix("Error:").lstrip()


class _Context(click.Context):
    """Has help wrapped at the terminal's width."""

    def make_formatter(self) -> click.HelpFormatter:
        return Help(width=text_width() - 2)


class _LoadedWhenAsked(UserDict[str, Any]):
    """The commands by name: a process runs only one, and need not load what the others need."""

    def __getitem__(self, name: str) -> click.Command:
        module, _, attribute = self.data[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        command.context_class = _Context
        return command


class _Commands(click.Group):
    """Turns the errors of the package and of the system into a message and exit code 1, for every command."""

    context_class = _Context

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(128 + signal.SIGINT)
        except click.UsageError as error:
            raise click.UsageError(_message(error.format_message()), error.ctx or ctx) from error
        except PtyconvError as error:
            raise click.ClickException(_message(str(error))) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output has gone; click ends quietly
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(_message(f"{where}{error.strerror or error}")) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with a sentence that is wrapped, not cut, on a narrow terminal."""
        limit = max(formatter.width - BESIDE, SENTENCE)
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands[name].get_short_help_str(limit)) for name in self.commands])


def _say_version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from ptyconv_cli.checkpoints.readers import formats

    click.echo(f"ptyconv {__version__}")
    click.echo("\n".join(wrapped(f"reads files of {', '.join(formats())}", text_width(), "  ")))
    ctx.exit()


@click.group(cls=_Commands, commands=_LoadedWhenAsked(HOMES), context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Show the version and the formats that it reads, and exit.",
)
def main() -> None:
    """Has a ptychographic reconstruction converged, and when?

    ptyconv reads what a reconstruction saved on its way, and measures how much object, probe and scan positions still
    change. It knows the files of PtyRAD and of other engines by what is in them. Give it the folder with these files:

    
      ptyconv ls FOLDER        which runs are there?
      ptyconv analyze FOLDER   has it converged? With pictures and tables
      ptyconv check FOLDER     the answer alone, for scripts
      ptyconv report FOLDER    all of it in one page to send
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # it is None where the shell has closed it
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 gets question marks, not a traceback
