"""`ptyconv analyze` of one run: has it analyzed, and prints what was found."""

from pathlib import Path
from typing import Any, NamedTuple

from ptyconv_cli.cli.console import progress_bar, say, say_verdict
from ptyconv_cli.cli.outputs import Outputs, analyze_into
from ptyconv_cli.cli.summary import resumed_text, summary, tables, warnings_text, wrote_text
from ptyconv_cli.results.files import check_writable
from ptyconv_cli.results.run_analysis import RunAnalysis


class Detail(NamedTuple):
    """How much is printed: only warnings and errors if `quiet`; the tables of changes, too, if `verbose`."""

    quiet: bool
    verbose: bool


def analyze_one(run_dir: Path, folder: Path, options: dict[str, Any], detail: Detail) -> None:
    """Analyze the run in `run_dir` into a folder and print what was found; `options` as of `outputs.analyze_into`."""
    check_writable(folder)
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
