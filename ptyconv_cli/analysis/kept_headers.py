"""Headers of checkpoints in a file: to open every file of a run again takes longer than all else that is not new."""

import json
import os
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ptyconv_cli.checkpoints.fingerprint import Fingerprint, stamp
from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.checkpoints.opening import Source
from ptyconv_cli.checkpoints.readers import versions

ARRAYS = ("crop_pos", "scan", "loss")

TUPLES = ("fingerprint", "probe_shape", "object_tilt", "wanted")

DIGESTS = ("loss_digest", "positions")


class _Arrays:
    """Arrays one after the other; those that begin at the same memory are kept once, as headers share theirs."""

    def __init__(self) -> None:
        self.content = bytearray()
        self._places: dict[tuple[Any, ...], int] = {}

    def add(self, array: np.ndarray) -> list[Any]:
        """Return where an array is, its type and its shape; the longest of those that share it comes first."""
        key = (array.__array_interface__["data"][0], array.dtype.str, array.strides, array.shape[1:])
        if key not in self._places:
            self._places[key] = len(self.content)
            self.content += np.ascontiguousarray(array).tobytes()
        return [self._places[key], array.dtype.str, array.shape]


def packed(headers: Iterable[Header]) -> bytes:
    """Return headers of files that are what they were when they were read, as `unpacked` takes them."""
    arrays, found, stamp_of = _Arrays(), [], cache(stamp)  # a file may hold many snapshots
    for header in sorted(headers, key=lambda header: -len(header.loss)):
        now = stamp_of(header.path)
        if now is None or now[:-1] != header.fingerprint:
            continue
        content = {field.name: getattr(header, field.name) for field in fields(header)}
        content |= {name: arrays.add(content[name]) for name in ARRAYS}
        content |= {name: content[name].hex() for name in DIGESTS}
        content["kinds"] = {name: kind.str for name, kind in header.kinds.items()}
        content["source"] = [str(header.path), header.source.name, header.source.niter]
        found.append(content | {"changed": now[-1]})
    return json.dumps({"versions": versions(), "headers": found}).encode() + b"\n" + arrays.content


def unpacked(content: bytes) -> dict[Source, Header]:
    """Return the headers, by source, of files that have not changed since; none of another version's."""
    text, _, arrays = content.partition(b"\n")
    described = json.loads(text)
    if described["versions"] != versions():
        return {}
    now = cache(_now)
    as_they_were = (
        one
        for one in described["headers"]
        if now(one["source"][0]) == ((*one["fingerprint"], one["changed"]), one["real_path"])
    )
    headers = (_header(one, arrays) for one in as_they_were)
    return {header.source: header for header in headers}


def _now(name: str) -> tuple[Fingerprint | None, str]:
    """Return a file's stamp, and where links lead."""
    return stamp(Path(name)), os.path.realpath(name)


def _header(described: dict[str, Any], arrays: bytes) -> Header:
    values = {name: value for name, value in described.items() if name != "changed"}
    values |= {name: value and tuple(value) for name, value in values.items() if name in TUPLES}
    values |= {name: _array(arrays, *values[name]) for name in ARRAYS}
    values["shapes"] = {name: tuple(shape) for name, shape in values["shapes"].items()}
    values["kinds"] = {name: np.dtype(kind) for name, kind in values["kinds"].items()}
    values |= {name: bytes.fromhex(values[name]) for name in DIGESTS}
    path, *which = values["source"]
    values["source"] = Source(Path(path), *which)
    return Header(**values)


def _array(arrays: bytes, begin: int, kind: str, shape: list[int]) -> np.ndarray:
    return np.frombuffer(arrays, kind, prod(shape), begin).reshape(shape)
