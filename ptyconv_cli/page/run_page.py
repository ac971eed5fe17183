"""A run, or a study, on a page: what it shows, in the words and numbers of the analysis."""

import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ptyconv_cli import DOCUMENTATION, __version__
from ptyconv_cli.analysis.methods import methods_text
from ptyconv_cli.analysis.notices import boundaries_words, checkpoints_words, record_words, region_words
from ptyconv_cli.page.drawings import Panel, Section, size_of
from ptyconv_cli.page.images import data_uri
from ptyconv_cli.page.viewer import Still, Viewer
from ptyconv_cli.pictures.dashboard import draw_dashboard
from ptyconv_cli.pictures.panels import PlotOptions
from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.results.text import few, length, printable, rounded, with_units_kept
from ptyconv_cli.verdict.sentences import keep_line, since_and_sentence
from ptyconv_cli.verdict.table import FORETOLD, TITLE, TOLERATED, doublings_table

FOLDER = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )


def _finalized(value: Any) -> Any:
    """Return what is put into a page: text without control characters, or halves of letters that UTF-8 has not."""
    return (
        printable(value, keep="\n\N{NO-BREAK SPACE}")
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )


def page(template: str, **content: Any) -> bytes:
    """Return a page that is whole in itself: its style and script are in it, and nothing else may be loaded or run."""
    style, script = (FOLDER / name for name in ("page.css", "viewer.js"))
    filled = (
        _environment()
        .get_template(template)
        .render(
            content,
            version=__version__,
            documentation=DOCUMENTATION,
            style=Markup(style.read_text(encoding="utf-8")),
            script=Markup(script.read_text(encoding="utf-8")),
            policy=_policy(style, script),
        )
    )
    return filled.encode()


def part(template: str, **content: Any) -> str:
    """Return a part of a page, with the style in it, for a notebook."""
    style = Markup((FOLDER / "notebook.css").read_text(encoding="utf-8"))
    return _environment().get_template(template).render(content, style=style)


def as_data(content: Any) -> Markup:
    """Return content as JSON that a script element can hold: nothing in it ends the element."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _policy(style: Path, script: Path) -> str:
    """Return a content security policy that allows this style, this script and pictures in the page, nothing else."""
    allowed = {"style-src": style, "script-src": script}
    hashes = [f"{what} 'sha256-{_hash(path.read_text(encoding='utf-8'))}'" for what, path in allowed.items()]
    return "; ".join(["default-src 'none'", "img-src data:", *hashes, "base-uri 'none'", "form-action 'none'"])


def _hash(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


SHOWN_PARTS = 2
"""Of a run's path."""

OF_MARKUP = 6_000
"""Bytes of a run's part of a page without its pictures, and without what files say."""


class Table(NamedTuple):
    """The changes per doubling, as `verdict.table` has them.

    `title`, `tolerated` and `foretold`, which may be "", are heads; `note`: what is said below, "" for nothing.
    """

    title: str
    heads: list[str]
    tolerated: str
    foretold: str
    rows: Sequence[Any]
    note: str


class ViewerOnPage(NamedTuple):
    """The viewer's content as the page holds it."""

    json: Markup
    stills: list[Still]


@dataclass(frozen=True)
class RunOnPage:
    """What a page shows of a run: see the templates. `place`: its number on the page."""

    place: int
    name: str
    about: str
    verdict: Any
    sentence: str
    keep: str
    advice: str
    table: Table | None
    warnings: list[str]
    sections: list[Section]
    facts: list[tuple[str, str]]
    loss: Panel | None = None
    viewer: ViewerOnPage | None = None
    viewer_text: str = ""
    no_viewer: str = ""
    no_sections: str = ""
    problem: str = ""

    @classmethod
    def failed(cls, place: int, name: str, problem: str) -> "RunOnPage":
        """Return what a page shows of a run that could not be analyzed."""
        return cls(place, name, "", None, "", "", "", None, [], [], [], problem=problem)

    @property
    def state(self) -> str:
        """The verdict's state, "" without one."""
        return "broken" if self.problem else self.verdict.state if self.verdict else ""

    @property
    def size(self) -> int:
        """About how many bytes of the page it takes."""
        viewer = len(self.viewer.json) + sum(len(still.uri) for still in self.viewer.stills) if self.viewer else 0
        words = sum(len(value) for _, value in self.facts) + sum(map(len, self.warnings)) + len(self.problem)
        return OF_MARKUP + words + viewer + size_of(self.loss, self.sections)

    @property
    def bare(self) -> "RunOnPage":
        """The same with its answer alone."""
        return replace(self, viewer=None, loss=None, sections=[], table=None, facts=[])


def run_on_page(
    analysis: RunAnalysis,
    name: str,
    engine: str = "",
    sections: Sequence[Section] = (),
    loss: Panel | None = None,
    place: int = 1,
) -> RunOnPage:
    """Return what a page shows of a run; `engine`: what wrote the files, "" where that is not known."""
    verdict, loss_words = analysis.verdict, _loss_words(analysis.engine.loss)
    about = [engine, checkpoints_words(analysis), region_words(analysis), loss_words and f"loss {loss_words}"]
    return RunOnPage(
        place=place,
        name=name,
        about=" · ".join(filter(None, about)),
        verdict=verdict,
        sentence=with_units_kept(_capital(since_and_sentence(verdict))) if verdict else "",
        keep=sentence(keep_line(verdict)) if verdict and verdict.keep is not None else "",
        advice=sentence(verdict.advice) if verdict else "",
        table=_table(analysis),
        warnings=analysis.warnings,
        sections=list(sections),
        facts=_facts(analysis, engine),
        loss=loss,
    )


def with_viewer(shown: RunOnPage, viewer: Viewer) -> RunOnPage:
    """Return a run on a page with its viewer."""
    if not viewer.data["views"] and not viewer.data["positions"]:
        return replace(shown, no_viewer="No checkpoint holds anything finite to look at.")
    keep = shown.verdict.keep if shown.verdict else None
    data = ViewerOnPage(as_data({**viewer.data, "keep": keep}), viewer.stills)
    return replace(shown, viewer=data, viewer_text=_viewer_text(viewer.data))


def run_page(shown: RunOnPage) -> bytes:
    """Return the page of one run."""
    return page("run.html", title=f"{shown.name}: {shown.state or 'convergence'}", shown=shown)


def sentence(text: str) -> str:
    """Return text, which may be broken into lines, as a sentence."""
    return with_units_kept(f"{_capital(' '.join(text.split()))}.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(analysis: RunAnalysis) -> Table | None:
    found = doublings_table(analysis.verdict) if analysis.verdict else None
    if not found:
        return None
    space = "\N{NO-BREAK SPACE}"  # on a phone, a forecast's line would be broken
    rows = [row._replace(foretold=row.foretold.replace(" to ", f"{space}to{space}")) for row in found.rows]
    foretold, note = FORETOLD if found.foretold else "", sentence(found.note) if found.note else ""
    return Table(TITLE, found.heads, TOLERATED, foretold, rows, note)


def _facts(analysis: RunAnalysis, engine: str) -> list[tuple[str, str]]:
    files = analysis.checkpoints
    loss = analysis.engine.loss
    size = sum(one.size for one in {one.file: one for one in files}.values())
    written = datetime.fromtimestamp(files[-1].modified / 1e9, timezone.utc)
    tensors = list(files[-1].shapes.items())
    found = [
        ("Run", _place(analysis.run_dir)),
        ("Written by", engine),
        ("Files", f"{_span([one.file for one in files])}, {rounded(size / 1e6)} MB"),
        ("Last one written", f"{written:%Y-%m-%d %H:%M} UTC"),
        ("Left out", few(f"{file.file} ({file.reason})" for file in analysis.left_out)),
        ("Shapes", ", ".join(f"{name} {' × '.join(map(str, shape))}" for name, shape in tensors)),
        ("Scanned region", region_words(analysis)),
        ("Pixel size", length(analysis.dx, 4)),
        ("Loss", _loss_words(loss)),
        ("Settings", _settings(analysis)),
        *(("", _capital(words)) for words in boundaries_words(analysis)),
        ("Resumed from", analysis.parent_name),
        ("Check", record_words(analysis)),
        ("For a paper", methods_text(analysis) if analysis.verdict else ""),
    ]
    return [(name or "Boundary", value) for name, value in found if value]


def _place(folder: str) -> str:
    """Return the end of a folder's path: a page is sent to others."""
    parts = Path(folder).parts
    return folder if len(parts) <= SHOWN_PARTS else str(Path("…", *parts[-SHOWN_PARTS:]))


def _loss_words(loss: Curve) -> str:
    """Say what the last loss is, and, where it is no number, what the last one was that is; "" where there is none."""
    if not loss:
        return ""
    last, value = loss[-1]
    if math.isfinite(value):
        return f"{value:.4g}"
    before = [f", {value:.4g} at iteration {niter}" for niter, value in loss if math.isfinite(value)]
    what = "not a number" if math.isnan(value) else "infinite"
    return f"{what} at iteration {last}{before[-1] if before else ''}"


def _span(files: Sequence[str]) -> str:
    different = list(dict.fromkeys(files))
    if len(different) == 1:
        return different[0]
    return f"{len(different)} files, {different[0]} to {different[-1]}"


def _settings(analysis: RunAnalysis) -> str:
    low, high = analysis.percentile_range
    doublings = analysis.verdict.doublings if analysis.verdict else {}
    tolerances = ", ".join(
        f"{quantity_of(key).label} {found.tolerance:.3g} {found.unit}" for key, found in doublings.items()
    )
    return "; ".join(
        filter(
            None,
            [
                f"tolerances: {tolerances}" if tolerances else "",
                f"background below percentile {low:g}, foreground above {high:g}",
                f"only multiples of {analysis.every} iterations" if analysis.every else "",
                f"only {analysis.select}" if analysis.select else "",
                f"computed on {analysis.device}",
            ],
        )
    )


def _viewer_text(data: Mapping[str, Any]) -> str:
    """Say which checkpoints are shown, and how."""
    shown, there = len(data["niters"]), data["checkpoints"]
    which = f"All {shown} checkpoints" if shown == there else f"{shown} of {there} checkpoints, evenly in log iteration"
    how = (
        "The contrast is the same for all iterations; percentages beside a difference's scale are of the image's range."
    )
    reduced = (
        "Pictures are averaged down to fit into the page; their size stands below them." if data["reduced"] else ""
    )
    return " ".join(filter(None, [f"{which}.", how, reduced]))


class RowOnPage(NamedTuple):
    """A row of the table: the run's name, its number on the page, its cells, its state, or why it failed."""

    name: str
    place: int
    cells: list[str]
    state: str
    problem: str


def study_page(
    title: str,
    heads: Sequence[str],
    rows: Sequence[RowOnPage],
    legend: str,
    advice: str,
    runs: Sequence[RunOnPage],
    warnings: Sequence[str],
) -> bytes:
    """Return the page of several runs; `heads` of the table's columns, and what is to be done (`advice`)."""
    failed = sum(bool(row.problem) for row in rows)
    about = f"{len(rows)} runs" + (f", of which {failed} could not be analyzed" if failed else "")
    return page(
        "study.html",
        title=title,
        about=about,
        heads=heads,
        rows=rows,
        legend=legend,
        advice=advice,
        runs=runs,
        warnings=warnings,
    )


def html_of(analysis: RunAnalysis) -> str:
    """Return an analysis as HTML that is whole in itself."""
    name = analysis.results.name
    dashboard = data_uri(draw_dashboard(analysis.results, PlotOptions(), "png"))
    shown = run_on_page(analysis, name)
    return part("notebook.html", shown=shown, picture=dashboard, alt=f"{name}: {DASHBOARD}")


DASHBOARD = "The loss, the change from each checkpoint to the next, and the learning rates, over the iterations."
"""What a notebook says of the picture to those who cannot see it."""
