"""The command `ptyconv`: the group of all commands, and errors as messages with an exit code."""

import errno
import signal
import sys
from collections import UserDict
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.text import printable
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


class _LoadedWhenAsked(UserDict[str, Any]):
    """The commands by name: a process runs only one, and need not load what the others need."""

    def __getitem__(self, name: str) -> click.Command:
        module, _, attribute = self.data[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


class _Commands(click.Group):
    """Turns the errors of the package and of the system into a message and exit code 1, for every command."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(128 + signal.SIGINT)
        except PtyconvError as error:
            raise click.ClickException(printable(str(error), keep="\n")) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output has gone; click ends quietly
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(printable(f"{where}{error.strerror or error}", keep="\n")) from error


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
