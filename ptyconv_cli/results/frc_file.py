"""`frc.json`, which holds Fourier ring correlations over the iterations: written and read."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.files import or_nan, or_null, read_json
from ptyconv_cli.results.frc import CALLED, Frc, FrcPoint, check_threshold

FRC_NAME, FRC_PICTURE_NAME = "frc.json", "frc.png"

KIND, FORMAT = "frc", 1


def frc_json(frc: Frc) -> bytes:
    """Return `frc.json`; null where a number is not finite."""
    best, alike = frc.best_by_area, frc.best_by_correlation
    content = {
        "format": FORMAT,
        "kind": KIND,
        "ptyconv_version": frc.ptyconv_version,
        "runs": frc.runs,
        "names": frc.names,
        "tensor": frc.tensor,
        "slices": frc.slices,
        "slice": frc.slice_number,
        "threshold": frc.threshold,
        "dx_angstrom": frc.dx,
        "points": [_point(point) for point in frc.points],
        "best_by_area": best and best.niter,
        "best_by_correlation": alike and alike.niter,
        "answer": frc.answer,
        "warnings": frc.warnings,
    }
    return (json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def _point(point: FrcPoint) -> dict[str, Any]:
    return {
        "niter": point.niter,
        "other": point.other,
        "resolution_angstrom": point.resolution,
        "down_to_pixels": point.is_down_to_limit,
        "area": or_null(point.area),
        "correlation": or_null(point.correlation),
        "shift_angstrom": [or_null(part) for part in point.shift],
        "overlap_px": list(point.overlap),
        "ring_width_per_angstrom": point.ring_width,
        "frc": [or_null(value) for value in point.frc],
        "threshold": [or_null(value) for value in point.threshold],
    }


def holds_frc(path: Path) -> bool:
    """Say whether a file is one that `frc_json` made, of whatever version."""
    try:
        content = read_json(path)
    except PtyconvError:
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


def read_frc(path: Path) -> Frc:
    """Read a `frc.json`; raise PtyconvError where it is none."""
    content = read_json(path)
    if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
        raise PtyconvError(f"{path}: was written by another version of ptyconv; run ptyconv frc again")
    try:
        return _from_content(content)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise PtyconvError(
            f"{path}: holds no ring correlations of ptyconv ({type(error).__name__}: {error})"
        ) from error


def _from_content(content: dict[str, Any]) -> Frc:
    points = [_read_point(found) for found in content["points"]]
    niters = [point.niter for point in points]
    runs, names = ([str(text) for text in content[key]] for key in ("runs", "names"))
    slices, number, dx = int(content["slices"]), content["slice"], float(content["dx_angstrom"])
    if not points or any(one >= other for one, other in pairwise(niters)) or not 0 <= niters[0] <= niters[-1] <= 10**9:
        raise ValueError("the iterations don't rise")
    if len(runs) != len(names) or len(runs) not in (1, 2):
        raise ValueError(f"{len(names)} names of {len(runs)} runs")
    if not 0 < dx < math.inf or not 0 < (1 if number is None else int(number)) <= slices:
        raise ValueError("the pixel size, or the slice, cannot be")
    return Frc(
        runs=runs,
        names=names,
        tensor={name: name for name in CALLED}[content["tensor"]],
        slices=slices,
        slice_number=None if number is None else int(number),
        threshold=check_threshold(content["threshold"]),
        dx=dx,
        points=points,
        warnings=[str(warning) for warning in content["warnings"]],
        ptyconv_version=str(content["ptyconv_version"]),
    )


def _read_point(found: dict[str, Any]) -> FrcPoint:
    (y, x), (height, width) = found["shift_angstrom"], found["overlap_px"]
    resolution, ring_width = found["resolution_angstrom"], float(found["ring_width_per_angstrom"])
    values, threshold = ([or_nan(value) for value in found[key]] for key in ("frc", "threshold"))
    if not 0 < ring_width < math.inf or (resolution is not None and not 0 < float(resolution) < math.inf):
        raise ValueError("the width of a ring, or a resolution, is no length")
    if not values or len(values) != len(threshold) or any(abs(value) > 1 + 1e-9 for value in values):
        raise ValueError("the ring correlations are no correlations")
    return FrcPoint(
        niter=int(found["niter"]),
        other=int(found["other"]),
        ring_width=ring_width,
        frc=values,
        threshold=threshold,
        resolution=None if resolution is None else float(resolution),
        area=or_nan(found["area"]),
        correlation=or_nan(found["correlation"]),
        shift=(or_nan(y), or_nan(x)),
        overlap=(int(height), int(width)),
    )
