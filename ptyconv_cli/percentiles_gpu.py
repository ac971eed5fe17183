"""The pass over the voxels on a GPU, with torch: the host learns how many voxels to gather, and the sums."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ptyconv_cli import order
from ptyconv_cli.device import precise
from ptyconv_cli.order import NO_MASK, MaskedMean, bracket_places, interpolate, rank

CHUNK = 1 << 24
"""Voxels worked on at a time; of the whole there is one temporary, of a byte a voxel."""


class _Bracket(NamedTuple):
    """An interval, ends included, that should hold a percentile and its two neighbours: numbers on the device."""

    low: Tensor
    high: Tensor

    def holds(self, values: Tensor) -> Tensor:
        return (values >= self.low) & (values <= self.high)


class _Near(NamedTuple):
    """What there is to know of a percentile: whether its bracket holds it, and its two neighbours in the order.

    Then number and sum of the voxels beyond it, if it takes none of its neighbours with it, and if it takes one.
    """

    is_held: float
    value: float
    following: float
    voxels: float
    change: float
    other_voxels: float
    other_change: float

    def mean(self, fraction: float, above: bool) -> MaskedMean:
        """Return the mean beyond the percentile, which is `fraction` of the way between the neighbours."""
        percentile = interpolate(self.value, self.following, fraction)
        if math.isnan(percentile):  # between infinities
            return NO_MASK
        other = percentile >= self.following if above else percentile > self.value
        voxels, change = self[5:] if other else self[3:5]
        return MaskedMean(change / voxels if voxels else 0.0, int(voxels))


def mean_change_outside(
    current: Tensor, previous: Tensor, percentile_range: tuple[float, float], chunk: int | None = None
) -> tuple[MaskedMean, MaskedMean]:
    """As `percentiles.mean_change_outside`, of flat tensors, `chunk` voxels at a time.

    The host waits for the device twice; where a bracket missed, all voxels are put in order, and it waits twice more.
    """
    found = _by_brackets(current, previous, _brackets(current, percentile_range), percentile_range, chunk or CHUNK)
    if found is None:
        everything = _Bracket(*current.new_tensor([-math.inf, math.inf]))
        found = _by_brackets(current, previous, [everything] * 2, percentile_range, chunk or CHUNK)
    assert found is not None, "nothing lies beyond the infinities"
    return found


def _brackets(current: Tensor, percentile_range: tuple[float, float]) -> list[_Bracket]:
    """Bracket both percentiles by a sample's, five standard errors to each side."""
    # A generator of its own: the same draw every time, and the caller's random state stays what it was.
    generator = torch.Generator(current.device).manual_seed(0)
    drawn = torch.randint(len(current), (order.SAMPLE,), generator=generator, device=current.device)
    ends = current.new_tensor([-math.inf, math.inf])
    sample = torch.cat([ends[:1], current[drawn].sort().values, ends[1:]])
    places = (bracket_places(percentile, 5.0, order.SAMPLE) for percentile in percentile_range)
    return [_Bracket(sample[max(first + 1, 0)], sample[min(last + 1, len(sample) - 1)]) for first, last in places]


def _by_brackets(
    current: Tensor, previous: Tensor, brackets: list[_Bracket], percentile_range: tuple[float, float], chunk: int
) -> tuple[MaskedMean, MaskedMean] | None:
    """Find both means by one pass and by what lies in the brackets; None where one of them missed."""
    ranks = [rank(len(current), percentile) for percentile in percentile_range]
    beyond, inside, nans = _one_pass(current, previous, brackets, chunk)
    at = inside.nonzero().squeeze(1)  # here the host waits
    values, turns = current[at].sort()
    changes = (values - previous[at][turns]).abs_()
    numbers = [nans]
    for above, bracket in enumerate(brackets):
        numbers += _near(values, changes, bracket, beyond[above], ranks[above][:2], len(current), bool(above))
    any_nan, *near = torch.stack([number.to(precise(current.device)) for number in numbers]).tolist()  # and here
    if any_nan:
        return NO_MASK, NO_MASK
    low, high = _Near(*near[:7]), _Near(*near[7:])
    if not (low.is_held and high.is_held):
        return None
    return low.mean(ranks[0][2], above=False), high.mean(ranks[1][2], above=True)


def _one_pass(
    current: Tensor, previous: Tensor, brackets: list[_Bracket], chunk: int
) -> tuple[list[tuple[Tensor, Tensor]], Tensor, Tensor]:
    """Go over the voxels once.

    Return number and sum of those below the low bracket, and of those above the high one; a mask of those in a
    bracket; and the number of NaN.
    """
    low, high = brackets
    inside = torch.empty_like(current, dtype=torch.bool)
    below, above, nans = [], [], []
    for start in range(0, len(current), chunk):
        now = current[start : start + chunk]
        change = (now - previous[start : start + chunk]).abs_()
        below.append(_sum(now < low.low, change))
        above.append(_sum(now > high.high, change))
        torch.logical_or(low.holds(now), high.holds(now), out=inside[start : start + chunk])
        nans.append(now.isnan().sum())
    totals = [[torch.stack(parts).sum(0) for parts in zip(*side, strict=True)] for side in (below, above)]
    return [(voxels, change) for voxels, change in totals], inside, torch.stack(nans).sum()


def _sum(mask: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """Count the voxels in a mask and add up their change."""
    # Not by a product: a factor of 0 would make NaN of an infinite change outside the mask.
    return mask.sum(), torch.where(mask, change, 0.0).sum(dtype=precise(change.device))


def _near(
    values: Tensor,
    changes: Tensor,
    bracket: _Bracket,
    beyond: tuple[Tensor, Tensor],
    positions: tuple[int, int],
    count: int,
    above: bool,
) -> list[Tensor]:
    """Return the numbers of a `_Near`, on the device, from the `values` in the brackets, which are in order."""
    values, changes = (torch.nn.functional.pad(numbers, (0, 1), value=math.nan) for numbers in (values, changes))
    held = bracket.holds(values)
    first, inside = (values < bracket.low).sum(), held.sum()
    before = count - inside - beyond[0] if above else beyond[0]
    places = torch.stack([position - before for position in positions])
    is_held = (places[0] >= 0) & (places[1] < inside)
    value, following = torch.take(values, (first + places).clamp(0, len(values) - 1))
    masks = (values > value, values > following) if above else (values < value, values <= value)
    numbers = [is_held, value, following]
    for mask in masks:
        voxels, change = _sum(mask & held, changes)
        numbers += [beyond[0] + voxels, beyond[1] + change]
    return numbers
