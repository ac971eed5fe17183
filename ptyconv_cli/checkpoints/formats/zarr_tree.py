"""A zarr archive of version 3, a zip file or a folder, as a tree of named arrays. zarr is loaded to read arrays."""

import itertools
import json
import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ptyconv_cli.errors import CheckpointError

MOST_TEXT = 1 << 26
"""Bytes of the longest description of a group or an array."""

UNCHECKED = 1 << 32
"""Bytes that an array may claim to have in an archive much smaller than that: compressed to nothing."""


class ZarrTree:
    """Read-only view of an archive; names are paths like `_snapshots/0/obj`.

    Raises CheckpointError where the archive is damaged, or claims to hold more than it can.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remarks: list[str] = []
        self._store: Any = None
        self._zip: zipfile.ZipFile | None = None
        self._found: dict[str, Any] = {}
        if not path.is_dir():
            with self.explained("the table"):
                self._zip = zipfile.ZipFile(path)
                # Of an archive that is cut off, the table of a whole one inside it may be found.
                if min((entry.header_offset for entry in self._zip.infolist()), default=0):
                    raise zipfile.BadZipFile("it is incomplete")
        self._names = frozenset(self._zip.namelist()) if self._zip else frozenset[str]()

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
        if self._zip:
            return list({entry[len(prefix) :].split("/")[0]: 0 for entry in self._names if entry.startswith(prefix)})
        with self.explained(name or "the archive"):
            folder = self.path / name
            return [path.name for path in folder.iterdir()] if folder.is_dir() else []

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array, which takes no zarr; () where there is none of this name."""
        shape = self._description(name).get("shape")
        return tuple(shape) if isinstance(shape, list) and all(isinstance(size, int) for size in shape) else ()

    def find(self, name: str) -> Any:
        """Return an array unread, with its shape, dtype, ndim and size; None where there is none of this name."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Any:
        if self._description(name).get("node_type") != "array":
            return None
        store = self._opened_store()
        with self.explained(name):
            import zarr

            array = zarr.open_array(store=store, path=name, mode="r", zarr_format=3)
            if np.dtype(array.dtype).kind not in "biufc":
                return None
            claimed = math.prod(array.shape) * array.dtype.itemsize
        if claimed > max(UNCHECKED, 1000 * self._bytes()):
            raise CheckpointError(f"{self.path}: array {name}: {tuple(array.shape)} is larger than the file can hold")
        return array

    def check_chunks(self, name: str, all_needed: bool = True) -> None:
        """Raise CheckpointError where chunks of an array are missing, which zarr takes for zeros.

        Unless `all_needed`, only where none is there, for zarr does not write chunks of zeros.
        """
        array = self.find(name)
        with self.explained(name):
            sizes = self._description(name)["chunk_grid"]["configuration"]["chunk_shape"]
            counts = [math.ceil(size / step) for size, step in zip(array.shape, sizes, strict=True)]
            places = itertools.product(*map(range, counts))
            keys = (f"{name}/{array.metadata.encode_chunk_key(place)}" for place in places)
            whole = all(map(self._holds, keys)) if all_needed else any(map(self._holds, keys))
        if not whole:
            raise CheckpointError(f"{self.path}: array {name}: chunks of it are missing; the archive is damaged")

    def check_names(self) -> None:
        """Raise CheckpointError where the table of a zip file has other names than its entries: it has no checksum."""
        with self.explained("the table"):
            for entry in self._zip.infolist() if self._zip else ():
                self._zip.open(entry).close()  # type: ignore[union-attr]

    def text(self, name: str) -> str:
        """Return "": zarr has no strings but attributes."""
        return ""

    def texts(self, name: str) -> list[str]:
        """Return nothing: zarr has no strings but attributes."""
        return []

    def read(self, name: str) -> np.ndarray:
        """Read an array that `find` finds."""
        with self.explained(name):
            return np.asarray(self.find(name)[...])

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
        with self.explained(name or "the archive"):
            if not self._holds(key):
                return {}
            size = self._zip.getinfo(key).file_size if self._zip else (self.path / key).stat().st_size
            if size > MOST_TEXT:
                raise CheckpointError(f"{self.path}: {key} is larger than any description")
            found = json.loads(self._zip.read(key) if self._zip else (self.path / key).read_bytes())
        return found if isinstance(found, dict) else {}

    def _holds(self, key: str) -> bool:
        return key in self._names if self._zip else (self.path / key).is_file()

    def _bytes(self) -> int:
        if self._zip:
            return self.path.stat().st_size
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

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
