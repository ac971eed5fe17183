"""The runs that a command is given: as a file, as the folder of one, or as a folder above them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.checkpoints.discovery import Found, find_runs, holds_checkpoints, no_checkpoint
from ptyconv_cli.checkpoints.fingerprint import one_look
from ptyconv_cli.checkpoints.readers import counts_as_file, is_one_file
from ptyconv_cli.cli.console import say_errors
from ptyconv_cli.cli.options import ONE_FOLDER, Where
from ptyconv_cli.errors import PtyconvError, SeveralRuns

Result = TypeVar("Result")


def runs_at(path: Path, names: str | None, output: Path | None = None, fresh: bool = False) -> Found:
    """Return the runs at or below a path, which may be a file; what earlier analyses knew of the files is known again.

    `names`: how the files are named, where not as usual; `output`: where the results of these analyses are, None where
    they are the runs' own folders; nothing of theirs is used if `fresh`. Raises PtyconvError where there is no such
    path.
    """
    if is_one_file(path):
        return Found([path])

    def recall(folder: Path) -> None:
        for place in {output, output / folder.relative_to(path)} if output else {folder}:
            Cache(place, fresh).recall()

    with one_look():
        recall(path)
        return Found([path]) if holds_checkpoints(path, names) else find_runs(path, names, recall)


def only_run(path: Path, names: str | None, output: Path | None = None) -> Path:
    """Return the run at or below a path, its folder or file; raise PtyconvError where there is none, or several."""
    found = runs_at(path, names, output)
    if len(found.runs) == 1:
        return found.runs[0]
    raise PtyconvError(f"{path}: {no_checkpoint(found, path, names)}")


def one_or_several(
    given: Path,
    found: Found,
    earlier: Sequence[Path] | str,
    where: Where | None,
    of_one: Callable[[Path], Result],
    of_several: Callable[[SeveralRuns | None, Where | None], Result],
) -> Result:
    """Return what is done with the one run that was found, or with several, as when its folder turns out to hold some.

    `earlier`: the runs before it, and `where`: the workers for several, as they were asked for. What is done with
    several gets the error that the one folder holds them, None where there are more folders.
    """
    several = None
    if len(found.runs) == 1:
        if where:
            say_errors(ONE_FOLDER.format(where=where, folder=given))
            where = None
        try:
            return of_one(found.runs[0])
        except SeveralRuns as error:
            if error.folder != found.runs[0]:
                raise
            several = error
    if not isinstance(earlier, str) and earlier:
        raise click.UsageError(f"{given}: holds several runs, and --chain FIRST is for one; use --chain auto")
    return of_several(several, where)


def place_of(run: Path) -> Path:
    """Return the folder for the results of a run, which is given as a folder or as a file."""
    return run if run.is_dir() and not counts_as_file(run) else run.parent
