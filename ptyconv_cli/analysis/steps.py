"""The results at each checkpoint, and their collection into curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ptyconv_cli.analysis.rows import CachedRows
from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.results.change import Change
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.run_analysis import LeftOut, RemovedAmbiguities
from ptyconv_cli.results.series import SERIES


class Compared(NamedTuple):
    """How far a tensor of one checkpoint is from earlier ones: `at` their places in the run, in order (J).

    `raw` and `aligned` (J): see `metrics.distances.Distances`. `size`: the RMS of its own values, in px for positions,
    and `total` their sum over all voxels, of a probe.
    """

    at: list[int]
    raw: list[float]
    aligned: list[float]
    size: float
    total: float

    def to(self, place: int, aligned: bool = True) -> float:
        """Return the distance to an earlier place; KeyError where it was not compared with that."""
        try:
            found = self.at.index(place)
        except ValueError:
            raise KeyError(place) from None
        return (self.aligned if aligned else self.raw)[found]


@dataclass(frozen=True)
class Step:
    """What is found at a checkpoint: the changes since iteration `since`, by series key; it is None of the first one.

    `compared`: by tensor, how far it is from earlier checkpoints, empty where the aligned change was not asked for.
    `contrasts`: see `metrics.contrast`, of the last checkpoint only, else None. `not_finite`: the tensors that hold NaN
    or infinity, and those that do not, but changed by more than numbers can say: True and False. `intensity` of the
    probe in all, NaN where it was not read.
    """

    header: Header
    since: int | None
    changes: dict[str, Change]
    compared: dict[str, Compared]
    not_finite: dict[str, bool]
    contrasts: dict[str, float] | None = None
    intensity: float = math.nan

    def with_contrasts(self, contrasts: dict[str, float] | None) -> "Step":
        """Return the same with contrasts, of a checkpoint that was not the last one."""
        return replace(self, contrasts=contrasts)


@dataclass(frozen=True)
class CachedSteps:
    """What is known from an earlier walk: its steps, and, of a phase that wraps, what the next snapshot's follows.

    `rows`: by tensor, the sketched values that it left.
    """

    steps: list[Step] = field(default_factory=list)
    phase: np.ndarray | None = None
    rows: dict[str, CachedRows] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """The results of a walk: the steps in order, how many of them were `known`, and checkpoints that were unreadable.

    `phase`: for a phase that wraps, the one to unwrap the next snapshot with.
    """

    steps: list[Step]
    left_out: list[LeftOut]
    phase: np.ndarray | None
    known: int


class CacheIsStale(Exception):
    """The last cached checkpoint cannot be read any more, so that the walk cannot continue from it."""


class Curves:
    """The results of a run's steps, by series key or tensor, in order.

    One object can serve one analysis after the other of a run that grows: what was gathered is not gathered again.

    `points`: the changes; `aligned_points`: the aligned ones, empty where they were not asked for; `removed`: the
    ambiguities removed, as (niter, ambiguities); `not_finite`: the iterations at which a tensor held NaN or infinity,
    none where only its changes are not finite.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._gathered: list[tuple[int, dict[str, Change]]] = []
        self.points: dict[str, list[Point]] = {}
        self.aligned_points: dict[str, list[Point]] = {}
        self.removed: dict[str, list[tuple[int, RemovedAmbiguities]]] = {}
        self.not_finite: dict[str, list[int]] = {}

    def of(self, steps: Sequence[Step]) -> "Curves":
        """Return the curves of these steps, which begin with those that were gathered last, or are gathered anew."""
        known = len(self._gathered)
        so_far = zip(steps, self._gathered, strict=False)
        if len(steps) < known or any(s.changes is not changes or s.header.niter != at for s, (at, changes) in so_far):
            self._begin()
            known = 0
        for step in steps[known:]:
            self._add(step)
        found = Curves()
        for name in ("points", "aligned_points", "removed", "not_finite"):
            setattr(found, name, {key: list(curve) for key, curve in getattr(self, name).items()})
        return found

    def _add(self, step: Step) -> None:
        niter = step.header.niter
        self._gathered.append((niter, step.changes))
        for key, change in step.changes.items():
            self.points.setdefault(key, []).append(Point(niter, step.since, change.value, change.voxels))
            if change.aligned is not None:
                point = Point(niter, step.since, change.aligned, change.voxels)
                self.aligned_points.setdefault(key, []).append(point)
        of_tensors = {s.tensor: step.changes[s.key].removed for s in SERIES if s.key in step.changes}
        for tensor, what in of_tensors.items():  # the same of all series of a tensor
            if what:
                self.removed.setdefault(tensor, []).append((niter, what))
        for tensor, is_its_own in step.not_finite.items():
            self.not_finite.setdefault(tensor, []).extend([niter] if is_its_own else [])
