"""What `analyze --follow` shows: a table for a terminal of 80 columns, and a line for a log file."""

import sys
import textwrap
import time
from datetime import datetime

from ptyconv_cli.follow import Look
from ptyconv_cli.history import CheckpointInfo, RunAnalysis
from ptyconv_cli.saying import Screen, say
from ptyconv_cli.series import SERIES
from ptyconv_cli.summary import WIDTH, heading, sparkline, verdict_line
from ptyconv_cli.text import shortened

PACE = 8
"""Intervals between checkpoints, the last ones, that the pace is taken from."""

HOUR, DAY = 3600, 86400


class LiveTable:
    """Shows the looks at a run called `name`: a table on a terminal, else a line for every new checkpoint."""

    def __init__(self, name: str, quiet: bool) -> None:
        self._name, self._quiet = name, quiet
        self._screen = Screen() if sys.stdout.isatty() else None
        self._said = ""

    def look(self, look: Look) -> None:
        """Show what there is after a look."""
        if self._quiet:
            return
        now = time.time()
        if self._screen:
            hint = "Ctrl-C ends; the results are written with every new checkpoint"
            self._screen.draw([*live_table(look, self._name, now), (hint, "")])
        elif look.new:
            say(live_line(look, now))
        elif look.analysis is None and not look.waiting and not self._said:
            self._said = f"{self._name}: waiting for two checkpoints"
            say(self._said)

    def end(self) -> None:
        """Take the table away."""
        if self._screen:
            self._screen.clear()


def live_table(look: Look, name: str, now: float) -> list[tuple[str, str]]:
    """Return lines, each with the state that it shows; `name` of the run, `now` in seconds since 1970."""
    if look.analysis is None:
        files = f"{look.files} checkpoint{'' if look.files == 1 else 's'}" if look.files else "no checkpoint"
        return [(shortened(f"{name}: {files} yet; a change needs two", WIDTH), ""), *_waiting(look)]
    analysis = look.analysis
    verdict, points = analysis.verdict, analysis.aligned_points or analysis.points
    header = f"{'series':<17}{'unit':<4}{'last change':>12}  {'over iterations (log)':<23}"
    lines = [(heading(analysis), ""), (f"{header}  {'verdict':<14}{'since':>5}" if verdict else header.rstrip(), "")]
    for series in SERIES:
        if series.key in points:
            values = [point.value for point in points[series.key]]
            found = verdict.series[series.key] if verdict else None
            judged = f"  {found.state:<14}{found.since or '':>5}" if found else ""
            row = f"{series.key:<17}{series.unit or '-':<4}{values[-1]:>12.3g}  {sparkline(values):<23}{judged}"
            lines.append((row.rstrip(), found.state if found else ""))
    if verdict:
        lines.append((verdict_line(verdict, analysis.engine.loss), verdict.state))
    return [*lines, *[(line, "") for line in textwrap.wrap(progress_line(analysis, now), WIDTH)], *_waiting(look)]


def live_line(look: Look, now: float) -> str:
    """Return the same in one line, for a log file."""
    analysis = look.analysis
    if analysis is None:
        return ""
    at = f"{datetime.fromtimestamp(now):%H:%M:%S} iteration {analysis.checkpoints[-1].niter}"
    verdict = verdict_line(analysis.verdict, analysis.engine.loss) if analysis.verdict else ""
    return "; ".join(filter(None, [at, verdict, progress_line(analysis, now)]))


def _waiting(look: Look) -> list[tuple[str, str]]:
    """Say which file is not used yet and why, in two lines at most, so that the table stays small."""
    return [(line, "") for line in textwrap.wrap(look.waiting, WIDTH, max_lines=2, placeholder=" …")]


def progress_line(analysis: RunAnalysis, now: float) -> str:
    """Say how far the run is, how quickly it goes, and when it will end at that pace; `now` in seconds since 1970."""
    last, planned = analysis.checkpoints[-1], analysis.engine.planned
    pace = pace_of(analysis.checkpoints)
    parts = [f"{last.niter} of {planned} iterations"] if planned is not None else []
    parts += [f"{_rounded(pace * HOUR)} iterations/hour"] if pace else []
    if pace and planned is not None and planned > last.niter:
        end = last.modified / 1e9 + (planned - last.niter) / pace
        left = f"in {_duration(end - now)}" if end > now else "overdue"
        parts.append(f"expected end {_clock(end, now)} ({left})")
    return ", ".join(parts)


def pace_of(checkpoints: list[CheckpointInfo]) -> float | None:
    """Return iterations per second by the times at which the last files were written, None where these don't rise."""
    first, last = checkpoints[-PACE - 1 :][0], checkpoints[-1]
    seconds = (last.modified - first.modified) / 1e9
    return (last.niter - first.niter) / seconds if seconds > 0 else None


def _rounded(number: float) -> str:
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"


def _clock(time: float, now: float) -> str:
    when = datetime.fromtimestamp(time)
    return f"{when:%H:%M}" if abs(time - now) < DAY / 2 else f"{when:%a %d %b %H:%M}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes >= 48 * 60:
        return f"{minutes / (24 * 60):.1f} days"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
