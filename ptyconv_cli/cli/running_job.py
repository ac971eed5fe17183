"""`ptyconv analyze --follow`: analyzes each new checkpoint of a running job, and shows a table or lines."""

import functools
import gc
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.follow import Ends, follow
from ptyconv_cli.checkpoints.discovery import no_checkpoint
from ptyconv_cli.checkpoints.watch import Watch
from ptyconv_cli.cli.console import say
from ptyconv_cli.cli.given import place_of, runs_at
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
    output: Path | None,
    options: dict[str, Any],
    detail: Detail,
    until_converged: bool,
    idle: float | None,
    seconds: float,
) -> None:
    """Follow a running job: show a table on a terminal, elsewhere a line for each new checkpoint.

    The results go into the folder `output`, by default the run's. It ends when the run does, after `idle` minutes
    without a new checkpoint, or, if asked, once it has converged; `seconds`: between two looks. `options` as of
    `outputs.analyze_into`.
    """
    names, fresh = options["names"], options.pop("fresh")
    if run_dir.exists() and len((found := runs_at(run_dir, names, output, fresh)).runs) > 1:
        raise PtyconvError(f"{run_dir}: {no_checkpoint(found, run_dir)}")
    check_writable(output or place_of(run_dir))
    watch = Watch(run_dir, options["tensors"], names)
    cache_in = functools.cache(lambda folder: Cache(folder, fresh))  # one for all, so that what it knows is read once
    written, up_to_date = dict[Path, None](), list[Path]()

    def analyze_files(files: Collection[Path] | None) -> RunAnalysis:
        folder = output or place_of(watch.run)
        analysis, (new, same) = analyze_into(folder, watch.run, files=files, cache=cache_in(folder), **options)
        if not written:
            spare_the_known()
        written.update(dict.fromkeys(new))  # also what a later analysis finds as it is to be
        up_to_date[:] = [path for path in same if path not in written]
        return analysis

    ends = Ends(converged=until_converged, idle=None if idle is None else 60 * idle)
    show = LiveTable(run_dir.absolute().name, detail.quiet)
    analysis, why = follow(watch, analyze_files, ends, show.look, seconds)
    show.end()
    if not detail.quiet:
        say(f"ended: {why}\n")
    outputs = Outputs(list(written), up_to_date)
    say_all(replace(analysis, known=0), watch.run, outputs, detail)  # that the cache was used is of no interest here
    if analysis.verdict and (ends.converged or analysis.verdict.state == "broken"):
        sys.exit(exit_code(analysis.verdict))
