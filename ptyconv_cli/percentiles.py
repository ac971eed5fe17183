"""Exact means of a change over the voxels below a low and above a high percentile, in one pass over the voxels.

The two percentiles are bracketed from a small seeded sample. One pass in chunks that fit the cache adds up what lies
surely outside the brackets and gathers what lies inside; only that is sorted, to find the percentiles and finish the
sums. Where a bracket missed, it is widened and the pass repeated. Values that many voxels share, as clipped objects
have them, are seen in the sample and counted instead of gathered.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

SAMPLE = 1 << 16
"""Voxels drawn to bracket the percentiles; objects of no more than that are sorted whole."""

SHARED = SAMPLE // 200
"""Drawings of one value from which on it counts as shared by many voxels."""

CPU_CHUNK, GPU_CHUNK = 1 << 18, 1 << 24
"""Voxels worked on at a time: on a CPU their temporaries fit the cache, on a GPU few chunks mean few waits.

At most 2^24, up to which counts in float32 are exact.
"""


class MaskedMean(NamedTuple):
    """A mean over a mask, 0.0 over an empty one, and the number of voxels in it; NaN and None where no mask exists."""

    mean: float
    voxels: int | None


class _Bracket(NamedTuple):
    """An interval, ends included, that should hold a percentile and its two neighbours in the order of the voxels."""

    low: float
    high: float


class _Sum(NamedTuple):
    """A number of voxels and the sum of their change."""

    voxels: int
    change: float


class _Tally(NamedTuple):
    """What one pass finds.

    `below`, `above`: of the voxels below the low bracket and above the high one. `values` and `changes`: of the voxels
    in a bracket, as they come, but for those of a value that many `shared`. `has_nan`: whether any voxel is NaN.
    """

    below: _Sum
    above: _Sum
    values: Tensor
    changes: Tensor
    shared: dict[float, _Sum]
    has_nan: bool


def mean_change_outside(
    current: Tensor, previous: Tensor, percentile_range: tuple[float, float], chunk: int | None = None
) -> tuple[MaskedMean, MaskedMean]:
    """Mean |current - previous| over voxels with current < p_low, and over those with current > p_high.

    `current` and `previous` are real tensors of one shape on one device; p_low and p_high are the percentiles of
    all voxels of `current` with linear interpolation, as `numpy.percentile` gives them in float64. Where `current`
    holds a NaN it has no percentiles, and both means are NaN. Sums are in float64, but on MPS, which has none.
    `chunk` voxels are worked on at a time. Formula: README, "What the numbers mean".
    """
    if current.dtype.itemsize < 4:  # half precision, in which counts are not exact
        current, previous = current.float(), previous.float()
    current, previous = current.flatten(), previous.flatten()
    chunk = chunk or (CPU_CHUNK if current.device.type == "cpu" else GPU_CHUNK)
    reach, careful = 5.0, False
    while True:
        low, high, shared = _brackets(current, percentile_range, reach)
        tally = _one_pass(current, previous, low, high, shared, chunk, careful)
        if tally.has_nan:
            return MaskedMean(math.nan, None), MaskedMean(math.nan, None)
        below = _finish(tally, low, percentile_range[0], current.numel(), above=False)
        above = _finish(tally, high, percentile_range[1], current.numel(), above=True)
        if below is None or above is None:
            reach *= 10
        elif not careful and not math.isfinite(below.mean + above.mean):
            careful = True
        else:
            return below, above


def precise(device: torch.device) -> torch.dtype:
    """Return the type to add up in: float64 where the device has it (MPS has not)."""
    return torch.float32 if device.type == "mps" else torch.float64


def _brackets(
    current: Tensor, percentile_range: tuple[float, float], reach: float
) -> tuple[_Bracket, _Bracket, list[float]]:
    """Bracket both percentiles by a sample's, `reach` standard errors to each side; find shared values there."""
    if current.numel() <= SAMPLE:
        return _Bracket(-math.inf, math.inf), _Bracket(-math.inf, math.inf), []
    # A generator of its own: the same draw every time, and the caller's random state stays what it was.
    drawn = torch.randint(current.numel(), (SAMPLE,), generator=torch.Generator().manual_seed(0))
    sample = current[drawn.to(current.device)].sort().values
    places = []
    for share in (percentile / 100 for percentile in percentile_range):
        error = reach * math.sqrt(share * (1 - share) * SAMPLE) + reach
        places += [math.floor(share * (SAMPLE - 1) - error), math.ceil(share * (SAMPLE - 1) + error)]
    ends = sample[[min(max(place, 0), SAMPLE - 1) for place in places]].tolist()
    # Beyond the sample's own ends nothing is known.
    ends = [
        end if 0 <= place < SAMPLE else math.copysign(math.inf, place) for place, end in zip(places, ends, strict=True)
    ]
    low, high = _Bracket(*ends[:2]), _Bracket(*ends[2:])
    distinct, drawings = torch.unique_consecutive(sample, return_counts=True)
    shared = distinct[drawings >= SHARED].tolist()
    return low, high, [v for v in shared if low.low <= v <= low.high or high.low <= v <= high.high]


def _one_pass(
    current: Tensor, previous: Tensor, low: _Bracket, high: _Bracket, shared: list[float], chunk: int, careful: bool
) -> _Tally:
    """Go over the voxels once.

    Marks are 1.0 and 0.0, which on a CPU is several times quicker than booleans. But 0.0 times an infinite change is no
    0.0: where there is one, `careful` leaves out what is not marked.
    """
    sums: list[list[Tensor]] = [[] for _ in range(2 * (2 + len(shared)))]
    values, changes, largest = [], [], []
    buffers = [torch.empty_like(current[:chunk]) for _ in range(3)]
    wide_buffer = torch.empty_like(buffers[0], dtype=precise(current.device))

    def add_up(place: int, mark: Tensor) -> None:
        sums[2 * place].append(mark.sum())
        marked = torch.where(mark.bool(), change, 0.0) if careful else mark.mul_(change)
        sums[2 * place + 1].append(wide.copy_(marked).sum())

    for start in range(0, current.numel(), chunk):
        now = current[start : start + chunk]
        change, mark, inside = (buffer[: now.numel()] for buffer in buffers)
        wide = wide_buffer[: now.numel()]
        torch.sub(now, previous[start : start + chunk], out=change).abs_()
        add_up(0, torch.lt(now, low.low, out=mark))
        add_up(1, torch.gt(now, high.high, out=mark))
        # What clamping leaves as it is lies inside.
        torch.eq(torch.clamp(now, *low, out=inside), now, out=inside)
        torch.eq(torch.clamp(now, *high, out=mark), now, out=mark)
        torch.maximum(inside, mark, out=inside)
        for place, value in enumerate(shared, start=2):
            inside.sub_(torch.eq(now, value, out=mark))
            add_up(place, mark)
        at = _positions(inside)
        values.append(now.index_select(0, at))
        changes.append(change.index_select(0, at))
        largest.append(now.amax().to(wide.dtype))
    voxels = torch.stack([torch.stack(parts).long().sum() for parts in sums[::2]]).tolist()
    *change_sums, nan = torch.stack([*(torch.stack(p).sum() for p in sums[1::2]), torch.stack(largest).amax()]).tolist()
    below, above, *of_shared = map(_Sum, voxels, change_sums)
    found = dict(zip(shared, of_shared, strict=True))
    return _Tally(below, above, torch.cat(values), torch.cat(changes), found, math.isnan(nan))


def _positions(mark: Tensor) -> Tensor:
    if mark.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mark.bool().numpy()))  # several times quicker than torch's own
    return mark.nonzero().squeeze(1)


def _in_order(values: Tensor, places: list[int]) -> list[float]:
    """Return what stands at these places when the values are put in order."""
    if not places:
        return []
    if values.device.type == "cpu":
        found: list[float] = np.partition(values.numpy(), places)[places].tolist()  # ten times quicker than a sort
    else:
        found = values.sort().values[places].tolist()
    return found


def _finish(tally: _Tally, bracket: _Bracket, percentile: float, count: int, above: bool) -> MaskedMean | None:
    """Find the percentile of all `count` voxels and the mean beyond it; None where the bracket missed."""
    outside = tally.above if above else tally.below
    shared = {value: found for value, found in tally.shared.items() if bracket.low <= value <= bracket.high}
    up_to = [tally.values < bracket.low, tally.values <= bracket.high, *(tally.values < value for value in shared)]
    first, end, *starts = torch.stack([mask.sum() for mask in up_to]).tolist()
    inside = end - first + sum(found.voxels for found in shared.values())
    rank, fraction = _rank(count, percentile)
    rank_inside = rank - (count - inside - outside.voxels if above else outside.voxels)
    next_inside = rank_inside + (rank + 1 < count)
    if rank_inside < 0 or next_inside >= inside:
        return None

    def find(place: int) -> float | int:
        """Return the shared value at a place in the bracket, or the place among the gathered voxels."""
        place += first
        for (value, found), start in zip(shared.items(), starts, strict=True):
            if start <= place < start + found.voxels:
                return value
            place -= found.voxels if place >= start else 0
        return place

    wanted = [find(rank_inside), find(next_inside)]
    gathered = iter(_in_order(tally.values, [place for place in wanted if isinstance(place, int)]))
    value, following = (place if isinstance(place, float) else next(gathered) for place in wanted)
    interpolated = _between(value, following, fraction)
    if math.isnan(interpolated):  # between infinities
        return MaskedMean(math.nan, None)

    def beyond(values: Any) -> Any:
        # A percentile lies between two neighbours in the order, so comparing with a neighbour selects the same voxels
        # as comparing with the percentile, and needs no float64 (which MPS lacks).
        if above:
            return values > following if interpolated >= following else values > value
        return values <= value if interpolated > value else values < value

    mask = beyond(tally.values)
    sums = [outside, *(found for value, found in shared.items() if beyond(value))]
    voxels = int(mask.sum()) + sum(found.voxels for found in sums)
    change = torch.where(mask, tally.changes, 0.0).sum(dtype=precise(mask.device))
    return MaskedMean((float(change) + sum(found.change for found in sums)) / voxels if voxels else 0.0, voxels)


def _rank(count: int, percentile: float) -> tuple[int, float]:
    """Place of a percentile among `count` ordered values: the position before it and the fraction beyond."""
    place = (count - 1) * (percentile / 100)
    position = math.floor(place)
    return position, place - position


def _between(before: float, after: float, fraction: float) -> float:
    """Interpolate from the nearer end, as numpy does, so that rounding falls the same way."""
    step = after - before
    return before + step * fraction if fraction < 0.5 else after - step * (1 - fraction)
