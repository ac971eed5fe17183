"""From what was found at each checkpoint to distances between all, changes per doubling, and the verdict."""

import math
from collections.abc import Mapping, Sequence

from ptyconv_cli.analysis.distances import Comparer, shown_before
from ptyconv_cli.analysis.parts import shape_compared
from ptyconv_cli.analysis.steps import Step
from ptyconv_cli.metrics.fields import too_few_to_align
from ptyconv_cli.results.doublings import QUANTITIES, Doublings, Tolerance
from ptyconv_cli.results.history import Curve, EngineHistories
from ptyconv_cli.results.series import SERIES
from ptyconv_cli.results.trajectory import Distances, Trajectory, lag_of
from ptyconv_cli.results.verdict import RunVerdict
from ptyconv_cli.verdict.evidence import (
    NOT_FINITE,
    SMALLEST_MOVE,
    VANISHED,
    Motion,
    doublings_of,
    since_when,
    size_of,
    still_since,
    vanished,
)
from ptyconv_cli.verdict.histories import ENGINE_NAMES, motions_of_histories
from ptyconv_cli.verdict.run import conclude, stopped_late
from ptyconv_cli.verdict.segments import doublings_between, stopped_since


def trajectories_of(steps: Sequence[Step], comparers: Mapping[str, Comparer]) -> dict[str, Trajectory]:
    """Return the distances between checkpoints by tensor, none of a single checkpoint."""
    if len(steps) < 2:
        return {}
    shown = [*shown_before(len(steps) - 1), len(steps) - 1]
    found = {}
    for name, comparer in comparers.items():
        places = comparer.places
        unit = next(series.unit for series in SERIES if series.tensor == name)
        mean = steps[-1].compared[name].total / places.all_voxels if name == "probe" else 1.0
        raw, aligned = (
            Distances(
                [
                    [steps[k].compared[name].to(j, is_aligned) / scale for j in shown[:row]]
                    for row, k in enumerate(shown)
                ],
                _drift_ratio(steps, name, is_aligned),
            )
            for is_aligned, scale in ((False, mean or math.nan), (True, 1.0))
        )
        found[name] = Trajectory(
            niters=[steps[k].header.niter for k in shown],
            unit="mean intensities" if name == "probe" else unit,
            kept=places.kept,
            all_voxels=places.all_voxels,
            lag=lag_of(len(steps)),
            raw=raw,
            aligned=aligned,
        )
    return found


def _drift_ratio(steps: Sequence[Step], name: str, aligned: bool = True) -> Curve:
    lag = lag_of(len(steps))
    return [(steps[k].header.niter, _ratio_at(steps, k, name, lag, aligned)) for k in range(lag, len(steps)) if lag > 1]


def _ratio_at(steps: Sequence[Step], place: int, name: str, lag: int, aligned: bool = True) -> float:
    compared = steps[place].compared[name]
    one = compared.to(place - 1, aligned)
    moved = one > SMALLEST_MOVE * size_of(name, compared.size, steps[place].header.dx)
    return compared.to(place - lag, aligned) / one if moved else math.nan  # rounding has no direction


def verdict_of(
    steps: Sequence[Step],
    engine: EngineHistories,
    begins: Mapping[str, Sequence[int]],
    tolerances: Mapping[str, Tolerance],
) -> RunVerdict | None:
    """Return the verdict on the last part of a run, None where the aligned change was not asked for.

    `begins`: by tensor, the iterations after which its segments begin.
    """
    if not steps[-1].compared:
        return None
    doublings = _doublings(steps, engine, begins, tolerances)
    before = {}
    for key, since in stopped_late(doublings, steps[-1].header.niter, begins).items():
        until = [step for step in steps if step.header.niter <= since]
        if len(until) > 1:  # the contrasts are the same since then
            until[-1] = until[-1].with_contrasts(steps[-1].contrasts)
            before[key] = _doublings(until, engine, begins, tolerances)[key]
    return conclude(doublings, steps[0].header.niter, bool(engine.learning_rates), before)


def _doublings(
    steps: Sequence[Step],
    engine: EngineHistories,
    begins: Mapping[str, Sequence[int]],
    tolerances: Mapping[str, Tolerance],
) -> dict[str, Doublings]:
    dx = steps[-1].header.dx
    motions = {name: _motion(name, steps, engine, begins[name]) for name in steps[-1].compared}
    motions |= motions_of_histories(engine, [step.header.niter for step in steps], begins)
    return {
        quantity.key: doublings_of(
            motions[quantity.key],
            quantity,
            tolerances[quantity.key].value(dx) if quantity.key in tolerances else quantity.tolerance,
            engine.learning_rates.get(ENGINE_NAMES.get(quantity.key, quantity.key), []),
        )
        for quantity in QUANTITIES
        if quantity.key in motions
    }


def _motion(
    name: str,
    steps: Sequence[Step],
    engine: EngineHistories,
    begins: Sequence[int],
) -> Motion:
    """Return how a tensor moved over the checkpoints of a part."""
    niters = [step.header.niter for step in steps]
    compared = [step.compared[name] for step in steps]
    last = len(steps) - 1
    moves = [compared[place].to(place - 1, aligned=False) for place in range(1, len(steps))]
    lag = lag_of(len(steps))
    broken = [step.not_finite.get(name, False) for step in steps]
    gone = vanished([step.intensity for step in steps]) if name == "probe" else [False] * len(steps)
    still = still_since(niters, moves, size_of(name, compared[last].size, steps[last].header.dx))
    stopped = stopped_since(name, engine, niters[max(last - 1, 0)], niters[last])
    return Motion(
        niter=niters[last],
        contrast=(steps[last].contrasts or {}).get(name, steps[last].header.dx),
        doubled=doublings_between(niters, begins, lambda place, half: compared[place].to(half)),
        to_last=[(niters[place], distance) for place, distance in zip(*compared[last][0:3:2], strict=True)],
        drift_ratio=_ratio_at(steps, last, name, lag) if lag > 1 else math.nan,
        lag=lag,
        begins=begins,
        broken_since=since_when(niters, [one or other for one, other in zip(broken, gone, strict=True)]),
        stopped_since=min((since for since in (still, stopped) if since is not None), default=None),
        reason=NOT_FINITE if broken[last] else VANISHED,
        too_few=too_few_to_align(name, shape_compared(name, steps[0].header)),
    )
