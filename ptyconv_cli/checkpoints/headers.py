"""Headers: what is read of each checkpoint before any tensor is."""

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptyconv_cli.checkpoints.opening import Fingerprint, Source, fingerprint, open_checkpoint, stamp
from ptyconv_cli.errors import CheckpointError, TooFew
from ptyconv_cli.quantities import tensor_keys, tensors
from ptyconv_cli.results.history import Curve, EngineHistories
from ptyconv_cli.results.run_analysis import LeftOut
from ptyconv_cli.results.text import MOST_SHOWN, counted, shortened

if TYPE_CHECKING:
    from ptyconv_cli.checkpoints.checkpoint import Checkpoint

PATIENCE = (0.3, 0.7, 1.0)
"""Seconds to wait between attempts at the newest checkpoint, which the engine may be writing."""


@dataclass(frozen=True, eq=False)
class Header:
    """What is read of a checkpoint before its tensors. Units: `dx` and `slice_thickness` Å, `crop_pos` px, tilt mrad.

    `source`: its file, and its name in there; `niter`: its iteration, including the `before` iterations of the runs
    that its run was resumed from; `loss`: the run's loss up to there, (n, 2), empty where the file has none;
    `away` (y, x): where, in px, its object has pixel (0, 0) of the first one that it is compared with;
    `fingerprint`: changes when the file does; `kinds`: the types that the tensors are read as; `real_path`: where links
    lead; `fixed`: digests by tensor of what
    the file may hold where it is not refined, such as scan positions; `wanted`:
    the tensors that were asked for, of which none is passed over because of damage; the rest as in
    `checkpoint.Checkpoint`.
    """

    source: Source
    fingerprint: Fingerprint
    format: str
    niter: int
    dx: float
    crop_pos: np.ndarray
    scan: np.ndarray
    probe_shape: tuple[int, int]
    shapes: dict[str, tuple[int, ...]]
    kinds: dict[str, np.dtype[Any]]
    phase_wraps: bool
    began: int
    loss: np.ndarray
    slice_thickness: float | None
    object_tilt: tuple[float, float] | None
    object_corner: tuple[float, float] | None
    remarks: list[str]
    real_path: str
    loss_digest: bytes
    has_all: bool
    lacking: Mapping[str, str]
    windows_may_exceed: bool
    repeats: bool
    knows_positions: bool
    fixed: dict[str, str]
    wanted: tuple[str, ...]
    before: int = 0
    away: tuple[int, int] = (0, 0)

    @property
    def path(self) -> Path:
        """The file."""
        return self.source.path

    def lacks(self, name: str) -> bool:
        """Say whether the file has not a tensor that it should have."""
        return name not in self.shapes and name not in self.lacking


def read_header(source: Source, tensors: Iterable[str]) -> Header:
    """Read the header of a checkpoint; raise CheckpointError where that fails, or a tensor has the wrong shape."""
    before = fingerprint(source.path)
    with open_checkpoint(source.path, source.name) as checkpoint:
        loss = np.array(checkpoint.loss(), dtype=np.float64).reshape(-1, 2)
        header = Header(
            source=source,
            fingerprint=before,
            format=shortened(checkpoint.format, MOST_SHOWN, at_end=True),
            niter=int(checkpoint.niter),
            dx=_pixel_size(checkpoint),
            crop_pos=_corners(checkpoint),
            scan=checkpoint.scan(),
            probe_shape=checkpoint.probe_shape(),
            shapes=checkpoint.shapes(tensors),
            kinds={name: checkpoint.kind_of(name) for name in tensor_keys()},
            phase_wraps=checkpoint.phase_wraps,
            began=int(checkpoint.began),
            loss=loss,
            slice_thickness=_number(checkpoint.slice_thickness()),
            object_tilt=_pair(checkpoint.object_tilt()),
            object_corner=_pair(checkpoint.object_corner()),
            remarks=[str(remark) for remark in checkpoint.remarks],
            real_path=os.path.realpath(source.path),
            loss_digest=sha256(loss.tobytes()).digest(),
            has_all=checkpoint.has_all,
            lacking={str(name): str(reason) for name, reason in checkpoint.lacking.items()},
            windows_may_exceed=checkpoint.windows_may_exceed,
            repeats=checkpoint.repeats,
            knows_positions=checkpoint.knows_positions,
            fixed={},
            wanted=tuple(tensors),
        )
        return replace(header, fixed=_digests(checkpoint, header.shapes))


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _pair(values: tuple[float, float] | None) -> tuple[float, float] | None:
    if values is None:
        return None
    y, x = values
    return float(y), float(x)


def _digests(checkpoint: "Checkpoint", shapes: Mapping[str, Any]) -> dict[str, str]:
    """Return digests of the tensors, out of those in `shapes`, that a file may hold where they are not refined."""
    if not checkpoint.stores_fixed_positions:
        return {}
    held = {one.key: checkpoint.tensor(one.key)[...] for one in tensors() if one.stored_if_fixed and one.key in shapes}
    return {
        name: sha256(np.asarray(tensor).tobytes()).hexdigest() for name, tensor in held.items() if tensor is not None
    }


def _pixel_size(checkpoint: "Checkpoint") -> float:
    if not 0 < checkpoint.dx < math.inf:
        raise CheckpointError(f"{checkpoint.path}: the pixel size is {checkpoint.dx:g} Å")
    return float(checkpoint.dx)


def _corners(checkpoint: "Checkpoint") -> np.ndarray:
    corners = np.asarray(checkpoint.crop_pos())
    if corners.dtype.kind not in "iu" or corners.shape != (len(corners), 2) or not len(corners):
        found = f"{corners.dtype} {corners.shape}"
        raise CheckpointError(f"{checkpoint.path}: the scan positions are {found}; expected integers (N, 2)")
    if corners.min() < 0 and not checkpoint.windows_may_exceed:
        raise CheckpointError(f"{checkpoint.path}: the scan positions lie outside any object")
    return corners.astype(np.int64)


def read_headers(
    sources: Sequence[Source],
    tensors: tuple[str, ...],
    strict: bool,
    seen: dict[Source, Header] | None = None,
    optional: bool = False,
) -> tuple[list[Header], list[LeftOut]]:
    """Read the headers of checkpoints; return them in order of the iteration inside the files, and unreadable files.

    `seen`: headers read before; those of files that are still the same are not read again, and new ones are added.
    Raises CheckpointError where no file can be read, or, if `strict`, one cannot, and where one of the `tensors` is in
    no file, unless they are `optional`.
    """
    seen = {} if seen is None else seen
    headers: list[Header] = []
    left_out: dict[Source, LeftOut] = {}
    sharing: _Sharing | None = None
    stamp_of = cache(stamp)  # a file may hold many snapshots
    latest_first = sorted(sources, key=lambda source: (source.niter or 0, source.path.name), reverse=True)
    for source in latest_first:
        newest = source == latest_first[0]
        try:
            header = _seen(source, tensors, seen, stamp_of)
            header = header or (_read_patiently if newest else read_header)(source, tensors)
        except CheckpointError as error:
            if strict or len(left_out) == len(sources) - 1:
                raise
            left_out[source] = leave_out(source, error, newest)
            continue
        sharing = sharing or _Sharing(header)
        headers.append(sharing.of(header))
        seen[source] = headers[-1]
    headers.reverse()
    for name in tensors:
        lacking = [header for header in headers if header.lacks(name) or not (optional or name in header.shapes)]
        if optional and len(lacking) == len(headers) and not any(header.has_all for header in headers):
            continue
        if lacking and (strict or len(lacking) == len(headers)):
            raise lacking_tensor(lacking[0], name)
        for header in lacking:
            left_out.setdefault(header.source, leave_out(header.source, lacking_tensor(header, name), newest=False))
        left = {id(header) for header in lacking}
        headers = [header for header in headers if id(header) not in left]
    in_order = sorted(headers, key=lambda header: (header.niter, header.niter != header.source.niter))
    return in_order, [left_out[source] for source in sources if source in left_out]


def _seen(
    source: Source,
    tensors: Iterable[str],
    seen: Mapping[Source, Header],
    stamp_of: Callable[[Path], Fingerprint | None],
) -> Header | None:
    """Return the header that was read before, if the file is the same still and was searched for the tensors."""
    header = seen.get(source)
    if header is None or any(header.lacks(name) and name not in header.wanted for name in tensors):
        return None
    return header if stamp_of(source.path) == header.fingerprint else None


class _Sharing:
    """Lets headers share their arrays with those of the latest one, where they are equal, and its loss history's begin.

    Each file holds the whole history up to it, and all scan positions: of many files, that would be much memory.
    """

    def __init__(self, latest: Header) -> None:
        self._latest = latest
        self._equal: dict[str, list[np.ndarray]] = {"loss": [], "crop_pos": [], "scan": []}

    def of(self, header: Header) -> Header:
        """Return a header with the arrays of the latest one."""
        latest = self._latest
        return replace(
            header,
            loss=self._shared("loss", header.loss, latest.loss[: len(header.loss)]),
            crop_pos=self._shared("crop_pos", header.crop_pos, latest.crop_pos),
            scan=self._shared("scan", header.scan, latest.scan),
        )

    def _shared(self, name: str, array: np.ndarray, shared: np.ndarray) -> np.ndarray:
        # Of headers that share their arrays already, only the first one's are compared.
        if any(is_same_memory(array, one[: len(array)]) for one in self._equal[name]):
            return shared
        if not len(array) or not is_equal(array, shared):
            return array
        self._equal[name].append(array)
        return shared


def is_equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Say whether two arrays are equal, at once where they are the same memory."""
    return is_same_memory(one, other) or bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def is_same_memory(one: np.ndarray, other: np.ndarray) -> bool:
    """Say whether two arrays are the same memory, read in the same way."""
    if one is other:
        return True
    same_place = one.__array_interface__["data"] == other.__array_interface__["data"]
    return same_place and one.shape == other.shape and one.strides == other.strides and one.dtype == other.dtype


def leave_out(source: Source, error: CheckpointError, newest: bool) -> LeftOut:
    """Return why a checkpoint that could not be read is left out."""
    reason = str(error).removeprefix(f"{source.path}: ").rstrip(".")
    reason += " (the newest checkpoint: is it still being written?)" if newest else ""
    which = f", iteration {source.niter}" if source.name else ""  # of several in a file
    return LeftOut(source.path.name + which, reason, source.niter)


def put_aside(header: Header, error: CheckpointError, left_out: list[LeftOut]) -> None:
    """Add a checkpoint whose tensors could not be read to those that are left out, unless it is among them already."""
    file = replace(leave_out(header.source, error, newest=False), niter=header.niter)
    left_out += [] if file in left_out else [file]


def check_that_enough_are_left(
    run_dir: Path, headers: Sequence[Header], every: int | None, left_out: list[LeftOut]
) -> None:
    """Raise TooFew where fewer than two checkpoints are left to compare."""
    if len(headers) < 2:
        multiples = f" at multiples of {every} iterations" if every else ""
        unread = f" that can be used ({left_out[0].file}: {left_out[0].reason})" if left_out else ""
        recorded = any(len(header.loss) for header in headers)
        hint = f". What the engine recorded itself can be drawn: ptyconv plot {run_dir}" if recorded else ""
        raise TooFew(
            f"{run_dir}: holds {counted(len(headers), 'checkpoint')}{multiples}{unread}; a change needs at least two, "
            f"and the verdict one near half and one near a quarter of the last one's iterations{hint}",
            len(headers),
        )


def read_histories(headers: list[Header]) -> tuple[EngineHistories, list[str]]:
    """Read the engine's histories from the last checkpoint that can still be read; return remarks on them too.

    Tilt and thickness that the engine did not record are taken from the checkpoints themselves.
    """
    engine, remarks = EngineHistories(), []
    for header in reversed(headers):
        try:
            if fingerprint(header.path).may_have_its_content(header.fingerprint):
                with open_checkpoint(header.path, header.source.name) as checkpoint:
                    engine = checkpoint.histories().plain()
                    engine = replace(engine, settings=checkpoint.settings, loss_of=checkpoint.loss_of())
                    remarks = [str(remark) for remark in checkpoint.remarks]
                    break
        except CheckpointError as error:
            remarks = [f"{error}. Its histories are left out."]
    thickness: Curve = [(h.niter, h.slice_thickness) for h in headers if h.slice_thickness is not None]
    engine = replace(engine, loss=_joined(engine.loss, headers) if engine.loss else [])
    tilts: dict[str, Curve] = {
        "y": [(h.niter, h.object_tilt[0]) for h in headers if h.object_tilt is not None],
        "x": [(h.niter, h.object_tilt[1]) for h in headers if h.object_tilt is not None],
    }
    recorded = dict(engine.slice_thickness)
    if any(abs(recorded.get(niter, value) - value) > 1e-6 * abs(value) for niter, value in thickness):
        remarks.append(
            "The recorded history of the slice thickness (dz_iters) contradicts the checkpoints: in CPU runs PtyRAD "
            "repeats the final value there. The thickness in the checkpoints is shown instead."
        )
        recorded = {}
    return replace(
        engine,
        slice_thickness=engine.slice_thickness if recorded else thickness,
        tilts=engine.tilts or {axis: curve for axis, curve in tilts.items() if curve},
    ), remarks


def _joined(loss: Curve, headers: Sequence[Header]) -> Curve:
    """Return the loss of the last checkpoint, and before it, where that is not the whole, that of the others."""
    for header in reversed(headers):
        begin = loss[0][0] if loss else math.inf
        earlier = header.loss[header.loss[:, 0] < begin]
        loss = [*((int(niter), float(value)) for niter, value in earlier), *loss]
    return loss


def _read_patiently(source: Source, tensors: Iterable[str]) -> Header:
    for seconds in PATIENCE:
        try:
            return read_header(source, tensors)
        except CheckpointError:
            time.sleep(seconds)
    return read_header(source, tensors)


def lacking_tensor(header: Header, name: str) -> CheckpointError:
    """Return the error for a checkpoint that lacks a tensor."""
    why = f", because {header.lacking[name]}" if name in header.lacking else ""
    has = ", ".join(header.shapes)
    return CheckpointError(f"{header.path}: has no tensor {name}{why}; it has {has} (choose with -t)")
