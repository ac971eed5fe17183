"""Where scan positions went, iteration by iteration, as the viewer's script draws it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ptyconv_cli.analysis.frames import Frame, displacements
from ptyconv_cli.pictures.map_marks import round_length

MOST = 300
"""Arrows at most, where a page has room for them."""

KINDS = ("moved", "last", "half")

USUAL = 95
"""Percentile of the displacements whose arrow reaches from one of the shown positions to the next."""

STILL = 1e-6
"""Share of the distance between positions up to which they did not move: that is rounding."""

Pairs = list[list[float] | None]
"""(x, y) in Å by position, None where it is not finite."""


def positions_data(parts: Sequence[Sequence[Frame]], most: int = MOST) -> dict[str, Any] | None:
    """Return what is drawn of the frames of each part of a run, None where there are no positions.

    Of more than `most` positions only some are drawn.
    `part` of each frame; `places` of each part, and by frame the displacements since the part's first one (`moved`),
    from the run's `last` one and from the one at `half`: lengths in Å, None across the boundary of a part. `rms` of all
    displacements. `stretch`: how many times as long as it is a displacement is drawn.
    """
    frames = [frame for part in parts for frame in part]
    if not frames or frames[-1].positions is None:
        return None
    at = {frame.header.niter: frame for frame in frames}
    found: dict[str, list[Pairs | None]] = {kind: [] for kind in KINDS}
    rms: dict[str, list[float | None]] = {kind: [] for kind in KINDS}
    places: list[np.ndarray] = []
    for part in parts:
        last = frames[-1] if part is parts[-1] else None
        some = _some(_places(part[0]), most)
        places.append(_places(part[0])[some])
        for frame in part:
            for kind, other in zip(KINDS, (part[0], last, at.get(frame.half or -1)), strict=True):
                moved = _moved(frame, other) if other else None
                found[kind].append(None if moved is None else _pairs(moved[some]))
                rms[kind].append(None if moved is None else _rms(moved))
    return {
        "all": len(frames[-1].positions),
        "shown": len(places[-1]),
        "part": [number for number, part in enumerate(parts) for _ in part],
        "places": [_pairs(of_part) for of_part in places],
        "rms": rms,
        "stretch": {kind: _stretch(of_kind, places[-1]) for kind, of_kind in found.items()},
        **found,
    }


def _places(frame: Frame) -> np.ndarray:
    header = frame.header
    found: np.ndarray = header.dx * (header.crop_pos + np.array(header.probe_shape) // 2)
    return found


def _some(places: np.ndarray, most: int) -> np.ndarray:
    """Return which of the positions (N, 2) are shown: all, or of more than `most` one in each cell of a grid."""
    if len(places) <= most:
        return np.arange(len(places))
    side = max(math.isqrt(most), 1)
    low, extent = places.min(0), np.maximum(np.ptp(places, axis=0), 1e-9)
    row, column = np.minimum((places - low) / extent * side, side - 1).astype(int).T
    return np.sort(np.unique(row * side + column, return_index=True)[1])


def _moved(frame: Frame, other: Frame) -> np.ndarray:
    assert frame.positions is not None
    assert other.positions is not None
    return displacements(frame.positions, other.positions, frame.header.dx)


def _rms(moved: np.ndarray) -> float | None:
    found = math.sqrt(float((moved**2).sum(1).mean()))
    return float(f"{found:.4g}") if math.isfinite(found) else None


def _pairs(values: np.ndarray) -> Pairs:
    """Return values (N, 2), y first, as pairs (x, y)."""
    return [
        [float(f"{x:.4g}"), float(f"{y:.4g}")] if math.isfinite(x) and math.isfinite(y) else None
        for y, x in values.tolist()
    ]


def _stretch(moves: Sequence[Pairs | None], places: np.ndarray) -> float:
    """Return how many times as long as they are displacements are drawn: a 1, 2 or 5 and zeros.

    The same for all iterations, so that those of the one that moved most reach from one shown position to the next.
    """
    area = float(np.ptp(places[:, 0]) * np.ptp(places[:, 1]))
    apart = math.sqrt(area / len(places)) if area else float(np.ptp(places) or 1)
    far = [[math.hypot(*pair) for pair in of_frame or [] if pair] for of_frame in moves]
    usual = max((float(np.percentile(of_frame, USUAL)) for of_frame in far if of_frame), default=0.0)
    return round_length(apart / usual) if usual > STILL * apart else 1.0
