"""The pass over the voxels on a CPU, with numpy: few operations, each on a chunk that fits the cache."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics import order_statistics as order
from ptyconv_cli.metrics.order_statistics import MaskedMean, bracket_places, interpolate, masked_mean, no_mask, rank

CHUNK = 1 << 19
"""Voxels worked on at a time."""

SHARED = order.SAMPLE // 200
"""A value that is drawn this often counts as shared by many voxels, as in clipped objects."""

Array = NDArray[np.floating]

Pieces = Callable[[int], Iterator[Array]]
"""Yields the residual of a change in order, in pieces of about so many voxels, each valid until the next."""


class _Sum(NamedTuple):
    """A number of voxels and the sums of their changes, of each kind of change."""

    voxels: int
    changes: Any


class _Bracket(NamedTuple):
    """An interval, ends included, that should hold a percentile and its two neighbours in the order of the voxels.

    `shared`: values in it that many voxels share. `above`: whether the mean is over the voxels above the percentile.
    """

    low: float
    high: float
    shared: list[float]
    above: bool

    def or_beyond(self, values: Array, out: Any) -> Any:
        """Mark what may lie beyond the percentile."""
        return np.greater_equal(values, self.low, out=out) if self.above else np.less_equal(values, self.high, out=out)

    def not_beyond(self, values: Array) -> Any:
        """Mark what lies inside, of values that `or_beyond` has marked."""
        return values <= self.high if self.above else values >= self.low


class _Voxels(NamedTuple):
    """Voxels: their values now and before, and the residual of their changes where there is one."""

    now: Array
    before: Array
    residual: Array | None = None

    def changes(self, at: NDArray[np.intp], values: Array) -> Array:
        """Return the changes, one kind per row, of the voxels at some places, whose values are given."""
        changes = np.empty((1 if self.residual is None else 2, len(at)), values.dtype)
        np.subtract(values, self.before.take(at), out=changes[0])
        if self.residual is not None:
            changes[1] = self.residual.take(at)
        return np.abs(changes, out=changes)


class _Tally:
    """What one pass finds of the voxels beyond a bracket, and of those in it.

    `beyond`: the sum over the former. `values` and `changes` of the latter, in their order, except where a value is
    `shared` by many voxels: those are only counted and summed.
    """

    def __init__(self, bracket: _Bracket) -> None:
        self.bracket = bracket
        self.beyond = _Sum(0, 0.0)
        self.shared = dict.fromkeys(bracket.shared, _Sum(0, 0.0))
        self.values: list[Array] = []
        self.changes: list[Array] = []

    def add(self, voxels: _Voxels, mask: NDArray[np.bool_]) -> None:
        """Sort the voxels of a chunk; `mask` is memory for as many.

        Selecting by positions is quicker here than masks, and keeps infinite changes where they belong: a factor of 0
        would make NaN of them.
        """
        at = np.flatnonzero(self.bracket.or_beyond(voxels.now, out=mask))
        values = voxels.now.take(at)
        changes = voxels.changes(at, values)
        inside = np.flatnonzero(self.bracket.not_beyond(values))
        inside_values, inside_changes = values.take(inside), changes.take(inside, axis=1)
        changes[:, inside] = 0
        self.beyond = _plus(self.beyond, len(values) - len(inside), changes)
        for value, found in self.shared.items():
            same = inside_values == value
            self.shared[value] = _plus(found, int(np.count_nonzero(same)), inside_changes.compress(same, axis=1))
            inside_values, inside_changes = inside_values.compress(~same), inside_changes.compress(~same, axis=1)
        self.values.append(inside_values)
        self.changes.append(inside_changes)


def _plus(found: _Sum, voxels: int, changes: Array) -> _Sum:
    return _Sum(found.voxels + voxels, found.changes + np.sum(changes, axis=1, dtype=np.float64))


@np.errstate(all="ignore")  # a change between infinities is NaN
def mean_change_outside(
    current: Array,
    previous: Array,
    percentile_range: tuple[float, float],
    residual: Pieces | None = None,
    chunk: int | None = None,
) -> tuple[MaskedMean, MaskedMean]:
    """As `percentiles.mean_change_outside`, of flat arrays, about `chunk` voxels at a time."""
    none = no_mask(residual is not None)
    reach = 5.0
    while True:
        parts = _parts(current, previous, residual, chunk or CHUNK)
        tallies = _one_pass(parts, _brackets(current, percentile_range, reach))
        if tallies is None:
            return none, none
        background, foreground = (
            _finish(tally, *rank(len(current), percentile), len(current), none)
            for tally, percentile in zip(tallies, percentile_range, strict=True)
        )
        if background is not None and foreground is not None:
            return background, foreground
        reach *= 10


def _brackets(current: Array, percentile_range: tuple[float, float], reach: float) -> list[_Bracket]:
    """Bracket both percentiles by a sample's, `reach` standard errors to each side; find shared values there."""
    if len(current) <= order.SAMPLE:
        return [_Bracket(-math.inf, math.inf, [], above) for above in (False, True)]
    # Its own generator: the same draw every time, and the caller's random state is untouched.
    drawn = np.random.default_rng(0).integers(len(current), size=order.SAMPLE)
    sample = np.sort(current[drawn])
    distinct, drawings = np.unique(sample, return_counts=True)
    shared = distinct[drawings >= SHARED].tolist()
    brackets = []
    for percentile, above in zip(percentile_range, (False, True), strict=True):
        first, last = bracket_places(percentile, reach, len(sample))
        low = float(sample[first]) if first >= 0 else -math.inf
        high = float(sample[last]) if last < len(sample) else math.inf
        brackets.append(_Bracket(low, high, [value for value in shared if low <= value <= high], above))
    return brackets


def _parts(current: Array, previous: Array, residual: Pieces | None, chunk: int) -> Iterator[_Voxels]:
    """Cut the voxels into parts: the pieces of the residual where there is one."""
    start = 0
    for piece in residual(chunk) if residual else ():
        stop = start + len(piece)
        yield _Voxels(current[start:stop], previous[start:stop], piece)
        start = stop
    for begin in range(start, len(current), chunk):
        yield _Voxels(current[begin : begin + chunk], previous[begin : begin + chunk])


def _one_pass(parts: Iterator[_Voxels], brackets: list[_Bracket]) -> list[_Tally] | None:
    """Pass over the voxels once; return None where one is NaN."""
    tallies, mask = [_Tally(bracket) for bracket in brackets], np.empty(0, bool)
    for part in parts:
        if len(mask) < len(part.now):
            mask = np.empty(len(part.now), bool)
        if np.isnan(part.now.max()):
            return None
        for tally in tallies:
            tally.add(part, mask[: len(part.now)])
    return tallies


def _finish(
    tally: _Tally, position: int, next_position: int, fraction: float, count: int, none: MaskedMean
) -> MaskedMean | None:
    """Find the percentile of all `count` voxels and the mean beyond it; None where the bracket missed.

    The percentile is `fraction` of the way between the voxels at two positions in their order; `none` stands for the
    mean where it isn't a number.
    """
    values, changes = np.concatenate(tally.values), np.concatenate(tally.changes, axis=1)
    inside = len(values) + sum(found.voxels for found in tally.shared.values())
    before_bracket = count - inside - tally.beyond.voxels if tally.bracket.above else tally.beyond.voxels
    places = position - before_bracket, next_position - before_bracket
    if places[0] < 0 or places[1] >= inside:
        return None
    value, following = _in_order(values, tally.shared, places)
    percentile = interpolate(value, following, fraction)
    if math.isnan(percentile):  # between infinities
        return none

    def beyond(values: Any) -> Any:
        return values > percentile if tally.bracket.above else values < percentile

    total = tally.beyond
    for value, found in tally.shared.items():
        if beyond(value):
            total = _Sum(total.voxels + found.voxels, total.changes + found.changes)
    at = np.flatnonzero(beyond(values.astype(np.float64)))
    total = _plus(total, len(at), changes.take(at, axis=1))
    return masked_mean(total.changes.tolist(), total.voxels)


def _in_order(values: Array, shared: dict[float, _Sum], places: tuple[int, int]) -> list[float]:
    """Return the values of two ranks among the values and the shared ones, each as often as it occurs."""
    starts = {value: int(np.count_nonzero(values < value)) for value in sorted(shared)}

    def find(place: int) -> float | int:
        """Return the shared value at a place, or the place among `values`."""
        for value, start in starts.items():
            if start <= place < start + shared[value].voxels:
                return value
            place -= shared[value].voxels if place >= start else 0
        return place

    wanted = [find(place) for place in places]
    among_values = [place for place in wanted if isinstance(place, int)]
    ordered = iter(np.partition(values, among_values)[among_values].tolist() if among_values else [])
    return [place if isinstance(place, float) else next(ordered) for place in wanted]
