"""The command `ptyconv report`: one HTML file with the answer, the pictures, and the reconstruction to look at."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ptyconv_cli.cli.console import say, say_errors, say_wrapped, warnings_text, wrote_text
from ptyconv_cli.cli.options import (
    CLUSTER,
    JUDGING,
    PATH,
    QUIET,
    READING,
    RESULTS,
    Where,
    all_of,
    output_file,
    placed,
    where_to,
    with_earlier,
)
from ptyconv_cli.results.text import unbroken

PAGE_NAME, PAGES = "report.html", (".html", ".htm")


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="FOLDER|FILE")
@output_file(PAGES, f"{PAGE_NAME} in the run's folder")
@RESULTS
@all_of(READING)
@all_of(JUDGING)
@all_of(CLUSTER)
@QUIET
def report(
    paths: tuple[Path, ...],
    output: Path | None,
    results: Path | None,
    address: str | None,
    workers: int | None,
    quiet: bool,
    chain: str | None,
    **reading: Any,
) -> None:
    """Write a page to send: one HTML file with the answer, the pictures, and the reconstruction, to look at iteration
    by iteration.

    The page needs nothing else, and no network: it opens from a mail, and is 15 MB at most. FOLDER and FILE are those
    of analyze; what analyze would write is written first where it is not there, or out of date. Give the same options.
    Where FOLDER has several runs, all of them are on one page, with a table that compares them.
    """
    from ptyconv_cli.checkpoints.discovery import no_checkpoint
    from ptyconv_cli.cli.outputs import one_or_several, place_of, runs_at
    from ptyconv_cli.cli.reports import LARGEST, Made, report_run
    from ptyconv_cli.errors import PtyconvError, SeveralRuns
    from ptyconv_cli.results.files import check_writable, write_whole

    run_dir, earlier = with_earlier(paths, chain)
    where = where_to(address, workers)
    found = runs_at(run_dir, reading["names"], results)
    if not found.runs:
        raise PtyconvError(f"{run_dir}: {no_checkpoint(found, run_dir, reading['names'])}")
    one = found.runs[0] if len(found.runs) == 1 else None
    place = place_of(one or run_dir)
    page = placed(output, place / PAGE_NAME, PAGES)
    if page.is_dir():
        raise PtyconvError(f"{page}: cannot be written (a folder has that name); choose another place with -o")
    check_writable(page.parent)
    with _folder_for(results, place) as folder:
        options = {"chain": earlier, **reading}

        def of_one(run: Path) -> Made:
            return report_run(run, folder or place, options, quiet)

        def of_several(several: SeveralRuns | None, where: Where | None) -> Made:
            from ptyconv_cli.cli.reports import report_study

            return report_study(run_dir, found, folder, options, quiet, several, where)

        made = one_or_several(run_dir, found, earlier, where, of_one, of_several)
    if len(made.content) > LARGEST:
        raise PtyconvError(f"{run_dir}: holds too many runs for a page of {LARGEST / 1e6:.0f} MB; give a folder below")
    write_whole({page: made.content})
    if not quiet:
        if made.written and made.written[0].exists():  # else they were in a folder that is gone
            say(wrote_text(made.written))
        say_wrapped(f"wrote {unbroken(str(page))} ({len(made.content) / 1e6:.2g} MB)", " " * 6)
    if made.warnings:
        say(("" if quiet else "\n") + warnings_text(made.warnings), err=True)
    if made.failures:
        say_errors("\n" + "\n".join(f"Error: {failure}" for failure in made.failures))
        sys.exit(1)


@contextmanager
def _folder_for(results: Path | None, place: Path) -> Iterator[Path | None]:
    """Yield the folder for the results, None for the runs' own: one that is gone afterwards where `place`, in which
    those are, cannot be written to.
    """
    from ptyconv_cli.errors import PtyconvError
    from ptyconv_cli.results.files import check_writable

    if results:
        try:
            check_writable(results)
        except PtyconvError as error:
            raise PtyconvError(f"{results}: cannot write there; choose another folder with --results") from error
        yield results
        return
    try:
        check_writable(place)
    except PtyconvError:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    yield None
