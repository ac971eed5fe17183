"""Pairs of checkpoints that ring correlations are of: chosen, and read as pictures."""

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.analysis.compare import Arrays, Prefetch
from ptyconv_cli.analysis.registration import brought, read_beside, registration_of
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
from ptyconv_cli.metrics.image import Image, faded, object_picture
from ptyconv_cli.metrics.registration import InFrame
from ptyconv_cli.metrics.snapshot import Snapshot
from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.quantities.snapshots import framed
from ptyconv_cli.results.run_analysis import SLICES, LeftOut, Region, RunBoundary
from ptyconv_cli.verdict.segments import counting_of, half_of

NEAREST = 0.05
"""How far, as a share, iterations of two runs may lie apart to be compared."""

SAME_PIXEL = 1e-3
"""By which share two pixel sizes may differ that count as equal."""

MOST, MEMORY = 64, 2e9
"""Doublings of one run at most, and bytes of their pictures: of more every second, fourth ... is shown."""


class Shown(NamedTuple):
    """A checkpoint whose picture is compared, the region of the object that was scanned, and the first checkpoint.

    That of the part of a run, in whose frame the picture is.
    """

    header: Header
    region: Region
    first: Header


class Pair(NamedTuple):
    """Two checkpoints that are compared: of one run `now` and the one at half of its iterations, or of two runs."""

    now: Shown
    other: Shown


class Pairs(NamedTuple):
    """What is compared: the `pairs`, in order of the iteration, of `runs`; `warnings` for the user."""

    runs: list[Path]
    pairs: list[Pair]
    warnings: list[str]


def doublings_of_run(
    run_dir: Path, asked: Selection, earlier: Sequence[Path] | str, asked_slice: int | None = None
) -> Pairs:
    """Return the checkpoints of a run that have one at half of their iterations, with that.

    Iterations count as for the verdict. Where all slices are summed, their number may grow. Raises PtyconvError where
    there are none.
    """
    runs = read_chain(run_dir, asked, earlier)
    engine, _ = chained_histories(runs)
    runs = on_one_axis(runs)
    parts, boundaries = comparable_parts([header for run in runs for header in run.headers], asked.wanted)
    counting = counting_of(asked.wanted[0], engine, boundaries)
    found = []
    for group in _summed_alike(parts, boundaries) if asked_slice is None else [[part] for part in parts]:
        shown = [Shown(one, region_of_run(part[0], asked.wanted), part[0]) for part in group for one in part]
        niters = [one.header.niter for one in shown]
        for place, one in enumerate(shown):
            half = half_of(niters, counting, place)
            if half is not None:
                found.append(Pair(one, shown[half]))
    if not found:
        first = ", ".join(str(header.niter) for part in parts for header in part[:12])
        raise PtyconvError(f"{run_dir}: no checkpoint has 1.4 to 4 times the iterations of another: iterations {first}")
    step, picture = 1, math.prod(found[-1].now.region.shape_in(found[-1].now.header.shapes[asked.wanted[0]])[-2:])
    while len(found) > min(MOST, max(MEMORY / (4 * picture), 1)) * step:
        step *= 2
    return Pairs([run_dir], found[::-step][::-1], _warnings(runs))


def _summed_alike(parts: list[list[Header]], boundaries: Sequence[RunBoundary]) -> list[list[list[Header]]]:
    """Put parts of a run together between which slices were added: the sums over these can be compared."""
    groups = [parts[:1]]
    cuts = [boundary for boundary in boundaries if boundary.difference]
    for part, boundary in zip(parts[1:], cuts, strict=True):
        if boundary.growth != SLICES:
            groups.append([])
        groups[-1].append(part)
    return groups


def pairs_of_two(run_a: Path, run_b: Path, asked: Selection, asked_slice: int | None = None) -> Pairs:
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
    warnings += _not_compared(pairs, fitting, "the pixel sizes differ")
    if asked_slice is not None:
        pairs, fitting = fitting, [pair for pair in fitting if len({_slices(one, asked) for one in pair}) == 1]
        if not fitting:
            numbers = " and ".join(str(_slices(one, asked)) for one in pairs[-1])
            raise PtyconvError(
                f"{run_a} and {run_b}: have {numbers} slices, which are of other depths: compare their sums, without "
                "--slice"
            )
        warnings += _not_compared(pairs, fitting, "the numbers of slices differ")
    return Pairs([run_a, run_b], fitting, list(dict.fromkeys([*warnings, *warnings_b])))


def _not_compared(pairs: Sequence[Pair], fitting: Sequence[Pair], why: str) -> list[str]:
    """Return a warning that names the pairs that are not among those that fit; nothing where all are."""
    niters = ", ".join(str(pair.now.header.niter) for pair in pairs if pair not in fitting)
    return [f"Not compared, because {why} there: iterations {niters}."] if niters else []


def _slices(shown: Shown, asked: Selection) -> int:
    return shown.header.shapes[(asked.wanted or ())[0]][1]


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
        return [Shown(header, region_of_run(header, asked.wanted), header) for header in headers], []
    runs = on_one_axis(read_chain(path, asked, ()))
    parts, _ = comparable_parts([header for run in runs for header in run.headers], asked.wanted)
    shown = [Shown(one, region_of_run(part[0], asked.wanted), part[0]) for part in parts for one in part]
    return shown, _warnings(runs)


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
    """Reads the pictures of checkpoints, each where the first one of its run has the object.

    Its generators read ahead in threads: close those that are not used up.

    Files that cannot be read go to `left_out`, or, if `strict`, are an error.
    """

    def __init__(self, tensor: str, slice_number: int | None, strict: bool) -> None:
        self._tensor, self._slice, self._strict = tensor, slice_number, strict
        self.left_out: list[LeftOut] = []
        self._tried: dict[Source, Image | None] = {}

    def try_pair(self, pair: Pair) -> tuple[Image, Image] | None:
        """Return the pictures of a pair, which are kept for when it is its turn; None where one cannot be read."""
        for shown in pair:
            if shown.header.source not in self._tried:
                with closing(self._read([shown])) as read:
                    self._tried[shown.header.source] = next(read)
        now, other = (self._tried[shown.header.source] for shown in pair)
        while len(self._tried) > MOST_TRIED:
            del self._tried[next(iter(self._tried))]
        return None if now is None or other is None else (now, other)

    def of_one(self, pairs: Sequence[Pair]) -> Generator[tuple[Pair, Image, Image]]:
        """Yield each pair of one run with its pictures; each checkpoint is read once, and forgotten after its use."""
        last_use = {shown.header.source: number for number, pair in enumerate(pairs) for shown in pair}
        ordered = sorted({shown.header.source: shown for pair in pairs for shown in pair}.items(), key=_niter)
        waiting, known = iter(ordered), dict[Source, NDArray[np.float32] | None]()
        with closing(self._pictures([shown for _, shown in ordered])) as pictures:
            for number, pair in enumerate(pairs):
                while pair.now.header.source not in known:
                    source, _ = next(waiting)
                    image = next(pictures)
                    known[source] = None if image is None else image.astype(np.float32)  # many are kept
                now, other = known[pair.now.header.source], known[pair.other.header.source]
                if now is not None and other is not None:
                    yield pair, now.astype(np.float64), other.astype(np.float64)
                known = {source: image for source, image in known.items() if last_use[source] > number}

    def of_two(self, pairs: Sequence[Pair]) -> Generator[tuple[Pair, Image, Image]]:
        """Yield each pair of two runs with its pictures."""
        same = len({pair.other.header.source for pair in pairs}) == 1
        of_others = self._pictures([pair.other for pair in pairs[: 1 if same else None]])
        other = None
        with closing(of_others) as others, closing(self._pictures([pair.now for pair in pairs])) as pictures:
            for number, (pair, now) in enumerate(zip(pairs, pictures, strict=True)):
                other = next(others) if number == 0 or not same else other
                if now is not None and other is not None:
                    yield pair, now, other

    def _pictures(self, shown: Sequence[Shown]) -> Generator[Image | None]:
        """Yield the pictures of checkpoints, None of those that cannot be read; what was tried is not read again."""
        tried = [one.header.source in self._tried for one in shown]
        with closing(self._read([one for one, known in zip(shown, tried, strict=True) if not known])) as read:
            for one, known in zip(shown, tried, strict=True):
                yield self._tried.pop(one.header.source) if known else next(read)

    def _read(self, shown: Sequence[Shown]) -> Generator[Image | None]:
        def memory(one: Shown) -> tuple[Region, tuple[int, ...], Source]:
            return one.region, one.header.shapes[self._tensor], one.first.source

        for (region, *_), of_part in groupby(shown, key=memory):  # what is read into must be alike
            group = list(of_part)
            for one in group:
                self._check(one.header, region)
            yield from self._of_part([one.header for one in group], group[0].first, region)  # closed with this

    def _of_part(self, headers: Sequence[Header], first: Header, region: Region) -> Generator[Image | None]:
        """Yield the pictures of checkpoints of a part of a run, whose first one is read, too."""
        begin = [] if headers[0].source == first.source else [first]
        beside = read_beside([first, *headers], (self._tensor,))
        frames = registration_of(first, region, (self._tensor,))
        memory: Arrays = {}
        before: InFrame | None = None
        with Prefetch([*begin, *headers], (self._tensor,), region, beside=beside) as reading:
            for number, header in enumerate([*begin, *headers]):
                arrays, found, is_asked_for = Arrays(), None, number >= len(begin)
                try:
                    arrays = reading.next()
                    bring = partial(frames.bring, before=before)
                    found = brought(header, arrays, (self._tensor,), region, "cpu", bring)
                except CheckpointError as error:
                    self._leave_out(header, error, is_asked_for)
                if found is None:
                    reading.reuse(arrays)
                else:
                    reading.reuse(memory)  # not the memory of this one, on which the next one is laid
                    before, memory = found.in_frame, arrays
                if is_asked_for:
                    yield None if found is None else self._picture(found, header)

    def _check(self, header: Header, region: Region) -> None:
        check_memory(header, region, (self._tensor,), RUNS)
        slices = header.shapes[self._tensor][1]
        if self._slice is not None and self._slice > slices:
            raise PtyconvError(f"{header.path}: has no slice {self._slice}: its object has {slices}")

    def _leave_out(self, header: Header, error: CheckpointError, is_asked_for: bool) -> None:
        if self._strict:
            raise error
        if is_asked_for:
            put_aside(header, error, self.left_out)

    @np.errstate(all="ignore")  # what is not finite gives NaN, which tells
    def _picture(self, snapshot: Snapshot, header: Header) -> Image:
        """Return the picture of a snapshot as it is in the frame; an amplitude's slices in units of their means."""
        part, quantity = framed(self._tensor, snapshot), quantity_of(self._tensor)
        units = part.units.reshape(*part.shape[:2], 1, 1).astype(np.float32)
        in_units = part.values if (units == 1).all() else part.values / units
        image = object_picture(in_units, self._slice, header.phase_wraps and quantity.wraps)
        return faded(np.asarray(quantity.as_image_of_change(image)), part.lit)


def _niter(item: tuple[Source, Shown]) -> int:
    return item[1].header.niter
