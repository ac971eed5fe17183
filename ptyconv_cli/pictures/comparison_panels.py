"""What a picture of several runs shows: a panel for each tensor, with lines for each run. As numbers and words."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os.path import commonprefix
from pathlib import Path

from ptyconv_cli.pictures.panels import (
    DOUBLING,
    LOSS,
    Line,
    Panel,
    PlotOptions,
    change_curve,
    change_label,
    doubling_panels,
    finished,
    in_unit,
    moved_doublings,
    title_of_series,
)
from ptyconv_cli.quantities import QUANTITIES, name_of, never_refined, tensors, unit_of
from ptyconv_cli.quantities.quantity import Quantity, Series
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.text import few, listed


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
    """Return a panel for the loss and each tensor of what is `shown` (out of `panels.choices`), a line for each run.

    Where nothing is chosen: the changes per doubling of the object, with its changes if a run has none of the former;
    if none has, or changes `per_iteration` are asked for, all that is held, and what most runs hold.

    Changes are per iteration, for checkpoints may be at other intervals in other runs; they are aligned where all runs
    have aligned ones, else all are raw. Units: those of `quantities.all_series`, per iteration.
    """
    lacking = without_doublings(runs)
    if shown or options.per_iteration or len(lacking) == len(runs):
        found = _chosen(runs, shown or _all_shown(runs), options)
    else:
        judged = _judged(runs)
        changes = [series.key for quantity in judged for series in quantity.series] if lacking else []
        found = [*doubling_panels(runs, options, judged), *_chosen(runs, changes, options)]
    return [finished(panel, options) for panel in found]


def note_on_doublings(runs: Mapping[str, Results]) -> str:
    """Return a sentence on the runs whose change per doubling is not known, and why; "" of none."""
    of_each: dict[str, list[str]] = {}
    for label, why in without_doublings(runs).items():
        of_each.setdefault(why, []).append(label)
    said = [f"{few(labels)} ({why})" for why, labels in of_each.items()]
    return f"No change per doubling is known of {listed(said)}." if said else ""


def without_doublings(runs: Mapping[str, Results]) -> dict[str, str]:
    """Return the runs that have no change per doubling of the object, or of anything where none has, and why not."""
    keys = [quantity.key for quantity in _judged(runs)]
    return {
        label: _why_no_doublings(run)
        for label, run in runs.items()
        if not any(moved_doublings(run, key) for key in keys)
    }


def _judged(runs: Mapping[str, Results]) -> list[Quantity]:
    """Return the object's quantities, and all where no run has a change per doubling of these."""
    of_object = [quantity for quantity in QUANTITIES if quantity.is_object]
    known = any(moved_doublings(run, quantity.key) for run in runs.values() for quantity in of_object)
    return of_object if known else QUANTITIES


def _why_no_doublings(run: Results) -> str:
    if run.engine is None:
        return "convergence_iters.json alone"
    if run.verdict is None:
        return "analyzed with --no-aligned"
    return "no checkpoint at half of its iterations, or not optimised"


def _chosen(runs: Mapping[str, Results], shown: Sequence[str], options: PlotOptions) -> list[Panel]:
    options = replace(options, per_iteration=True)
    of_tensors = [[series for series in quantity.series if series.key in shown] for quantity in tensors()]
    changes = [_of_tensor(runs, of_tensor, options) for of_tensor in of_tensors if of_tensor]
    doublings = doubling_panels(runs, options) if DOUBLING in shown else []
    return [*([_of_loss(runs)] if LOSS in shown else []), *doublings, *changes]


def _all_shown(runs: Mapping[str, Results]) -> list[str]:
    held = {key for run in runs.values() for key, points in run.points.items() if points}
    return [LOSS, *(one.key for of in tensors() for one in of.series if one.key in held or not of.is_optional)]


def _of_tensor(runs: Mapping[str, Results], of_tensor: Sequence[Series], options: PlotOptions) -> Panel:
    having = [(label, run, series) for label, run in runs.items() for series in of_tensor if run.points.get(series.key)]
    aligned = all(run.aligned_points.get(series.key) for _, run, series in having)
    tensor, lines = of_tensor[0].tensor, []
    for label, run, series in having:
        if tensor not in never_refined(run.points, run.dx):
            points = (run.aligned_points if aligned else run.points)[series.key]
            lines.append(Line(label, change_curve(points, options), mask=series.mask))
    empty = "" if lines else "not refined" if having else f"{name_of(tensor)}: not analyzed"
    if lines and not any(line.curve for line in lines):
        empty = "no interval is known;\ngive convergence_report.json"
    title = f"{title_of_series(of_tensor)} ({'aligned' if aligned else 'raw'})"
    size, unit = max(unit_of(of_tensor[0], run) for run in runs.values())
    lines = [in_unit(line, size) for line in lines]
    return Panel(title, change_label(unit, options, set()), lines, empty, logarithmic=not options.linear)


def _of_loss(runs: Mapping[str, Results]) -> Panel:
    lines = [Line(label, r.engine.loss) for label, r in runs.items() if r.engine and r.engine.loss]
    return Panel("Loss", LOSS, lines, "" if lines else "not recorded in\nthese checkpoints")
