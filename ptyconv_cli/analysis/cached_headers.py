"""Headers, and what the engine recorded, in the cache."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cache
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ptyconv_cli.checkpoints.chain import Run, chained_histories
from ptyconv_cli.checkpoints.grouping import name_of_parent, origin_of
from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.checkpoints.opening import Fingerprint, Source, stamp
from ptyconv_cli.checkpoints.readers import versions
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import Curve, EngineHistories

ARRAYS = ("crop_pos", "scan", "loss")

TUPLES = ("probe_shape", "object_tilt", "object_corner", "wanted", "away")

DIGESTS = ("loss_digest",)


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


def packed_headers(headers: Iterable[Header]) -> bytes:
    """Return headers of files that are what they were when they were read, as `unpacked_headers` takes them."""
    arrays, found, stamp_of = _Arrays(), [], cache(stamp)  # a file may hold many snapshots
    for header in sorted(headers, key=lambda header: -len(header.loss)):
        if stamp_of(header.path) != header.fingerprint:
            continue
        content = {field.name: getattr(header, field.name) for field in fields(header)}
        content |= {name: arrays.add(content[name]) for name in ARRAYS}
        content |= {name: content[name].hex() for name in DIGESTS}
        content["kinds"] = {name: kind.str for name, kind in header.kinds.items()}
        content["source"] = [str(header.path), header.source.name, header.source.niter]
        found.append(content)
    return json.dumps({"versions": versions(), "headers": found}).encode() + b"\n" + arrays.content


def unpacked_headers(content: bytes) -> dict[Source, Header]:
    """Return the headers, by source, of files that have not changed since; none of another version's."""
    text, _, arrays = content.partition(b"\n")
    described = json.loads(text)
    if described["versions"] != versions():
        return {}
    now = cache(_now)
    as_they_were = (
        one for one in described["headers"] if now(one["source"][0]) == (tuple(one["fingerprint"]), one["real_path"])
    )
    headers = (_header(one, arrays) for one in as_they_were)
    return {header.source: header for header in headers}


def _now(name: str) -> tuple[Fingerprint | None, str]:
    """Return a file's fingerprint, and where links lead."""
    return stamp(Path(name)), os.path.realpath(name)


def _header(described: dict[str, Any], arrays: bytes) -> Header:
    values = described | {"fingerprint": Fingerprint(*described["fingerprint"])}
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


class Recorded(NamedTuple):
    """The engine's histories, remarks on them, and whether the first checkpoint says that the run was resumed."""

    engine: EngineHistories
    remarks: list[str]
    resumed: bool


def read_recorded(runs: Sequence[Run]) -> Recorded:
    """Read what was recorded of runs that are not on one axis yet."""
    engine, remarks = chained_histories(list(runs))
    return Recorded(engine, remarks, bool(name_of_parent(origin_of(runs[0].headers[0].path))))


def key_of(runs: Sequence[Run]) -> str:
    """Return a digest of all that what was recorded depends on: the files, and what their headers say of histories."""
    of_runs = [
        (
            run.until,
            stamp(run.headers[0].path),
            stamp(run.headers[-1].path),
            [
                (str(h.path), h.source.name, h.fingerprint, h.niter, h.slice_thickness, h.object_tilt, h.loss_digest)
                for h in run.headers
            ],
        )
        for run in runs
    ]
    return sha256(repr([versions(), of_runs]).encode(errors="surrogateescape")).hexdigest()


def packed_record(key: str, recorded: Recorded) -> bytes:
    """Return what was recorded, as `unpacked_record` takes it."""
    engine = vars(recorded.engine) | {"settings": vars(recorded.engine.settings)}
    return json.dumps([key, engine, recorded.remarks, recorded.resumed]).encode()


def unpacked_record(content: bytes) -> tuple[str, Recorded]:
    """Return the key, and what was recorded."""
    key, engine, remarks, resumed = json.loads(content)
    curves = {name: _curve(engine[name]) for name in ("loss", "slice_thickness", "seconds")}
    of_names = {name: _curves(engine[name]) for name in ("learning_rates", "tilts", "convergence")}
    optimised = {name: tuple(ends) for name, ends in engine["optimised"].items()}
    percentiles = engine["live_percentiles"] and tuple(engine["live_percentiles"])
    found = {**engine, **curves, **of_names, "optimised": optimised, "live_percentiles": percentiles}
    found["settings"] = EngineSettings(**engine["settings"])
    return key, Recorded(EngineHistories(**found), remarks, resumed)


def _curve(pairs: list[list[Any]]) -> Curve:
    return [(niter, value) for niter, value in pairs]


def _curves(curves: dict[str, list[list[Any]]]) -> dict[str, Curve]:
    return {name: _curve(pairs) for name, pairs in curves.items()}
