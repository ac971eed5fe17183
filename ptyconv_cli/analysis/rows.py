"""The sketched values of one tensor at every checkpoint, in a file: those of a long run don't fit into memory."""

import weakref
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ptyconv_cli.errors import PtyconvError

IN_MEMORY = 1 << 23
"""Bytes of new rows that are kept in memory; more go into a temporary file."""


class StaleRow(Exception):
    """A row of an earlier analysis is not what was written."""


class CachedRows(NamedTuple):
    """The rows that an earlier analysis left in a file, one for each of their `checksums` (CRC-32)."""

    path: Path
    checksums: Sequence[int]


class Rows:
    """Float32 arrays of one shape, a row for each checkpoint.

    Of new rows more than a few go into a temporary file, which is gone with this object; those in the cache stay there.
    """

    def __init__(self, shape: tuple[int, ...], cached: CachedRows | None = None) -> None:
        self._shape, self._size = shape, 4 * int(np.prod(shape))
        self._cached = cached or CachedRows(Path(), ())
        self.checksums = list(self._cached.checksums)

    @cached_property
    def _new(self) -> IO[bytes]:
        import tempfile  # slow to load, and often there is nothing new

        file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed with this object
        weakref.finalize(self, file.close)
        return file

    def add(self, values: np.ndarray) -> None:
        """Add a row; raise PtyconvError where there is no room for it."""
        content = values.astype(np.float32).tobytes()
        try:
            self._new.seek(0, 2)
            self._new.write(content)
        except OSError as error:
            from tempfile import gettempdir

            folder = gettempdir()
            raise PtyconvError(
                f"{folder}: no room for temporary files ({error.strerror}); set the variable TMPDIR to another folder"
            ) from error
        self.checksums.append(zlib.crc32(content))

    def read(self, row: int) -> np.ndarray:
        """Return a row; raise StaleRow where an earlier analysis did not leave it as its checksum says."""
        new = row - len(self._cached.checksums)
        if new >= 0:
            self._new.seek(new * self._size)
            content = self._new.read(self._size)
        else:
            content = self._read_cached(row)
        if zlib.crc32(content) != self.checksums[row]:
            raise StaleRow(f"{self._cached.path}: row {row} is not what was written")
        return np.frombuffer(content, np.float32).reshape(self._shape)

    def _read_cached(self, row: int) -> bytes:
        try:
            with self._cached.path.open("rb") as file:
                file.seek(row * self._size)
                return file.read(self._size)
        except OSError as error:
            raise StaleRow(str(error)) from error

    def append_to(self, path: Path) -> None:
        """Write the new rows into a file, behind the cached ones, which are there already; OSError where that fails."""
        with path.open("r+b" if self._cached.checksums else "wb") as file:
            file.truncate(len(self._cached.checksums) * self._size)
            file.seek(0, 2)
            self._new.seek(0)
            while content := self._new.read(1 << 22):
                file.write(content)
