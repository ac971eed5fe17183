"""A `.pt` file of PtyRAD 0.1.0b5 and b6 as a tree of named arrays."""

import pickle
import re
import struct
import threading
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray

from ptyconv_cli.checkpoints.formats.limits import MOST_TEXT, check_names, most_bytes
from ptyconv_cli.checkpoints.formats.torch_pickle import check_pickle
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.text import MOST_SHOWN, shortened

PLAIN = "?bhilqBHILQefdFD"
"""numpy's letters for bool, integers, floats from 16 to 64 bits, and complex numbers: scalars and arrays load."""

# All that these files need besides torch's own tensors. A pickle names functions by the module they were in when it
# was written: numpy.core before numpy 2, numpy._core since.
ALLOWED: list[Any] = [
    np.ndarray,
    np.dtype,
    *dict.fromkeys(type(np.dtype(letter)) for letter in PLAIN),
    *((multiarray.scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((multiarray._reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]

# PyTorch's allow-list is shared by all threads: each would undo the other's.
LOADING = threading.Lock()


class PtTree:
    """Read-only view of the nested dict in a `.pt` file; names are paths like `optimizable_tensors/obja`.

    The file is mapped into memory, so only the slices that are used are read. Opening raises CheckpointError where the
    file is damaged, or holds anything but tensors, arrays, numbers, strings and containers of them; no code in it is
    ever run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remarks: list[str] = []
        with self.explained("the file"):
            self.size = path.stat().st_size
            _check_archive(path)
            with LOADING, torch.serialization.safe_globals(ALLOWED), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # meant for whoever writes such files
                self._root = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if not isinstance(self._root, dict):
            raise CheckpointError(f"{path}: holds a {type(self._root).__name__} where a dict was expected")

    def close(self) -> None:
        """Close the file."""
        self._root = {}

    def children(self, name: str) -> list[str]:
        """Return the names directly inside a dict, none where there is no such dict."""
        group = self._get(name)
        names = [key for key in group if isinstance(key, str)] if isinstance(group, dict) else []
        check_names(names, self.size, f"{self.path}: {name or 'the file'}")
        return names

    def find(self, name: str) -> np.ndarray | None:
        """Return an array, with nothing of a tensor read yet; None where there is none of this name."""
        item = self._get(name)
        if item is None or isinstance(item, dict):
            return None
        with self.explained(name):
            if isinstance(item, torch.Tensor) and item.numel() * item.element_size() > item.untyped_storage().nbytes():
                raise CheckpointError(f"{self.path}: {name}: its shape {tuple(item.shape)} exceeds what the file holds")
            if isinstance(item, np.ndarray) and item.nbytes > self.size:
                raise CheckpointError(f"{self.path}: {name}: its shape {item.shape} exceeds what the file holds")
            if isinstance(item, list | tuple) and not _is_table(item, self.size):
                raise CheckpointError(f"{self.path}: {name}: expected numbers, or rows of them")
            array = _of_tensor(item) if isinstance(item, torch.Tensor) else np.asarray(item)
            return array if array.dtype.kind in "biufc" else None

    def text(self, name: str, most: int = MOST_TEXT) -> str:
        """Return a string of at most so many characters, "" where there is none of this name."""
        item = self._get(name)
        return item[:most] if isinstance(item, str) else ""

    def texts(self, name: str) -> list[str]:
        """Return the strings in a list, none where there is none of this name; each is cut."""
        item = self._get(name)
        return [text[:MOST_TEXT] for text in item if isinstance(text, str)] if isinstance(item, list) else []

    def read(self, name: str) -> np.ndarray:
        """Read an array that `find` finds."""
        return np.array(self.find(name))

    def read_into(self, name: str, target: np.ndarray, index: Any) -> None:
        """Fill an array with the part of another that `index` selects, straight from the mapped file."""
        with self.explained(name):
            target[...] = self.find(name)[index]  # type: ignore[index]

    def _get(self, name: str) -> Any:
        item: Any = self._root
        for part in name.split("/"):
            item = item.get(part) if isinstance(item, dict) else None
        return item

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn what reading `what` stumbles over into CheckpointError."""
        try:
            yield
        except pickle.UnpicklingError as error:
            raise CheckpointError(f"{self.path}: not loaded, because it holds {_refused(error)}") from error
        except CheckpointError:
            raise
        except Exception as error:  # whatever a damaged pickle makes PyTorch, numpy or zipfile stumble over
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"{self.path}: PyTorch cannot read {what} ({first_line})") from error


def _check_archive(path: Path) -> None:
    """Raise CheckpointError unless the file is an uncompressed archive, as PyTorch writes them.

    Reading the pickles verifies their checksums: a damaged name or shape would give wrong numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not plain or sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise CheckpointError(f"{path}: is not a .pt file as PtyRAD writes them (it is compressed)")
            names = {entry.filename.lower() for entry in entries}  # PyTorch finds them whatever their case
            if len(names) < len(entries) or archive.start_dir != _start_of_table(path):
                raise zipfile.BadZipFile("its table can be read in two ways")
            for entry in entries:
                if entry.filename.lower().endswith(".pkl"):
                    try:
                        check_pickle(archive.read(entry), path.stat().st_size)
                    except ValueError as error:
                        raise CheckpointError(f"{path}: its pickle is not read here ({error})") from error
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path}: is not a .pt file as PtyRAD writes them, or is incomplete ({error})") from error


END_OF_ZIP = 56 + 20 + 22
"""Bytes of what is at the end of a zip file: the two parts for large ones, which PyTorch always writes, and the end."""

SHORT = {torch.bfloat16: torch.float32, torch.complex32: torch.complex64}
"""Kinds of numbers that numpy lacks, with those that hold each of theirs."""


def _of_tensor(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return tensor.to(SHORT.get(tensor.dtype, tensor.dtype)).resolve_conj().resolve_neg().numpy()


def _start_of_table(path: Path) -> int:
    """Return where the table of a zip file begins, as its end says; -1 where that is not how PyTorch writes it.

    APPNOTE.TXT of PKWARE, 4.3.14 to 4.3.16. Python's zipfile takes the table right before the end, wherever that says.
    """
    with path.open("rb") as file:
        file.seek(-min(END_OF_ZIP, path.stat().st_size), 2)
        end = file.read()
    if len(end) < END_OF_ZIP or end[76:80] != b"PK\5\6":
        return -1
    (start,) = struct.unpack_from("<I", end, 76 + 16)
    if start < 0xFFFFFFFF:
        return int(start)
    return int(struct.unpack_from("<Q", end, 48)[0]) if end[:4] == b"PK\6\6" else -1


def _is_table(rows: list[Any] | tuple[Any, ...], file_size: int) -> bool:
    """Say whether a list holds numbers or short rows of them; deeper lists could refer to themselves without end."""
    if len(rows) > most_bytes(file_size) // 64:  # of a row that is there once, and referred to
        return False

    def is_number(item: Any) -> bool:
        return isinstance(item, (float, np.number, np.bool_)) or (isinstance(item, int) and abs(item) < 2**63)

    def is_row(item: Any) -> bool:
        return isinstance(item, (list, tuple)) and len(item) < 9 and all(map(is_number, item))

    return all(is_number(row) or is_row(row) for row in rows)


def _refused(error: pickle.UnpicklingError) -> str:
    """Say what torch refused, by module and class; the rest of its message advises to load the file unsafely."""
    kind = re.search(r"got <class '(numpy\.dtypes?\S*)'>", str(error))
    if kind:
        return f"values of the type {kind[1]!r}, which is none of numpy's plain types of numbers"
    refused = re.search(r"GLOBAL (\S+)", str(error)) or re.search(r"<class '(\S+)'>", str(error))
    named = f" ({shortened(refused[1], MOST_SHOWN)!r})" if refused else ""
    return f"something other than tensors and numbers{named}, which could run code"
