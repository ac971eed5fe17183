"""Compares the changes with those that the engine's own live monitor recorded."""

import math

from ptyconv_cli.quantities import all_series
from ptyconv_cli.quantities.settings import DEFAULT_PERCENTILES
from ptyconv_cli.results.history import Curve, EngineHistories, Point, points_since
from ptyconv_cli.results.run_analysis import Agreement

SMALLEST = 1e-12
"""Values below this are compared in absolute terms, because a relative difference would mean nothing."""

FAR = 0.01
"""The engine's record and the checkpoints cannot be of the same tensors beyond this relative difference.

The engine's own approximations are below: 1e-4 from sampling 16 million voxels of larger objects, 1e-3 from rounding
the intensity on another device where a probe hardly changes.
"""


def live_points(curve: Curve) -> list[Point]:
    """Return a live record as points: its first snapshot was taken before the first update, at iteration 0."""
    return points_since(0, curve)


def compare_with_live(
    points: dict[str, list[Point]], engine: EngineHistories, percentile_range: tuple[float, float]
) -> dict[str, Agreement]:
    """Compare the series that the engine recorded too, at the points that are over the same interval."""
    found = {}
    for series in all_series():
        if series.key not in points or not engine.convergence.get(series.key):
            continue
        same_masks = not series.mask or (engine.live_percentiles or DEFAULT_PERCENTILES) == percentile_range
        live = live_points(engine.convergence[series.key]) if same_masks else []
        found[series.key] = _agreement(points[series.key], live)
    return found


def _agreement(points: list[Point], live: list[Point]) -> Agreement:
    recorded = {(point.niter, point.since): point.value for point in live}
    pairs = [(point.value, recorded.get((point.niter, point.since), math.nan)) for point in points]
    differences = [abs(ours - theirs) / max(abs(theirs), SMALLEST) for ours, theirs in pairs]
    differences = [difference for difference in differences if math.isfinite(difference)]
    return Agreement(len(differences), max(differences, default=None))
