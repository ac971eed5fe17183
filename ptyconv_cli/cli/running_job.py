"""`ptyconv analyze --follow`: analyzes each new checkpoint of a running job, and shows a table or lines."""

import gc
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.follow import Ends, follow
from ptyconv_cli.checkpoints.discovery import checkpoints_in, find_runs, no_checkpoint
from ptyconv_cli.checkpoints.readers import counts_as_file
from ptyconv_cli.checkpoints.watch import Watch
from ptyconv_cli.cli.console import say
from ptyconv_cli.cli.live_table import LiveTable
from ptyconv_cli.cli.one_run import Detail, say_all
from ptyconv_cli.cli.outputs import Outputs, analyze_into
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.files import check_writable
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.verdict.run import exit_code


def spare_the_known() -> None:
    """Have Python no longer look for garbage in what there is now: of a long run that takes longer than what is new."""
    gc.collect()
    gc.freeze()


def follow_job(
    run_dir: Path,
    folder: Path,
    options: dict[str, Any],
    detail: Detail,
    until_converged: bool,
    idle: float | None,
    seconds: float,
) -> None:
    """Follow a running job: show a table on a terminal, elsewhere a line for each new checkpoint.

    It ends when the run does, after `idle` minutes without a new checkpoint, or, if asked, once it has converged;
    `seconds`: between two looks. `options` as of `outputs.analyze_into`.
    """
    names = options["names"]
    if run_dir.is_file() or counts_as_file(run_dir):
        raise PtyconvError(f"{run_dir}: is a file; give the folder it is in")
    cache = Cache(folder, options.pop("fresh"))  # one for all, so that what it knows is read once
    cache.recall()
    if run_dir.exists() and not checkpoints_in(run_dir, names) and (found := find_runs(run_dir, names)).runs:
        raise PtyconvError(f"{run_dir}: {no_checkpoint(found, run_dir)}; --follow is for one run")
    check_writable(folder)
    written, up_to_date = dict[Path, None](), list[Path]()

    def analyze_files(files: Collection[Path] | None) -> RunAnalysis:
        analysis, (new, same) = analyze_into(folder, run_dir, files=files, cache=cache, **options)
        if not written:
            spare_the_known()
        written.update(dict.fromkeys(new))  # also what a later analysis finds as it is to be
        up_to_date[:] = [path for path in same if path not in written]
        return analysis

    ends = Ends(converged=until_converged, idle=None if idle is None else 60 * idle)
    show = LiveTable(run_dir.absolute().name, detail.quiet)
    analysis, why = follow(Watch(run_dir, options["tensors"], names), analyze_files, ends, show.look, seconds)
    show.end()
    if not detail.quiet:
        say(f"ended: {why}\n")
    outputs = Outputs(list(written), up_to_date)
    say_all(replace(analysis, known=0), run_dir, outputs, detail)  # that the cache was used is of no interest here
    if analysis.verdict and (ends.converged or analysis.verdict.state == "broken"):
        sys.exit(exit_code(analysis.verdict))
