"""The verdict on a whole run: that on each of its series, and the worst of them."""

from collections.abc import Mapping, Sequence

from ptyconv_cli.results.history import Curve, EngineHistories, Point
from ptyconv_cli.results.series import SERIES
from ptyconv_cli.results.trajectory import Trajectory
from ptyconv_cli.results.verdict import RunVerdict
from ptyconv_cli.verdict.rules import Evidence, judge
from ptyconv_cli.verdict.segments import last_segment

STATES = ("rising", "drifting", "step-limited", "improving", "unusable", "insufficient", "settled", "not optimised")
"""From the worst on. Of the first four it is known that they haven't settled."""

NOT_SETTLED = STATES[:4]

NO_RATES = "No learning rates are recorded: where one jumps can't be told, nor step-limited from improving."


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


def exit_code(verdict: RunVerdict) -> int:
    """Return how a command ends that is asked whether a run has settled: 0 yes, 3 no, 4 it cannot be said."""
    return 0 if verdict.state == "settled" else 3 if verdict.state in NOT_SETTLED else 4


def evidence_of_run(
    aligned_points: Mapping[str, list[Point]],
    trajectories: Mapping[str, Trajectory],
    engine: EngineHistories,
    boundaries: Sequence[int],
    tolerances: Mapping[str, float],
) -> dict[str, Evidence]:
    """Return the evidence by series key, of the last segment of each, from what is known of a run by key or tensor.

    `boundaries`: the iterations after which another run, or other settings, began.
    `tolerances`: by tensor, the distance over the last snapshots, as many as the drift ratio looks back, that counts as
    settled instead of the relative rule: in rad, Å, or the unit of the trajectory.
    """
    found = {}
    for series in SERIES:
        if series.key in aligned_points:
            trajectory = trajectories.get(series.tensor)
            found[series.key] = evidence_of_series(
                aligned_points[series.key],
                series.tensor,
                engine,
                boundaries,
                drift_ratios=trajectory.drift_ratio(trajectory.aligned) if trajectory else [],
                travelled=trajectory.travelled(trajectory.aligned) if trajectory else [],
                lag=trajectory.lag if trajectory else 0,
                tolerance=tolerances.get(series.tensor),
            )
    return found


def evidence_of_series(
    points: list[Point],
    tensor: str,
    engine: EngineHistories,
    boundaries: Sequence[int] = (),
    *,
    drift_ratios: Curve,
    travelled: Curve,
    lag: int,
    tolerance: float | None,
) -> Evidence:
    """Return the evidence on one series: of all there is, what belongs to its last segment."""
    points, optimised = last_segment(points, tensor, engine, boundaries)
    # Ratios that look back beyond the segment's beginning say nothing of it; over a single snapshot they say nothing.
    inside = {point.niter for point in points[lag - 1 :]} if lag > 1 else set()
    return Evidence(
        points=points,
        learning_rates=engine.learning_rates.get(tensor, []),
        drift_ratios=[pair for pair in drift_ratios if pair[0] in inside],
        travelled=[pair for pair in travelled if pair[0] in inside],
        lag=lag,
        tolerance=tolerance,
        optimised=optimised,
    )
