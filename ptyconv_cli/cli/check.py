"""The command `ptyconv check`: only the verdict, as text, JSON and exit code."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from ptyconv_cli.cli.console import say, say_verdict
from ptyconv_cli.cli.options import PATH, READING, all_of, checked, split_tolerances, with_earlier
from ptyconv_cli.cli.summary import warnings_text
from ptyconv_cli.results import report
from ptyconv_cli.verdict.evidence import exit_code


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="RUN_DIR")
@click.option(
    "--tol",
    "tolerances",
    multiple=True,
    metavar="TENSOR=DISTANCE",
    callback=checked(split_tolerances),
    help="Settled is what moved no farther than this over the last checkpoints (8, or half of few): objp=1e-3 (rad), "
    "probe_pos_shifts=0.05 (Å), probe (in mean intensities), obja. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@all_of(READING)
def check(
    paths: tuple[Path, ...],
    tolerances: dict[str, float],
    as_json: bool,
    chain: str | None,
    **reading: Any,
) -> None:
    """Say whether the run in RUN_DIR has settled, also as an exit code.

    For scripts and job chains. Writes no files.

    \b
    Exit codes:
      0  settled
      3  not settled
      4  undetermined
      1  the run cannot be analyzed
    """
    from ptyconv_cli.analysis.run import analyze_run

    run_dir, earlier = with_earlier(paths, chain)
    analysis = analyze_run(run_dir, tolerances=tolerances, chain=earlier, **reading)
    assert analysis.verdict
    if as_json:
        click.echo(json.dumps(report.verdict_data(analysis.verdict), indent=1, ensure_ascii=False))
    else:
        say_verdict(analysis.verdict, analysis.engine.loss)
    if analysis.warnings:
        say(("" if as_json else "\n") + warnings_text(analysis.warnings), err=True)
    sys.exit(exit_code(analysis.verdict))
