"""From how a quantity moved to its changes per doubling, and what they say. Formulas: docs/verdict.md."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ptyconv_cli.quantities import QUANTITIES
from ptyconv_cli.quantities.quantity import CONTRAST, Quantity
from ptyconv_cli.results.history import Curve, EngineHistories
from ptyconv_cli.results.run_analysis import TOO_FEW, Doubling, Doublings, Forecast, Quietest
from ptyconv_cli.verdict.rules import STATES, Evidence, judge
from ptyconv_cli.verdict.segments import begin_of, doublings_between

NOT_FINITE, VANISHED = "holds NaN or infinity", "has no intensity left"
"""What can be broken in a quantity."""

VANISHES = 1e-9
"""Of the largest intensity of a probe in the run: below it there is none left."""

SMALLEST_MOVE = 4e-7
"""Share of its values up to which a change is rounding: of float32, also of what is worked out from complex64."""


@dataclass(frozen=True)
class Motion:
    """How a quantity moved up to iteration `niter`, the last one; distances in the quantity's own unit.

    `doubled`: (niter, since, distance) of all doublings, in order; `to_last`: how far checkpoints are from the last
    one; `contrast`: what they are measured by. `drift_ratio` over `lag` checkpoints, NaN where it is not known.
    `begins`: the iterations after which segments begin. `broken_since` and `stopped_since` as in `rules.Evidence`, with
    the `reason` why it counts as broken. `too_few`: whether there is too little of it to align.
    """

    niter: int
    contrast: float
    doubled: Sequence[tuple[int, int, float]]
    to_last: Curve = field(default_factory=list)
    drift_ratio: float = math.nan
    lag: int = 0
    begins: Sequence[int] = (0,)
    broken_since: int | None = None
    stopped_since: int | None = None
    reason: str = NOT_FINITE
    too_few: bool = False


def doublings_of(motion: Motion, quantity: Quantity, tolerance: float, learning_rates: Curve) -> Doublings:
    """Return a quantity's changes per doubling and its state; `tolerance` in the quantity's unit."""
    measured = motion.contrast != 0 and math.isfinite(motion.contrast)
    scale = (100.0 if quantity.unit == CONTRAST else 1.0) / motion.contrast if measured else math.nan
    points = [_doubling(*doubled, scale, motion.begins) for doubled in motion.doubled]
    begin = begin_of(motion.niter, motion.begins)
    last_segment = [point for point in points if point.since > begin]
    evidence = Evidence(
        niter=motion.niter,
        tolerance=tolerance,
        points=last_segment,
        to_last=[(niter, scale * distance) for niter, distance in motion.to_last if niter > begin],
        drift_ratio=motion.drift_ratio,
        lag=motion.lag,
        learning_rates=learning_rates,
        begin=begin,
        broken_since=motion.broken_since,
        stopped_since=motion.stopped_since,
    )
    found = judge(evidence)
    moves = STATES.index("broken") < STATES.index(found.state) < STATES.index("not optimised")
    return Doublings(
        unit=quantity.unit,
        contrast=motion.contrast,
        tolerance=tolerance,
        points=points,
        state=found.state,
        since=found.since,
        quietest=_quietest(last_segment) if moves else None,
        forecast=_forecast(evidence, quantity) if moves else None,
        reaches=found.reaches,
        size=found.size,
        growth=evidence.growth,
        reason=motion.reason if found.state == "broken" else TOO_FEW if motion.too_few else "",
    )


def _doubling(niter: int, since: int, distance: float, scale: float, begins: Sequence[int]) -> Doubling:
    begin = begin_of(niter, begins)
    return Doubling(niter, since, distance, scale * distance / math.log2((niter - begin) / (since - begin)))


def _quietest(points: Sequence[Doubling]) -> Quietest | None:
    finite = [point for point in points if math.isfinite(point.relative)]
    least = min(finite, key=lambda point: point.relative, default=None)
    return None if least is None else Quietest(least.niter, least.relative)


def _forecast(evidence: Evidence, quantity: Quantity) -> Forecast | None:
    """Return what as many iterations again will bring: about as much as the last doubling did."""
    last = evidence.last
    if last is None or quantity.forecast is None or not math.isfinite(last.relative):
        return None
    low, high = quantity.forecast
    niter = evidence.begin + 2 * (evidence.niter - evidence.begin)
    return Forecast(niter, last.relative, low * last.relative, high * last.relative)


def since_when(niters: Sequence[int], is_so: Sequence[bool]) -> int | None:
    """Return the first iteration from which on all is so, None where the last one is not."""
    found = None
    for niter, so in zip(reversed(niters), reversed(is_so), strict=True):
        if not so:
            break
        found = niter
    return found


def vanished(intensities: Sequence[float]) -> list[bool]:
    """Say of the total intensities of a run's probes, in order, which are none."""
    found, largest = [], 0.0
    for intensity in intensities:
        largest = max(largest, intensity) if math.isfinite(intensity) else largest
        found.append(intensity <= VANISHES * largest)
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
    engine: EngineHistories, niters: Sequence[int], begins: Mapping[str, Sequence[int]]
) -> dict[str, Motion]:
    """Return how what the engine recorded moved, such as tilt and slice thickness, by key of the quantity.

    `niters`: the iterations of the checkpoints; `begins`: by key, the iterations after which segments begin.
    """
    found = {}
    for quantity in QUANTITIES:
        curves = quantity.curves(engine)
        if curves:
            contrast = quantity.contrast_of_curves(curves, niters[-1])
            found[quantity.key] = _motion(curves, niters, begins[quantity.key], contrast)
    return {key: motion for key, motion in found.items() if motion is not None}


def _motion(curves: Sequence[Curve], niters: Sequence[int], begins: Sequence[int], contrast: float) -> Motion | None:
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
        contrast=contrast,
        doubled=doublings_between(known, begins, lambda place, half: math.dist(values[place], values[half])),
        to_last=[(niter, math.dist(one, values[-1])) for niter, one in zip(known[:-1], values, strict=False)],
        begins=begins,
        broken_since=since_when(known, [not all(map(math.isfinite, one)) for one in values]),
        stopped_since=still_since(known, [move / (size or 1.0) for move in moves]),
    )
