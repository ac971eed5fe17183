"""HDF5's filters (compressions): what they are called, how far they can compress, and where missing ones come from."""

import math
import warnings
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import h5py
from h5py import h5d, h5z

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

UNCHECKED = 1 << 32
"""Bytes that a dataset may claim without having them in the file: chunks never written, or compressed to nothing."""


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
    stored, of_number = dataset.id.get_storage_size(), dataset.id.get_type().get_size()
    claimed = dataset.size * of_number
    if stored > file_size:
        return True
    if dataset.id.get_create_plist().get_layout() != h5d.CHUNKED:
        return bool(claimed > stored)
    written = dataset.id.get_num_chunks() * math.prod(dataset.chunks) * of_number
    ratio = math.prod(LIMITS.get(number, math.inf) for number in _filters(dataset))
    unchecked = max(claimed - written, 0) + (written if ratio == math.inf else 0)
    return bool(unchecked > max(UNCHECKED, 1000 * stored) or (written and written > stored * ratio))


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
