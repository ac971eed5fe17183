"""`ptyconv analyze --follow`: a running job, checkpoint by checkpoint."""

import functools
import gc
import math
import sys
import time
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.follow import Ends, Look, Watch, follow
from ptyconv_cli.checkpoints.discovery import no_checkpoint
from ptyconv_cli.cli.console import Screen, can_redraw, heading, left_out, say, say_wrapped, sparkline, verdict_lines
from ptyconv_cli.cli.outputs import Detail, Outputs, analyze_into, place_of, runs_at, say_all
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.quantities import all_series, unit_of
from ptyconv_cli.results.files import check_writable
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.results.text import duration, shortened, text_width, unbroken, with_place_kept, wrapped
from ptyconv_cli.verdict.conclusion import exit_code
from ptyconv_cli.verdict.sentences import verdict_line

PACE = 8
"""The number of last intervals between checkpoints that the pace is computed from."""

SPARKLINE_FROM = 58
"""Columns of a terminal that has room for sparklines."""

HOUR, DAY = 3600, 86400

FAR = 1000 * DAY
"""In seconds: an expected end that is farther away is not shown."""


class LiveTable:
    """Shows the looks at the run `name`: a table on a terminal, elsewhere a line for whatever is new."""

    def __init__(self, name: str, quiet: bool) -> None:
        self._name, self._quiet = name, quiet
        self._screen = Screen() if can_redraw(sys.stdout) else None
        self._said = ""

    def look(self, look: Look) -> None:
        """Show what a look found."""
        now = time.time()
        if self._quiet:
            return
        if self._screen:
            hint = "Ctrl-C ends; results are written with every new checkpoint"
            self._screen.draw([*live_table(look, self._name, now), (hint, "")])
        elif look.new:
            say(live_line(look, now))
        else:
            waits = _waits_for(look, self._name) if look.analysis is None else ""
            self._say_once((look.problem and f"{self._name}: {look.problem}") or waits)

    def _say_once(self, line: str) -> None:
        if line not in ("", self._said):
            say(line)
        self._said = line or self._said

    def end(self) -> None:
        """Erase the table."""
        if self._screen:
            self._screen.clear()


def live_table(look: Look, name: str, now: float) -> list[tuple[str, str]]:
    """Return lines, each with the state that it shows; `name` is the run's, `now` in seconds since 1970."""
    if look.analysis is None:
        return [(shortened(_waits_for(look, name), text_width()), ""), *_waiting(look)]
    analysis = look.analysis
    lines = [(line, "") for line in wrapped(heading(analysis), text_width())]
    if analysis.verdict:
        lines += [("", ""), *verdict_lines(analysis.verdict), ("", "")]
    else:
        lines += _table_of_changes(analysis)
    return [*lines, *[(line, "") for line in wrapped(progress_line(analysis, now), text_width())], *_waiting(look)]


def _table_of_changes(analysis: RunAnalysis) -> list[tuple[str, str]]:
    has_room = text_width() >= SPARKLINE_FROM
    lines = [(f"{'series':<17}{'unit':<4}{'last change':>12}{'  over iterations (log)' if has_room else ''}", "")]
    results = analysis.results
    for series in all_series():
        if series.key in analysis.points:
            size, unit = unit_of(series, results)
            values = [point.value / size for point in analysis.points[series.key]]
            row = f"{series.key:<17}{unit or '-':<4}{values[-1]:>12.3g}{f'  {sparkline(values)}' if has_room else ''}"
            lines.append((row.rstrip(), ""))
    return lines if has_room else [*lines, *((line, "") for line in left_out(1))]


def live_line(look: Look, now: float) -> str:
    """Return a look as one line, for a log file."""
    analysis = look.analysis
    if analysis is None:
        return ""
    at = f"{datetime.fromtimestamp(now):%H:%M:%S} iteration {analysis.checkpoints[-1].niter}"
    verdict = verdict_line(analysis.verdict) if analysis.verdict else ""
    keep = f"keep iteration {analysis.verdict.keep}" if analysis.verdict and analysis.verdict.keep is not None else ""
    return "; ".join(filter(None, [at, verdict.removesuffix("."), keep, progress_line(analysis, now)]))


def _waits_for(look: Look, name: str) -> str:
    seen = f"; {look.files} file{'' if look.files == 1 else 's'} seen" if look.files else ""
    return f"{name}: waiting for two complete checkpoints{seen}"


def _waiting(look: Look) -> list[tuple[str, str]]:
    """Say which file is not used yet and why, in a few lines, so that the table stays small."""
    growing = f"{unbroken(look.growing)} is being written" if look.growing else ""
    return [(line, "") for text in (with_place_kept(look.problem), growing) for line in _at_most_two(text)]


def _at_most_two(text: str) -> list[str]:
    """Return text in two lines at most, for a line that a terminal breaks itself would leave rows behind."""
    width = text_width()
    lines = wrapped(text, width)
    if len(lines) > 2:
        lines = [lines[0], f"{shortened(lines[1], width - 2, at_end=True)} …"]
    return [shortened(line, width) for line in lines]


def progress_line(analysis: RunAnalysis, now: float) -> str:
    """Return the run's progress, pace and expected end; `now` in seconds since 1970."""
    last, planned = analysis.checkpoints[-1], analysis.engine.planned
    pace = pace_of(analysis)
    parts = [f"{last.niter} of {planned} iterations"] if planned is not None else []
    parts += [f"{_rounded(pace * HOUR)} iterations/hour"] if pace else []
    end = last.modified / 1e9 + (planned - last.niter) / pace if pace and planned is not None else math.inf
    if planned is not None and planned > last.niter and end - now < FAR:
        left = f"in {duration(end - now)}" if end > now else "overdue"
        parts.append(f"expected end {_clock(end, now)} ({left})")
    return ", ".join(parts)


def pace_of(analysis: RunAnalysis) -> float | None:
    """Return iterations per second, by the times at which the last files were written.

    Copies may have been written faster than they were computed: then the engine's own seconds of compute count. None
    where neither is known.
    """
    first, last = analysis.checkpoints[-PACE - 1 :][0], analysis.checkpoints[-1]
    recorded = dict(analysis.engine.seconds)
    seconds = [(last.modified - first.modified) / 1e9, recorded.get(last.niter, 0.0) - recorded.get(first.niter, 0.0)]
    longest = max((number for number in seconds if math.isfinite(number)), default=0.0)
    return (last.niter - first.niter) / longest if longest > 0 else None


def _rounded(number: float) -> str:
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"


def _clock(end: float, now: float) -> str:
    when = datetime.fromtimestamp(end)
    return f"{when:%H:%M}" if abs(end - now) < DAY / 2 else f"{when:%a %d %b %H:%M}"


def spare_the_known() -> None:
    """Have Python no longer look for garbage in what there is now: of a long run that takes longer than what is new."""
    gc.collect()
    gc.freeze()


def follow_job(
    run_dir: Path,
    output: Path | None,
    options: dict[str, Any],
    detail: Detail,
    ends: Ends,
    seconds: float,
) -> None:
    """Follow a running job: show a table on a terminal, elsewhere a line for each new checkpoint.

    The results go into the folder `output`, by default the run's. `ends`: when it ends, besides with the run;
    `seconds`: between two looks. `options` as of `outputs.analyze_into`.
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

    show = LiveTable(run_dir.absolute().name, detail.quiet)
    analysis, why = follow(watch, analyze_files, ends, show.look, seconds)
    show.end()
    if not detail.quiet:
        say_wrapped(f"ended: {why}")
        say("")
    outputs = Outputs(list(written), up_to_date)
    say_all(replace(analysis, known=0), watch.run, outputs, detail)  # that the cache was used is of no interest here
    if analysis.verdict and (ends.converged or analysis.verdict.state == "broken"):
        sys.exit(exit_code(analysis.verdict, ends.everything))
