"""The command `ptyconv check`: only the verdict, as text, JSON and exit code."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from ptyconv_cli.analysis import report
from ptyconv_cli.cli.console import say, say_verdict
from ptyconv_cli.cli.options import JUDGING, PATH, READING, all_of, with_earlier
from ptyconv_cli.cli.summary import warnings_text
from ptyconv_cli.verdict.rules import exit_code


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="FOLDER|FILE")
@click.option(
    "-o", "--output", type=PATH, help="Folder with the results of an earlier analyze.  [default: the run's own]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@all_of(READING)
@all_of(JUDGING)
def check(
    paths: tuple[Path, ...],
    output: Path | None,
    as_json: bool,
    chain: str | None,
    **reading: Any,
) -> None:
    """Say whether a run has converged, also as an exit code.

    For scripts and job chains. FOLDER and FILE are those of analyze, of one run. Goes on from where an earlier analyze
    stopped, and writes no files.

    \b
    Exit codes:
      0  converged
      3  not converged, or broken (NaN, a probe that vanished)
      4  too early to tell
      1  the run cannot be analyzed
    """
    from ptyconv_cli.analysis.cache import Cache
    from ptyconv_cli.analysis.run import analyze_run
    from ptyconv_cli.cli.run_folders import only_run, place_of

    given, earlier = with_earlier(paths, chain)
    run_dir = only_run(given, reading["names"], output)
    cache = Cache(output or place_of(run_dir))  # which is only read, for `keep` is not called
    analysis = analyze_run(run_dir, chain=earlier, cache=cache, **reading)
    assert analysis.verdict
    if analysis.warnings:
        say(warnings_text(analysis.warnings) + ("" if as_json else "\n"), err=True)
    if as_json:
        data = report.verdict_data(analysis.verdict) | {"doublings": report.doublings_data(analysis.verdict)}
        click.echo(json.dumps(data, indent=1, ensure_ascii=False))
    else:
        say_verdict(analysis.verdict)
    sys.exit(exit_code(analysis.verdict))
