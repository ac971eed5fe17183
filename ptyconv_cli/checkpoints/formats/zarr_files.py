"""The files in a zarr archive, a zip file or a folder: none is read that is larger than it says, or leads elsewhere."""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ptyconv_cli.checkpoints.formats.limits import most_bytes, most_names
from ptyconv_cli.checkpoints.opening import Fingerprint, status
from ptyconv_cli.errors import CheckpointError

OF_MACOS = "__MACOSX"
"""A folder that the zip tool of macOS adds."""

ZSTD = 0xFD2FB528
"""What a frame of zstd begins with."""

PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How entries of a zip file may be packed: such are unpacked only as far as is asked for."""


class _Table(NamedTuple):
    """A zip file, the bytes of its entries by name, and the folder that they all are in, with a slash, or ""."""

    archive: zipfile.ZipFile
    sizes: dict[str, int]
    outer: str


class ArchiveFiles:
    """The files in an archive; `sizes`: the bytes of each by name, and `size`: those of the archive.

    Raises CheckpointError where one is none, as a link, and whatever zipfile raises where the archive is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table = None if path.is_dir() else _table(path, status(path))
        self.sizes = self._table.sizes if self._table else _in_folder(path)
        self.size = path.stat().st_size if self._table else sum(self.sizes.values())

    def read(self, name: str) -> bytes:
        """Return the content of a file; raise KeyError where there is none, ValueError where it is larger than said."""
        size = self.sizes[name]
        if not self._table:
            with (self._path / name).open("rb") as file:
                return file.read(size)
        entry = self._table.archive.getinfo(self._table.outer + name)
        if entry.compress_type not in PACKED:
            raise ValueError(f"{name} is packed as entries of a zip file are not here")
        with self._table.archive.open(entry) as packed:
            return packed.read(size)  # with a size it unpacks no more than that

    def check_names(self) -> None:
        """Raise what zipfile does where the table of a zip file has other names than its entries.

        It has no checksum.
        """
        for entry in self._table.archive.infolist() if self._table else ():
            self._table.archive.open(entry).close()  # type: ignore[union-attr]


@lru_cache(maxsize=4)
def _table(path: Path, fingerprint: Fingerprint) -> _Table:
    """Open a zip file, once as long as it is the same: an archive with many snapshots is asked for each of them.

    It is closed when it is forgotten.
    """
    archive = zipfile.ZipFile(path)
    entries = archive.infolist()
    # Of an archive that is cut off, the table of a whole one inside it may be found.
    if min((entry.header_offset for entry in entries), default=0):
        raise zipfile.BadZipFile("it is incomplete")
    sizes, outer = {entry.filename: entry.file_size for entry in entries if not entry.is_dir()}, ""
    top = {name.split("/")[0] for name in sizes} - {OF_MACOS}
    if "zarr.json" not in sizes and len(top) == 1:
        outer = f"{top.pop()}/"
        sizes = {name.removeprefix(outer): size for name, size in sizes.items() if name.startswith(outer)}
    if "zarr.json" in sizes and (
        sum(sizes.values()) > most_bytes(fingerprint.size) or len(sizes) > most_names(fingerprint.size)
    ):
        raise zipfile.BadZipFile("it claims to hold more than there is room for")
    return _Table(archive, sizes, outer)


def _in_folder(path: Path) -> dict[str, int]:
    """Return the bytes of each file in a folder; raise CheckpointError where one is a link, or no file."""
    found = dict[str, int]()
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            one = Path(folder) / name
            described = one.lstat()
            if stat.S_ISLNK(described.st_mode):
                raise CheckpointError(f"{one}: is a link in an archive, which is not followed")
            if name in files:
                if not stat.S_ISREG(described.st_mode):  # reading a pipe would wait for ever
                    raise CheckpointError(f"{one}: is not a regular file")
                found[one.relative_to(path).as_posix()] = described.st_size
    return found


def check_unpacked(content: bytes, codecs: Collection[str], expected: int) -> None:
    """Raise ValueError where a chunk is unpacked to more bytes than expected; `codecs`: the names of those it has."""
    if len(content) > expected + expected // 100 + 1024:
        raise ValueError(f"a chunk of {expected} bytes has {len(content)} in the file")
    unpacked, rest = 0, b""
    if "blosc" in codecs:
        (unpacked,) = struct.unpack_from("<I", content, 4)
    elif "zstd" in codecs:
        unpacked, rest = _in_frame_of_zstd(content)
    elif "gzip" in codecs:
        unpacker = zlib.decompressobj(31)
        unpacked, rest = len(unpacker.decompress(content, expected + 1)), unpacker.unused_data
    if unpacked > expected:
        raise ValueError(f"a chunk of {expected} bytes claims to have {unpacked}")
    if len(rest) > (4 if "crc32c" in codecs else 0):
        raise ValueError("there is more behind a chunk")


def _in_frame_of_zstd(content: bytes) -> tuple[int, bytes]:
    """Return the size that a frame of zstd says it has unpacked, and what is behind it (RFC 8878, 3.1.1).

    Raises ValueError where it does not say its size.
    """
    magic, described = struct.unpack_from("<IB", content)
    bytes_of_size = (described >> 5 & 1, 2, 4, 8)[described >> 6]
    begin = 5 + (not described >> 5 & 1) + (0, 1, 2, 4)[described & 3]
    if magic != ZSTD or not bytes_of_size or len(content) < begin + bytes_of_size:
        raise ValueError("a chunk does not say how large it is")
    size = int.from_bytes(content[begin : begin + bytes_of_size], "little") + 256 * (bytes_of_size == 2)
    place, is_last = begin + bytes_of_size, False
    while not is_last:
        block = int.from_bytes(content[place : place + 3], "little")
        if len(content) < place + 3:
            raise ValueError("a chunk is cut off")
        is_last, is_one_byte = bool(block & 1), block >> 1 & 3 == 1
        place += 3 + (1 if is_one_byte else block >> 3)
    return size, content[place + 4 * (described >> 2 & 1) :]
