"""The results at each checkpoint, and their collection into curves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.metrics.change import Change
from ptyconv_cli.metrics.sketch import Sketch
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.run_analysis import RemovedAmbiguities
from ptyconv_cli.results.series import SERIES


@dataclass(frozen=True)
class Step:
    """The results at a checkpoint: the changes since iteration `since`, by series key, and a sketch of each tensor.

    The first checkpoint of a walk has no changes, and `since` is None. There are no `sketches` where the aligned change
    was not asked for. `not_finite`: True for tensors that hold NaN or infinity, False for those that do not, but
    changed by more than a float can hold.
    """

    header: Header
    since: int | None
    changes: dict[str, Change]
    sketches: dict[str, Sketch]
    not_finite: dict[str, bool]


@dataclass(frozen=True)
class CachedSteps:
    """The steps of an earlier walk, and, for a phase that wraps, the `phase` to unwrap the next snapshot with."""

    steps: list[Step] = field(default_factory=list)
    phase: Tensor | None = None


def points_of(steps: Iterable[Step]) -> dict[str, list[Point]]:
    """Return the changes by series key."""
    found: dict[str, list[Point]] = {}
    for step in steps:
        for key, change in step.changes.items():
            found.setdefault(key, []).append(Point(step.header.niter, step.since, change.value, change.voxels))
    return found


def aligned_points_of(steps: Iterable[Step]) -> dict[str, list[Point]]:
    """Return the aligned changes by series key, empty where they were not asked for."""
    found: dict[str, list[Point]] = {}
    for step in steps:
        for key, change in step.changes.items():
            if change.aligned is not None:
                point = Point(step.header.niter, step.since, change.aligned, change.voxels)
                found.setdefault(key, []).append(point)
    return found


def removed_of(steps: Iterable[Step]) -> dict[str, list[tuple[int, RemovedAmbiguities]]]:
    """Return, by tensor, the ambiguities removed from its changes, as (niter, ambiguities)."""
    found: dict[str, list[tuple[int, RemovedAmbiguities]]] = {}
    for step in steps:
        of_tensors = {s.tensor: step.changes[s.key].removed for s in SERIES if s.key in step.changes}
        for tensor, what in of_tensors.items():  # the same of all series of a tensor
            if what:
                found.setdefault(tensor, []).append((step.header.niter, what))
    return found


def not_finite_of(steps: Iterable[Step]) -> dict[str, list[int]]:
    """Return, by tensor, the iterations at which it held NaN or infinity: none where only changes are not finite."""
    found: dict[str, list[int]] = {}
    for step in steps:
        for tensor, is_its_own in step.not_finite.items():
            found.setdefault(tensor, []).extend([step.header.niter] if is_its_own else [])
    return found


def sketches_of(steps: Sequence[Step]) -> dict[str, list[Sketch]]:
    """Return, by tensor, its sketches at all steps."""
    return {tensor: [step.sketches[tensor] for step in steps] for tensor in (steps[0].sketches if steps else {})}
