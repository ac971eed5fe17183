"""Reads the pictures that are compared by Fourier ring correlation, a few at a time."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.analysis.frc_pairs import Pair, Shown
from ptyconv_cli.analysis.parts import check_memory
from ptyconv_cli.checkpoints.headers import Header, put_aside
from ptyconv_cli.checkpoints.opening import Source
from ptyconv_cli.checkpoints.prefetch import Prefetch
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.metrics.image import Image, object_picture
from ptyconv_cli.results.region import Region
from ptyconv_cli.results.run_analysis import LeftOut

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
        wraps = header.phase_wraps and self._tensor == "objp"
        image = object_picture(arrays[self._tensor], self._slice, wraps)
        reading.reuse(arrays)
        return image


def _niter(item: tuple[Source, Shown]) -> int:
    return item[1].header.niter
