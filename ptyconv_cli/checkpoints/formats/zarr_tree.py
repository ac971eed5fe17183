"""A zarr archive of version 3, a zip file or a folder, as a tree of named arrays. zarr is loaded to read arrays."""

import json
import math
import warnings
from collections.abc import Iterator, MutableMapping
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
)
from ptyconv_cli.checkpoints.formats.zarr_files import ArchiveFiles, check_unpacked
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.text import MOST_SHOWN, few, shortened

MOST_DESCRIBED = 4 * MIB
"""Bytes of all descriptions of groups and arrays that are read."""

CODECS = ("bytes", "blosc", "zstd", "gzip", "crc32c")
"""Of the arrays that are read, as quantem and zarr write them."""

PACKING = ("blosc", "zstd", "gzip")
"""Those that make them smaller, of which an array has one at most."""


class ZarrTree:
    """Read-only view of an archive; names are paths like `_snapshots/0/obj`.

    What zip tools make of the folder of an archive, which they put into the file as a whole, is one, too. Links in a
    folder are not followed. Raises CheckpointError where the archive is damaged, or claims to hold more than it can.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remarks: list[str] = []
        self._found: dict[str, Any] = {}
        self._missing: dict[str, tuple[int, bool]] = {}
        self._described: dict[str, dict[str, Any]] = {}
        self._left = MOST_DESCRIBED
        with self.explained("the table"):
            self._files = ArchiveFiles(path)
            self.size = self._files.size

    def close(self) -> None:
        """Forget what was found; arrays that were read stay valid."""
        self._found.clear()

    def attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes of a group or an array, none where there is no such."""
        attributes = self._description(name).get("attributes", {})
        return attributes if isinstance(attributes, dict) else {}

    def children(self, name: str) -> list[str]:
        """Return the names directly inside a group, none where there is no such group."""
        prefix = f"{name}/" if name else ""
        names = list({entry[len(prefix) :].split("/")[0]: 0 for entry in self._files.sizes if entry.startswith(prefix)})
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
        with self.explained(name):
            codecs = _names_of_codecs(described)
            array, chunks = self._opened(name, codecs)
            if np.dtype(array.dtype).kind not in "biufc":
                return None
            sizes = described["chunk_grid"]["configuration"]["chunk_shape"]
            counts = [-(-size // step) for size, step in zip(array.shape, sizes, strict=True)]
            claimed, of_chunk = (math.prod(shape) * array.dtype.itemsize for shape in (array.shape, sizes))
            if claimed > most_bytes_in_parts(self.size) or math.prod(counts) > most_chunks(claimed, self.size):
                raise CheckpointError(
                    f"{self.path}: array {name}: {tuple(array.shape)} is larger than the file can hold"
                )
            if of_chunk > most_bytes_of_chunk(claimed):
                raise CheckpointError(f"{self.path}: array {name}: its chunks {tuple(sizes)} are larger than itself")
            chunks.bytes_of_chunk = of_chunk
            keys = [f"{name}/{array.metadata.encode_chunk_key(place)}" for place in np.ndindex(*counts)]
            held = sum(key in self._files.sizes for key in keys)
        self._missing[name] = len(keys) - held, not held
        return array

    def _opened(self, name: str, codecs: list[str]) -> "tuple[Any, _Chunks]":
        """Open an array; raise CheckpointError where zarr is not installed, or cannot be used for it."""
        try:
            import zarr
            from zarr.core.buffer.cpu import Buffer
            from zarr.storage import MemoryStore
        except ImportError as error:
            raise CheckpointError(
                f"{self.path}: is a zarr archive, which is read with the package zarr, version 3: "
                "pip install 'ptyconv[quantem]'"
            ) from error
        chunks = _Chunks(self._files, codecs, Buffer.from_bytes)
        return zarr.open_array(store=MemoryStore(chunks, read_only=True), path=name, mode="r", zarr_format=3), chunks

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
            self._files.check_names()

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
        if key in self._files.sizes and key not in self._described:
            self._left -= self._files.sizes[key]
            if self._left < 0:
                raise CheckpointError(f"{self.path}: {key} and the like are larger than any description")
            with self.explained(name or "the archive"):
                found = json.loads(self._files.read(key))
            self._described[key] = found if isinstance(found, dict) else {}
        return self._described.get(key, {})


class _Chunks(MutableMapping[str, Any]):
    """What zarr reads of an array from: the files of an archive, of which each chunk is checked before it is unpacked.

    `bytes_of_chunk`: unpacked.
    """

    def __init__(self, files: ArchiveFiles, codecs: list[str], made: Any) -> None:
        self._files, self._codecs, self._made = files, codecs, made
        self.bytes_of_chunk = 0

    def __getitem__(self, key: str) -> Any:
        content = self._files.read(key)
        if not key.endswith("zarr.json"):
            check_unpacked(content, self._codecs, self.bytes_of_chunk)
        return self._made(content)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files.sizes)

    def __len__(self) -> int:
        return len(self._files.sizes)

    def __contains__(self, key: object) -> bool:
        return key in self._files.sizes

    def __setitem__(self, key: str, value: Any) -> None:
        raise ValueError("an archive is only read")

    def __delitem__(self, key: str) -> None:
        raise ValueError("an archive is only read")


def _names_of_codecs(described: dict[str, Any]) -> list[str]:
    """Return the names of an array's codecs; raise ValueError where one is none of those that are read."""
    codecs = described["codecs"]
    names = [str(codec.get("name")) if isinstance(codec, dict) else "" for codec in codecs]
    if any(name not in CODECS for name in names) or sum(name in PACKING for name in names) > 1:
        raise ValueError(f"its codecs are not read here: {few(shortened(name, MOST_SHOWN) for name in names)}")
    return names
