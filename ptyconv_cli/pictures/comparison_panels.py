"""What a picture of several runs shows: a panel for each series, with a line for each run. As numbers and words."""

import math
import os
from collections.abc import Mapping, Sequence
from os.path import commonprefix
from pathlib import Path

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.pictures.panels import Line, Panel, PlotOptions, change_curve, change_label, finished
from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.series import SERIES, Series

LOSS = "loss"

SHOWN = (LOSS, *(series.key for series in SERIES))
"""What has a panel, in order."""


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """Return which panels are meant by keys of series, names of tensors (all their series) and "loss".

    Raises ValueError for other names, and for none.
    """
    meant = {name: {name} for name in SHOWN}
    for series in SERIES:
        meant.setdefault(series.tensor, set()).add(series.key)
    unknown = [name for name in names if name not in meant]
    if unknown or not names:
        raise ValueError(f"{(unknown or [''])[0]!r}: expected one of {', '.join(meant)}")
    wanted = set().union(*(meant[name] for name in names))
    return tuple(name for name in SHOWN if name in wanted)


def labels_of(folders: Sequence[Path]) -> list[str]:
    """Return what the paths of folders differ in, as legends name them; the whole names where that isn't enough.

    Of `study/t0000_lr1e-3_bs16` and `study/t0001_lr1e-4_bs16` these are `t0000_lr1e-3` and `t0001_lr1e-4`.
    """
    parts = [Path(os.path.abspath(folder)).parts for folder in folders]  # noqa: PTH100 - links keep their names
    shared = len(commonprefix(parts))  # noqa: RUF071 - part by part, of tuples
    differing = [list(of_one[shared:]) or [of_one[-1]] for of_one in parts]
    while len({tuple(of_one[-1:]) for of_one in differing}) == 1 and all(len(of_one) > 1 for of_one in differing):
        differing = [of_one[:-1] for of_one in differing]
    whole = ["/".join(of_one) for of_one in differing]
    pieces = [name.split("_") for name in whole]
    common = set.intersection(*map(set, pieces)) if len(pieces) > 1 else set()
    short = ["_".join(piece for piece in of_one if piece not in common) for of_one in pieces]
    return short if all(short) and len(set(short)) == len(short) else whole


def comparison(runs: Mapping[str, Results], shown: Sequence[str], options: PlotOptions) -> list[Panel]:
    """Return a panel for each of what is `shown` (out of `SHOWN`), with a line for each run, by its label.

    Changes are per iteration, for checkpoints may be at other distances in other runs; they are aligned where all runs
    have aligned ones, else all are raw. Units: those of `results.series.SERIES`, per iteration.
    """
    series = {one.key: one for one in SERIES}
    return [
        finished(_of_series(runs, series[name], options) if name in series else _of_loss(runs), options)
        for name in shown
    ]


def _of_series(runs: Mapping[str, Results], series: Series, options: PlotOptions) -> Panel:
    having = {label: results for label, results in runs.items() if results.points.get(series.key)}
    aligned = all(results.aligned_points.get(series.key) for results in having.values())
    lines = []
    for label, results in having.items():
        points = (results.aligned_points if aligned else results.points)[series.key]
        lines.append(Line(label, change_curve(points, options)))
    empty = "" if lines else f"{series.tensor} was not analyzed"
    if lines and not any(line.curve for line in lines):
        empty = "no interval is known;\ngive convergence_report.json"
    title = f"{series.label[0].upper()}{series.label[1:]} ({'aligned' if aligned else 'raw'})"
    return Panel(title, change_label(series.unit, options), lines, empty, logarithmic=not options.linear)


def _of_loss(runs: Mapping[str, Results]) -> Panel:
    lines = [Line(label, r.engine.loss) for label, r in runs.items() if r.engine and r.engine.loss]
    return Panel("Loss", "loss", lines, "" if lines else "not recorded in\nthese checkpoints")


def seconds_at(curve: Curve, results: Results) -> list[float]:
    """Return the seconds of compute up to the end of each of a curve's iterations, NaN where they are not recorded."""
    seconds = dict(results.engine.seconds) if results.engine else {}
    return [seconds.get(niter, math.nan) for niter, _ in curve]


def check_times(runs: Mapping[Path, Results]) -> None:
    """Raise PtyconvError where the times of a run are not recorded."""
    for path, results in runs.items():
        seconds = [number for _, number in results.engine.seconds] if results.engine else []
        if not seconds or not all(0 <= number < math.inf for number in seconds):
            reason = "the checkpoints hold no times" if results.engine else "holds no times; the report may"
            raise PtyconvError(f"{path}: {reason} (--x time needs them)")
