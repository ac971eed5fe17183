"""The verdict on a whole run: that on each of its series, and the worst of them."""

from collections.abc import Mapping

from ptyconv_cli.history import EngineHistories, Point, RunVerdict, Trajectory
from ptyconv_cli.segments import last_segment
from ptyconv_cli.series import SERIES
from ptyconv_cli.verdict import Evidence, judge

STATES = ("rising", "drifting", "step-limited", "improving", "unusable", "insufficient", "settled", "not optimised")
"""From the worst on. Of the first four it is known that they haven't settled."""

NOT_SETTLED = STATES[:4]

NO_RATES = "No learning rates are recorded, so all is one segment, and step-limited can't be told from improving."


def conclude(evidence: Mapping[str, Evidence]) -> RunVerdict:
    """Return the verdict on a run from the evidence on its series, by series key."""
    found = {key: judge(of_series) for key, of_series in evidence.items()}
    # Of several that are as bad, the one that has been so for longest.
    key, worst = min(found.items(), key=lambda pair: (STATES.index(pair[1].state), pair[1].since or 0))
    since = worst.since
    if worst.state == "settled":
        since = max(verdict.since or 0 for verdict in found.values() if verdict.state == "settled")
    known = any(of_series.learning_rates for of_series in evidence.values())
    return RunVerdict(worst.state, key, worst.reason, since, found, "" if known else NO_RATES)


def evidence_of_run(
    aligned_points: Mapping[str, list[Point]],
    trajectories: Mapping[str, Trajectory],
    engine: EngineHistories,
    tolerances: Mapping[str, float],
) -> dict[str, Evidence]:
    """Return the evidence by series key, of the last segment of each, from what is known of a run by key or tensor.

    `tolerances`: by tensor, the distance over the last snapshots, as many as the drift ratio looks back, that counts as
    settled instead of the relative rule: in rad, Å, or the unit of the trajectory.
    """
    return {
        series.key: _of_series(
            aligned_points[series.key],
            series.tensor,
            trajectories[series.tensor],
            engine,
            tolerances.get(series.tensor),
        )
        for series in SERIES
        if series.key in aligned_points
    }


def _of_series(
    points: list[Point], tensor: str, trajectory: Trajectory, engine: EngineHistories, tolerance: float | None
) -> Evidence:
    points, optimised = last_segment(points, tensor, engine)
    begin, lag = points[0].since or 0, trajectory.lag
    drift = trajectory.drift_ratio(trajectory.aligned)
    travelled = [
        (niter, of_one[-lag]) for niter, of_one in zip(trajectory.niters[lag:], trajectory.aligned[lag:], strict=True)
    ]
    return Evidence(
        points=points,
        learning_rates=engine.learning_rates.get(tensor, []),
        drift_ratios=[(niter, ratio) for niter, ratio in drift if _looks_back_to(trajectory, niter) >= begin],
        travelled=[(niter, far) for niter, far in travelled if _looks_back_to(trajectory, niter) >= begin],
        lag=lag,
        tolerance=tolerance,
        optimised=optimised,
    )


def _looks_back_to(trajectory: Trajectory, niter: int) -> int:
    return trajectory.niters[trajectory.niters.index(niter) - trajectory.lag]
