"""Several runs on one page: the table that compares them, and a section for each."""

from collections.abc import Sequence
from typing import NamedTuple

from ptyconv_cli.page.run_page import RunOnPage
from ptyconv_cli.page.templates import page


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
