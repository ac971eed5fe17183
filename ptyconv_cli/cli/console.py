"""Prints: text, tables, the verdict, coloured lines, progress bars, and lines that are redrawn in place."""

import math
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from ptyconv_cli.analysis.notices import (
    boundaries_words,
    checkpoints_words,
    intervals_words,
    record_words,
    region_words,
)
from ptyconv_cli.checkpoints.grouping import short_name
from ptyconv_cli.quantities import all_series, quantity_of, unit_of, unit_of_length
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.run_analysis import RemovedAmbiguities, Results, RunAnalysis, RunVerdict
from ptyconv_cli.results.text import (
    cut,
    percent,
    printable,
    rounded,
    shortened,
    text_width,
    unbroken,
    with_place_kept,
    wrapped,
)
from ptyconv_cli.verdict.sentences import keep_line, verdict_line
from ptyconv_cli.verdict.table import FORETOLD, TITLE, TOLERATED, Row, doublings_table

LABEL_WIDTH = 21
NARROWEST = 8

TOLERATED_WIDTH, FORECAST_WIDTH = 11, 16
"""Of the tolerances, and of the widest forecast, as \"0.10 to 0.73\", each with what is before it."""

Line = tuple[str, str]
"""A line, and the state that it is about, for its colour."""


def verdict_lines(verdict: RunVerdict) -> list[Line]:
    """Return the verdict line by line; the last ones say which checkpoint to keep, and what to do."""
    lines = [(line, verdict.state) for line in wrapped(verdict_line(verdict), text_width())]
    table = _table_lines(verdict)
    lines += [("", ""), *table] if table else []
    lines += [("", ""), *((line, "") for line in wrapped(verdict.remark, text_width()))] if verdict.remark else []
    for text in filter(None, (keep_line(verdict), verdict.advice)):
        lines += [("", ""), *((line, verdict.state) for line in wrapped(text, text_width()))]
    return lines


def _table_lines(verdict: RunVerdict) -> list[Line]:
    """Return the changes over as many of the last doublings as there is room for, a row for each quantity."""
    table = doublings_table(verdict)
    if table is None:
        return []
    width = max(NARROWEST, *(len(head) + 2 for head in table.heads))
    room = text_width() - LABEL_WIDTH - TOLERATED_WIDTH
    foretold = table.foretold and room >= width + FORECAST_WIDTH
    shown = min(max((room - (FORECAST_WIDTH if foretold else 0)) // width, 1), len(table.heads))
    title = f"{TITLE:<{LABEL_WIDTH}}" + "".join(f"{head:>{width}}" for head in table.heads[-shown:])
    lines = [(f"{title}  {TOLERATED}" + (f"   {FORETOLD}" if foretold else ""), "")]
    for row in table.rows:
        label = f"{row.label:<{LABEL_WIDTH - 4}}{row.unit:<4}"
        if row.instead:
            first, *others = wrapped(row.instead, text_width() - LABEL_WIDTH - 3)
            lines += [(f"{label}   {first}", row.state), *((" " * (LABEL_WIDTH + 3) + line, "") for line in others)]
        else:
            lines.append((f"{label}{_cells(row, width, shown, foretold)}".rstrip(), row.state))
    # Of the doublings two tell how it goes: that there were earlier ones is no news.
    missing = max(min(2, len(table.heads)) - shown, 0) + (table.foretold and not foretold)
    notes = [*wrapped(table.note, text_width(), "  "), *left_out(missing)]
    return lines + [(line, "") for line in notes]


def _cells(row: Row, width: int, shown: int, foretold: bool) -> str:
    changes = "".join(f"{change:>{width}}" for change in row.changes[-shown:])
    changes = f"{changes}{row.tolerated:>{TOLERATED_WIDTH}}"
    return f"{changes}   {row.foretold}" if foretold else changes


def that_fit(widths: Mapping[str, int], room: int, given_up: Sequence[str]) -> dict[str, int]:
    """Return the columns of a table for which there is room, with their widths: those `given_up` go first, in order."""
    shown = dict(widths)
    for name in given_up:
        if sum(shown.values()) > room:
            shown.pop(name, None)
    return shown


def left_out(columns: int, place: str = "") -> list[str]:
    """Say how many columns of a table there is no room for, and which file has them."""
    if not columns:
        return []
    others = f"{columns} column{'' if columns == 1 else 's'} left out: widen the terminal"
    return wrapped(f"{others}, or see {place}" if place else others, text_width(), "  ")


COLOURS = {
    "converged": "green",
    "converging": "yellow",
    "moving": "yellow",
    "jittering": "yellow",
    "step-limited": "yellow",
    "drifting": "red",
    "broken": "red",
}


def say_verdict(verdict: RunVerdict) -> None:
    """Print a verdict, each line in the colour of its state."""
    for line, state in verdict_lines(verdict):
        say_coloured(line, state)


def say_coloured(line: str, state: str) -> None:
    """Print a line in the colour of a state."""
    plain = False if os.environ.get("NO_COLOR") or _is_dumb() else None  # else click colours on terminals only
    click.echo(click.style(printable(line), fg=COLOURS.get(state)), color=plain)


def say(text: str, err: bool = False) -> None:
    """Print text without control characters to standard output or, if `err`, standard error."""
    click.echo(printable(text, keep="\n"), err=err)


def can_redraw(stream: TextIO | None) -> bool:
    """Say whether lines can be drawn over: on a terminal that can move its cursor; a closed stream is None."""
    return _on_terminal(stream) and not _is_dumb()


def _on_terminal(stream: TextIO | None) -> bool:
    return bool(stream and stream.isatty())


def _is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"


def say_wrapped(text: str, indent: str = "") -> None:
    """Print text in lines that the terminal has room for, to standard output."""
    say("\n".join(wrapped(text, text_width(), indent)))


def say_errors(text: str) -> None:
    """Print errors, or notes of several lines, to standard error."""
    say(as_errors(text), err=True)


def as_errors(text: str) -> str:
    """Return lines as standard error shows them: wrapped on a terminal, else whole, to be searched in a log."""
    if not _on_terminal(sys.stderr):
        return text
    return "\n".join(part for line in text.split("\n") for part in _parts_of(line))


def _parts_of(line: str) -> list[str]:
    if line.startswith("  --"):  # options to copy
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    return wrapped(with_place_kept(line), text_width(), f"{indent}  ") or [""]


@contextmanager
def progress_bar(label: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with the numbers done and in all, which shows them on a terminal only."""
    if hidden or not can_redraw(sys.stderr):
        yield lambda done, total: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr, show_pos=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)
            if not done:
                bar.render_progress()  # which an update by 0 does not do

        yield progress


class Screen:
    """Lines on a terminal that are redrawn in place."""

    def __init__(self) -> None:
        self._rows = 0

    def draw(self, lines: Sequence[tuple[str, str]]) -> None:
        """Draw lines, each in the colour of a state, in place of those drawn before.

        They are cut to the size of the terminal, because lines that have scrolled away cannot be redrawn.
        """
        self.clear()
        columns, rows = shutil.get_terminal_size()
        for line, state in lines[: max(rows - 1, 1)]:
            say_coloured(cut(line, columns), state)
            self._rows += 1

    def clear(self) -> None:
        """Erase what was drawn."""
        if self._rows:
            click.echo(f"\x1b[{self._rows}A\x1b[J", nl=False, color=True)  # no colour codes, which click would strip
        self._rows = 0


SPARK_WIDTH = 23
SHORTEST_NAME, ROOM_BESIDE = 14, 30
"""Columns for a run's name, and for text beside a label, at least."""

SMALLEST_RANGE = 2.0
WITH_BARS, WITH_RATIO = 80, 55
"""Columns of a terminal with room for all of a table of changes, and for all but the sparklines."""

NOT_REFINED = f"{'not refined':>19}"
BARS = "▁▂▃▄▅▆▇█"


def summary(analysis: RunAnalysis) -> str:
    """Return what was analyzed, and whether the engine's own record matches."""
    lines = filter(None, [*_heading(analysis), record_words(analysis)])
    return "\n".join(part for line in lines for part in wrapped(line, text_width(), "  "))


def tables(analysis: RunAnalysis) -> str:
    """Return tables of the first and last changes, raw and aligned, and of the ambiguities removed."""
    from ptyconv_cli.quantities import never_refined

    fixed = never_refined(analysis.points, analysis.dx)
    results = analysis.results
    lines = _table("change", analysis.points, fixed, results)
    if analysis.aligned_points:
        lines += ["", *_table("aligned change", analysis.aligned_points, fixed, results), *_removed(analysis, fixed)]
    intervals = wrapped(intervals_words(analysis.points), text_width())
    lines += ["", *intervals] if intervals else []
    return "\n".join(lines)


def resumed_text(analysis: RunAnalysis, run_dir: Path) -> str:
    """Return from which checkpoint the run in `run_dir` was resumed, and how to join the two runs."""
    from shlex import quote

    parent = short_name(str(analysis.parent or analysis.parent_name))
    said = "\n".join(wrapped(f"This run was resumed from {unbroken(parent)}.", text_width(), "  "))
    folder = quote(str(run_dir))
    if analysis.parent is None:
        said, chain = f"{said}\nIts folder was not found beside this one.", "FIRST"
    else:
        chain = f"auto --select {quote(analysis.select)}" if analysis.select else "auto"
    return f"{said}\nTo see both runs on one axis:\n  ptyconv analyze --chain {chain} {folder}"


def wrote_text(written: Sequence[Path], up_to_date: Sequence[Path] = ()) -> str:
    """Return which files were written, and which were there already as they would be, all of them in one folder."""
    found = [("wrote", written), ("up to date:", up_to_date)]
    said = [f"{what} {_in_one_folder(paths)}" for what, paths in found if paths]
    return "\n".join(line for text in said for line in wrapped(text, text_width(), " " * 6))


def _in_one_folder(paths: Sequence[Path]) -> str:
    return ", ".join(unbroken(printable(name)) for name in [str(paths[0]), *(path.name for path in paths[1:])])


def warnings_text(warnings: list[str]) -> str:
    """Return warnings wrapped for the terminal, one paragraph each."""
    kept = [f"warning: {with_place_kept(warning)}" for warning in warnings]
    return "\n".join(line for text in kept for line in wrapped(text, text_width(), "  "))


def sparkline(values: list[float], width: int = SPARK_WIDTH) -> str:
    """Return values as at most `width` bars on a log scale, each the geometric mean of an equal share of them.

    The scale spans at least a factor of 2, so that small variations don't look large. A share without a positive finite
    value is a blank.
    """
    bars = min(len(values), width)
    shares = [values[i * len(values) // bars : (i + 1) * len(values) // bars] for i in range(bars)]
    logs = [[math.log(value) for value in share if 0 < value < math.inf] for share in shares]
    heights = [sum(share) / len(share) if share else None for share in logs]
    known = [height for height in heights if height is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    middle, reach = (low + high) / 2, max(high - low, math.log(SMALLEST_RANGE)) / 2
    places = [None if height is None else (height - middle + reach) / (2 * reach) for height in heights]
    return "".join(" " if place is None else BARS[round(place * (len(BARS) - 1))] for place in places)


def heading(analysis: RunAnalysis) -> str:
    """Return the run's name, and its number of checkpoints and iterations, in a line."""
    found = f": {checkpoints_words(analysis)}"
    return f"{shortened(analysis.results.name, max(text_width() - len(found), SHORTEST_NAME))}{found}"


def _heading(analysis: RunAnalysis) -> list[str]:
    known = f"{analysis.known} of {len(analysis.checkpoints)} checkpoints were in the cache (--fresh recomputes all)"
    loss = f", loss {analysis.engine.loss[-1][1]:.4g}" if analysis.engine.loss else ""
    return [
        heading(analysis),
        f"scanned region {region_words(analysis)}, computed on {analysis.device}{loss}",
        *([known] if analysis.known else []),
        *map(printable, boundaries_words(analysis)),
    ]


def _table(title: str, points: dict[str, list[Point]], fixed: Collection[str], results: Results) -> list[str]:
    niters = [point.niter for point in next(iter(points.values()))]
    first = f"at {niters[0]}" if len(niters) > 1 else ""
    head = f"{first:>9}{f'at {niters[-1]}':>10}{'last/first':>12}  over iterations (log)"
    lines = [f"{title:<18}{'unit':<6}{_that_fits(head)}"]
    for series in all_series():
        if series.key in points:
            size, unit = unit_of(series, results)
            row = NOT_REFINED if series.tensor in fixed else _row([point.value / size for point in points[series.key]])
            lines.append(f"{series.key:<18}{unit or '-':<6}{_that_fits(row)}".rstrip())
    missing = 0 if text_width() >= WITH_BARS else 1 if text_width() >= WITH_RATIO else 3
    return lines + left_out(missing, "convergence.csv")


def _that_fits(row: str) -> str:
    """Return as much of a row as the terminal has room for, the last change at least."""
    if text_width() >= WITH_BARS:
        return row
    if text_width() >= WITH_RATIO:
        return row[:31]
    words = row.strip()
    return words if words.startswith("not ") else row[9:19]


def _removed(analysis: RunAnalysis, fixed: Collection[str]) -> list[str]:
    """Say what was removed from the last changes, in sizes: the directions of ramps and shifts are in the report."""
    niter, length = analysis.checkpoints[-1].niter, unit_of_length(analysis.results)
    head = f"{f'removed at {niter}':<18}{'fraction':>9}"
    lines = ["", *_beside(head, "ambiguities that the data cannot constrain")]
    for tensor, found in analysis.removed.items():
        if tensor in fixed:
            lines.append(f"{tensor:<18}{'-':>9}  not refined")
            continue
        _, last = found[-1]
        # Wrapped between the parts, not before a unit.
        parts = ", ".join(unbroken(part) for part in _parts(last, length))
        said = (parts or quantity_of(tensor).ambiguity) if math.isfinite(last.share) else "not known"
        lines += _beside(f"{tensor:<18}{percent(last.share):>9}", said)
    return lines


def _beside(label: str, text: str) -> list[str]:
    """Return text beside a label, or below it on a narrow terminal."""
    place = len(label) + 2
    if text_width() - place < ROOM_BESIDE:
        return [label, *(f"  {line}" for line in wrapped(text, text_width() - 2))]
    first, *others = wrapped(text, text_width() - place)
    return [f"{label}  {first}", *(" " * place + line for line in others)]


def _parts(found: RemovedAmbiguities, length: tuple[float, str]) -> list[str]:
    size, unit = length
    offsets, scales = found.total_offset, found.total_scale
    return [
        *([f"offset {_mean(offsets):+.2g} rad"] if offsets else []),
        *([f"ramp {math.hypot(*found.ramp) * size:.2g} rad/{unit}"] if found.ramp else []),
        *([f"scale {_mean(scales):+.2g}"] if scales else []),
        *([f"shift {rounded(math.hypot(*found.shift) / size, 2)} {unit}"] if found.shift else []),
        *(["modes in another order"] if found.order else []),
    ]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _row(values: list[float]) -> str:
    first, last = values[0], values[-1]
    if not any(map(math.isfinite, values)):
        return f"{'not known':>19}"
    if len(values) == 1:
        return f"{'':>9}{last:>10.3g}{'-':>12}"
    ratio = f"{last / first:.3g}" if first else "-"
    return f"{first:>9.3g}{last:>10.3g}{ratio:>12}  {sparkline(values)}"
