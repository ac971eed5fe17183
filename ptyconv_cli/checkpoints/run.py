"""The checkpoints of one run, in order of iteration, known to belong together before any of them is compared."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ptyconv_cli.checkpoints import open_checkpoint
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.history import Curve, EngineHistories


@dataclass(frozen=True)
class Header:
    """What is read of a checkpoint before the walk. Units: `dx` and `slice_thickness` Å, `crop_pos` px, tilt mrad."""

    path: Path
    niter: int
    dx: float
    crop_pos: np.ndarray
    probe_shape: tuple[int, int]
    shapes: dict[str, tuple[int, ...]]
    slice_thickness: float | None
    object_tilt: tuple[float, float] | None
    remarks: list[str]


def read_headers(paths: Iterable[Path], every: int | None) -> list[Header]:
    """Read the headers of a run's checkpoints, in order of the iteration inside the files.

    `every`: only iterations that are multiples of it. Raises PtyconvError where fewer than two are left or two files
    hold the same iteration, CheckpointError where one cannot be read.
    """
    headers = sorted(map(_read_header, paths), key=lambda header: header.niter)
    for one, other in pairwise(headers):
        if one.niter == other.niter:
            raise PtyconvError(
                f"{one.path} and {other.path.name} both hold iteration {one.niter}: "
                "leave one of them in the folder, or move what belongs to another run"
            )
    chosen = [header for header in headers if header.niter % (every or 1) == 0]
    if len(chosen) < 2:
        of_these = f", {len(chosen)} of them at a multiple of {every} iterations" if every else ""
        raise PtyconvError(
            f"{headers[0].path.parent}: holds {_count(len(headers))}{of_these}; a change needs at least two"
        )
    return chosen


def check_that_they_match(headers: list[Header], tensors: Iterable[str]) -> None:
    """Raise CheckpointError where a file lacks one of `tensors`, or differs from the first in shape or geometry."""
    first = headers[0]
    for header in headers:
        for name in tensors:
            if name not in header.shapes:
                held = ", ".join(header.shapes)
                raise CheckpointError(f"{header.path}: has no tensor {name}; it has {held} (choose with -t)")
            if header.shapes[name] != first.shapes[name]:
                raise _foreign(header, first, f"the shape of {name} is {header.shapes[name]}, not {first.shapes[name]}")
        if header.dx != first.dx:
            raise _foreign(header, first, f"the pixel size dx is {header.dx:.6g} Å, not {first.dx:.6g} Å")
        if not np.array_equal(header.crop_pos, first.crop_pos):
            raise _foreign(header, first, "the scan positions (crop_pos) are not the ones")


def read_histories(headers: list[Header]) -> tuple[EngineHistories, list[str]]:
    """Read what the engine recorded up to the last checkpoint; return remarks on it too.

    What it didn't record of tilt and thickness is filled from the checkpoints themselves.
    """
    with open_checkpoint(headers[-1].path) as checkpoint:
        engine = checkpoint.histories()
        remarks = checkpoint.remarks
    thickness: Curve = [(h.niter, h.slice_thickness) for h in headers if h.slice_thickness is not None]
    tilts: dict[str, Curve] = {
        "y": [(h.niter, h.object_tilt[0]) for h in headers if h.object_tilt is not None],
        "x": [(h.niter, h.object_tilt[1]) for h in headers if h.object_tilt is not None],
    }
    recorded = dict(engine.slice_thickness)
    if any(abs(recorded.get(niter, value) - value) > 1e-6 * abs(value) for niter, value in thickness):
        remarks.append(
            "The recorded history of the slice thickness (dz_iters) contradicts the checkpoints, as it does in CPU "
            "runs, where the engine repeats the final value. The checkpoints' own thickness is shown instead."
        )
        recorded = {}
    return replace(
        engine,
        slice_thickness=engine.slice_thickness if recorded else thickness,
        tilts=engine.tilts or {axis: curve for axis, curve in tilts.items() if curve},
    ), remarks


def _read_header(path: Path) -> Header:
    with open_checkpoint(path) as checkpoint:
        return Header(
            path=path,
            niter=checkpoint.niter,
            dx=checkpoint.dx,
            crop_pos=checkpoint.crop_pos,
            probe_shape=checkpoint.probe_shape(),
            shapes=checkpoint.shapes(),
            slice_thickness=checkpoint.slice_thickness(),
            object_tilt=checkpoint.object_tilt(),
            remarks=checkpoint.remarks,
        )


def _foreign(header: Header, first: Header, how: str) -> CheckpointError:
    return CheckpointError(
        f"{header.path}: {how} of {first.path.name}: these are not checkpoints of one run, "
        "and no change between them means anything"
    )


def _count(checkpoints: int) -> str:
    return f"{checkpoints} checkpoint{'' if checkpoints == 1 else 's'}"
