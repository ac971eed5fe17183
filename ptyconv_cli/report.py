"""The results as JSON, out and in."""

import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.history import Curve, EngineHistories, Point, Results, RunAnalysis, points_since
from ptyconv_cli.series import SERIES

CHANGES_NAME = "convergence_iters.json"
REPORT_NAME = "convergence_report.json"
FORMAT = 1
"""Of the report; raised when a reader of the old one would misread the new one."""


def changes_json(analysis: RunAnalysis) -> bytes:
    """Return `convergence_iters.json`: by series key, lists of [niter, value]; null where a value is not finite."""
    return _dump({key: _pairs(curve) for key, curve in analysis.convergence_iters.items()})


def report_json(analysis: RunAnalysis) -> bytes:
    """Return `convergence_report.json`: the changes with all that says how they were got."""
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
            "checkpoints": [vars(checkpoint) for checkpoint in analysis.checkpoints],
            "left_out": [vars(file) for file in analysis.left_out],
            "not_finite": analysis.not_finite,
            "series": {
                s.key: _series(s.label, s.unit, analysis.points[s.key]) for s in SERIES if s.key in analysis.points
            },
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
            },
            "warnings": analysis.warnings,
        }
    )


def read_results(path: Path) -> Results:
    """Read what there is to draw from a results folder, a `convergence_report.json` or a `convergence_iters.json`.

    A folder's report is preferred. Raises PtyconvError where there is nothing, or something else.
    """
    if path.is_dir():
        candidates = [path / name for name in (REPORT_NAME, CHANGES_NAME) if (path / name).exists()]
        if not candidates:
            raise PtyconvError(f"{path}: holds no {REPORT_NAME}; make one with: ptyconv analyze RUN_DIR")
        path = candidates[0]
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise PtyconvError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise PtyconvError(f"{path}: is not JSON ({error})") from error
    if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
        raise PtyconvError(f"{path}: was written by another version of ptyconv; analyze the run again")
    try:
        return _from_report(content) if "format" in content else _from_changes(content, path)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise PtyconvError(f"{path}: holds no results of ptyconv ({type(error).__name__}: {error})") from error


def _from_report(content: dict[str, Any]) -> Results:
    histories, live = content["histories"], content["live_record"]
    percentiles = live["percentile_range"]
    return Results(
        name=Path(content["run_dir"]).name,
        points={
            key: [_point(p["niter"], p["since"], p["value"], p["voxels"]) for p in series["points"]]
            for key, series in content["series"].items()
        },
        engine=EngineHistories(
            loss=_curve(histories["loss"]),
            learning_rates={name: _curve(pairs) for name, pairs in histories["learning_rates"].items()},
            tilts={axis: _curve(pairs) for axis, pairs in histories["tilts_mrad"].items()},
            slice_thickness=_curve(histories["slice_thickness_angstrom"]),
            convergence={key: _curve(pairs) for key, pairs in live["curves"].items()},
            live_percentiles=percentiles and (percentiles[0], percentiles[1]),
        ),
    )


def _from_changes(content: dict[str, Any], path: Path) -> Results:
    """A bare record of changes: each point is measured from the one before, the first from nobody knows where."""
    unknown = [key for key in content if key not in {series.key for series in SERIES}]
    if unknown or not content:
        raise ValueError(f"unknown keys {', '.join(unknown)}" if unknown else "nothing in it")
    points = {key: points_since(None, _curve(pairs)) for key, pairs in content.items()}
    return Results(name=path.absolute().parent.name, points=points, engine=None)


def _series(label: str, unit: str, points: list[Point]) -> dict[str, Any]:
    found = [{**vars(point), "value": _finite(point.value)} for point in points]
    return {"label": label, "unit": unit, "points": found}


def _pairs(curve: Curve) -> list[list[Any]]:
    return [[niter, _finite(value)] for niter, value in curve]


def _curve(pairs: list[list[Any]]) -> Curve:
    """Read pairs of JSON; ValueError unless the iterations are whole numbers that rise."""
    curve = [(_whole(niter), _number(value)) for niter, value in pairs]
    if any(one >= other for (one, _), (other, _) in pairwise(curve)):
        raise ValueError("the iterations don't rise")
    return curve


def _point(niter: Any, since: Any, value: float | None, voxels: int | None) -> Point:
    point = Point(_whole(niter), None if since is None else _whole(since), _number(value), voxels)
    if point.since is not None and point.since >= point.niter:
        raise ValueError(f"a change from iteration {point.since} to {point.niter}")
    return point


def _whole(niter: Any) -> int:
    if not isinstance(niter, int):
        raise ValueError(f"{niter!r} is no iteration")
    return niter


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _dump(content: Any) -> bytes:
    """Strict JSON, in which NaN has no place, with the innermost lists on a line each."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda innermost: re.sub(r"\n *", " ", innermost[0]), text)
    return (text + "\n").encode(errors="backslashreplace")  # a file name need not be UTF-8; so escaped, JSON can say it
