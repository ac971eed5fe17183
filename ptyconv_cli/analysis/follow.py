"""Follows a running job: analyzes again with every new checkpoint, until there is a reason to end. See docs/runs.md."""

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from ptyconv_cli.checkpoints.grouping import matching
from ptyconv_cli.checkpoints.opening import number_in_name, order_of
from ptyconv_cli.checkpoints.watch import Stats, Watch
from ptyconv_cli.errors import CheckpointError, TooFew
from ptyconv_cli.results.run_analysis import RunAnalysis

SURE = 3
"""The last checkpoint is final after this many looks without a change: PtyRAD opens it once more to finish it."""


class Ends(NamedTuple):
    """When to end: `converged`: as soon as the run has converged; `idle`: after this many seconds without anything new.

    In any case when the run reaches its planned last iteration, and when it is broken.
    """

    converged: bool = False
    idle: float | None = None


class Look(NamedTuple):
    """What a look found: the last `analysis`, whether it is `new`, and how many files there are.

    `problem`: why a checkpoint, or the run, cannot be analyzed yet, "" where it can; `growing`: the name of the newest
    file that is being written, "" where none is.
    """

    analysis: RunAnalysis | None
    new: bool
    files: int
    problem: str = ""
    growing: str = ""


def follow(
    watch: Watch,
    analyze: Callable[[Collection[Path] | None], RunAnalysis],
    ends: Ends,
    show: Callable[[Look], None],
    seconds: float,
) -> tuple[RunAnalysis, str]:
    """Look at a run every `seconds` until it ends; return the last analysis, and why it ended.

    `analyze(files)` is called with the complete files whenever one of them is new, and at the end with None for all
    files. `show` is called after every look. While there are too few checkpoints, or none that can be read, it waits;
    where the run cannot be analyzed for another reason, PtyconvError is raised.
    """
    analysis, taken, problem, quiet_since = None, Stats(), "", time.monotonic()
    while True:
        whole = watch.look()
        if not watch.unchanged:
            quiet_since = time.monotonic()
        new = any(taken.get(path) != stat for path, stat in whole.items())
        if new:
            try:
                analysis, taken, problem = analyze(whole), whole, ""
            except (CheckpointError, TooFew) as error:
                taken, problem = whole, str(error)
            quiet_since = time.monotonic()  # what came during a long analysis is found at the next look
        show(_look(watch, analysis, new and not problem, problem))
        why = _why_to_end(watch, taken, analysis, ends, time.monotonic() - quiet_since)
        if why:
            break
        time.sleep(seconds)
    # What is not complete is left out with a warning, as in any analysis.
    if analysis is None or analysis.left_out or (watch.files != taken and not (ends.converged and why == CONVERGED)):
        analysis = analyze(None)
    return analysis, why


CONVERGED = "it has converged"


def _look(watch: Watch, analysis: RunAnalysis | None, new: bool, problem: str) -> Look:
    broken = max(watch.problems, key=order_of, default=None)
    if broken:
        problem = f"{broken.name}: {watch.problems[broken]}"
    growing = max(watch.growing, key=order_of).name if watch.growing else ""
    return Look(analysis, new, len(watch.files), watch.trouble or problem, growing)


def _why_to_end(watch: Watch, taken: Stats, analysis: RunAnalysis | None, ends: Ends, quiet: float) -> str:
    state = analysis.verdict.state if analysis and analysis.verdict else ""
    if state == "broken" or (ends.converged and state == "converged"):
        return "the run is broken" if state == "broken" else CONVERGED
    if analysis and analysis.engine.planned is not None and watch.unchanged >= SURE:
        last, planned = _last_and_planned(taken, analysis, analysis.engine.planned)
        if last >= planned:
            return f"the run reached its planned last iteration, {planned}"
    if ends.idle is not None and quiet >= ends.idle:
        return f"no new checkpoint for {ends.idle / 60:.3g} minutes"
    return ""


def _last_and_planned(taken: Stats, analysis: RunAnalysis, planned: int) -> tuple[int, int]:
    """Return the run's last iteration and the planned one, both without the iterations of the runs before it.

    Files that `--every` leaves aside count too, by their names, but not those of another run.
    """
    before = analysis.checkpoints[-1].before
    seen = {found.file for found in analysis.checkpoints} | {file.file for file in analysis.left_out}
    named = [number_in_name(path) or 0 for path in matching(list(taken), analysis.select) if path.name not in seen]
    return max([analysis.checkpoints[-1].niter - before, *named]), planned - before
