"""The command `ptyconv`: the group of all commands, and errors as messages with an exit code."""

import errno
import signal
import sys
from collections import UserDict
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from ptyconv_cli.cli.console import as_errors
from ptyconv_cli.cli.help import Help
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.text import printable, text_width
from ptyconv_cli.version import __version__

HOMES = {
    "analyze": "ptyconv_cli.cli.analyze:analyze",
    "check": "ptyconv_cli.cli.check:check",
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


@click.group(cls=_Commands, commands=_LoadedWhenAsked(HOMES), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ptyconv")
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
