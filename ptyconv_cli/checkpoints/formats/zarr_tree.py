"""A zarr archive of version 3, a zip file or a folder, as a tree of named arrays. zarr is loaded to read arrays."""

import json
import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ptyconv_cli.checkpoints.formats.limits import (
    MIB,
    check_names,
    most_bytes,
    most_bytes_in_parts,
    most_bytes_of_chunk,
    most_chunks,
    most_names,
)
from ptyconv_cli.errors import CheckpointError

MOST_DESCRIBED = 4 * MIB
"""Bytes of all descriptions of groups and arrays that are read."""

CODECS = ("bytes", "blosc", "zstd", "gzip", "crc32c")
"""Of the arrays that are read, as quantem and zarr write them."""

HEAD = 1024
"""Bytes by which a packed chunk may be larger than what is in it."""

OF_MACOS = "__MACOSX"
"""A folder that the zip tool of macOS adds."""

ZSTD = 0xFD2FB528
"""What a frame of zstd begins with."""


class ZarrTree:
    """Read-only view of an archive; names are paths like `_snapshots/0/obj`.

    What zip tools make of the folder of an archive, which they put into the file as a whole, is one, too. Links in a
    folder are not followed. Raises CheckpointError where the archive is damaged, or claims to hold more than it can.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remarks: list[str] = []
        self._store: Any = None
        self._zip: zipfile.ZipFile | None = None
        self._found: dict[str, Any] = {}
        self._missing: dict[str, tuple[int, bool]] = {}
        self._described: dict[str, dict[str, Any]] = {}
        self._left = MOST_DESCRIBED
        self._outer = ""
        with self.explained("the table"):
            self._sizes = self._sizes_in_folder() if path.is_dir() else self._sizes_in_file()
            self.size = sum(self._sizes.values()) if path.is_dir() else path.stat().st_size

    def _sizes_in_file(self) -> dict[str, int]:
        """Open the zip file; return the bytes of each entry."""
        self._zip = zipfile.ZipFile(self.path)
        entries = self._zip.infolist()
        # Of an archive that is cut off, the table of a whole one inside it may be found.
        if min((entry.header_offset for entry in entries), default=0):
            raise zipfile.BadZipFile("it is incomplete")
        sizes = {entry.filename: entry.file_size for entry in entries if not entry.is_dir()}
        top = {name.split("/")[0] for name in sizes} - {OF_MACOS}
        if "zarr.json" not in sizes and len(top) == 1:
            self._outer = f"{top.pop()}/"
            sizes = {name.removeprefix(self._outer): size for name, size in sizes.items()}
        most = most_bytes(self.path.stat().st_size)
        if "zarr.json" in sizes and (sum(sizes.values()) > most or len(sizes) > most_names(self.path.stat().st_size)):
            raise zipfile.BadZipFile("it claims to hold more than there is room for")
        return sizes

    def _sizes_in_folder(self) -> dict[str, int]:
        """Return the bytes of each file in the folder; raise CheckpointError where one is a link."""
        found = dict[str, int]()
        for folder, names, files in os.walk(self.path):
            for name in (*names, *files):
                if (Path(folder) / name).is_symlink():
                    raise CheckpointError(f"{Path(folder) / name}: is a link in an archive, which is not followed")
            below = Path(folder).relative_to(self.path)
            found |= {(below / name).as_posix(): (Path(folder) / name).stat().st_size for name in files}
        return found

    def close(self) -> None:
        """Close the archive; arrays that were read stay valid."""
        for opened in (self._zip, self._store):
            if opened is not None:
                opened.close()
        self._found.clear()

    def attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes of a group or an array, none where there is no such."""
        attributes = self._description(name).get("attributes", {})
        return attributes if isinstance(attributes, dict) else {}

    def children(self, name: str) -> list[str]:
        """Return the names directly inside a group, none where there is no such group."""
        prefix = f"{name}/" if name else ""
        names = list({entry[len(prefix) :].split("/")[0]: 0 for entry in self._sizes if entry.startswith(prefix)})
        check_names(names, self.size, f"{self.path}: {name or 'the archive'}")
        return names

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array, which takes no zarr; () where there is none of this name."""
        shape = self._description(name).get("shape")
        return tuple(shape) if isinstance(shape, list) and all(type(size) is int for size in shape) else ()

    def find(self, name: str) -> Any:
        """Return an array unread, with its shape, dtype, ndim and size; None where there is none of this name."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Any:
        described = self._description(name)
        if described.get("node_type") != "array":
            return None
        problem = _problem_with_codecs(described)
        if problem:
            raise CheckpointError(f"{self.path}: array {name}: {problem}")
        store = self._opened_store()
        with self.explained(name):
            import zarr

            array = zarr.open_array(store=store, path=self._outer + name, mode="r", zarr_format=3)
            if np.dtype(array.dtype).kind not in "biufc":
                return None
            sizes = described["chunk_grid"]["configuration"]["chunk_shape"]
            counts = [-(-size // step) for size, step in zip(array.shape, sizes, strict=True)]
            claimed, of_chunk = (math.prod(shape) * array.dtype.itemsize for shape in (array.shape, sizes))
        if claimed > most_bytes_in_parts(self.size) or math.prod(counts) > most_chunks(claimed):
            raise CheckpointError(f"{self.path}: array {name}: {tuple(array.shape)} is larger than the file can hold")
        if of_chunk > most_bytes_of_chunk(claimed):
            raise CheckpointError(f"{self.path}: array {name}: its chunks {tuple(sizes)} are larger than itself")
        with self.explained(name):
            keys = [f"{name}/{array.metadata.encode_chunk_key(place)}" for place in np.ndindex(*counts)]
            held = [key for key in keys if key in self._sizes]
            for key in held:
                _check_unpacked(self._content(key, of_chunk + HEAD), described, of_chunk)
        self._missing[name] = len(keys) - len(held), not held
        return array

    def check_chunks(self, name: str, all_needed: bool = True) -> None:
        """Raise CheckpointError where chunks of an array are missing, which zarr takes for zeros.

        Unless `all_needed`, only where none is there, for zarr does not write chunks of zeros.
        """
        self.find(name)
        missing, all_missing = self._missing.get(name, (0, False))
        if all_missing or (all_needed and missing):
            raise CheckpointError(f"{self.path}: array {name}: chunks of it are missing; the archive is damaged")

    def check_names(self) -> None:
        """Raise CheckpointError where the table of a zip file has other names than its entries: it has no checksum."""
        with self.explained("the table"):
            for entry in self._zip.infolist() if self._zip else ():
                self._zip.open(entry).close()  # type: ignore[union-attr]

    def text(self, name: str, most: int = 0) -> str:
        """Return "": zarr has no strings but attributes."""
        return ""

    def texts(self, name: str) -> list[str]:
        """Return nothing: zarr has no strings but attributes."""
        return []

    def read(self, name: str) -> np.ndarray:
        """Read an array that `find` finds, as a whole; raise CheckpointError where there cannot be that much of it."""
        with self.explained(name):
            array = self.find(name)
            if array.size * array.dtype.itemsize > most_bytes(self.size):
                raise CheckpointError(f"{self.path}: array {name}: {array.shape} is larger than the file can hold")
            return np.asarray(array[...])

    def read_into(self, name: str, target: np.ndarray, index: Any) -> None:
        """Fill an array with the part of another that `index` selects."""
        with self.explained(name):
            target[...] = self.find(name)[index]

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn what reading `what` stumbles over into CheckpointError."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # meant for whoever writes such archives
                yield
        except CheckpointError:
            raise
        except Exception as error:  # whatever a damaged archive makes zarr, its codecs or zipfile stumble over
            first_line = (str(error).strip("' ") or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"{self.path}: cannot read {what} of the zarr archive ({first_line})") from error

    def _description(self, name: str) -> dict[str, Any]:
        """Return what `zarr.json` says of a group or an array, nothing where there is none."""
        key = f"{name}/zarr.json" if name else "zarr.json"
        if key in self._sizes and key not in self._described:
            self._left -= self._sizes[key]
            if self._left < 0:
                raise CheckpointError(f"{self.path}: {key} and the like are larger than any description")
            with self.explained(name or "the archive"):
                found = json.loads(self._content(key))
            self._described[key] = found if isinstance(found, dict) else {}
        return self._described.get(key, {})

    def _content(self, key: str, most: int = -1) -> bytes:
        """Return the first bytes of a file in the archive, by default all."""
        with self._zip.open(self._outer + key) if self._zip else (self.path / key).open("rb") as file:
            return file.read(most)

    def _opened_store(self) -> Any:
        """Return zarr's view of the archive; raise CheckpointError where zarr is not installed."""
        if self._store is None:
            try:
                from zarr.storage import LocalStore, ZipStore
            except ImportError as error:
                raise CheckpointError(
                    f"{self.path}: is a zarr archive, which is read with the package zarr, version 3: "
                    "pip install 'ptyconv[quantem]'"
                ) from error
            with self.explained("the archive"):
                self._store = ZipStore(self.path, mode="r") if self._zip else LocalStore(self.path, read_only=True)
        return self._store


def _problem_with_codecs(described: dict[str, Any]) -> str:
    """Say which of an array's codecs is none of those that are read, "" where all are."""
    codecs = described.get("codecs")
    names = [codec.get("name") if isinstance(codec, dict) else None for codec in codecs or ()]
    packing = [name for name in names if name in ("blosc", "zstd", "gzip")]
    other = [name for name in names if name not in CODECS]
    return f"is stored with codecs that are not read here ({names})" if other or len(packing) > 1 else ""


def _check_unpacked(content: bytes, described: dict[str, Any], expected: int) -> None:
    """Raise ValueError where a chunk would need more memory when it is unpacked than the numbers in it."""
    packing = {codec["name"] for codec in described["codecs"]}
    if "blosc" in packing:
        (unpacked,) = struct.unpack_from("<I", content, 4)
    elif "zstd" in packing:
        unpacked = _in_frame_of_zstd(content)
    elif "gzip" in packing:
        unpacked = len(zlib.decompressobj(31).decompress(content, expected + 1))
    else:
        unpacked = 0
    if unpacked > expected:
        raise ValueError(f"a chunk of {expected} bytes claims to have {unpacked}")


def _in_frame_of_zstd(content: bytes) -> int:
    """Return the size that a frame of zstd says it has unpacked (RFC 8878, 3.1.1.1); ValueError where it says none."""
    magic, described = struct.unpack_from("<IB", content)
    bytes_of_size = (described >> 5 & 1, 2, 4, 8)[described >> 6]
    begin = 5 + (not described >> 5 & 1) + (0, 1, 2, 4)[described & 3]
    if magic != ZSTD or not bytes_of_size or len(content) < begin + bytes_of_size:
        raise ValueError("a chunk does not say how large it is")
    return int.from_bytes(content[begin : begin + bytes_of_size], "little") + 256 * (bytes_of_size == 2)
