"""The pass over the voxels on a GPU, with torch, in which the host waits for the GPU only twice."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ptyconv_cli.metrics import order_statistics as order
from ptyconv_cli.metrics.arrays import precise
from ptyconv_cli.metrics.order_statistics import MaskedMean, bracket_places, interpolate, masked_mean, no_mask, rank

CHUNK = 1 << 24
"""Voxels worked on at a time; only one temporary array, of a byte a voxel, is as large as the object."""


class _Bracket(NamedTuple):
    """An interval, ends included, that should hold a percentile and its two neighbours: numbers on the device."""

    low: Tensor
    high: Tensor

    def holds(self, values: Tensor) -> Tensor:
        return (values >= self.low) & (values <= self.high)


class _Near(NamedTuple):
    """Whether a percentile lies in its bracket, its two neighbours in the order of the voxels, and the sums beyond it.

    `beyond`: number of voxels and sums beyond the percentile if neither neighbour is on the other side of it;
    `other_beyond`: if one is.
    """

    is_held: float
    value: float
    following: float
    beyond: list[float]
    other_beyond: list[float]

    @classmethod
    def of(cls, numbers: list[float]) -> "_Near":
        """Return what `_near` has found, from its numbers."""
        is_held, value, following, *sums = numbers
        return cls(is_held, value, following, sums[: len(sums) // 2], sums[len(sums) // 2 :])

    def mean(self, fraction: float, above: bool) -> MaskedMean:
        """Return the mean beyond the percentile, which is `fraction` of the way between the neighbours."""
        percentile = interpolate(self.value, self.following, fraction)
        other = percentile >= self.following if above else percentile > self.value
        voxels, *totals = self.other_beyond if other else self.beyond
        if math.isnan(percentile):  # between infinities
            return no_mask(len(totals) > 1)
        return masked_mean(totals, int(voxels))


class _Voxels(NamedTuple):
    """Voxels: their values now and before, and the residual of their changes where there is one."""

    now: Tensor
    before: Tensor
    residual: Tensor | None

    def part(self, start: int, stop: int) -> "_Voxels":
        residual = None if self.residual is None else self.residual[start:stop]
        return _Voxels(self.now[start:stop], self.before[start:stop], residual)

    def at(self, places: Tensor) -> "_Voxels":
        residual = None if self.residual is None else self.residual[places]
        return _Voxels(self.now[places], self.before[places], residual)

    def changes(self) -> list[Tensor]:
        """Return the change of each voxel, and the residual's size where there is one."""
        return [(self.now - self.before).abs_(), *([] if self.residual is None else [self.residual.abs()])]


def mean_change_outside(
    current: Tensor,
    previous: Tensor,
    percentile_range: tuple[float, float],
    residual: Tensor | None = None,
    chunk: int | None = None,
) -> tuple[MaskedMean, MaskedMean]:
    """As `percentiles.mean_change_outside`, of flat tensors, `chunk` voxels at a time.

    The host waits for the device twice; where a bracket missed, all voxels are put in order, and it waits twice more.
    """
    voxels = _Voxels(current, previous, residual)
    found = _by_brackets(voxels, _brackets(current, percentile_range), percentile_range, chunk or CHUNK)
    if found is None:
        everything = _Bracket(*current.new_tensor([-math.inf, math.inf]))
        found = _by_brackets(voxels, [everything] * 2, percentile_range, chunk or CHUNK)
    assert found is not None, "nothing lies beyond the infinities"
    return found


def _brackets(current: Tensor, percentile_range: tuple[float, float]) -> list[_Bracket]:
    """Bracket both percentiles by a sample's, five standard errors to each side."""
    # Its own generator: the same draw every time, and the caller's random state is untouched.
    generator = torch.Generator(current.device).manual_seed(0)
    drawn = torch.randint(len(current), (order.SAMPLE,), generator=generator, device=current.device)
    ends = current.new_tensor([-math.inf, math.inf])
    sample = torch.cat([ends[:1], current[drawn].sort().values, ends[1:]])
    places = (bracket_places(percentile, 5.0, order.SAMPLE) for percentile in percentile_range)
    return [_Bracket(sample[max(first + 1, 0)], sample[min(last + 1, len(sample) - 1)]) for first, last in places]


def _by_brackets(
    voxels: _Voxels, brackets: list[_Bracket], percentile_range: tuple[float, float], chunk: int
) -> tuple[MaskedMean, MaskedMean] | None:
    """Find both means by one pass and by sorting the voxels in the brackets; None where one of them missed."""
    count = len(voxels.now)
    ranks = [rank(count, percentile) for percentile in percentile_range]
    beyond, inside, nans = _one_pass(voxels, brackets, chunk)
    at = inside.nonzero().squeeze(1)  # here the host waits
    found = voxels.at(at[voxels.now[at].argsort()])
    numbers = [nans]
    for above, bracket in enumerate(brackets):
        numbers += _near(found.now, found.changes(), bracket, beyond[above], ranks[above][:2], count, bool(above))
    any_nan, *near = torch.stack([number.to(precise(voxels.now)) for number in numbers]).tolist()  # and here
    if any_nan:
        none = no_mask(voxels.residual is not None)
        return none, none
    low, high = _Near.of(near[: len(near) // 2]), _Near.of(near[len(near) // 2 :])
    if not (low.is_held and high.is_held):
        return None
    return low.mean(ranks[0][2], above=False), high.mean(ranks[1][2], above=True)


def _one_pass(
    voxels: _Voxels, brackets: list[_Bracket], chunk: int
) -> tuple[tuple[list[Tensor], list[Tensor]], Tensor, Tensor]:
    """Pass over the voxels once.

    Return number and sums of those below the low bracket, and of those above the high one; a mask of those in a
    bracket; and the number of NaN.
    """
    low, high = brackets
    inside = torch.empty_like(voxels.now, dtype=torch.bool)
    below, above, nans = [], [], []
    for start in range(0, len(inside), chunk):
        part = voxels.part(start, start + chunk)
        now, changes = part.now, part.changes()
        below.append(_sums(now < low.low, changes))
        above.append(_sums(now > high.high, changes))
        torch.logical_or(low.holds(now), high.holds(now), out=inside[start : start + chunk])
        nans.append(now.isnan().sum())
    totals = [[torch.stack(parts).sum(0) for parts in zip(*side, strict=True)] for side in (below, above)]
    return (totals[0], totals[1]), inside, torch.stack(nans).sum()


def _sums(mask: Tensor, changes: list[Tensor]) -> list[Tensor]:
    """Count the voxels in a mask and add up their changes."""
    # Not by a product: a factor of 0 would make NaN of an infinite change outside the mask.
    totals = [torch.where(mask, change, 0.0).sum(dtype=precise(change)) for change in changes]
    return [mask.sum(), *totals]


def _near(
    values: Tensor,
    changes: list[Tensor],
    bracket: _Bracket,
    beyond: list[Tensor],
    positions: tuple[int, int],
    count: int,
    above: bool,
) -> list[Tensor]:
    """Return the numbers of a `_Near`, on the device, from the `values` in the brackets, which are in order."""
    values, *changes = (torch.nn.functional.pad(numbers, (0, 1), value=math.nan) for numbers in (values, *changes))
    held = bracket.holds(values)
    first, inside = (values < bracket.low).sum(), held.sum()
    before = count - inside - beyond[0] if above else beyond[0]
    places = torch.stack([position - before for position in positions])
    is_held = (places[0] >= 0) & (places[1] < inside)
    value, following = torch.take(values, (first + places).clamp(0, len(values) - 1))
    masks = (values > value, values > following) if above else (values < value, values <= value)
    numbers = [is_held, value, following]
    for mask in masks:
        numbers += [some + more for some, more in zip(beyond, _sums(mask & held, changes), strict=True)]
    return numbers
