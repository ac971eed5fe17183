"""The heaps of an HDF5 file, where its texts are, checked before HDF5 reads them: of a damaged one it finds no end.

HDF5 File Format Specification 3.0, III.E.
"""

import mmap
import os
import struct
from contextlib import suppress

HEAD = b"GCOL\x01"
"""What a heap begins with: its name, and its version."""

ITEM = struct.Struct("<HHIQ")
"""What an item in a heap begins with: its number, two fields that don't matter here, and its size in bytes."""

REFERENCE = struct.Struct("<IQI")
"""What there is of a text in a dataset: its length, where its heap is, and its number there."""

NOWHERE = (0, 2**64 - 1)
"""Where the heap of an empty text is."""


def check_heaps_of(file: int, place: int, count: int, base: int) -> None:
    """Check the heaps of `count` texts, whose references are at a `place` of a file; raise ValueError where one is bad.

    `file`: its descriptor; `base`: where HDF5's part of the file begins, from where heaps are counted.
    """
    references = _read(file, place, count * REFERENCE.size)
    heaps = {heap for _, heap, _ in REFERENCE.iter_unpack(references[: len(references) // 16 * 16])}
    for heap in heaps - set(NOWHERE):
        _check(_content(file, base + heap))


def check_all_heaps(file: int) -> None:
    """Check all heaps in a file, for references that cannot be found; raise ValueError where one is bad."""
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as all_of_it:
        heap = all_of_it.find(HEAD)
        while heap >= 0:
            with suppress(_NoHeap):  # the same letters may be anywhere
                _check(_content(file, heap) if heap % 8 == 0 else b"")
            heap = all_of_it.find(HEAD, heap + 1)


def _read(file: int, place: int, count: int) -> bytes:
    """Read at a place; where the system allows, without moving to it, for HDF5 reads the same file."""
    if hasattr(os, "pread"):
        return os.pread(file, count, place)
    os.lseek(file, place, os.SEEK_SET)
    return os.read(file, count)


class _NoHeap(ValueError):
    """There is no heap."""


def _content(file: int, heap: int) -> bytes:
    """Return what is in a heap."""
    head = _read(file, heap, 16)
    if head[:5] != HEAD or len(head) < 16:
        raise _NoHeap("a heap of texts is not where it should be")
    (size,) = struct.unpack_from("<Q", head, 8)
    content = _read(file, heap + 16, min(max(size - 16, 0), 1 << 30))
    if len(content) != size - 16:
        raise _NoHeap("a heap of texts is cut off")
    return content


def _check(content: bytes) -> None:
    """Walk through a heap as HDF5 does: over its items to its end, or to what is free of it, which is number 0."""
    place = 0
    while place + ITEM.size <= len(content):
        number, _, _, length = ITEM.unpack_from(content, place)
        step = length if number == 0 else ITEM.size + -(-length // 8) * 8
        if step < ITEM.size:
            raise ValueError("a heap of texts is damaged")
        place += step
