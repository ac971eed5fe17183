"""Reads results back from their JSON, to redraw their figures."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from ptyconv_cli.analysis.report import CHANGES_NAME, FORMAT, REPORT_NAME
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.quantities import QUANTITIES, all_series
from ptyconv_cli.results.files import or_nan, read_json
from ptyconv_cli.results.history import (
    Curve,
    Distances,
    EngineHistories,
    Point,
    Trajectory,
    Triangle,
    is_iteration,
    points_since,
)
from ptyconv_cli.results.run_analysis import (
    AtIteration,
    Doubling,
    Doublings,
    Forecast,
    Results,
    RunBoundary,
    RunVerdict,
)
from ptyconv_cli.results.text import shortened

MOST_ITERATIONS, FARTHEST = 10**9, 1e60
"""Larger numbers come from no run, and cannot be drawn."""


def read_results(path: Path) -> Results:
    """Read the results in a folder, a `convergence_report.json` or a `convergence_iters.json`.

    In a folder the report is preferred. Raises PtyconvError where there are no results of ptyconv.
    """
    if path.is_dir():
        candidates = [path / name for name in (REPORT_NAME, CHANGES_NAME) if (path / name).exists()]
        if not candidates:
            raise PtyconvError(f"{path}: holds no {REPORT_NAME}; make one with: ptyconv analyze FOLDER")
        path = candidates[0]
    content = read_json(path)
    if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
        raise PtyconvError(f"{path}: was written by another version of ptyconv; analyze the run again")
    try:
        return _from_report(content) if "format" in content else _from_changes(content, path)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise PtyconvError(f"{path}: holds no results of ptyconv ({type(error).__name__}: {error})") from error


def _from_report(content: dict[str, Any]) -> Results:
    histories, live, aligned = content["histories"], content["live_record"], content["aligned"]
    percentiles = live["percentile_range"]
    return Results(
        name=Path(content["run_dir"]).name,
        points=_points(content["series"]),
        aligned_points=_points(aligned["series"]),
        shares={
            tensor: _curve([[found["niter"], found["share"]] for found in removed])
            for tensor, removed in aligned["removed"].items()
        },
        verdict=_verdict(content),
        shapes=_shapes(content["checkpoints"]),
        dx=or_nan(content["dx_angstrom"]),
        trajectories={tensor: _trajectory(found) for tensor, found in content["trajectories"].items()},
        boundaries=[
            RunBoundary(_whole(one["niter"]), *(str(one.get(name, "")) for name in ("what", "difference", "growth")))
            for one in content["boundaries"]
        ],
        engine=EngineHistories(
            loss=_curve(histories["loss"]),
            learning_rates={name: _curve(pairs) for name, pairs in histories["learning_rates"].items()},
            tilts={axis: _curve(pairs) for axis, pairs in histories["tilts_mrad"].items()},
            slice_thickness=_curve(histories["slice_thickness_angstrom"]),
            convergence={key: _curve(pairs) for key, pairs in live["curves"].items()},
            live_percentiles=percentiles and (percentiles[0], percentiles[1]),
            seconds=_curve(histories["compute_seconds"]),
            loss_of={str(name): str(value) for name, value in histories.get("loss_of", {}).items()},
        ),
    )


def _shapes(checkpoints: list[dict[str, Any]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the last checkpoint's tensors, none where the report doesn't hold them."""
    last = checkpoints[-1] if checkpoints else {}
    return {str(name): tuple(_whole(size) for size in shape) for name, shape in last.get("shapes", {}).items()}


def _from_changes(content: dict[str, Any], path: Path) -> Results:
    """Read a bare record of changes: each point is measured from the one before, the first from an unknown one."""
    unknown = [key for key in content if key not in {series.key for series in all_series()}]
    if unknown or not content:
        raise ValueError(f"unknown keys {', '.join(unknown)}" if unknown else "nothing in it")
    points = {key: points_since(None, _curve(pairs)) for key, pairs in content.items()}
    return Results(name=path.absolute().parent.name, points=points, engine=None)


def _points(series: dict[str, Any]) -> dict[str, list[Point]]:
    return {
        key: [_point(p["niter"], p["since"], p["value"], p["voxels"]) for p in found["points"]]
        for key, found in series.items()
    }


def _trajectory(found: dict[str, Any]) -> Trajectory:
    niters = [niter for niter, _ in _curve([[niter, 0] for niter in found["niters"]])]
    if len(niters) < 2 or niters[-1] > MOST_ITERATIONS:
        raise ValueError("a trajectory needs at least two iterations")
    raw, aligned = (
        Distances(_triangle(found[way]["distances"], len(niters)), _curve(found[way]["drift_ratio"]))
        for way in ("raw", "aligned")
    )
    kept, all_voxels, lag = (int(found[key]) for key in ("kept_voxels", "all_voxels", "drift_ratio_lag"))
    return Trajectory(niters, str(found["unit"]), kept, all_voxels, lag, raw, aligned)


def _verdict(content: dict[str, Any]) -> RunVerdict | None:
    verdict = content["verdict"]
    if verdict is None:
        return None
    known = {quantity.key for quantity in QUANTITIES}
    doublings = {str(key): _doublings(found) for key, found in content["doublings"].items() if key in known}
    state, worst, sentence, advice, remark, because = (
        str(verdict[key]) for key in ("state", "worst", "sentence", "advice", "remark", "keep_because")
    )
    since, keep, lowest = (
        None if verdict[key] is None else _whole(verdict[key]) for key in ("since", "keep", "loss_lowest_at")
    )
    all_converged = verdict["all_converged"] is True
    return RunVerdict(state, worst, sentence, advice, since, doublings, remark, keep, because, lowest, all_converged)


def _doublings(found: dict[str, Any]) -> Doublings:
    points = [
        Doubling(
            _whole(p["niter"]), _whole(p["since"]), *(or_nan(p[key]) for key in ("distance", "relative", "contrast"))
        )
        for p in found["points"]
    ]
    _curve([[point.niter, 0] for point in points])  # ValueError unless they rise
    forecast = found["forecast"]
    quietest, changed = (
        one and AtIteration(_whole(one["niter"]), or_nan(one["relative"]))
        for one in (found["quietest"], found["changed"])
    )
    return Doublings(
        unit=str(found["unit"]),
        contrast=or_nan(found["contrast"]),
        tolerance=or_nan(found["tolerance"]),
        points=points,
        state=str(found["state"]),
        since=None if found["since"] is None else _whole(found["since"]),
        quietest=quietest,
        changed=changed,
        forecast=forecast
        and Forecast(_whole(forecast["niter"]), *(or_nan(forecast[key]) for key in ("relative", "low", "high"))),
        size=None if found["size"] is None else or_nan(found["size"]),
        growth=or_nan(found["growth"]),
        reason=str(found["reason"]),
        begin=_whole(found["begin"]),
    )


def _triangle(rows: list[list[float | None]], count: int) -> Triangle:
    if [len(row) for row in rows] != list(range(count)):
        raise ValueError("the distances are not those of each checkpoint from all before it")
    distances = [[or_nan(distance) for distance in row] for row in rows]
    if any(not 0 <= distance <= FARTHEST for row in distances for distance in row if not math.isnan(distance)):
        raise ValueError("a distance is not a number of a size that can be drawn")
    return distances


def _curve(pairs: list[list[Any]]) -> Curve:
    """Read pairs of JSON; ValueError unless the iterations are whole numbers that rise."""
    curve = [(_whole(niter), or_nan(value)) for niter, value in pairs]
    if any(one >= other for (one, _), (other, _) in pairwise(curve)):
        raise ValueError("the iterations don't rise")
    return curve


def _point(niter: Any, since: Any, value: float | None, voxels: int | None) -> Point:
    point = Point(_whole(niter), None if since is None else _whole(since), or_nan(value), voxels)
    if point.since is not None and point.since >= point.niter:
        raise ValueError(f"a change from iteration {point.since} to {point.niter}")
    return point


def _whole(niter: Any) -> int:
    if not is_iteration(niter):
        said = repr(niter) if not isinstance(niter, int) or abs(niter) < 10**20 else "a number of many digits"
        raise ValueError(f"{shortened(said, 20)} is no iteration, a whole number from 0 to 2^53")
    return int(niter)
