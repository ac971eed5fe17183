"""From how a quantity moved to its changes per doubling, and what they say. Formulas: docs/verdict.md."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ptyconv_cli.quantities import QUANTITIES
from ptyconv_cli.quantities.quantity import CONTRAST, Quantity
from ptyconv_cli.results.history import Curve, EngineHistories
from ptyconv_cli.results.run_analysis import TOO_FEW, AtIteration, Doubling, Doublings, Forecast
from ptyconv_cli.verdict.loss import LossSoFar, loss_so_far
from ptyconv_cli.verdict.rules import NOT_CONVERGED, Evidence, judge
from ptyconv_cli.verdict.segments import Counting, doublings_between

NOT_FINITE, VANISHED = "holds NaN or infinity", "has nearly vanished"
"""What can be broken in a quantity."""

VANISHES = 1e-3
"""Of the largest intensity so far, of the probe, or that gets through the object: below it there is hardly any left."""

WIDEST = 0.5
"""Of what a quantity holds: checkpoints that scatter more scatter about no point."""

SMALLEST_MOVE = 4e-7
"""Share of its values up to which a change is rounding: of float32, also of what is worked out from complex64."""


@dataclass(frozen=True)
class Motion:
    """How a quantity moved up to iteration `niter`, the last one; distances in the quantity's own unit.

    `doubled`: (niter, since, distance) of all doublings, in order; `to_last`: how far checkpoints are from the last
    one; `contrasts`: what they hold, by iteration, which distances are measured by. `drift_ratio` over `lag`
    checkpoints, NaN where it is not known. `counting`: how iterations count. `broken_since` and `stopped_since` as in
    `rules.Evidence`, with the `reason` why it counts as broken. `too_few`: whether there is too little of it to align.
    """

    niter: int
    contrasts: Mapping[int, float]
    doubled: Sequence[tuple[int, int, float]]
    to_last: Curve = field(default_factory=list)
    drift_ratio: float = math.nan
    lag: int = 0
    counting: Counting = field(default_factory=Counting)
    broken_since: int | None = None
    stopped_since: int | None = None
    reason: str = NOT_FINITE
    too_few: bool = False


def doublings_of(
    motion: Motion,
    quantity: Quantity,
    tolerance: float,
    learning_rates: Curve,
    loss: Curve | None = None,
) -> Doublings:
    """Return a quantity's changes per doubling and its state; `tolerance` in the quantity's unit."""
    points = [_doubling(motion, quantity, *doubled) for doubled in motion.doubled]
    evidence = evidence_of(motion, quantity, points, tolerance, learning_rates, loss or [])
    found, least, changed = judge(evidence), evidence.least, _changed(evidence, motion.counting)
    moves = found.state in (*NOT_CONVERGED[1:], "converged")
    return Doublings(
        unit=quantity.unit,
        contrast=motion.contrasts.get(motion.niter, math.nan),
        tolerance=tolerance,
        points=points,
        state=found.state,
        since=found.since,
        quietest=AtIteration(least.niter, least.relative) if least and found.state == "drifting" else None,
        changed=changed if moves else None,
        forecast=_forecast(evidence, quantity) if moves and not changed else None,
        size=found.size,
        growth=evidence.growth,
        reason=motion.reason if found.state == "broken" else TOO_FEW if motion.too_few else "",
        begin=evidence.begin,
    )


def evidence_of(
    motion: Motion,
    quantity: Quantity,
    points: Sequence[Doubling],
    tolerance: float,
    learning_rates: Curve,
    loss: Curve,
) -> Evidence:
    """Return what the state of a quantity goes by; `points`: its changes per doubling, `tolerance` in its unit."""
    niter, begin = motion.niter, motion.counting.begin(motion.niter)
    scale = _scale(quantity, motion.contrasts.get(niter, math.nan))
    return Evidence(
        niter=niter,
        tolerance=tolerance,
        points=[one for one in points if one.since > begin and motion.counting.in_phase(one.niter, niter)],
        to_last=[
            (at, scale * distance)
            for at, distance in motion.to_last
            if at > begin and motion.counting.in_phase(at, niter)
        ],
        drift_ratio=motion.drift_ratio,
        lag=motion.lag,
        learning_rates=learning_rates,
        cycle=motion.counting.cycle,
        loss=loss_of(loss, niter, begin, motion.counting.cycle),
        begin=begin,
        broken_since=motion.broken_since,
        stopped_since=motion.stopped_since,
        widest=100 * WIDEST if quantity.unit == CONTRAST else math.inf,
    )


def loss_of(loss: Curve, niter: int, begin: int = 0, cycle: int = 0) -> LossSoFar | None:
    """Return what the loss did up to an iteration, as they count from `begin` on; `cycle` of the learning rate."""
    return loss_so_far(loss, niter, begin + (niter - begin) / 2, cycle)


def _doubling(motion: Motion, quantity: Quantity, niter: int, since: int, distance: float) -> Doubling:
    contrast, begin = motion.contrasts.get(niter, math.nan), motion.counting.begin(niter)
    doublings = math.log2((niter - begin) / (since - begin))
    return Doubling(niter, since, distance, _scale(quantity, contrast) * distance / doublings, contrast)


def _scale(quantity: Quantity, contrast: float) -> float:
    """Return what makes a distance a change in the quantity's unit, NaN where there is nothing to measure it by."""
    measured = contrast != 0 and math.isfinite(contrast)
    return (100.0 if quantity.unit == CONTRAST else 1.0) / contrast if measured else math.nan


def _changed(evidence: Evidence, counting: Counting) -> AtIteration | None:
    """Return where the settings last changed during the last doubling, and what came since; None where they did not.

    Such a doubling is of more than one choice of settings, and says little of the next.
    """
    last = evidence.last
    changes = [at for at in counting.changes if last and last.since <= at < last.niter]
    if not changes:
        return None
    since = next((distance for niter, distance in evidence.to_last if niter >= changes[-1]), math.nan)
    return AtIteration(changes[-1], since)


def _forecast(evidence: Evidence, quantity: Quantity) -> Forecast | None:
    """Return what as many iterations again will bring: about as much as the last doubling did.

    Where the schedule of the learning rate ended, that depends on the next one.
    """
    last = evidence.last
    if last is None or quantity.forecast is None or not math.isfinite(last.relative) or evidence.schedule_ended:
        return None
    niter = evidence.begin + 2 * (evidence.niter - evidence.begin)
    return Forecast(niter, last.relative, last.relative / quantity.forecast, last.relative * quantity.forecast)


def since_when(niters: Sequence[int], is_so: Sequence[bool]) -> int | None:
    """Return the first iteration from which on all is so, None where the last one is not."""
    found = None
    for niter, so in zip(reversed(niters), reversed(is_so), strict=True):
        if not so:
            break
        found = niter
    return found


def vanished(strengths: Mapping[str, Mapping[int, float]]) -> dict[str, set[int]]:
    """Return, by quantity, at which iterations it has vanished; `strengths` by quantity and iteration, in order.

    So it is where both it and the product of all have: a scale may go from one to another without changing a pattern.
    """
    known = {key: of_one for key, of_one in strengths.items() if not all(map(math.isnan, of_one.values()))}
    niters = [niter for niter in next(iter(known.values()), {}) if all(niter in of_one for of_one in known.values())]
    of_all = {niter: math.prod(of_one[niter] for of_one in known.values()) for niter in niters}
    apart = set(faint(of_all, VANISHES))
    return {
        key: {niter for niter in faint(of_one, VANISHES) if niter in apart or niter not in of_all}
        for key, of_one in strengths.items()
    }


def faint(strengths: Mapping[int, float], share: float) -> list[int]:
    """Return the iterations, in order, at which something is no more than a share of the largest so far."""
    found, largest = [], 0.0
    for niter, strength in strengths.items():
        largest = max(largest, strength) if math.isfinite(strength) else largest
        found += [niter] if strength <= share * largest else []
    return found


def still_since(niters: Sequence[int], moves: Sequence[float]) -> int | None:
    """Return the iteration since which a quantity stands still, None where it moved over the last two intervals.

    `moves`: how far it moved from each checkpoint to the next, as a share of the size of its values.
    """
    still = [move <= SMALLEST_MOVE for move in moves]
    count = next((k for k, so in enumerate(reversed(still)) if not so), len(still))
    return niters[-1 - count] if count >= min(2, len(still)) and count else None


def least_move(raw: float, aligned: float, sizes: tuple[float, float]) -> float:
    """Return how far a tensor moved since the checkpoint before, as a share of its size: raw or aligned, what is less.

    What no pattern tells is no move; and of what only stands still the raw one is 0. NaN where neither is known.
    `sizes`: what each of the two is a share of.
    """
    moves = [move / (size or 1.0) for move, size in zip((raw, aligned), sizes, strict=True)]
    return min((move for move in moves if not math.isnan(move)), default=math.nan)


def motions_of_histories(
    engine: EngineHistories, niters: Sequence[int], counting: Mapping[str, Counting]
) -> dict[str, Motion]:
    """Return how what the engine recorded moved, such as tilt and slice thickness, by key of the quantity.

    `niters`: the iterations of the checkpoints; `counting`: by key, how these count.
    """
    found = {}
    for quantity in QUANTITIES:
        curves = quantity.curves(engine)
        if curves:
            contrasts = {niter: quantity.contrast_of_curves(curves, niter) for niter in niters}
            found[quantity.key] = _motion(curves, niters, counting[quantity.key], contrasts)
    return {key: motion for key, motion in found.items() if motion is not None}


def _motion(
    curves: Sequence[Curve], niters: Sequence[int], counting: Counting, contrasts: Mapping[int, float]
) -> Motion | None:
    """Return how the components of a history moved, at those of the checkpoints' iterations that it has.

    None where it has fewer than two of them.
    """
    by_niter = [dict(curve) for curve in curves]
    known = [niter for niter in niters if all(niter in curve for curve in by_niter)]
    if len(known) < 2:
        return None
    values = [[curve[niter] for curve in by_niter] for niter in known]
    moves = [math.dist(*pair) for pair in zip(values[1:], values, strict=False)]
    size = max(math.hypot(*one) for one in values)
    return Motion(
        niter=known[-1],
        contrasts=contrasts,
        doubled=doublings_between(known, counting, lambda place, half: math.dist(values[place], values[half])),
        to_last=[(niter, math.dist(one, values[-1])) for niter, one in zip(known[:-1], values, strict=False)],
        counting=counting,
        broken_since=since_when(known, [not all(map(math.isfinite, one)) for one in values]),
        stopped_since=still_since(known, [move / (size or 1.0) for move in moves]),
    )
