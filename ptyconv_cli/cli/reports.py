"""The page of a run, and that of a study, from their analyses."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from os.path import commonpath
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ptyconv_cli.analysis.frames import Frames, frames_of_run
from ptyconv_cli.analysis.hyperparameters import hyperparameters_of, on_collated, settings_of
from ptyconv_cli.analysis.maps import maps_of_run
from ptyconv_cli.analysis.ranking import advice_on, sorted_rows
from ptyconv_cli.analysis.study_rows import Row, Unit, shared_warnings, units_of
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.checkpoints.discovery import Found
from ptyconv_cli.cli.console import progress_bar, say_verdict, say_wrapped
from ptyconv_cli.cli.options import Where
from ptyconv_cli.cli.outputs import analyze_into, explained
from ptyconv_cli.cli.study import (
    analysis_of,
    analyze_units,
    cells,
    heads,
    legend,
    options_of,
    reason,
)
from ptyconv_cli.errors import PtyconvError, SeveralRuns
from ptyconv_cli.page.drawings import (
    Panel,
    Section,
    changes_section,
    loss_panel,
    maps_section,
    size_of,
    trajectory_section,
)
from ptyconv_cli.page.run_page import (
    RowOnPage,
    RunOnPage,
    run_on_page,
    run_page,
    sentence,
    study_page,
    with_viewer,
)
from ptyconv_cli.page.viewer import checkpoints_in, viewer_of
from ptyconv_cli.quantities import drawn_as, tensors_of
from ptyconv_cli.quantities.quantity import IMAGES
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.results.text import listed
from ptyconv_cli.verdict.segments import counting_of

LARGEST = 15_000_000
"""Bytes of a page at most: what mail takes."""

BESIDE = 150_000
"""Bytes of a page besides its runs."""

OF_TEXT = 12_000
"""Bytes for the text on a run; where there are fewer it has its answer alone."""

FEWEST = 8
"""Checkpoints that a viewer shows at least, of a run that has so many."""

OF_DRAWINGS = 0.5
"""Share of a run's bytes that drawings may take where there is a viewer, too: of a run by itself they take a tenth."""

CHANGES, DISTANCES, MAPS = "changes between checkpoints", "distances between checkpoints", "maps"
LEAST = {CHANGES: 20_000, DISTANCES: 20_000, MAPS: 80_000}
"""Bytes below which it is not tried to draw them."""

Shown = TypeVar("Shown")

WITH_PICTURES, WITH_VIEWER = 60_000, 200_000
"""Bytes from which on a run has its pictures, and its viewer."""


class Made(NamedTuple):
    """A page, what is to be warned of, and which runs failed; results of a run that were `written` beside."""

    content: bytes
    warnings: list[str]
    failures: list[str]
    written: Sequence[Path] = ()


def report_run(run_dir: Path, folder: Path, options: dict[str, Any], quiet: bool) -> Made:
    """Make the page of a run whose results are in `folder`; `options` as of `outputs.analyze_into`."""
    with progress_bar("checkpoints", hidden=quiet) as progress:
        analysis, outputs = analyze_into(folder, run_dir, pictures=True, progress=progress, **options)
    with progress_bar("pictures", hidden=quiet) as progress:
        shown = shown_of(analysis, run_dir, options, LARGEST - BESIDE, progress=progress)
    if not quiet and analysis.verdict:
        say_verdict(analysis.verdict)
    return Made(run_page(shown), shown.warnings, [], outputs.written)


def shown_of(
    analysis: RunAnalysis,
    run_dir: Path,
    options: dict[str, Any],
    most: float,
    *,
    name: str = "",
    place: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RunOnPage:
    """Return what a page shows of a run that was analyzed, in no more than about `most` bytes.

    `name` and `place`: what it is called on the page, and its number there. What cannot be drawn or shown is a warning,
    but PtyconvError is raised for a file that cannot be read if the options are `strict`.
    """
    name = name or analysis.results.name
    if most < WITH_PICTURES:
        shown = replace(run_on_page(analysis, name, place=place), no_viewer=_no_room("pictures", run_dir))
        return shown if most > OF_TEXT else replace(shown, table=None, warnings=[], facts=[])
    asked = Selection(
        options["tensors"], options["every"], options["select"], options["strict"], names=options["names"]
    )
    problems: list[str] = []
    for_drawings = most * (OF_DRAWINGS if most >= WITH_VIEWER else 1) - OF_TEXT
    drawn = _drawn(analysis, run_dir, asked, options, for_drawings, place, problems)
    left = most - OF_TEXT - size_of(drawn.loss, drawn.sections)
    checkpoints = checkpoints_in(left, tensors_of(analysis.points))
    frames = _frames(run_dir, asked, options, analysis, checkpoints, problems)
    shown = run_on_page(analysis, name, frames.last.format if frames else "", drawn.sections, drawn.loss, place)
    if drawn.no_room:
        shown = replace(shown, no_sections=_no_room(listed([f"the {what}" for what in drawn.no_room]), run_dir))
    if most < WITH_VIEWER or checkpoints < min(FEWEST, len(analysis.checkpoints)):
        shown = replace(shown, no_viewer=_no_room("its checkpoints", run_dir))
    elif frames:
        try:
            viewer = viewer_of(frames, options["device"], left, progress)
            with_it = with_viewer(shown, viewer)
            fits = with_it.size <= most
            shown = with_it if fits else replace(shown, no_viewer=_no_room("its checkpoints", run_dir))
            problems += [*filter(None, [viewer.notice]), *frames.run.notices(analysis.left_out)]
        except PtyconvError as error:
            if asked.strict:
                raise
            problems.append(_not_shown(error))
    return replace(shown, warnings=list(dict.fromkeys([*shown.warnings, *problems])))


def _frames(
    run_dir: Path,
    asked: Selection,
    options: dict[str, Any],
    analysis: RunAnalysis,
    most: int,
    problems: list[str],
) -> Frames | None:
    """Choose the checkpoints to be shown; where that is not possible any more, say so among the `problems`.

    What is compared over a doubling is what the verdict compares.
    """
    counting = counting_of(drawn_as(IMAGES)[0].recorded_as, analysis.engine, analysis.boundaries)
    try:
        keep = analysis.verdict.keep if analysis.verdict else None
        return frames_of_run(run_dir, asked, options["chain"], counting, max(most, 2), keep)
    except PtyconvError as error:
        if asked.strict:
            raise
        problems.append(_not_shown(error))
        return None


def _not_shown(error: PtyconvError) -> str:
    return f"The checkpoints cannot be shown: {error}."


class Drawn(NamedTuple):
    """What was drawn of a run: its `loss`, the `sections` with room on the page, and those with `no_room` there."""

    loss: Panel | None
    sections: list[Section]
    no_room: list[str]


def _drawn(
    analysis: RunAnalysis,
    run_dir: Path,
    asked: Selection,
    options: dict[str, Any],
    most: float,
    place: int,
    problems: list[str],
) -> Drawn:
    """Draw a run in about `most` bytes; what cannot be drawn is among the `problems`."""

    def maps() -> Section:
        settings = {name: options[name] for name in ("percentile_range", "chain", "device")}
        return maps_section(maps_of_run(run_dir, asked, **settings), place)

    results, no_room = analysis.results, list[str]()
    loss = _unless_it_fails("loss", partial(loss_panel, results, place), asked, problems)
    draw: dict[str, Callable[[], Section]] = {CHANGES: partial(changes_section, results, place)}
    if analysis.trajectories:
        draw[DISTANCES] = partial(trajectory_section, results, place)
    draw[MAPS] = maps
    sections = list[Section]()
    for what, section in draw.items():
        drawn = _unless_it_fails(what, section, asked, problems) if most > LEAST[what] else None
        fitting = next((one for one in (drawn, drawn and drawn.without_small()) if one and one.size <= most), None)
        if fitting:
            sections.append(fitting)
            most -= fitting.size
        elif drawn or most <= LEAST[what]:
            no_room.append(what)
    return Drawn(loss, sections, no_room)


def _unless_it_fails(what: str, draw: Callable[[], Shown], asked: Selection, problems: list[str]) -> Shown | None:
    """Return what is drawn; where that fails, say so among the `problems`."""
    try:
        with explained(Path(what)):
            return draw()
    except PtyconvError as error:
        if asked.strict:
            raise
        problems.append(f"Not on this page: {error}.")
        return None


def _no_room(what: str, run_dir: Path) -> str:
    return f"There is no room for {what} beside so many runs; the run's own page has them: ptyconv report {run_dir}"


def report_study(
    root: Path,
    found: Found,
    output: Path | None,
    options: dict[str, Any],
    quiet: bool,
    several: SeveralRuns | None,
    where: Where | None = None,
) -> Made:
    """Make the page of the runs `found` below a folder, whose results are below `output`, or in their own folders.

    `several`: that the one folder found holds several runs, which is raised where none of them can be analyzed;
    `where`: the cluster that they are analyzed on, None for this process.
    """
    units, analyses = units_of(root, found.runs, output), dict[str, RunAnalysis]()
    options = options | {"pictures": True}
    of_units = analyze_units(units, options, where, output or root, quiet, analyses)
    rows = [row for of_one in of_units for row in of_one]
    by_name = {one.name: one for unit, of_one in zip(units, of_units, strict=True) for one in _parts(unit, of_one)}
    if several and all(row.problem for row in rows):
        raise several
    rows = sorted_rows(rows, "name")
    names = _short_names([row.name for row in rows])
    left, shown = float(LARGEST - BESIDE), list[RunOnPage]()
    equal = left / len(rows)
    with progress_bar("pictures", hidden=quiet) as progress:
        for number, row in enumerate(rows, 1):
            if row.problem:
                shown.append(RunOnPage.failed(number, names[row.name], row.problem))
                continue
            unit = by_name[row.name]
            analysis = analyses.get(row.name) or analysis_of(unit, options)  # which a worker left in the cache
            share = left / (len(rows) - number + 1) if equal >= WITH_VIEWER else equal
            of_one = shown_of(
                analysis, unit.folder, options_of(unit, options), share, name=names[row.name], place=number
            )
            shown.append(of_one)
            left -= of_one.size
            progress(number, len(rows))
    told = hyperparameters_of(rows, found.collated)
    settings = settings_of(rows, told)
    table = [
        RowOnPage(
            names[row.name], number, [] if row.problem else cells(row, settings), row.state, row.problem and reason(row)
        )
        for number, row in enumerate(rows, 1)
    ]
    advice = advice_on(rows)
    if not quiet:
        say_wrapped(advice, "  ")
    title = root.absolute().name or str(root)
    notices = [*filter(None, [on_collated(rows, found.collated, told)]), *found.problems]
    made_of = partial(study_page, title, heads(settings), table, legend(), sentence(advice))
    content = made_of(shown, notices)
    if len(content) > LARGEST:
        content = made_of([one.bare for one in shown], notices)
    return Made(content, [*found.problems, *shared_warnings(rows)], [row.problem for row in rows if row.problem])


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Return names, which are paths, by themselves, without the folders that all of them are in."""
    common = commonpath([str(Path(name).parent) for name in names])
    return {name: str(Path(name).relative_to(common)) for name in names}


def _parts(unit: Unit, rows: Sequence[Row]) -> list[Unit]:
    """Return what the rows of a folder are of: its run, or the several that it turned out to hold."""
    return [unit] if rows[0].name == unit.name else unit.parts(len(rows))
