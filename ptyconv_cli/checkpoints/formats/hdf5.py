"""An HDF5 file as a tree of named arrays. Sizes and links in the file are checked before they are trusted."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5t

from ptyconv_cli.checkpoints.formats.filters import claims_too_much, lacking_filter
from ptyconv_cli.errors import CheckpointError

NO_LOCKS = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, 524)
"""Errors of a file system without locks; 524 is Linux's ENOTSUPP, for which Python has no name."""

MOST_LINKS = 16
"""Links inside a file that are followed to reach one object; they may form a circle."""

FLOATS = (
    *(h5t.IEEE_F16LE, h5t.IEEE_F32LE, h5t.IEEE_F64LE),
    *(h5t.IEEE_F16BE, h5t.IEEE_F32BE, h5t.IEEE_F64BE),
)


class Hdf5Tree:
    """Read-only view of an HDF5 file; names are paths like `optimizable_tensors/obja`.

    A name that is no dataset is looked up among the attributes of its group, where a development branch of PtyRAD keeps
    some metadata. Nothing outside the file is read, whatever it links to. Opening and reading raise CheckpointError
    where the file is damaged, or claims to hold more than it can.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remarks: list[str] = []
        # Look-ups are remembered: a checkpoint is asked for the same names again and again.
        self._groups: dict[tuple[str, ...], Any] = {}
        self._found: dict[str, h5py.Dataset | np.ndarray | None] = {}
        with self.explained("the file"):
            self._file = self._open()
            self._size = path.stat().st_size

    def _open(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except BlockingIOError as error:
            raise CheckpointError(f"{self.path}: is locked by another process, which is writing it") from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            self.remarks.append(
                "This folder's file system has no locks, so files were read without them: a file that is being written "
                "may appear damaged."
            )
            return h5py.File(self.path, "r", locking="best-effort")

    def close(self) -> None:
        """Close the file; arrays that were read stay valid."""
        self._groups.clear()
        self._found.clear()
        self._file.close()

    def children(self, name: str) -> list[str]:
        """Return the names directly inside a group, none where there is no such group."""
        with self.explained(name):
            group = self._item(name)
            # A damaged name, which is no text, is bytes.
            return [one for one in group if isinstance(one, str)] if isinstance(group, h5py.Group) else []

    def find(self, name: str) -> h5py.Dataset | np.ndarray | None:
        """Return an array unread, with its shape, dtype, ndim and size; None where there is none of this name."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> h5py.Dataset | np.ndarray | None:
        with self.explained(name):
            item = self._item(name)
            if item is None:
                return self._attribute(name)
            if not isinstance(item, h5py.Dataset) or item.shape is None or not _is_numbers(item.dtype):
                return None  # a group, an empty dataspace, a string such as the `__NONE__` that PtyRAD writes for None
            problem = _problem(item, self._size)
            if problem:
                raise CheckpointError(f"{self.path}: dataset {name}: {problem}")
            return item

    def text(self, name: str) -> str:
        """Return a string, "" where there is none of this name."""
        with self.explained(name):
            item = self._item(name)
            if item is None:
                parent, _, attribute = name.rpartition("/")
                group = self._item(parent)
                found = group.attrs.get(attribute) if group is not None else None
                return found if isinstance(found, str) else ""
            is_text = isinstance(item, h5py.Dataset) and item.shape == () and h5py.check_string_dtype(item.dtype)
            return str(item.asstr(errors="replace")[()]) if is_text else ""

    def texts(self, name: str) -> list[str]:
        """Return the strings in a list, none where there is none of this name."""
        with self.explained(name):
            item = self._item(name)
            if (
                not isinstance(item, h5py.Dataset)
                or len(item.shape or ()) != 1
                or not h5py.check_string_dtype(item.dtype)
            ):
                return []
            problem = _problem(item, self._size)
            if problem:
                raise CheckpointError(f"{self.path}: dataset {name}: {problem}")
            return [str(text) for text in item.asstr(errors="replace")[()]]

    def read(self, name: str) -> np.ndarray:
        """Read an array that `find` finds."""
        with self.explained(name):
            return np.asarray(self.find(name)[()])  # type: ignore[index]

    def read_into(self, name: str, target: np.ndarray, index: Any) -> None:
        """Fill a contiguous array with the part of a dataset that `index` selects, straight from the file."""
        with self.explained(name):
            dataset = self.find(name)
            if isinstance(dataset, h5py.Dataset):
                dataset.read_direct(target, index)
            else:
                target[...] = dataset[index]  # type: ignore[index]

    def _item(self, name: str) -> Any:
        """Return a group or dataset of this very file, None where there is none; raise KeyError where it is damaged."""
        parts, links = _parts(name), 0
        item: Any = self._file
        group = tuple(parts[:-1])
        if group in self._groups:
            item, parts = self._groups[group], parts[-1:]
        while parts:
            if len(parts) == 1 and not links:
                self._groups[group] = item
            part = parts.pop(0)
            link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
            if link is None:
                if links:
                    raise CheckpointError(f"{self.path}: {name} is a link to something that does not exist")
                return None
            if isinstance(link, h5py.ExternalLink):
                raise CheckpointError(f"{self.path}: {name} is a link to another file, which is not followed")
            if isinstance(link, h5py.SoftLink):
                links += 1
                if links > MOST_LINKS:
                    raise CheckpointError(f"{self.path}: {name} is a link in a circle")
                item = self._file if link.path.startswith("/") else item
                parts = _parts(link.path) + parts
            else:
                item = item[part]
        return item

    def _attribute(self, name: str) -> np.ndarray | None:
        parent, _, attribute = name.rpartition("/")
        group = self._item(parent)
        if group is None or attribute not in group.attrs:
            return None
        found = group.attrs.get_id(attribute)
        if found.dtype.kind not in "biufc" or not _is_plain(found.get_type()):
            return None
        return np.asarray(group.attrs[attribute])

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn what reading `what` stumbles over into CheckpointError."""
        try:
            yield
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
            reason = str(error).strip("'") or type(error).__name__  # the text of a KeyError is wrapped in quotes
            raise CheckpointError(f"{self.path}: HDF5 cannot read {what} ({reason})") from error


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part]


def _is_numbers(dtype: np.dtype[Any]) -> bool:
    """Say whether a dataset holds numbers, or pairs of them, as MATLAB writes complex ones."""
    return dtype.kind in "biufc" or dtype.names == ("real", "imag")


def _problem(dataset: h5py.Dataset, file_size: int) -> str:
    """Say why a dataset must not be read, "" where it may be."""
    if dataset.is_virtual or dataset.external:
        return "its numbers are in other files, which are not read"
    if not _is_plain(dataset.id.get_type()):
        return "its numbers have an unusual format; the file may be damaged"
    if claims_too_much(dataset, file_size):
        claimed, stored = dataset.size * dataset.id.get_type().get_size(), dataset.id.get_storage_size()
        return (
            f"its shape {tuple(dataset.shape)} needs {claimed} bytes, but the file holds {min(stored, file_size)} of it"
        )
    return lacking_filter(dataset)


def _is_plain(kind: Any) -> bool:
    """Say whether a number format is a standard one: a damaged format would give wrong numbers, and no error."""
    if isinstance(kind, h5t.TypeFloatID):
        return any(bool(kind.equal(plain)) for plain in FLOATS)
    if isinstance(kind, h5t.TypeIntegerID):
        return bool(kind.get_offset() == 0 and kind.get_precision() == 8 * kind.get_size())
    if isinstance(kind, h5t.TypeCompoundID):
        members = [kind.get_member_type(number) for number in range(kind.get_nmembers())]
        return all(map(_is_plain, members)) and bool(sum(member.get_size() for member in members) == kind.get_size())
    return True
