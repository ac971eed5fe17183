"""Follows a run while a job writes it: analyzes again with every new checkpoint, until there is a reason to end."""

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from ptyconv_cli.checkpoints.readers import number_in_name
from ptyconv_cli.checkpoints.watch import Stats, Watch
from ptyconv_cli.errors import CheckpointError, TooFew
from ptyconv_cli.history import RunAnalysis

SURE = 3
"""Looks without a change after which the last checkpoint counts as final: PtyRAD opens it once more to finish it."""


class Ends(NamedTuple):
    """When to end: `settled`, as soon as the verdict says so; `idle`: after so many seconds without anything new.

    And always when the iteration is reached at which the run was planned to end.
    """

    settled: bool = False
    idle: float | None = None


class Look(NamedTuple):
    """What there is after a look: the last `analysis`, whether it is `new`, how many files there are, and `waiting`:
    why the newest of those that were not used is not, "" where all were.
    """

    analysis: RunAnalysis | None
    new: bool
    files: int
    waiting: str


def follow(
    watch: Watch,
    analyze: Callable[[Collection[Path] | None], RunAnalysis],
    ends: Ends,
    show: Callable[[Look], None],
    seconds: float,
) -> tuple[RunAnalysis, str]:
    """Look at a run every so many `seconds`, until it ends; return the last analysis, and why it ended.

    `analyze(files)` is given the files that are whole whenever one of them is new, and None, for all there are, at the
    end. `show` is called after every look. Raises PtyconvError where the run cannot be analyzed for another reason than
    that there are too few checkpoints yet.
    """
    analysis, taken, problem, quiet_since = None, Stats(), "", time.monotonic()
    while True:
        whole = watch.look()
        if not watch.unchanged:
            quiet_since = time.monotonic()
        new = len(whole) > 1 and any(taken.get(path) != stat for path, stat in whole.items())
        if new:
            try:
                analysis, taken, problem = analyze(whole), whole, ""
            except (CheckpointError, TooFew) as error:
                taken, problem = whole, str(error)
        show(Look(analysis, new and not problem, len(watch.files), problem or _newest(watch.waiting)))
        last = max((number_in_name(path) or 0 for path in taken), default=0)
        why = _why_to_end(watch, last, analysis, ends, time.monotonic() - quiet_since)
        if why:
            break
        time.sleep(seconds)
    # What was not whole is left out as in any analysis, and with a warning.
    if analysis is None or analysis.left_out or (watch.files != taken and not (ends.settled and why == SETTLED)):
        analysis = analyze(None)
    return analysis, why


SETTLED = "it has settled"


def _why_to_end(watch: Watch, last: int, analysis: RunAnalysis | None, ends: Ends, quiet: float) -> str:
    if analysis and ends.settled and analysis.verdict and analysis.verdict.state == "settled":
        return SETTLED
    planned = _planned(analysis) if analysis else None
    if planned is not None and last >= planned and watch.unchanged >= SURE:
        return f"iteration {planned} is reached, which the run was planned to end with"
    if ends.idle is not None and quiet >= ends.idle:
        return f"nothing new came for {ends.idle / 60:g} minutes"
    return ""


def _planned(analysis: RunAnalysis) -> int | None:
    """Return the iteration at which the run is to end, as its files' names count: without those of the runs before."""
    if analysis.engine.planned is None:
        return None
    last = analysis.checkpoints[-1]
    return analysis.engine.planned - (last.niter - (number_in_name(Path(last.file)) or last.niter))


def _newest(waiting: dict[Path, str]) -> str:
    if not waiting:
        return ""
    path = max(waiting, key=lambda path: number_in_name(path) or 0)
    return f"{path.name} {waiting[path]}" if waiting[path].startswith("is") else f"{path.name}: {waiting[path]}"
