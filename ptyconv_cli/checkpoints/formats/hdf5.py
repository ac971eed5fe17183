"""HDF5 files, also such as are compressed with filters that h5py does not bring along."""

import errno
import math
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5t, h5z

from ptyconv_cli.checkpoints.formats.hdf5_heap import check_all_heaps, check_heaps_of
from ptyconv_cli.checkpoints.formats.limits import (
    MIB,
    MOST_TEXT,
    check_names,
    most_bytes,
    most_bytes_in_parts,
    most_bytes_of_chunk,
    most_chunks,
    most_names,
)
from ptyconv_cli.errors import CheckpointError

NAMES = {
    **{1: "deflate (gzip)", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset"},
    **{305: "lzo", 307: "bzip2", 32000: "lzf", 32001: "blosc", 32002: "mafisc", 32003: "snappy", 32004: "lz4"},
    **{32007: "jpeg-xr", 32008: "bitshuffle", 32009: "spdp", 32012: "jpeg-ls", 32013: "zfp", 32014: "fpzip"},
    **{32015: "zstd", 32016: "b3d", 32017: "sz", 32018: "fcidecomp", 32019: "jpeg", 32020: "vbz", 32024: "sz3"},
    **{32025: "delta-rice", 32026: "blosc2", 32027: "flac", 32028: "sperr", 32033: "htj2k"},
}
"""By the numbers under which The HDF Group has registered them."""

IN_HDF5PLUGIN = {307, 32001, 32004, 32008, 32013, 32015, 32017, 32018, 32024, 32026, 32028, 32033}

LIMITS = {
    **{2: 1.0, 3: 1.0},  # they don't compress
    **{1: 1032.0, 32000: 90.0, 32004: 255.0},  # a byte, or three, for the longest match there can be
    **{32015: 33000.0, 32008: 33000.0},  # four bytes for a block of 128 KiB; bitshuffle may have that inside
}
"""The largest compression ratios that are possible; others, such as blosc, say "all zeros" of a whole chunk."""


def lacking_filter(dataset: h5py.Dataset) -> str:
    """Say which of a dataset's filters can't be had, and how to get it; "" where all are there.

    Those that h5py lacks come with the package hdf5plugin, which is only imported where one is needed.
    """
    lacking = [number for number in _filters(dataset) if not h5z.filter_avail(number)]
    if lacking and _import_hdf5plugin():
        lacking = [number for number in lacking if not h5z.filter_avail(number)]
    if not lacking:
        return ""
    number = lacking[0]
    called = f"{NAMES[number]}, HDF5 filter {number}" if number in NAMES else f"HDF5 filter {number}"
    remedy = "pip install hdf5plugin" if number in IN_HDF5PLUGIN else "write it again with another one, such as gzip"
    return f"is compressed with a filter that is not installed here ({called}); {remedy}"


def claims_too_much(dataset: h5py.Dataset, file_size: int) -> bool:
    """Say whether a dataset claims to hold more than there can be in its file, as a damaged one may.

    A chunk that was never written takes no room: it is the fill value.
    """
    stored, claimed = dataset.id.get_storage_size(), _bytes_of(dataset)
    if stored > file_size:
        return True
    if dataset.id.get_create_plist().get_layout() != h5d.CHUNKED:
        return bool(claimed > stored)
    written = dataset.id.get_num_chunks() * _bytes_of_chunk(dataset)
    ratio = math.prod(LIMITS.get(number, math.inf) for number in _filters(dataset))
    return bool(written and written > stored * ratio)


def _bytes_of(dataset: h5py.Dataset) -> int:
    """Return how many bytes all of a dataset has, whether they are in the file or not."""
    return int(dataset.size * dataset.id.get_type().get_size())


def _bytes_of_chunk(dataset: h5py.Dataset) -> int:
    """Return how many bytes a chunk has when it is unpacked, 0 where there are none."""
    return int(math.prod(dataset.chunks) * dataset.id.get_type().get_size()) if dataset.chunks else 0


def _chunks(dataset: h5py.Dataset) -> int:
    """Return in how many chunks a dataset is divided, written or not."""
    return math.prod(-(-size // step) for size, step in zip(dataset.shape, dataset.chunks, strict=True))


def _filters(dataset: h5py.Dataset) -> Iterable[int]:
    pipeline: Any = dataset.id.get_create_plist()
    return [pipeline.get_filter(place)[0] for place in range(pipeline.get_nfilters())]


def _import_hdf5plugin() -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module("hdf5plugin")
    except Exception:  # it isn't there, or cannot be loaded, for whatever reason
        return False
    return True


NO_LOCKS = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EROFS, 524)
"""Errors of a file system without locks; 524 is Linux's ENOTSUPP, for which Python has no name."""

OPEN_WITHOUT = "locking flag values don't match"
"""What HDF5 says of a file that is open without locks already, in this process."""

TEXTS_AT_ONCE = 16
"""Texts of a list that are read at a time."""

MOST_LINKS, MOST_STEPS = 16, 256
"""Links inside a file that are followed to reach one object, which may form a circle, and groups on the way."""

FLOATS = (
    *(h5t.IEEE_F16LE, h5t.IEEE_F32LE, h5t.IEEE_F64LE),
    *(h5t.IEEE_F16BE, h5t.IEEE_F32BE, h5t.IEEE_F64BE),
)


PAIRS = (("real", "imag"), ("r", "i"))
"""What the two parts of a complex number are called by MATLAB, and by h5py; numpy lacks those of twice 16 bits."""


class Pairs:
    """A dataset of pairs of real numbers, as complex ones; nothing is read before it is indexed."""

    def __init__(self, stored: h5py.Dataset) -> None:
        self.stored = stored
        real, imaginary = stored.dtype.names
        self._parts = real, imaginary
        self.shape, self.ndim, self.size = tuple(stored.shape), stored.ndim, stored.size
        self.dtype = np.result_type(np.complex64, stored.dtype[real], stored.dtype[imaginary])

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read what an index selects."""
        part = np.asarray(self.stored[index])
        found = np.empty(part.shape, self.dtype)
        found.real, found.imag = (part[name] for name in self._parts)
        return found


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
        self._found: dict[str, h5py.Dataset | Pairs | np.ndarray | None] = {}
        with self.explained("the file"):
            self._file = self._open()
            self.size = path.stat().st_size

    def _open(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except BlockingIOError as error:
            raise CheckpointError(f"{self.path}: is locked by another process, which is writing it") from error
        except OSError as error:
            if error.errno not in NO_LOCKS and OPEN_WITHOUT not in str(error):
                raise
            self.remarks.append(
                "This folder's file system has no locks, so files were read without them: a file that is being written "
                "may appear damaged."
            )
            return h5py.File(self.path, "r", locking=False)  # "best-effort" goes on after ENOSYS alone

    @cached_property
    def _descriptor(self) -> int:
        """Of the same file, where the system allows: to open it again takes long on a network mount."""
        if hasattr(os, "pread"):
            return int(self._file.id.get_vfd_handle())
        return os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def close(self) -> None:
        """Close the file; arrays that were read stay valid."""
        if "_descriptor" in vars(self) and not hasattr(os, "pread"):
            os.close(self._descriptor)
        self._groups.clear()
        self._found.clear()
        self._file.close()

    def children(self, name: str) -> list[str]:
        """Return the names directly inside a group, none where there is no such group."""
        with self.explained(name):
            group = self._item(name)
            if not isinstance(group, h5py.Group):
                return []
            # A damaged name, which is no text, is bytes.
            names = list(islice((one for one in group if isinstance(one, str)), most_names(self.size) + 1))
            check_names(names, self.size, f"{self.path}: group {name or '/'}")
            return names

    def find(self, name: str) -> h5py.Dataset | Pairs | np.ndarray | None:
        """Return an array unread, with its shape, dtype, ndim and size; None where there is none of this name."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> h5py.Dataset | Pairs | np.ndarray | None:
        with self.explained(name):
            item = self._item(name)
            if item is None:
                return self._attribute(name)
            if not isinstance(item, h5py.Dataset) or item.shape is None or not _is_numbers(item.dtype):
                return None  # a group, an empty dataspace, a string such as the `__NONE__` that PtyRAD writes for None
            self._check(item, name)
            return item if item.dtype.names is None else Pairs(item)

    def _check(self, dataset: h5py.Dataset, name: str, whole: bool = False) -> None:
        """Raise CheckpointError where a dataset must not be read, or not as a `whole`."""
        problem = _problem(dataset, self.size)
        if not problem and whole and _bytes_of(dataset) > most_bytes(self.size):
            problem = f"its shape {tuple(dataset.shape)} is larger than what there can be of it in the file"
        if problem:
            raise CheckpointError(f"{self.path}: dataset {name}: {problem}")

    def _check_heaps(self, texts: h5py.Dataset) -> None:
        """Raise ValueError where HDF5 would read texts for ever."""
        if h5py.check_string_dtype(texts.dtype).length is not None:  # they are in the dataset itself
            return
        place = None if texts.chunks else texts.id.get_offset()
        usual = self._file.id.get_create_plist().get_sizes() == (8, 8)  # bytes of a place, and of a size
        if place is None or not usual:
            check_all_heaps(self._descriptor)
        else:
            check_heaps_of(self._descriptor, place, texts.size, self._file.userblock_size)

    def text(self, name: str, most: int = MOST_TEXT) -> str:
        """Return a string of at most so many characters, "" where there is none of this name."""
        with self.explained(name):
            item = self._item(name)
            if item is None:
                parent, _, attribute = name.rpartition("/")
                group = self._item(parent)
                if group is None or attribute not in group.attrs or group.attrs.get_id(attribute).shape != ():
                    return ""
                if group.attrs.get_id(attribute).get_type().get_class() == h5t.STRING:
                    check_all_heaps(self._descriptor)
                found = group.attrs[attribute]
                return found[:most] if isinstance(found, str) else ""
            if not isinstance(item, h5py.Dataset) or item.shape != () or not h5py.check_string_dtype(item.dtype):
                return ""
            self._check(item, name, whole=True)
            self._check_heaps(item)
            return str(item.asstr(errors="replace")[()])[:most]

    def texts(self, name: str) -> list[str]:
        """Return the strings in a list, none where there is none of this name; each is cut."""
        with self.explained(name):
            item = self._item(name)
            if (
                not isinstance(item, h5py.Dataset)
                or len(item.shape or ()) != 1
                or not h5py.check_string_dtype(item.dtype)
            ):
                return []
            self._check(item, name, whole=True)
            # Each time some are read, their chunk may be unpacked.
            if len(item) > most_names(self.size) or _bytes_of_chunk(item) > max(MIB, 2 * _bytes_of(item)):
                raise CheckpointError(f"{self.path}: dataset {name}: has more texts than there is room for")
            self._check_heaps(item)
            found: list[str] = []
            # All may be one long text, which is there once.
            for begin in range(0, len(item), TEXTS_AT_ONCE):
                texts = item.asstr(errors="replace")[begin : begin + TEXTS_AT_ONCE]
                if max(map(len, texts)) > MOST_TEXT:
                    raise CheckpointError(f"{self.path}: dataset {name}: a text in a list is too long for a name")
                found += map(str, texts)
            return found

    def read(self, name: str) -> np.ndarray:
        """Read an array that `find` finds, as a whole; raise CheckpointError where there cannot be that much of it."""
        with self.explained(name):
            found = self.find(name)
            stored = found.stored if isinstance(found, Pairs) else found
            if isinstance(stored, h5py.Dataset):
                self._check(stored, name, whole=True)
            return np.asarray(found[()])  # type: ignore[index]

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
        parts, links, steps = _parts(name), 0, 0
        item: Any = self._file
        group = tuple(parts[:-1])
        if group in self._groups:
            item, parts = self._groups[group], parts[-1:]
        while parts:
            if len(parts) == 1 and not links:
                self._groups[group] = item
            part, steps = parts.pop(0), steps + 1
            if steps > MOST_STEPS:
                raise CheckpointError(f"{self.path}: {name} is a link that leads over too many groups")
            link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
            if link is None:
                if links:
                    raise CheckpointError(f"{self.path}: {name} is a link to something that does not exist")
                return None
            if isinstance(link, h5py.ExternalLink):
                raise CheckpointError(f"{self.path}: {name} is a link to another file, which is not followed")
            if isinstance(link, h5py.SoftLink):
                links += 1
                if links > MOST_LINKS or len(link.path) > MOST_TEXT:
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
    """Say whether a dataset holds numbers, or pairs of real ones."""
    return dtype.kind in "biufc" or (dtype.names in PAIRS and all(dtype[name].kind in "fiu" for name in dtype.names))


def _problem(dataset: h5py.Dataset, file_size: int) -> str:
    """Say why a dataset must not be read, "" where it may be."""
    if dataset.is_virtual or dataset.external:
        return "its numbers are in other files, which are not read"
    if not _is_plain(dataset.id.get_type()):
        return "its numbers have an unusual format; the file may be damaged"
    claimed, stored = _bytes_of(dataset), dataset.id.get_storage_size()
    if dataset.chunks:
        too_large = _bytes_of_chunk(dataset) > most_bytes_of_chunk(claimed)
        if too_large or _chunks(dataset) > most_chunks(claimed, file_size):
            return f"its chunks {tuple(dataset.chunks)} don't suit its shape {tuple(dataset.shape)}; it may be damaged"
    said = f"its shape {tuple(dataset.shape)} needs {claimed} bytes, but the file holds {min(stored, file_size)} of it"
    if dataset.chunks and claimed > most_bytes_in_parts(file_size):
        return f"{said}, and no object is compressed so far"
    if claims_too_much(dataset, file_size):
        return said
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
