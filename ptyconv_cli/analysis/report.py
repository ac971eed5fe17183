"""The results of an analysis as files: `convergence_report.json`, `convergence_iters.json`, `convergence.csv`."""

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from ptyconv_cli.quantities import all_series, tensors_of
from ptyconv_cli.quantities.quantity import Series
from ptyconv_cli.results.files import Pieces, or_null
from ptyconv_cli.results.history import Curve, Distances, Point, Trajectory
from ptyconv_cli.results.run_analysis import (
    AtIteration,
    CheckpointInfo,
    Forecast,
    RemovedAmbiguities,
    RunAnalysis,
    RunVerdict,
)

CHANGES_NAME = "convergence_iters.json"
REPORT_NAME = "convergence_report.json"
FORMAT = 6
"""Of the report; raised when a reader of the old one would misread the new one."""


NESTED = (dict, list, tuple)


class _Listed(NamedTuple):
    """A list in the report that grows with the run: its `items`, and what each is there; `name` as of `Pieces`."""

    name: str
    items: Sequence[Any]
    content_of: Callable[[Any], Any]


def changes_json(analysis: RunAnalysis, pieces: Pieces | None = None) -> bytes:
    """Return `convergence_iters.json`: by series key, lists of [niter, value]; null where a value is not finite.

    `pieces`: of what was written before of the same run, which grows.
    """
    content = {
        key: _Listed(f"changes {key}", points, lambda point: [point.niter, or_null(point.value)])
        for key, points in analysis.points.items()
    }
    return _dump(content, pieces or Pieces())


def report_json(analysis: RunAnalysis, pieces: Pieces | None = None) -> bytes:
    """Return `convergence_report.json`: changes, aligned changes, trajectories, verdict, with full provenance.

    `pieces` as of `changes_json`.
    """
    engine = analysis.engine
    content = {
        "format": FORMAT,
        "ptyconv_version": analysis.ptyconv_version,
        "run_dir": analysis.run_dir,
        "settings": {
            "tensors": tensors_of(analysis.points),
            "percentile_range": analysis.percentile_range,
            "every": analysis.every,
            "select": analysis.select,
            "device": analysis.device,
        },
        "region_px": {"y": analysis.region[:2], "x": analysis.region[2:]},
        "dx_angstrom": analysis.dx,
        "checkpoints": _Listed("checkpoints", analysis.checkpoints, _checkpoint),
        "boundaries": [vars(boundary) for boundary in analysis.boundaries],
        "left_out": [vars(file) for file in analysis.left_out],
        "not_finite": analysis.not_finite,
        "series": _all_series("series", analysis.points),
        "aligned": {
            "series": _all_series("aligned", analysis.aligned_points),
            "removed": {
                tensor: _Listed(f"removed {tensor}", curve, _removed) for tensor, curve in analysis.removed.items()
            },
        },
        "verdict": verdict_data(analysis.verdict) if analysis.verdict else None,
        "doublings": doublings_data(analysis.verdict) if analysis.verdict else {},
        "trajectories": {tensor: _trajectory(tensor, found) for tensor, found in analysis.trajectories.items()},
        "live_record": {
            "curves": _curves("live", engine.convergence),
            "percentile_range": engine.live_percentiles,
            "agreement": {key: vars(found) for key, found in analysis.live_agreement.items()},
        },
        "histories": {
            "loss": _curve("loss", engine.loss),
            "learning_rates": _curves("rates", engine.learning_rates),
            "tilts_mrad": _curves("tilts", engine.tilts),
            "slice_thickness_angstrom": _curve("thickness", engine.slice_thickness),
            "compute_seconds": _curve("seconds", engine.seconds),
            "planned_iterations": engine.planned,
            "loss_of": engine.loss_of,
        },
        "warnings": analysis.warnings,
    }
    return _dump(content, pieces or Pieces())


def _checkpoint(found: CheckpointInfo) -> dict[str, Any]:
    return {
        "file": found.file,
        "niter": found.niter,
        "shapes": found.shapes,
        "size_bytes": found.size,
        "modified_ns": found.modified,
    }


def _all_series(name: str, points: dict[str, list[Point]]) -> dict[str, Any]:
    return {
        series.key: {
            "label": series.label,
            "unit": series.unit,
            "points": _Listed(f"{name} {series.key}", points[series.key], _point),
        }
        for series in all_series()
        if series.key in points
    }


def _point(point: Point) -> dict[str, Any]:
    return {**vars(point), "value": or_null(point.value)}


def _removed(at: tuple[int, RemovedAmbiguities]) -> dict[str, Any]:
    """Name the ambiguities removed, with units in the keys, without those that the tensor doesn't have."""
    niter, found = at
    named = {
        "share": found.share,
        "shift_angstrom": found.shift,
        "offset_rad": found.offset,
        "total_offset_rad": found.total_offset,
        "ramp_rad_per_angstrom": found.ramp,
        "scale": found.scale,
        "total_scale": found.total_scale,
        "order": found.order,
    }
    return {"niter": niter, **{key: _all_finite(numbers) for key, numbers in named.items() if numbers is not None}}


def verdict_data(verdict: RunVerdict) -> dict[str, Any]:
    """Return a verdict as JSON has it, without the changes per doubling."""
    found = {name: value for name, value in vars(verdict).items() if name != "doublings"}
    return found | {"converged_since": verdict.converged_since}


def doublings_data(verdict: RunVerdict) -> dict[str, Any]:
    """Return the changes per doubling by quantity as JSON has them."""
    return {
        key: {name: _all_finite(_plain(value)) for name, value in vars(found).items()}
        for key, found in verdict.doublings.items()
    }


def _plain(value: Any) -> Any:
    """Return what a field of `Doublings` holds as dicts and lists: `dataclasses.asdict` would copy every number."""
    if isinstance(value, list):
        return [vars(point) for point in value]
    return vars(value) if isinstance(value, AtIteration | Forecast) else value


def _trajectory(tensor: str, found: Trajectory) -> dict[str, Any]:
    def way(name: str, distances: Distances) -> dict[str, Any]:
        return {
            "to_last": _pairs(found.to_last(distances)),
            "drift_ratio": _curve(f"drift {tensor} {name}", distances.drift_ratio),
            "distances": [[or_null(_rounded(distance)) for distance in of_one] for of_one in distances.between],
        }

    return {
        "unit": found.unit,
        "niters": found.niters,
        "kept_voxels": found.kept,
        "all_voxels": found.all_voxels,
        "drift_ratio_lag": found.lag,
        "raw": way("raw", found.raw),
        "aligned": way("aligned", found.aligned),
    }


def _rounded(distance: float) -> float:
    return float(f"{distance:.6g}")  # there are many of them, most of them estimates


def _all_finite(numbers: Any) -> Any:
    """Return numbers, in lists and dicts or alone, with None for those that are not finite."""
    if isinstance(numbers, dict):
        return {key: _all_finite(number) for key, number in numbers.items()}
    if isinstance(numbers, list | tuple):
        return [_all_finite(number) for number in numbers]
    return or_null(numbers) if isinstance(numbers, float) else numbers


def _pairs(curve: Curve) -> list[list[Any]]:
    return [_pair(pair) for pair in curve]


def _pair(pair: tuple[int, float]) -> list[Any]:
    niter, value = pair
    return [niter, or_null(value)]


def _curve(name: str, curve: Curve) -> _Listed:
    return _Listed(name, curve, _pair)


def _curves(name: str, curves: dict[str, Curve]) -> dict[str, _Listed]:
    return {key: _curve(f"{name} {key}", curve) for key, curve in curves.items()}


def _dump(content: Any, pieces: Pieces) -> bytes:
    """Return strict JSON (without NaN), with each innermost list on one line.

    Written out here because the standard library's encoder takes seconds for a long run when it indents.
    """
    return (_text(content, "\n", pieces) + "\n").encode(errors="backslashreplace")  # a file name need not be UTF-8


def _text(content: Any, line: str, pieces: Pieces) -> str:
    """Return a value as JSON; `line`: what begins a line at its level."""
    if not isinstance(content, NESTED):
        return _one(content)
    deeper = line + " "
    if isinstance(content, _Listed):
        between = f",{deeper}"
        inside = pieces.joined(
            content.name, content.items, lambda item: _text(content.content_of(item), deeper, pieces), between
        )
        return f"[{deeper}{inside}{line}]" if inside else "[]"
    if isinstance(content, dict):
        items = [f"{encode_basestring(str(key))}: {_text(value, deeper, pieces)}" for key, value in content.items()]
        return f"{{{deeper}{f',{deeper}'.join(items)}{line}}}" if items else "{}"
    if not any([isinstance(value, NESTED) for value in content]):  # noqa: C419 - a generator takes twice as long
        return f"[ {', '.join(map(_one, content))} ]" if content else "[]"
    return f"[{deeper}{f',{deeper}'.join([_text(value, deeper, pieces) for value in content])}{line}]"


def _one(value: Any) -> str:
    """Return a number, a text, True, False or None as JSON."""
    if value is None:
        return "null"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no place in JSON")
        return float.__repr__(value)
    if isinstance(value, str):
        return encode_basestring(value)
    return repr(value) if type(value) is int else json.dumps(value)  # True is an int, too


TABLE_NAME = "convergence.csv"

COLUMNS = (
    *("series", "unit", "niter", "since", "raw", "aligned"),
    *("raw_per_iteration", "aligned_per_iteration", "voxels"),
)


def changes_csv(analysis: RunAnalysis, pieces: Pieces | None = None) -> bytes:
    """Return `convergence.csv`: a row for each series and checkpoint but the first, in the columns `COLUMNS`.

    `raw` and `aligned` are the changes from iteration `since` to `niter`, in `unit` (empty: dimensionless). A field is
    empty where its value is not known or not finite. `pieces`: of what was written before of the same run, which grows.
    """
    pieces = pieces or Pieces()
    texts = [_line(COLUMNS)]
    for series in all_series():
        texts.append(pieces.joined(f"table {series.key}", _changes(analysis, series), partial(_row, series)))
    return "".join(texts).encode()


def table_rows(analysis: RunAnalysis) -> list[list[Any]]:
    """Return the rows of that table; None where a value is not known or not finite."""
    return [_fields(series, row) for series in all_series() for row in _changes(analysis, series)]


def _changes(analysis: RunAnalysis, series: Series) -> list[tuple[Point, float]]:
    """Return the raw changes of a series, each with the aligned one, NaN where that is not known."""
    aligned = {point.niter: point.value for point in analysis.aligned_points.get(series.key, [])}
    return [(point, aligned.get(point.niter, math.nan)) for point in analysis.points.get(series.key, [])]


def _row(series: Series, of_both: tuple[Point, float]) -> str:
    return _line(_fields(series, of_both))


def _fields(series: Series, of_both: tuple[Point, float]) -> list[Any]:
    point, aligned = of_both
    values = point.value, aligned
    per_iteration = (_per_iteration(point, value) for value in values)
    numbers = [value if math.isfinite(value) else None for value in (*values, *per_iteration)]
    return [series.key, series.unit, point.niter, point.since, *numbers, point.voxels]


def _line(fields: Sequence[Any]) -> str:
    """Return fields as a line of CSV, None as an empty one. No text among them needs quotes."""
    return ",".join("" if field is None else str(field) for field in fields) + "\n"


def _per_iteration(point: Point, value: float) -> float:
    return value / point.interval if point.interval else math.nan
