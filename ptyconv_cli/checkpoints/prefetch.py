"""Reads the tensors of checkpoints ahead of their use. Doesn't need torch, and so can read while that is loaded."""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future

import numpy as np

from ptyconv_cli.checkpoints.fingerprint import fingerprint
from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.checkpoints.opening import open_checkpoint
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.region import Region
from ptyconv_cli.workers import Workers, result_of

Arrays = dict[str, np.ndarray]
"""The tensors of one checkpoint by name, as its reader returns them; of the object only the scanned region."""

TURNS = 3
"""Checkpoints in memory at a time: two being compared, and one being read."""


class Prefetch:
    """Reads the tensors of one checkpoint after the other in a thread of its own; use it in a `with` statement.

    The first `turns` are read at once, each further one as soon as the arrays of another are handed back with `reuse`.
    """

    def __init__(self, headers: Iterable[Header], tensors: tuple[str, ...], region: Region, turns: int = TURNS) -> None:
        self._headers, self._turns = iter(headers), turns
        self._tensors, self._region = tensors, region
        self._reader = Workers(1, "reader")  # HDF5 reads for one thread at a time anyway
        self._upcoming: deque[Future[Arrays]] = deque()

    def __enter__(self) -> "Prefetch":
        for _ in range(self._turns):
            self.reuse({})
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown()

    def next(self) -> Arrays:
        """Wait for the next checkpoint's arrays; raise CheckpointError where it could not be read."""
        return result_of(self._upcoming.popleft())

    def reuse(self, arrays: Arrays) -> None:
        """Hand back arrays that are no longer needed (or none), to be filled with the next checkpoint to read."""
        header = next(self._headers, None)
        if header is not None:
            self._upcoming.append(self._reader.submit(self._read, header, arrays))

    def _read(self, header: Header, into: Arrays) -> Arrays:
        self._check(header)
        with open_checkpoint(header.path, header.source.name) as checkpoint:
            arrays = {name: checkpoint.read(name, self._region, into.get(name)) for name in self._tensors}
        self._check(header)
        return arrays

    def _check(self, header: Header) -> None:
        if fingerprint(header.path) != header.fingerprint:
            raise CheckpointError(f"{header.path}: was rewritten during the analysis")
