"""Means of the change over the voxels below and above percentiles on a GPU, with torch: few operations, each on a chunk
that fits its cache. The host waits twice: for the sample that the percentiles are bracketed by, and for the result.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptyconv_cli.metrics import percentiles
from ptyconv_cli.metrics.arrays import has_double, on_host, together_on_host
from ptyconv_cli.metrics.device import upload
from ptyconv_cli.metrics.percentiles import Bracket, MaskedMean, interpolate, masked_mean, no_mask, rank


class Interval(NamedTuple):
    """The values above `low` up to `high`, None where it has no such end; `shared`: those that many voxels share."""

    low: float | None
    high: float | None
    shared: list[float]


class Plan(NamedTuple):
    """What to look for in the voxels: one interval for both percentiles or one for each, and `room` for their voxels.

    No interval where all voxels are to be put in order.
    """

    intervals: list[Interval]
    room: int

    @property
    def cuts(self) -> list[float]:
        """The ends of the intervals, which cut the values into classes: every second one is an interval."""
        return [end for interval in self.intervals for end in (interval.low, interval.high) if end is not None]

    @property
    def shared(self) -> list[float]:
        """The shared values of all intervals, in order."""
        return [value for interval in self.intervals for value in interval.shared]

    @property
    def beyond(self) -> tuple[int | None, int | None]:
        """The classes below and above all intervals, None where there is none."""
        lowest, highest = self.intervals[0].low, self.intervals[-1].high
        return (None if lowest is None else 0), (None if highest is None else len(self.cuts))

    @property
    def first_inside(self) -> int:
        """The class of the first interval."""
        return 0 if self.intervals[0].low is None else 1


def plan_pass(
    count: int, sample: NDArray[np.floating] | None, percentile_range: tuple[float, float], reach: float
) -> Plan:
    """Plan a pass over `count` voxels; without a sample, and where their brackets hold all, no pass is needed."""
    if sample is None:
        return Plan([], count)
    low, high = (_interval(bracket, sample) for bracket in percentiles.brackets(sample, percentile_range, reach))
    apart = low.high is not None and high.low is not None and low.high <= high.low
    both = Interval(low.low, high.high, sorted({*low.shared, *high.shared}))
    intervals = [low, high] if apart else [both]
    if both.low is both.high is None and not apart:
        return Plan([], count)
    drawn = sum(_drawn_in(interval, sample) for interval in intervals)
    most = (drawn + 6 * math.sqrt(drawn) + 64) / len(sample)  # six standard errors
    return Plan(intervals, min(math.ceil(count * most), count) + 1)


def _interval(bracket: Bracket, sample: NDArray[np.floating]) -> Interval:
    """Return a bracket from the next lower value in the sample on, so that no end belongs to two classes."""
    first = int(np.searchsorted(sample, bracket.low)) if bracket.low > -math.inf else 0
    return Interval(
        float(sample[first - 1]) if first else None, bracket.high if bracket.high < math.inf else None, bracket.shared
    )


def _drawn_in(interval: Interval, sample: NDArray[np.floating]) -> int:
    """Return how many of the sample are in an interval, but for the shared values."""
    first = 0 if interval.low is None else np.searchsorted(sample, interval.low, "right")
    last = len(sample) if interval.high is None else np.searchsorted(sample, interval.high, "right")
    return int(last - first) - int(np.isin(sample[first:last], interval.shared).sum())


CHUNK = 1 << 20
"""Voxels worked on at a time: few enough for the cache of large GPUs, enough that calling torch costs little."""

ROW = 1 << 8
"""Voxels that are summed in float32; such sums are added up in float64."""


FEW = 1 << 16
"""Voxels near the percentiles up to which all of their sums are in float64."""


class Changes(Protocol):
    """The changes of all voxels, of one or more `kinds`, which are worked out in pieces."""

    kinds: int

    def room(self, voxels: int) -> int:
        """Return how many voxels the largest piece has, of pieces of about so many."""

    def pieces(self, voxels: int, memory: Tensor) -> Iterator[int]:
        """Write the changes into the first rows of `memory`, piece by piece, in order; yield how many voxels they are.

        The row after those is for the work.
        """

    def at(self, places: Tensor) -> Tensor:
        """Return the changes (kind, place) of the voxels at flat places."""


class RawChanges:
    """The changes between two flat tensors."""

    kinds = 1

    def __init__(self, current: Tensor, previous: Tensor) -> None:
        self._current, self._previous = current, previous

    def room(self, voxels: int) -> int:
        """As `Changes.room`."""
        return min(voxels, len(self._current))

    def pieces(self, voxels: int, memory: Tensor) -> Iterator[int]:
        """As `Changes.pieces`."""
        for start in range(0, len(self._current), voxels):
            now, before = (tensor[start : start + voxels] for tensor in (self._current, self._previous))
            torch.sub(now, before, out=memory[0, : len(now)])
            yield len(now)

    def at(self, places: Tensor) -> Tensor:
        """As `Changes.at`."""
        return (self._current[places] - self._previous[places])[None]


class _Tally(NamedTuple):
    """What a pass finds: sums (1 + kind, rows) of the number and the changes of voxels, and where others are.

    `beyond`: of those below and above all intervals, `shared`: of those that share a value; `largest`: the largest of
    all values, NaN where one is; `near`: the places of the voxels in the intervals, but for the shared ones, then -1.
    """

    beyond: tuple[Tensor, Tensor]
    shared: list[Tensor]
    largest: Tensor
    near: Tensor


class _Near(NamedTuple):
    """The percentile of one side among the voxels near it, on the device.

    `ranks`: those of its neighbours in its interval, and the number of voxels there; `values` of the neighbours;
    `sums` (2, 1 + kind, rows) over the voxels beyond it if neither neighbour is on the other side, and if one is.
    """

    ranks: Tensor
    values: Tensor
    sums: Tensor


def mean_change_outside(
    current: Tensor,
    changes: Changes,
    percentile_range: tuple[float, float],
    sample: NDArray[np.floating] | None = None,
    chunk: int | None = None,
) -> tuple[MaskedMean, MaskedMean]:
    """As `percentiles.mean_change_outside`, of a flat tensor and its `changes`, about `chunk` voxels at a time.

    `sample`: what `sample_of` returns, where that is on the host already.
    """
    none, reach = no_mask(changes.kinds > 1), percentiles.REACH
    if sample is None and len(current) > percentiles.SAMPLE:
        sample = on_host(sample_of(current))  # here the host waits
    if sample is not None and np.isnan(sample[-1]):
        return none, none
    while True:
        plan = plan_pass(len(current), sample, percentile_range, reach)
        found = _search(current, changes, percentile_range, plan, chunk or CHUNK)
        if found is not None:
            return found
        reach *= 2


def sample_of(values: Tensor) -> Tensor:
    """Return the sample of flat values, in order, on their device."""
    return values[upload(percentiles.drawn(len(values)), values.device)].sort().values


def _search(
    current: Tensor, changes: Changes, percentile_range: tuple[float, float], plan: Plan, chunk: int
) -> tuple[MaskedMean, MaskedMean] | None:
    """Find both means by one pass and by putting the voxels near the percentiles in order; None where that missed."""
    ranks = [rank(len(current), percentile) for percentile in percentile_range]
    tally = _pass(current, changes, plan, chunk)
    near = _find(current, changes, plan, tally, [of_side[:2] for of_side in ranks])
    totals = [_totals(sums) for sums in (*tally.beyond, *tally.shared, *(side.sums for side in near))]
    others = [tensor for side in near for tensor in (side.ranks, side.values)]
    largest, last, *rest = together_on_host([tally.largest, tally.near[-1:], *totals, *others])  # and here
    if np.isnan(largest):
        none = no_mask(changes.kinds > 1)
        return none, none
    if plan.intervals and last[0] >= 0:  # perhaps there was no room for all
        return None
    sums, of_sides = [part.sum(-1, dtype=np.float64) for part in rest[: len(totals)]], rest[len(totals) :]
    beyond, shared, near_sums = sums[:2], dict(zip(plan.shared, sums[2:-2], strict=True)), sums[-2:]
    found = []
    for side, (of_rank, above) in enumerate(zip(ranks, (False, True), strict=True)):
        places, (value, following) = of_sides[2 * side], of_sides[2 * side + 1].tolist()
        if places[0] < 0 or places[1] >= places[2]:
            return None
        found.append(_mean(value, following, of_rank[2], above, beyond[side], near_sums[side], shared))
    return found[0], found[1]


def _mean(
    value: float,
    following: float,
    fraction: float,
    above: bool,
    beyond: NDArray[np.float64],
    near: NDArray[np.float64],
    shared: dict[float, NDArray[np.float64]],
) -> MaskedMean:
    """Return the mean beyond the percentile, which is `fraction` of the way between its neighbours."""
    percentile = interpolate(value, following, fraction)
    if math.isnan(percentile):  # between infinities
        return no_mask(len(beyond) > 2)
    other = percentile >= following if above else percentile > value
    total = beyond + near[int(other)]
    for one, sums in shared.items():
        if one > percentile if above else one < percentile:
            total = total + sums
    voxels, *of_changes = total.tolist()
    return masked_mean(of_changes, int(voxels))


def _pass(current: Tensor, changes: Changes, plan: Plan, chunk: int) -> _Tally:
    """Pass over the voxels once."""
    rows, nothing = 1 + changes.kinds, current.new_zeros(1 + changes.kinds, 1)
    if not plan.intervals:
        everywhere = torch.arange(len(current), device=current.device)
        return _Tally((nothing, nothing), [], current.amax()[None], everywhere)
    counter = _Counter(current, plan, rows, _whole_rows(changes.room(chunk)))
    near, start = current.new_empty(len(current), dtype=torch.uint8), 0
    for size in changes.pieces(chunk, counter.memory[1:]):
        counter.add(current[start : start + size], near[start : start + size])
        start += size
    sums = [torch.cat(parts, 1) if parts else nothing for parts in counter.sums]
    return _Tally((sums[0], sums[1]), sums[2:], torch.stack(counter.largest).amax()[None], _places(near, plan.room))


class _Counter:
    """Counts and sums the voxels below and above the intervals, and each shared value, chunk by chunk: in `sums`.

    `memory` (2 · rows, room): a row of ones, the changes, and as many rows for the work.
    """

    def __init__(self, current: Tensor, plan: Plan, rows: int, room: int) -> None:
        self.memory = current.new_empty(2 * rows, room)
        self.memory[0].fill_(1)
        self.sums: list[list[Tensor]] = [[] for _ in (*plan.beyond, *plan.shared)]
        self.largest: list[Tensor] = []
        self._rows, self._plan = rows, plan
        self._classes = current.new_empty(room, dtype=torch.int32)
        self._mask = current.new_empty(room, dtype=torch.bool)
        self._zero = current.new_zeros(())
        self._cuts = current.new_empty(len(plan.cuts))
        for place, cut in enumerate(plan.cuts):  # not from a list: the host would wait for the copy
            self._cuts[place].fill_(cut)
        self._is_inside = current.new_zeros(len(plan.cuts) + 1, dtype=torch.uint8)
        self._is_inside[plan.first_inside :: 2].fill_(1)

    def add(self, now: Tensor, near: Tensor) -> None:
        """Add a chunk, whose changes are in `memory`; mark in `near` which voxels are in the intervals."""
        classes, mask = self._classes[: len(now)], self._mask[: len(now)]
        self.memory[1 : self._rows, : len(now)].abs_()
        self.largest.append(now.amax())
        torch.bucketize(now, self._cuts, out_int32=True, out=classes)
        torch.index_select(self._is_inside, 0, classes, out=near)
        for one, sums in zip(self._plan.beyond, self.sums, strict=False):
            if one is not None:
                sums.append(self._sum(torch.eq(classes, one, out=mask)))
        for value, sums in zip(self._plan.shared, self.sums[2:], strict=True):
            sums.append(self._sum(torch.eq(now, value, out=mask)))
            near.masked_fill_(mask, 0)

    def _sum(self, mask: Tensor) -> Tensor:
        voxels, masked = len(mask), self.memory[self._rows :]
        # Not by a product: a factor of 0 would make NaN of an infinite change outside the mask.
        torch.where(mask, self.memory[: self._rows, :voxels], self._zero, out=masked[:, :voxels])
        whole = _whole_rows(voxels)
        if whole > voxels:
            masked[:, voxels:whole].zero_()
        return _by_row(masked[:, :whole])


def _places(near: Tensor, room: int) -> Tensor:
    """Return where `near` is not 0, in order, and then -1, `room` places in all.

    Without waiting, but for devices on which torch (some versions) cannot do that.
    """
    try:
        return torch.nonzero_static(near, size=room).squeeze(1)
    except NotImplementedError:
        found = near.nonzero().squeeze(1)[:room]
        return torch.nn.functional.pad(found, (0, room - len(found)), value=-1)


def _find(
    current: Tensor, changes: Changes, plan: Plan, tally: _Tally, positions: Sequence[tuple[int, int]]
) -> list[_Near]:
    """Find the percentiles of both sides; `positions`: the ranks of their neighbours among all voxels."""
    places = torch.nn.functional.pad(tally.near, (0, _whole_rows(len(tally.near)) - len(tally.near)), value=-1)
    is_none = places < 0
    places.clamp_(min=0)
    values, order_of = current[places].masked_fill_(is_none, math.inf).sort(stable=True)
    of_changes = changes.at(places).abs_()
    rows = torch.cat([torch.ones_like(of_changes[:1]), of_changes]).masked_fill_(is_none, 0)
    rows = rows.index_select(1, order_of)
    if len(places) <= FEW and has_double(rows):
        rows = rows.double()
    every, counts = len(places) - is_none.sum(), [_count(sums) for sums in tally.shared]
    parts = [(0 * every, every, slice(None))] * 2
    if len(plan.intervals) > 1:
        _, high, shared = plan.intervals[0]
        assert high is not None, "two intervals are apart"
        in_first = (values <= high).sum()
        parts = [(0 * every, in_first, slice(len(shared))), (in_first, every - in_first, slice(len(shared), None))]
    found = []
    for above, (first, inside, among) in zip((False, True), parts, strict=True):
        of_shared = counts[among]
        inside_with_shared = sum(of_shared, inside)
        beyond = _count(tally.beyond[int(above)])
        before = len(current) - beyond - inside_with_shared if above else beyond
        ranks = torch.stack([position - before for position in positions[int(above)]])
        pair = _in_order(values, first, plan.shared[among], of_shared, ranks)
        below_or_above = (values > pair[:, None]) if above else torch.stack([values < pair[0], values <= pair[0]])
        sums = _by_row(torch.where(below_or_above[:, None], rows, 0.0))
        found.append(_Near(torch.cat([ranks, inside_with_shared[None]]), pair, sums))
    return found


def _in_order(values: Tensor, first: Tensor, shared: list[float], counts: list[Tensor], ranks: Tensor) -> Tensor:
    """Return the values of some ranks among `values` from the place `first` on and the shared ones, all in order.

    `counts`: how often each of the shared values occurs.
    """
    found, places, begin_of_next = (
        torch.full_like(ranks, math.nan, dtype=values.dtype),
        ranks.clone(),
        torch.zeros_like(first),
    )
    for value, count in zip(shared, counts, strict=True):
        begin = (values < value).sum() - first + begin_of_next
        found = torch.where((ranks >= begin) & (ranks < begin + count), value, found)
        places -= count * (ranks >= begin + count)
        begin_of_next = begin_of_next + count
    return torch.where(found.isnan(), values[(first + places).clamp(0, len(values) - 1)], found)


def _count(sums: Tensor) -> Tensor:
    """Return the number of voxels in sums by row, exactly."""
    return sums[0].to(torch.int64).sum()


def _by_row(values: Tensor) -> Tensor:
    """Return the sums over each `ROW` of the last axis."""
    return values.view(*values.shape[:-1], -1, ROW).sum(-1)


def _whole_rows(voxels: int) -> int:
    """Return the room for so many voxels in whole rows."""
    return -(-voxels // ROW) * ROW


def _totals(sums: Tensor) -> Tensor:
    """Add up sums by row in float64; where the device has none only so far that float32 does, and the host the rest."""
    if has_double(sums):
        return sums.sum(-1, keepdim=True, dtype=torch.float64)
    return _by_row(torch.nn.functional.pad(sums, (0, _whole_rows(sums.shape[-1]) - sums.shape[-1])))
