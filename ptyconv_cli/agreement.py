"""How far recomputed changes are from what the engine's live monitor recorded."""

import math

from ptyconv_cli.history import Agreement, Curve, EngineHistories, Point
from ptyconv_cli.series import SERIES

SMALLEST = 1e-12
"""Values below this are compared in absolute terms: there is nothing to be relative to."""


def live_points(curve: Curve) -> list[Point]:
    """Return a live record as points: each measured from the one before, the first from iteration 0.

    A live monitor takes its baseline before the first update.
    """
    sinces = [0, *(niter for niter, _ in curve)]
    return [Point(niter, since, value) for (niter, value), since in zip(curve, sinces, strict=False)]


def compare_with_live(
    points: dict[str, list[Point]], engine: EngineHistories, percentile_range: tuple[float, float]
) -> dict[str, Agreement]:
    """Compare every series that the engine recorded too, over the points that are measured over the same interval."""
    found = {}
    for series in SERIES:
        if series.key not in points or not engine.convergence.get(series.key):
            continue
        same_masks = not series.mask or engine.live_percentiles in (None, percentile_range)
        live = live_points(engine.convergence[series.key]) if same_masks else []
        found[series.key] = _agreement(points[series.key], live)
    return found


def _agreement(points: list[Point], live: list[Point]) -> Agreement:
    recorded = {(point.niter, point.since): point.value for point in live}
    pairs = [(point.value, recorded.get((point.niter, point.since), math.nan)) for point in points]
    differences = [abs(ours - theirs) / max(abs(theirs), SMALLEST) for ours, theirs in pairs]
    differences = [difference for difference in differences if math.isfinite(difference)]
    return Agreement(len(differences), max(differences, default=None))
