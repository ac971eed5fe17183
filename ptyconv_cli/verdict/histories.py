"""How tilt and slice thickness moved, by what the engine recorded of them."""

import math
from collections.abc import Mapping, Sequence

from ptyconv_cli.results.history import Curve, EngineHistories
from ptyconv_cli.verdict.evidence import Motion, since_when, still_since
from ptyconv_cli.verdict.segments import doublings_between

HISTORIES = ("tilt", "thickness")
"""What is judged by its history: the keys of `results.doublings.QUANTITIES`."""

ENGINE_NAMES = {"tilt": "obj_tilts", "thickness": "slice_thickness"}
"""What engines call them where they record learning rates."""


def motions_of_histories(
    engine: EngineHistories, niters: Sequence[int], begins: Mapping[str, Sequence[int]]
) -> dict[str, Motion]:
    """Return how tilt (in mrad) and slice thickness (in Å) moved, of those that are recorded, by key.

    `niters`: the iterations of the checkpoints; `begins`: by key, the iterations after which segments begin.
    """
    found = {}
    if engine.tilts:
        found["tilt"] = _motion(list(engine.tilts.values()), niters, begins["tilt"], 1.0)
    if engine.slice_thickness:
        last = [abs(value) for niter, value in engine.slice_thickness if niter <= niters[-1]]
        found["thickness"] = _motion([engine.slice_thickness], niters, begins["thickness"], last[-1] if last else 1.0)
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
        stopped_since=still_since(known, moves, size),
    )
