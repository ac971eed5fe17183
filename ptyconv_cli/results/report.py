"""The results as JSON: `convergence_iters.json` and `convergence_report.json`."""

import json
import math
from dataclasses import asdict
from typing import Any

from ptyconv_cli.results.history import Curve, Point
from ptyconv_cli.results.run_analysis import CheckpointInfo, RemovedAmbiguities, RunAnalysis
from ptyconv_cli.results.series import SERIES
from ptyconv_cli.results.trajectory import Distances, Trajectory
from ptyconv_cli.results.verdict import RunVerdict

CHANGES_NAME = "convergence_iters.json"
REPORT_NAME = "convergence_report.json"
FORMAT = 5
"""Of the report; raised when a reader of the old one would misread the new one."""


def changes_json(analysis: RunAnalysis) -> bytes:
    """Return `convergence_iters.json`: by series key, lists of [niter, value]; null where a value is not finite."""
    return _dump({key: _pairs(curve) for key, curve in analysis.convergence_iters.items()})


def report_json(analysis: RunAnalysis) -> bytes:
    """Return `convergence_report.json`: changes, aligned changes, trajectories, verdict, with full provenance."""
    return _dump(
        {
            "format": FORMAT,
            "ptyconv_version": analysis.ptyconv_version,
            "run_dir": analysis.run_dir,
            "settings": {
                "tensors": list(dict.fromkeys(s.tensor for s in SERIES if s.key in analysis.points)),
                "percentile_range": analysis.percentile_range,
                "every": analysis.every,
                "select": analysis.select,
                "device": analysis.device,
            },
            "region_px": {"y": analysis.region[:2], "x": analysis.region[2:]},
            "dx_angstrom": analysis.dx,
            "checkpoints": [_checkpoint(found) for found in analysis.checkpoints],
            "boundaries": [vars(boundary) for boundary in analysis.boundaries],
            "left_out": [vars(file) for file in analysis.left_out],
            "not_finite": analysis.not_finite,
            "series": _all_series(analysis.points),
            "aligned": {
                "series": _all_series(analysis.aligned_points),
                "removed": {
                    tensor: [{"niter": niter, **_removed(what)} for niter, what in curve]
                    for tensor, curve in analysis.removed.items()
                },
            },
            "verdict": verdict_data(analysis.verdict) if analysis.verdict else None,
            "doublings": doublings_data(analysis.verdict) if analysis.verdict else {},
            "trajectories": {tensor: _trajectory(found) for tensor, found in analysis.trajectories.items()},
            "live_record": {
                "curves": {key: _pairs(curve) for key, curve in analysis.engine.convergence.items()},
                "percentile_range": analysis.engine.live_percentiles,
                "agreement": {key: vars(found) for key, found in analysis.live_agreement.items()},
            },
            "histories": {
                "loss": _pairs(analysis.engine.loss),
                "learning_rates": {name: _pairs(curve) for name, curve in analysis.engine.learning_rates.items()},
                "tilts_mrad": {axis: _pairs(curve) for axis, curve in analysis.engine.tilts.items()},
                "slice_thickness_angstrom": _pairs(analysis.engine.slice_thickness),
                "compute_seconds": _pairs(analysis.engine.seconds),
                "planned_iterations": analysis.engine.planned,
            },
            "warnings": analysis.warnings,
        }
    )


def _checkpoint(found: CheckpointInfo) -> dict[str, Any]:
    return {
        "file": found.file,
        "niter": found.niter,
        "shapes": found.shapes,
        "size_bytes": found.size,
        "modified_ns": found.modified,
    }


def _all_series(points: dict[str, list[Point]]) -> dict[str, Any]:
    return {
        series.key: {
            "label": series.label,
            "unit": series.unit,
            "points": [{**vars(point), "value": _finite(point.value)} for point in points[series.key]],
        }
        for series in SERIES
        if series.key in points
    }


def _removed(found: RemovedAmbiguities) -> dict[str, Any]:
    """Name the ambiguities removed, with units in the keys, without those that the tensor doesn't have."""
    named = {
        "share": found.share,
        "shift_angstrom": found.shift,
        "offset_rad": found.offset,
        "total_offset_rad": found.total_offset,
        "ramp_rad_per_angstrom": found.ramp,
        "scale": found.scale,
        "total_scale": found.total_scale,
    }
    return {key: _all_finite(numbers) for key, numbers in named.items() if numbers is not None}


def verdict_data(verdict: RunVerdict) -> dict[str, Any]:
    """Return a verdict as JSON has it, without the changes per doubling."""
    return {name: value for name, value in vars(verdict).items() if name != "doublings"}


def doublings_data(verdict: RunVerdict) -> dict[str, Any]:
    """Return the changes per doubling by quantity as JSON has them."""
    return {key: _all_finite(asdict(found)) for key, found in verdict.doublings.items()}


def _trajectory(found: Trajectory) -> dict[str, Any]:
    def way(distances: Distances) -> dict[str, Any]:
        return {
            "to_last": _pairs(found.to_last(distances)),
            "drift_ratio": _pairs(distances.drift_ratio),
            "distances": [[_finite(_rounded(distance)) for distance in of_one] for of_one in distances.between],
        }

    return {
        "unit": found.unit,
        "niters": found.niters,
        "kept_voxels": found.kept,
        "all_voxels": found.all_voxels,
        "drift_ratio_lag": found.lag,
        "raw": way(found.raw),
        "aligned": way(found.aligned),
    }


def _rounded(distance: float) -> float:
    return float(f"{distance:.6g}")  # there are many of them, most of them estimates


def _all_finite(numbers: Any) -> Any:
    """Return numbers, in lists and dicts or alone, with None for those that are not finite."""
    if isinstance(numbers, dict):
        return {key: _all_finite(number) for key, number in numbers.items()}
    if isinstance(numbers, list | tuple):
        return [_all_finite(number) for number in numbers]
    return _finite(numbers) if isinstance(numbers, float) else numbers


def _pairs(curve: Curve) -> list[list[Any]]:
    return [[niter, _finite(value)] for niter, value in curve]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _dump(content: Any) -> bytes:
    """Return strict JSON (without NaN), with each innermost list on one line.

    Written out here because the standard library's encoder takes seconds for a long run when it indents.
    """
    return (_text(content, "\n") + "\n").encode(errors="backslashreplace")  # a file name need not be UTF-8


def _text(content: Any, line: str) -> str:
    """Return a value as JSON; `line`: what begins a line at its level."""
    if isinstance(content, float):
        if not math.isfinite(content):
            raise ValueError(f"{content} has no place in JSON")
        return repr(float(content))
    if isinstance(content, dict):
        deeper = line + " "
        items = [
            f"{json.dumps(str(key), ensure_ascii=False)}: {_text(value, deeper)}" for key, value in content.items()
        ]
        return f"{{{deeper}{f',{deeper}'.join(items)}{line}}}" if items else "{}"
    if isinstance(content, list | tuple):
        if not any(isinstance(value, dict | list | tuple) for value in content):
            return f"[ {', '.join(_text(value, line) for value in content)} ]" if content else "[]"
        deeper = line + " "
        return f"[{deeper}{f',{deeper}'.join(_text(value, deeper) for value in content)}{line}]"
    return json.dumps(content, ensure_ascii=False)
