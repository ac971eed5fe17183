"""The runs that a command is given, and what is written of them; pictures that need not be drawn again are known."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from ptyconv_cli import __version__
from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.report import CHANGES_NAME, REPORT_NAME, TABLE_NAME, changes_csv, changes_json, report_json
from ptyconv_cli.checkpoints.discovery import Found, no_checkpoint
from ptyconv_cli.checkpoints.discovery import runs_at as found_at
from ptyconv_cli.checkpoints.opening import one_look
from ptyconv_cli.checkpoints.readers import counts_as_file
from ptyconv_cli.cli.console import (
    progress_bar,
    resumed_text,
    say,
    say_errors,
    say_verdict,
    say_wrapped,
    summary,
    tables,
    warnings_text,
    wrote_text,
)
from ptyconv_cli.cli.options import ONE_FOLDER, Where
from ptyconv_cli.errors import PtyconvError, SeveralRuns
from ptyconv_cli.results.files import Pieces, check_writable, write_different, write_whole
from ptyconv_cli.results.run_analysis import RunAnalysis

Result = TypeVar("Result")


def runs_at(path: Path, names: str | None, output: Path | None = None, fresh: bool = False) -> Found:
    """Return the runs at or below a path, which may be a file; what earlier analyses knew of the files is known again.

    `names`: how the files are named, where not as usual; `output`: where the results of these analyses are, None where
    they are the runs' own folders; nothing of theirs is used if `fresh`. Raises PtyconvError where there is no such
    path.
    """

    def recall(folder: Path) -> None:
        for place in {output, output / folder.relative_to(path)} if output else {folder}:
            Cache(place, fresh).recall()

    with one_look():
        return found_at(path, names, recall)


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


NOTE = "pictures.json"
"""In the cache: by name of the picture, what it was drawn from, and its content, both as digests."""


class Drawn:
    """The pictures in a folder, of an analysis whose `report` says all that they show."""

    def __init__(self, folder: Path, report: bytes, cache: Cache) -> None:
        self._folder, self._cache = folder, cache
        self._source = sha256(b"".join([*_drawn_by(), report])).hexdigest()
        self._noted: dict[str, list[str]] = json.loads(cache.note(NOTE) or b"{}")

    def is_there(self, name: str) -> bool:
        """Say whether the picture is there, untouched, as this analysis and these versions would draw it."""
        digest = _digest(self._folder / name)
        return digest is not None and self._noted.get(name) == [self._source, digest]

    def keep(self, names: Sequence[str]) -> None:
        """Note that these pictures were drawn from the report; raise PtyconvError where that cannot be written."""
        found = {name: [self._source, _digest(self._folder / name)] for name in names}
        if found != self._noted:
            self._cache.keep_note(NOTE, json.dumps(found).encode())


def _digest(path: Path) -> str | None:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:  # it is not there
        return None


def _drawn_by() -> list[bytes]:
    """Return what tells the code that draws from another version of it, without loading it."""
    package = Path(__file__).parents[1]
    own = sorted(path for folder in ("pictures", "quantities") for path in (package / folder).glob("*.py"))
    matplotlib = find_spec("matplotlib")
    versions = Path(matplotlib.origin).parent / "_version.py" if matplotlib and matplotlib.origin else Path()
    changed = [f"{module.name} {module.stat().st_mtime_ns}".encode() for module in own]  # by who works on it
    return [__version__.encode(), versions.read_bytes() if versions.is_file() else b"", *changed]


PICTURE_NAME = "convergence.png"
TRAJECTORY_NAME = "trajectory.png"


class Outputs(NamedTuple):
    """The files of an analysis: those that were `written`, and those that were there already as they would be."""

    written: list[Path]
    up_to_date: list[Path]


def analyze_into(
    folder: Path, run_dir: Path, *, pictures: bool, fresh: bool = False, cache: Cache | None = None, **settings: Any
) -> tuple[RunAnalysis, Outputs]:
    """Analyze a run and write the results into a folder; return the files, too.

    What an earlier analysis left in the folder's cache is not computed again, unless `fresh`, and what is in the folder
    as it would be is not written again; `cache`: the same as it is known from an earlier call. `settings` as of
    `analysis.run.analyze_run`. Raises PtyconvError where the run cannot be analyzed, or its numbers cannot be written.
    That a picture cannot be drawn, or that the next analysis cannot use the cache, is only a warning, which is not in
    the report.
    """
    from ptyconv_cli.analysis.run import analyze_run

    cache = cache or Cache(folder, fresh)
    analysis = analyze_run(run_dir, cache=cache, **settings)
    draw = _pictures_of(analysis) if pictures else {}
    for name in draw:
        _check_no_folder(folder / name)
    numbers = _numbers_of(analysis, folder, cache.pieces)
    drawn = Drawn(folder, numbers[folder / REPORT_NAME], cache) if pictures else None
    written, problems = write_different(numbers), []
    try:
        cache.keep()
    except PtyconvError as error:
        problems.append(f"{error}: the next analysis will recompute everything.")
    outputs = Outputs(written, [path for path in numbers if path not in written])
    if drawn:
        problems += _draw(draw, folder, drawn, outputs)
    return replace(analysis, warnings=[*analysis.warnings, *problems]), outputs


def _draw(draw: dict[str, Callable[[], bytes]], folder: Path, drawn: Drawn, outputs: Outputs) -> list[str]:
    """Draw pictures into a folder, but for those that are there already; return what went wrong."""
    problems = []
    for name, picture in ((name, folder / name) for name in draw):
        if drawn.is_there(name):
            outputs.up_to_date.append(picture)
            continue
        try:
            with explained(picture):
                write_whole({picture: draw[name]()})
            outputs.written.append(picture)
        except PtyconvError as error:
            old = "; the one there is of an earlier analysis" if picture.exists() else ""
            problems.append(f"{error}{old}. The numbers were written all the same.")
    here = [picture.name for picture in (*outputs.up_to_date, *outputs.written) if picture.name in draw]
    with suppress(PtyconvError):  # then the next analysis draws them again
        drawn.keep(here)
    return problems


@contextmanager
def explained(picture: Path) -> Iterator[None]:
    """Turn whatever a drawing stumbles over into a PtyconvError that names the picture."""
    try:
        yield
    except (PtyconvError, click.ClickException):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PtyconvError(f"{picture}: cannot be drawn ({reason})") from error


def write_numbers(analysis: RunAnalysis, folder: Path, pieces: Pieces | None = None) -> list[Path]:
    """Write the numbers of an analysis into a folder; return the files that were not there already as they are now.

    Raises PtyconvError where they cannot be written; the old files are then untouched. `pieces`: of what was written
    before of the same run, which grows.
    """
    return write_different(_numbers_of(analysis, folder, pieces or Pieces()))


def _numbers_of(analysis: RunAnalysis, folder: Path, pieces: Pieces) -> dict[Path, bytes]:
    return {
        folder / CHANGES_NAME: changes_json(analysis, pieces),
        folder / REPORT_NAME: report_json(analysis, pieces),
        folder / TABLE_NAME: changes_csv(analysis, pieces),
    }


def _pictures_of(analysis: RunAnalysis) -> dict[str, Callable[[], bytes]]:
    """Return the pictures that an analysis has, by file name, as functions that draw them."""

    def dashboard() -> bytes:
        from ptyconv_cli.pictures.dashboard import draw_dashboard
        from ptyconv_cli.pictures.panels import PlotOptions

        return draw_dashboard(analysis.results, PlotOptions(), "png")

    def trajectory() -> bytes:
        from ptyconv_cli.pictures.trajectory import draw_trajectory

        return draw_trajectory(analysis.results, "png")

    with_trajectory = {TRAJECTORY_NAME: trajectory} if analysis.trajectories else {}
    return {PICTURE_NAME: dashboard, **with_trajectory}


def _check_no_folder(picture: Path) -> None:
    """Raise PtyconvError where a folder has the name of a picture: a mistake that is better known at once."""
    if picture.is_dir():
        reason = "a folder has that name"
        raise PtyconvError(f"{picture}: cannot be written ({reason}); choose another place with -o")


class Detail(NamedTuple):
    """How much is printed: only warnings and errors if `quiet`; the tables of changes, too, if `verbose`.

    `methods`: sentences for a paper, also if quiet.
    """

    quiet: bool
    verbose: bool
    methods: bool = False


def analyze_one(run_dir: Path, folder: Path, options: dict[str, Any], detail: Detail) -> None:
    """Analyze the run in `run_dir` into a folder and print what was found; `options` as of `outputs.analyze_into`."""
    check_writable(folder, REPORT_NAME)
    with progress_bar("checkpoints", hidden=detail.quiet) as progress:
        analysis, outputs = analyze_into(folder, run_dir, progress=progress, **options)
    say_all(analysis, run_dir, outputs, detail)


def say_all(analysis: RunAnalysis, run_dir: Path, outputs: Outputs, detail: Detail) -> None:
    """Print what was found; the verdict comes last, for it is the answer."""
    if not detail.quiet:
        say(summary(analysis))
        if detail.verbose or analysis.verdict is None:
            say("\n" + tables(analysis))
        if analysis.parent_name:
            say("\n" + resumed_text(analysis, run_dir))
        say(wrote_text(*outputs))
    if analysis.warnings:
        say(("" if detail.quiet else "\n") + warnings_text(analysis.warnings), err=True)
    if not detail.quiet and analysis.verdict:
        say("")
        say_verdict(analysis.verdict)
    if detail.methods:
        from ptyconv_cli.analysis.methods import methods_text

        if not detail.quiet:
            say("")
        say_wrapped(methods_text(analysis))
