"""What a live monitor remembers for its verdict: aligned changes, and how far the last snapshots have moved."""

import math
from collections import deque
from collections.abc import Mapping

from ptyconv_cli.metrics.change import Change
from ptyconv_cli.metrics.sketch import Places, Sketch
from ptyconv_cli.metrics.snapshot import Snapshot
from ptyconv_cli.metrics.trajectory import trajectory
from ptyconv_cli.results.history import Curve, EngineHistories, Point
from ptyconv_cli.results.series import SERIES
from ptyconv_cli.results.trajectory import LAG, lag_of
from ptyconv_cli.verdict.evidence import evidence_of_series
from ptyconv_cli.verdict.rules import RUNNING, Evidence

KEPT = LAG + RUNNING
"""Sketches of each tensor: the last drift ratios, as many as a verdict looks at, reach back so far."""


class LiveEvidence:
    """Watches snapshots, the first of which is the monitor's baseline, and gives the evidence for a verdict.

    A step costs no more than sketches; distances are worked out, and remembered, when they are asked for.
    """

    def __init__(self, first: Snapshot) -> None:
        self._places = {name: Places(name, tuple(values.shape), values.device) for name, values in first.values.items()}
        self._sketches: dict[str, deque[tuple[int, Sketch]]] = {
            name: deque([(0, places.sketch(first.values[name]))], maxlen=KEPT) for name, places in self._places.items()
        }
        self._points: dict[str, list[Point]] = {}
        self._drift_ratios: dict[str, dict[int, float]] = {name: {} for name in self._places}
        self._travelled: dict[str, dict[int, float]] = {name: {} for name in self._places}
        self._seen, self._dx = 1, first.dx
        self._last_niter: int | None = None

    def note(self, snapshot: Snapshot, changes: Mapping[str, Change], niter: int) -> None:
        """Note the snapshot of iteration `niter` and its changes, by series key."""
        for key, change in changes.items():
            value = math.nan if change.aligned is None else change.aligned
            self._points.setdefault(key, []).append(Point(niter, self._last_niter, value, change.voxels))
        for name, places in self._places.items():
            self._sketches[name].append((niter, places.sketch(snapshot.values[name])))
        self._seen, self._last_niter = self._seen + 1, niter

    @property
    def _lag(self) -> int:
        return lag_of(self._seen)

    def evidence(self, learning_rates: Mapping[str, Curve], tolerances: Mapping[str, float]) -> dict[str, Evidence]:
        """Return the evidence by series key; learning rates and tolerances are by tensor."""
        for name in self._places:
            self._look_back(name)
        engine = EngineHistories(learning_rates=dict(learning_rates))
        return {
            series.key: evidence_of_series(
                self._points.get(series.key, []),
                series.tensor,
                engine,
                drift_ratios=list(self._drift_ratios[series.tensor].items()),
                travelled=list(self._travelled[series.tensor].items()),
                lag=self._lag,
                tolerance=tolerances.get(series.tensor),
            )
            for series in SERIES
            if series.tensor in self._places
        }

    def _look_back(self, name: str) -> None:
        """Work out the last drift ratios of a tensor, those that are not known yet."""
        sketches = list(self._sketches[name])
        for k in range(max(len(sketches) - RUNNING, self._lag), len(sketches)):
            niter, now = sketches[k]
            if niter in self._travelled[name]:
                continue
            three = [sketches[k - self._lag][1], sketches[k - 1][1], now]
            _, _, (far, step) = trajectory(self._places[name], three, [0, 1, 2], self._dx).aligned
            self._travelled[name][niter] = far
            self._drift_ratios[name][niter] = far / step if step else math.nan
