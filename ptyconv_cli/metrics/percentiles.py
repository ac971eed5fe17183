"""Means of the change over the voxels below and above percentiles: exact, with numpy or torch."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import Array, in_single, is_numpy
from ptyconv_cli.metrics.changing import InFrame, Raw, WithLeft
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.planes import FACTOR, SMALL, Residual, pieces_in_frame

SAMPLE = 1 << 16
"""Voxels drawn to bracket the percentiles; smaller objects are sorted whole."""

SHARED = SAMPLE // 200
"""A value that is drawn this often counts as shared by many voxels, as in clipped objects."""

REACH = 3.5
"""Standard errors to each side of a bracket: 1 in 1000 misses its percentile, and costs a second pass."""


class Bracket(NamedTuple):
    """An interval, ends included, that should hold a percentile and its two neighbours in the order of the voxels.

    `shared`: values in it that many voxels share. `above`: whether the mean is over the voxels above the percentile.
    """

    low: float
    high: float
    shared: list[float]
    above: bool


class MaskedMean(NamedTuple):
    """The mean change over a mask, 0.0 over an empty one, and the number of voxels in it; NaN, None without a mask.

    `aligned`: the same mean of the residual, None where none was given.
    """

    mean: float
    voxels: int | None
    aligned: float | None = None


def no_mask(aligned: bool) -> MaskedMean:
    """Return the result where no percentile exists; `aligned`: whether a residual was given."""
    return MaskedMean(math.nan, None, math.nan if aligned else None)


def masked_mean(totals: Sequence[float], voxels: int) -> MaskedMean:
    """Return the means from the totals of the change and, where one was given, of the residual."""
    mean, *aligned = (total / voxels if voxels else 0.0 for total in totals)
    return MaskedMean(mean, voxels, *aligned)


def rank(count: int, percentile: float) -> tuple[int, int, float]:
    """Return the ranks of a percentile's two neighbours among `count` ordered values, and the fraction between."""
    place = (count - 1) * (percentile / 100)
    position = math.floor(place)
    return position, min(position + 1, count - 1), place - position


def interpolate(before: float, after: float, fraction: float) -> float:
    """Interpolate from the nearer end, as numpy does, so that rounding agrees."""
    step = after - before
    return before + step * fraction if fraction < 0.5 else after - step * (1 - fraction)


def bracket_places(percentile: float, reach: float, drawn: int) -> tuple[int, int]:
    """Return the ranks in a sample of size `drawn` that bracket a percentile of all, `reach` standard errors away.

    A rank below 0, or of `drawn` or more, stands for an infinity: beyond its ends the sample says nothing.
    """
    share = percentile / 100
    error = reach * math.sqrt(share * (1 - share) * drawn) + reach
    return math.floor(share * (drawn - 1) - error), math.ceil(share * (drawn - 1) + error)


def drawn(count: int) -> NDArray[np.int64]:
    """Return the places of the voxels, out of `count`, that are the sample."""
    # Its own generator: the same draw every time, and the caller's random state is untouched.
    return np.random.default_rng(0).integers(count, size=SAMPLE)


def everything() -> list[Bracket]:
    """Return brackets that cannot miss."""
    return [Bracket(-math.inf, math.inf, [], above) for above in (False, True)]


@np.errstate(all="ignore")  # a difference between infinities is NaN
def brackets(sample: NDArray[np.floating], percentile_range: tuple[float, float], reach: float) -> list[Bracket]:
    """Bracket both percentiles by a sample's, which is in order, `reach` standard errors to each side.

    Find shared values there.
    """
    begins = np.flatnonzero(np.diff(sample, prepend=np.nan) != 0)  # of each value, for they are in order
    shared = sample[begins[np.diff(begins, append=len(sample)) >= SHARED]].tolist()
    found = []
    for percentile, above in zip(percentile_range, (False, True), strict=True):
        first, last = bracket_places(percentile, reach, len(sample))
        low = float(sample[first]) if first >= 0 else -math.inf
        high = float(sample[last]) if last < len(sample) else math.inf
        found.append(Bracket(low, high, [value for value in shared if low <= value <= high], above))
    return found


CHUNK = 1 << 18
"""Voxels worked on at a time: few enough for the cache, enough that calling numpy costs little."""

ROW = 1 << 10
"""Voxels that are summed in float32; such sums are added up in float64."""

Voxels = NDArray[np.floating]

Mask = NDArray[np.bool_]


def _mark(bracket: Bracket, values: Voxels, beyond: Mask, inside: Mask) -> None:
    """Mark the values that lie beyond the percentile for certain, and those inside the bracket."""
    if bracket.above:
        np.greater(values, bracket.high, out=beyond)
        np.greater_equal(values, bracket.low, out=inside)
    else:
        np.less(values, bracket.low, out=beyond)
        np.less_equal(values, bracket.high, out=inside)
    inside ^= beyond


class _Sum:
    """A number of voxels and the sums of their changes, of each kind of change."""

    def __init__(self, kinds: int) -> None:
        self.voxels, self.changes = 0, np.zeros(kinds)

    def add(self, mask: Mask, changes: Voxels, weights: Voxels) -> None:
        """Add the voxels in a mask; `weights` is memory for as many."""
        self.voxels += int(np.count_nonzero(mask))
        weights[...] = mask
        for kind, change in enumerate(changes):
            total = _product(weights, change)
            if not math.isfinite(total):  # a weight of 0 makes NaN of an infinite change outside the mask
                total = float(change[mask].sum(dtype=np.float64))
            self.changes[kind] += total

    def plus(self, voxels: int, changes: Any) -> "_Sum":
        """Return the sum with more voxels, and more changes, in it."""
        found = _Sum(len(self.changes))
        found.voxels, found.changes = self.voxels + voxels, self.changes + changes
        return found


def _product(one: Voxels, other: Voxels) -> float:
    """Return the sum of the products of two flat arrays: much quicker than to select and to sum."""
    whole = len(one) - len(one) % ROW
    rows = (part[:whole].reshape(-1, ROW) for part in (one, other))
    row, column = next(rows)[:, None, :], next(rows)[:, :, None]
    found = np.matmul(row, column).sum(dtype=np.float64) + float(one[whole:] @ other[whole:])
    return float(found)


class _Tally:
    """What one pass finds of the voxels beyond the brackets, and of those in them.

    `beyond`, by bracket: the sum over the former. `values` and `changes` of the latter, in their order, except where a
    value is `shared` by many voxels: those are only counted and summed.
    """

    def __init__(self, brackets: list[Bracket], kinds: int) -> None:
        self.brackets = brackets
        self.beyond = [_Sum(kinds) for _ in brackets]
        self.shared = {value: _Sum(kinds) for bracket in brackets for value in bracket.shared}
        self._values: list[Voxels] = []
        self._changes: list[Voxels] = []
        self._weights, self._masks = np.empty(0), np.empty((3, 0), bool)
        self._joined: tuple[Voxels, Voxels] | None = None

    def add(self, now: Voxels, changes: Voxels) -> bool:
        """Add the voxels of a chunk and their changes (kind, voxels), whose signs are lost; say if they are numbers."""
        if not len(now):  # of rows of which nothing is lit
            return True
        if np.isnan(now.max()):
            return False
        self._make_room(now)
        weights, (beyond, inside, near) = self._weights[: len(now)], self._masks[:, : len(now)]
        np.abs(changes, out=changes)
        near[...] = False
        for bracket, total in zip(self.brackets, self.beyond, strict=True):
            _mark(bracket, now, beyond, inside)
            total.add(beyond, changes, weights)
            near |= inside
        for value, total in self.shared.items():
            np.equal(now, value, out=inside)
            total.add(inside, changes, weights)
            near ^= inside
        at = np.flatnonzero(near)
        self._values.append(now.take(at))
        self._changes.append(changes.take(at, axis=1))
        return True

    def _make_room(self, chunk: Voxels) -> None:
        """Have memory for a chunk, which is used again for the next ones: new memory is slow."""
        if len(self._weights) < len(chunk):
            self._weights, self._masks = np.empty_like(chunk), np.empty((3, len(chunk)), bool)

    def inside(self, bracket: Bracket) -> tuple[Voxels, Voxels]:
        """Return the values in a bracket, and their changes, but for the shared ones."""
        if self._joined is None:
            self._joined = np.concatenate(self._values), np.concatenate(self._changes, axis=1)
        values, changes = self._joined
        at = np.flatnonzero((values >= bracket.low) & (values <= bracket.high))
        return values.take(at), changes.take(at, axis=1)


@np.errstate(all="ignore")  # a change between infinities is NaN
def mean_change_on_cpu(
    changing: Raw | InFrame, percentile_range: tuple[float, float], chunk: int | None = None
) -> tuple[MaskedMean, MaskedMean]:
    """As `percentiles.mean_change_outside`, about `chunk` voxels at a time."""
    none, reach = no_mask(changing.kinds > 1), REACH
    while True:
        tally = _Tally(_brackets(changing, percentile_range, reach), changing.kinds)
        if not all(tally.add(now, of_part) for now, of_part in changing.parts(chunk or CHUNK)):
            return none, none
        background, foreground = (
            _finish(tally, side, *rank(changing.count, percentile), changing.count, none)
            for side, percentile in enumerate(percentile_range)
        )
        if background is not None and foreground is not None:
            return background, foreground
        reach *= 10


def _brackets(changing: Raw | InFrame, percentile_range: tuple[float, float], reach: float) -> list[Bracket]:
    """Bracket both percentiles by a sample."""
    if changing.count <= SAMPLE:
        return everything()
    return brackets(np.sort(changing.at(drawn(changing.count))), percentile_range, reach)


def _finish(
    tally: _Tally, side: int, position: int, next_position: int, fraction: float, count: int, none: MaskedMean
) -> MaskedMean | None:
    """Find the percentile of all `count` voxels and the mean beyond it; None where the bracket missed.

    `side`: 0 of the low one, 1 of the high one. The percentile is `fraction` of the way between the voxels at two
    positions in their order; `none` stands for the mean where it isn't a number.
    """
    bracket, total = tally.brackets[side], tally.beyond[side]
    (values, changes), shared = tally.inside(bracket), {value: tally.shared[value] for value in bracket.shared}
    inside = len(values) + sum(found.voxels for found in shared.values())
    before_bracket = count - inside - total.voxels if bracket.above else total.voxels
    places = position - before_bracket, next_position - before_bracket
    if places[0] < 0 or places[1] >= inside:
        return None
    value, following = _in_order(values, shared, places)
    percentile = interpolate(value, following, fraction)
    if math.isnan(percentile):  # between infinities
        return none

    def beyond(values: Any) -> Any:
        return values > percentile if bracket.above else values < percentile

    for value, found in shared.items():
        if beyond(value):
            total = total.plus(found.voxels, found.changes)
    at = np.flatnonzero(beyond(values.astype(np.float64)))
    total = total.plus(len(at), changes.take(at, axis=1).sum(axis=1, dtype=np.float64))
    return masked_mean(total.changes.tolist(), total.voxels)


def _in_order(values: Voxels, shared: dict[float, _Sum], places: tuple[int, int]) -> list[float]:
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
    ordered = iter(_ordered(values, among_values) if among_values else [])
    return [place if isinstance(place, float) else next(ordered) for place in wanted]


def _ordered(values: Voxels, places: list[int]) -> list[float]:
    """Return the values of one rank, or of two that follow each other."""
    first = places[0]
    parted = np.partition(values, first)
    found = [float(parted[first])]
    if len(places) > 1:  # put in order by a second rank, it would take half as long again
        found.append(float(parted[first + 1 :].min()) if places[1] > first else found[0])
    return found


def mean_change_outside(
    current: Array,
    previous: Array,
    percentile_range: tuple[float, float],
    residual: Residual | None = None,
    chunk: int | None = None,
    sample: NDArray[np.floating] | None = None,
) -> tuple[MaskedMean, MaskedMean]:
    """Return the means of |current - previous| over voxels with current < p_low, and over those with current > p_high.

    And over the same voxels the mean |residual|, where that is given: the aligned change. `current` and `previous` are
    real arrays of one shape on one device; p_low and p_high are the percentiles of all voxels of `current` with linear
    interpolation, as `numpy.percentile` gives them in float64. Where `current` holds a NaN it has no percentiles, and
    the means are NaN. Sums are in float64. `chunk`: about how many voxels are worked on at a time. Formula:
    docs/metrics.md. `sample`: see `planes.Products`.
    """
    current, previous = (in_single(array).reshape(-1) for array in (current, previous))
    if is_numpy(current):
        changing = Raw(current, previous) if residual is None else WithLeft(current, previous, residual)
        return mean_change_on_cpu(changing, percentile_range, chunk)
    from ptyconv_cli.metrics import percentiles_gpu, planes_gpu

    if residual is None:
        raw = percentiles_gpu.RawChanges(current, previous)
        return percentiles_gpu.mean_change_outside(current, raw, percentile_range, sample, chunk)
    aligned = planes_gpu.AlignedChanges(residual)
    return percentiles_gpu.mean_change_outside(current, aligned, percentile_range, residual.sample, chunk)


def mean_left_outside(
    now: Framed, residual: Residual, percentile_range: tuple[float, float], chunk: int | None = None
) -> tuple[MaskedMean, MaskedMean]:
    """Return the means of |residual| over lit voxels whose value in the frame is below, or above, the percentiles.

    The same as `mean_change_outside`, but masks and means know nothing of what is ambiguous; of more than `SMALL`
    voxels the percentiles are those of a sample.
    """
    if now.voxels > SMALL:
        return _mean_left_outside_of_sample(now, residual, percentile_range, chunk)
    if is_numpy(now.values):
        return mean_change_on_cpu(InFrame(now, residual), percentile_range, chunk)
    from ptyconv_cli.metrics import percentiles_gpu, planes_gpu

    values, left = planes_gpu.in_frame(now, residual)
    return percentiles_gpu.mean_change_outside(values, left, percentile_range, chunk=chunk)


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def _mean_left_outside_of_sample(
    now: Framed, residual: Residual, percentile_range: tuple[float, float], chunk: int | None
) -> tuple[MaskedMean, MaskedMean]:
    sample = InFrame(now, residual).at(drawn(now.voxels)).astype(np.float64)
    low, high = (float(bound) for bound in np.percentile(sample, percentile_range))
    if not math.isfinite(low + high):
        return no_mask(False), no_mask(False)
    if is_numpy(now.values):
        below, above = _Sum(1), _Sum(1)
        for values, left in pieces_in_frame(residual, now.affine, chunk or CHUNK):
            weights, changes = np.empty_like(left), np.abs(left, out=left)[None]
            below.add(values < low, changes, weights)
            above.add(values > high, changes, weights)
        return masked_mean(below.changes.tolist(), below.voxels), masked_mean(above.changes.tolist(), above.voxels)
    from ptyconv_cli.metrics import planes_gpu

    found = planes_gpu.sums_outside(now, residual, (low, high), chunk)
    return masked_mean([found[0][1]], int(found[0][0])), masked_mean([found[1][1]], int(found[1][0]))


def same_masks(now: Framed) -> bool:
    """Say whether masks in the frame are those of the values as they are: one plane, all lit, without a ramp."""
    return now.lit is None and math.prod(now.shape[:2]) == 1 and now.own == FACTOR
