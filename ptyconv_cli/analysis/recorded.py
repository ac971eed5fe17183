"""What the engine recorded of a run, in its last file: read once, and kept for as long as the files are the same."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from ptyconv_cli.checkpoints.chain import Run, chained_histories
from ptyconv_cli.checkpoints.fingerprint import stamp
from ptyconv_cli.checkpoints.parents import name_of_parent, origin_of
from ptyconv_cli.checkpoints.readers import versions
from ptyconv_cli.results.history import Curve, EngineHistories


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


def packed(key: str, recorded: Recorded) -> bytes:
    """Return what was recorded, as `unpacked` takes it."""
    return json.dumps([key, vars(recorded.engine), recorded.remarks, recorded.resumed]).encode()


def unpacked(content: bytes) -> tuple[str, Recorded]:
    """Return the key, and what was recorded."""
    key, engine, remarks, resumed = json.loads(content)
    curves = {name: _curve(engine[name]) for name in ("loss", "slice_thickness", "seconds")}
    of_names = {name: _curves(engine[name]) for name in ("learning_rates", "tilts", "convergence")}
    optimised = {name: tuple(ends) for name, ends in engine["optimised"].items()}
    percentiles = engine["live_percentiles"] and tuple(engine["live_percentiles"])
    found = {**engine, **curves, **of_names, "optimised": optimised, "live_percentiles": percentiles}
    return key, Recorded(EngineHistories(**found), remarks, resumed)


def _curve(pairs: list[list[Any]]) -> Curve:
    return [(niter, value) for niter, value in pairs]


def _curves(curves: dict[str, list[list[Any]]]) -> dict[str, Curve]:
    return {name: _curve(pairs) for name, pairs in curves.items()}
