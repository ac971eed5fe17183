"""Headers of checkpoints in a file: to open every file of a run again takes longer than all else that is not new."""

import json
import os
from collections.abc import Iterable
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ptyconv_cli.checkpoints.fingerprint import Fingerprint
from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.version import __version__

ARRAYS = ("crop_pos", "scan", "loss")

TUPLES = ("fingerprint", "probe_shape", "object_tilt")


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
    arrays, found = _Arrays(), []
    for header in sorted(headers, key=lambda header: -len(header.loss)):
        now = stamp(header.path)
        if now is None or now[:-1] != header.fingerprint:
            continue
        content = {field.name: getattr(header, field.name) for field in fields(header)}
        content |= {name: arrays.add(content[name]) for name in ARRAYS}
        content["kinds"] = {name: kind.str for name, kind in header.kinds.items()}
        found.append(content | {"path": str(header.path), "loss_digest": header.loss_digest.hex(), "changed": now[-1]})
    return json.dumps({"version": __version__, "headers": found}).encode() + b"\n" + arrays.content


def unpacked(content: bytes) -> dict[Path, Header]:
    """Return the headers, by path, of files that have not changed since; none of another version's."""
    text, _, arrays = content.partition(b"\n")
    described = json.loads(text)
    if described["version"] != __version__:
        return {}
    headers = (_header(one, arrays) for one in described["headers"] if _is_as_it_was(one))
    return {header.path: header for header in headers}


def _is_as_it_was(described: dict[str, Any]) -> bool:
    path = Path(described["path"])
    as_it_was = [*described["fingerprint"], described["changed"]]
    return stamp(path) == tuple(as_it_was) and os.path.realpath(path) == described["real_path"]


def stamp(path: Path) -> Fingerprint | None:
    """Return the fingerprint of a file as of `checkpoints.fingerprint`, and when its status changed last.

    None where it is not there.

    That time tells a file that another one was copied over, though it has the size and time of that one.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _header(described: dict[str, Any], arrays: bytes) -> Header:
    values = {name: value for name, value in described.items() if name != "changed"}
    values |= {name: value and tuple(value) for name, value in values.items() if name in TUPLES}
    values |= {name: _array(arrays, *values[name]) for name in ARRAYS}
    values["shapes"] = {name: tuple(shape) for name, shape in values["shapes"].items()}
    values["kinds"] = {name: np.dtype(kind) for name, kind in values["kinds"].items()}
    values |= {"path": Path(values["path"]), "loss_digest": bytes.fromhex(values["loss_digest"])}
    return Header(**values)


def _array(arrays: bytes, begin: int, kind: str, shape: list[int]) -> np.ndarray:
    return np.frombuffer(arrays, kind, prod(shape), begin).reshape(shape)
