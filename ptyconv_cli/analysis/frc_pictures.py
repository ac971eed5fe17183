"""Pairs of checkpoints that ring correlations are of: chosen, read as pictures, and laid on each other."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.analysis.compare import Prefetch
from ptyconv_cli.analysis.run_parts import check_memory, left_out_text, region_of_run
from ptyconv_cli.checkpoints.chain import (
    Run,
    Selection,
    chained_histories,
    comparable_parts,
    on_one_axis,
    read_chain,
)
from ptyconv_cli.checkpoints.grouping import is_file
from ptyconv_cli.checkpoints.headers import Header, put_aside, read_headers
from ptyconv_cli.checkpoints.opening import Source, snapshots_in
from ptyconv_cli.checkpoints.readers import counts_as_file
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.metrics.fit import Fit, better_orientation, fit, is_seen
from ptyconv_cli.metrics.image import FEWEST, Image, Overlap, Shift, object_picture, overlap, register
from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results.run_analysis import LeftOut, Region
from ptyconv_cli.verdict.segments import half_of, segment_begins

NEAREST = 0.05
"""How far, as a share, iterations of two runs may lie apart to be compared."""

SAME_PIXEL = 1e-3
"""By which share two pixel sizes may differ that count as equal."""

MOST, MEMORY = 64, 2e9
"""Doublings of one run at most, and bytes of their pictures: of more every second, fourth ... is shown."""


class Shown(NamedTuple):
    """A checkpoint whose picture is compared, and the region of the object that was scanned."""

    header: Header
    region: Region


class Pair(NamedTuple):
    """Two checkpoints that are compared: of one run `now` and the one at half of its iterations, or of two runs."""

    now: Shown
    other: Shown


class Pairs(NamedTuple):
    """What is compared: the `pairs`, in order of the iteration, of `runs`; `warnings` for the user."""

    runs: list[Path]
    pairs: list[Pair]
    warnings: list[str]


def doublings_of_run(run_dir: Path, asked: Selection, earlier: Sequence[Path] | str) -> Pairs:
    """Return the checkpoints of a run that have one at half of their iterations, with that.

    Iterations count as for the verdict: from where the settings changed. Raises PtyconvError where there are none.
    """
    runs = read_chain(run_dir, asked, earlier)
    engine, _ = chained_histories(runs)
    runs = on_one_axis(runs)
    parts, boundaries = comparable_parts([header for run in runs for header in run.headers], asked.wanted)
    begins = segment_begins(asked.wanted[0], engine, [boundary.niter for boundary in boundaries])
    found = []
    for part in parts:
        region, niters = region_of_run(part[0], asked.wanted), [header.niter for header in part]
        for place, header in enumerate(part):
            half = half_of(niters, begins, place)
            if half is not None:
                found.append(Pair(Shown(header, region), Shown(part[half], region)))
    if not found:
        first = ", ".join(str(header.niter) for part in parts for header in part[:12])
        raise PtyconvError(
            f"{run_dir}: no checkpoint has about twice the iterations of another, since the settings last changed: "
            f"iterations {first}"
        )
    step, picture = 1, math.prod(found[-1].now.region.shape_in(found[-1].now.header.shapes[asked.wanted[0]])[-2:])
    while len(found) > min(MOST, max(MEMORY / (4 * picture), 1)) * step:
        step *= 2
    return Pairs([run_dir], found[::-step][::-1], _warnings(runs))


def pairs_of_two(run_a: Path, run_b: Path, asked: Selection) -> Pairs:
    """Return the checkpoints of two runs at the same iterations: to each of A the nearest of B within 5 %.

    A file with one checkpoint is compared with the other file, or with each checkpoint of the run. Raises PtyconvError
    where there are none, or the pixel sizes differ.
    """
    if _is_single(run_a) and not _is_single(run_b):
        run_a, run_b = run_b, run_a
    of_a, warnings = _shown(run_a, asked)
    of_b, warnings_b = _shown(run_b, asked)
    pairs = [Pair(one, of_b[0]) for one in of_a] if _is_single(run_b) else _nearest(of_a, of_b)
    if not pairs:
        listed = " and ".join(f"{of[0].header.niter} to {of[-1].header.niter}" for of in (of_a, of_b))
        raise PtyconvError(
            f"{run_a} and {run_b}: have no iteration in common, within {NEAREST:.0%}: iterations {listed}"
        )
    pairs = [pair for pair in pairs if not _same_file(pair)]
    if not pairs:
        raise PtyconvError(f"{run_a} and {run_b}: are the same run; compare two, or give one for its doublings")
    fitting = [pair for pair in pairs if abs(pair.now.header.dx / pair.other.header.dx - 1) <= SAME_PIXEL]
    if not fitting:
        sizes = " and ".join(f"{one.header.dx:.6g} Å" for one in pairs[-1])
        raise PtyconvError(
            f"{run_a} and {run_b}: their pixel sizes differ: {sizes}; reconstruct both with the same one"
        )
    if len(fitting) < len(pairs):
        niters = ", ".join(str(pair.now.header.niter) for pair in pairs if pair not in fitting)
        warnings.append(f"Not compared, because the pixel sizes differ there: iterations {niters}.")
    return Pairs([run_a, run_b], fitting, list(dict.fromkeys([*warnings, *warnings_b])))


def worth_trying(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Yield pairs in the order in which to try where two runs lie on each other.

    The last one first, in which there is most to see, unless noise has taken over; then the middle and the first one.
    """
    first = dict.fromkeys((len(pairs) - 1, (len(pairs) - 1) // 2, 0))
    yield from (pairs[k] for k in dict.fromkeys([*first, *range(len(pairs))]))


def _is_single(path: Path) -> bool:
    return (is_file(path) or counts_as_file(path)) and len(snapshots_in(path)) == 1


def _same_file(pair: Pair) -> bool:
    one, other = (shown.header for shown in pair)
    return (one.real_path, one.source.name) == (other.real_path, other.source.name)


def _shown(path: Path, asked: Selection) -> tuple[list[Shown], list[str]]:
    """Return the checkpoints at a path, a run's or one, in order; and warnings."""
    if _is_single(path):
        headers, _ = read_headers(snapshots_in(path), asked.wanted, strict=True)
        return [Shown(header, region_of_run(header, asked.wanted)) for header in headers], []
    runs = on_one_axis(read_chain(path, asked, ()))
    parts, _ = comparable_parts([header for run in runs for header in run.headers], asked.wanted)
    return [Shown(h, region_of_run(part[0], asked.wanted)) for part in parts for h in part], _warnings(runs)


def _nearest(of_a: Sequence[Shown], of_b: Sequence[Shown]) -> list[Pair]:
    """Pair each checkpoint of a run with the nearest of another, of several with the same one only the nearest."""
    found: dict[int, Pair] = {}

    def apart(pair: Pair) -> int:
        return abs(pair.now.header.niter - pair.other.header.niter)

    for one in of_a:
        pair = min((Pair(one, other) for other in of_b), key=apart)
        niter = pair.other.header.niter
        if apart(pair) <= NEAREST * one.header.niter and (niter not in found or apart(pair) < apart(found[niter])):
            found[niter] = pair
    return list(found.values())


def _warnings(runs: Sequence[Run]) -> list[str]:
    remarks = [remark for run in runs for remark in run.remarks]
    return [*remarks, *(left_out_text(file) for run in runs for file in run.left_out)]


MOST_TRIED = 6
"""Pictures that are kept of pairs that were tried."""

RUNS = 2
"""That are read at a time."""


class Pictures:
    """Reads the pictures of checkpoints; files that cannot be read go to `left_out`, or, if `strict`, are an error."""

    def __init__(self, tensor: str, slice_number: int | None, strict: bool) -> None:
        self._tensor, self._slice, self._strict = tensor, slice_number, strict
        self.left_out: list[LeftOut] = []
        self._tried: dict[Source, Image | None] = {}

    def try_pair(self, pair: Pair) -> tuple[Image, Image] | None:
        """Return the pictures of a pair, which are kept for when it is its turn; None where one cannot be read."""
        for shown in pair:
            if shown.header.source not in self._tried:
                self._tried[shown.header.source] = next(self._read([shown]))
        now, other = (self._tried[shown.header.source] for shown in pair)
        while len(self._tried) > MOST_TRIED:
            del self._tried[next(iter(self._tried))]
        return None if now is None or other is None else (now, other)

    def of_one(self, pairs: Sequence[Pair]) -> Iterator[tuple[Pair, Image, Image]]:
        """Yield each pair of one run with its pictures; each checkpoint is read once, and forgotten after its use."""
        last_use = {shown.header.source: number for number, pair in enumerate(pairs) for shown in pair}
        ordered = sorted({shown.header.source: shown for pair in pairs for shown in pair}.items(), key=_niter)
        pictures = self._pictures([shown for _, shown in ordered])
        waiting, known = iter(ordered), dict[Source, NDArray[np.float32] | None]()
        for number, pair in enumerate(pairs):
            while pair.now.header.source not in known:
                source, _ = next(waiting)
                image = next(pictures)
                known[source] = None if image is None else image.astype(np.float32)  # many are kept
            now, other = known[pair.now.header.source], known[pair.other.header.source]
            if now is not None and other is not None:
                yield pair, now.astype(np.float64), other.astype(np.float64)
            known = {source: image for source, image in known.items() if last_use[source] > number}

    def of_two(self, pairs: Sequence[Pair]) -> Iterator[tuple[Pair, Image, Image]]:
        """Yield each pair of two runs with its pictures."""
        same = len({pair.other.header.source for pair in pairs}) == 1
        others = self._pictures([pair.other for pair in pairs[: 1 if same else None]])
        other = None
        for number, (pair, now) in enumerate(zip(pairs, self._pictures([pair.now for pair in pairs]), strict=True)):
            other = next(others) if number == 0 or not same else other
            if now is not None and other is not None:
                yield pair, now, other

    def _pictures(self, shown: Sequence[Shown]) -> Iterator[Image | None]:
        """Yield the pictures of checkpoints, None of those that cannot be read; what was tried is not read again."""
        tried = [one.header.source in self._tried for one in shown]
        read = self._read([one for one, known in zip(shown, tried, strict=True) if not known])
        for one, known in zip(shown, tried, strict=True):
            yield self._tried.pop(one.header.source) if known else next(read)

    def _read(self, shown: Sequence[Shown]) -> Iterator[Image | None]:
        def memory(one: Shown) -> tuple[Region, tuple[int, ...]]:
            return one.region, one.header.shapes[self._tensor]

        for (region, _), group in groupby(shown, key=memory):  # what is read into must be alike
            headers = [one.header for one in group]
            for header in headers:
                self._check(header, region)
            with Prefetch(headers, (self._tensor,), region) as reading:
                for header in headers:
                    yield self._next(reading, header)

    def _check(self, header: Header, region: Region) -> None:
        check_memory(header, region, (self._tensor,), RUNS)
        slices = header.shapes[self._tensor][1]
        if self._slice is not None and self._slice > slices:
            raise PtyconvError(f"{header.path}: has no slice {self._slice}: its object has {slices}")

    def _next(self, reading: Prefetch, header: Header) -> Image | None:
        try:
            arrays = reading.next()
        except CheckpointError as error:
            if self._strict:
                raise
            put_aside(header, error, self.left_out)
            reading.reuse({})
            return None
        wraps = header.phase_wraps and quantity_of(self._tensor).wraps
        image = object_picture(arrays[self._tensor], self._slice, wraps)
        reading.reuse(arrays)
        return image


def _niter(item: tuple[Source, Shown]) -> int:
    return item[1].header.niter


DOUBTFUL = 3.0
"""Up to this multiple of what noise would give it is tried whether a picture fits better turned or mirrored."""

TRIED = 3
"""How many pairs of pictures are tried at most, to see where two runs lie on each other."""


class Fitting:
    """Lays pictures of one run, or of two `runs`, on each other; `warnings` for the user.

    Those of one run lie where they are, to a few pixels; of two, where `find_place` found.
    """

    def __init__(self, runs: Sequence[Path]) -> None:
        self._runs, self.warnings = runs, list[str]()
        self._near: Shift = (0.0, 0.0)
        self._found: tuple[Image, Image, Overlap] | None = None

    def find_place(self, pairs: Iterable[tuple[Image, Image]]) -> None:
        """Find where the pictures of two runs lie on each other, by the first of the pairs on which it shows.

        Raises PtyconvError where noise would fit as well on all that are tried, or the pictures are too small.
        """
        failed: list[tuple[Image, Image, Fit | None]] = []
        for now, other in pairs:
            if not (_has_contrast(now) and _has_contrast(other)):
                continue
            self._check_size(now, other)
            found = fit(now, other)
            if found and found.agreement > found.noise:
                self._near = found.common.shift
                self._found = now, other, found.common
                self._warn(now, other, found)
                return
            failed.append((now, other, found))
            if len(failed) == TRIED:
                break
        if failed:
            now, other, found = failed[0]
            values = f": {found.agreement:.2f}, of noise up to {found.noise:.2f}" if found else ""
            raise PtyconvError(
                f"{self._called}: nothing in common is seen: the mean ring correlation is not above that of noise"
                f"{values}. {_hint(better_orientation(now, other))}"
            )

    def _warn(self, now: Image, other: Image, found: Fit) -> None:
        better = better_orientation(now, other) if found.agreement < DOUBTFUL * found.noise else None
        if better:
            self.warnings.append(f"The mean ring correlation is only {found.agreement:.2f}. {_hint(better)}")
        if found.rival:
            away = math.dist(found.rival, found.common.shift)
            self.warnings.append(
                f"The second one fits as well {away:.0f} px away, as in a crystal: which place is right is not known. "
                "The one that needs the smallest shift is taken."
            )

    def common(self, now: Image, other: Image) -> Overlap | None:
        """Return what two pictures have in common, the other one shifted; None where that is too little.

        Where it is no more than noise has, they are left where they lie, for noise would find itself a place, as are
        pictures that are flat or hold NaN. Raises PtyconvError where the pictures are too small.
        """
        if self._found and now is self._found[0] and other is self._found[1]:
            return self._found[2]
        self._check_size(now, other)
        as_they_are = overlap(now, other, self._near)
        if as_they_are is None or not (_has_contrast(now) and _has_contrast(other)):
            return as_they_are
        found = register(now, other, self._near)
        return found if found and is_seen(found) else as_they_are

    @property
    def _called(self) -> str:
        return " and ".join(map(str, self._runs))

    def _check_size(self, now: Image, other: Image) -> None:
        if min(*now.shape, *other.shape) < FEWEST:
            sizes = [f"{image.shape[0]} × {image.shape[1]}" for image in (now, other)][: len(self._runs)]
            raise PtyconvError(
                f"{self._called}: too small for rings: the scanned region is {' and '.join(sizes)} px, and {FEWEST} px "
                "a side are needed"
            )


def _has_contrast(image: Image) -> bool:
    """Say whether a picture is finite, and not flat."""
    return bool(np.isfinite(image).all()) and float(np.ptp(image)) > 0


def _hint(better: tuple[str, float] | None) -> str:
    if better is None:
        return "Are they of one place, neither rotated nor mirrored?"
    how, agreement = better
    return (
        f"The second one fits better {how}, with a ring correlation of {agreement:.2f}: was it reconstructed in "
        "another orientation?"
    )
