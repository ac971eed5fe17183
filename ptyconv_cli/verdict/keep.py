"""Which checkpoint to keep: one answer, for every command. What it rests on: docs/verdict.md."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ptyconv_cli.quantities import QUANTITIES, quantity_of
from ptyconv_cli.results.run_analysis import Doubling, Doublings
from ptyconv_cli.verdict.loss import LossSoFar
from ptyconv_cli.verdict.rules import LESS, THERE, has_converged
from ptyconv_cli.verdict.sentences import rounded, verb

NEAR_LEAST = 1.5
"""Times the least change per doubling up to which an iteration is about as quiet."""


class Keep(NamedTuple):
    """The iteration `niter` of the checkpoint to keep, and `because` of what."""

    niter: int
    because: str


def keep_of(doublings: Mapping[str, Doublings], niters: Sequence[int], loss: LossSoFar | None) -> Keep | None:
    """Return which of the checkpoints at `niters` to keep, None where no object was judged, or none of it is whole.

    The last one, unless the object moves beyond its tolerance, the loss hardly falls, and each doubling brings as much
    as the one before or more: then the first at which it was about as quiet as it ever was.
    """
    parts = [doublings[one.key] for one in QUANTITIES if one.is_object and one.key in doublings]
    if not parts:
        return None
    broken = {
        key: found.since for key, found in doublings.items() if found.state == "broken" and found.since is not None
    }
    if broken:
        first = min(broken, key=lambda key: (broken[key], not quantity_of(key).is_object))
        whole = [niter for niter in niters if niter < broken[first]]
        what = "the object" if quantity_of(first).is_object else f"the {quantity_of(first).label}"
        because = f"{what} {verb(first, 'is')} broken since iteration {broken[first]}"
        return Keep(whole[-1], because) if whole else None
    if loss and loss.left is not None:
        good = [niter for niter in niters if niter <= loss.lowest_at]
        because = f"the loss was lowest at iteration {loss.lowest_at}, before the run diverged"
        return Keep(good[-1], because) if good else None
    last, moving = niters[-1], [part for part in parts if part.state != "not optimised"]
    if not moving:
        return Keep(last, "it is the last")
    judged = [part for part in moving if part.state != "insufficient"]  # which have a doubling at their last
    beyond = [part for part in judged if not part.points[-1].relative <= part.tolerance]
    calm = all(has_converged(part) for part in beyond)
    if not judged or (calm and len(judged) < len(moving)):
        return Keep(last, "it is the last, and it is too early to tell")
    if not beyond:
        return Keep(last, "it is the last, and the last doubling changed the object by no more than tolerated")
    if calm:
        return Keep(last, "it is the last, and the object jitters about a point by no more than tolerated")
    if loss and loss.still_falls:
        return Keep(last, "it is the last, and the loss still falls")
    part, falls = judged[0], loss is None or loss.falls  # the phase, where it is there
    if part.growth < (1 if falls else LESS):
        grows = any(other.growth > 1 for other in beyond if other is not part)
        return Keep(last, f"it is the last, and the object{' phase' if grows else ''} changes less than before")
    return _quiet(part, last, _meanwhile(loss))


def _meanwhile(loss: LossSoFar | None) -> str:
    """Say what the loss did, "" where that is not known."""
    if loss is None or math.isnan(loss.share):
        return ""
    did = "rose" if loss.rises else "hardly fell" if loss.falls else "did not fall"
    return f", while over the last doubling the loss {did}"


def _quiet(part: Doublings, last: int, meanwhile: str) -> Keep:
    """Return the first iteration whose change per doubling is near the least, since there was an object.

    `meanwhile`: what the loss did, in words, "" where that is not known.
    """
    points = [point for point in part.points if point.since > part.begin and math.isfinite(point.relative)]
    largest = max(point.contrast for point in points)
    there = [point for point in points if point.contrast >= THERE * largest] or points
    least = min(there, key=_relative)
    first = next(point for point in there if point.relative <= NEAR_LEAST * least.relative)
    if last in (first.niter, least.niter):
        return Keep(last, "it is the last, and the object changes about as little as it ever did")
    change, least_change = (f"{rounded(point.relative)} {part.unit}" for point in (first, least))
    if first.niter == least.niter:
        what = f"its change per doubling was the least ({change})"
    else:
        near = f"near the least ({least_change}, at {least.niter})"
        what = f"it is the first whose change per doubling ({change}) is {near}"
    return Keep(first.niter, f"{what}; later ones moved the object{meanwhile}")


def _relative(point: Doubling) -> float:
    return point.relative
