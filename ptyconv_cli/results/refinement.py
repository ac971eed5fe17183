"""Which tensors a run refined at all: the changes of the others are 0, or rounding noise."""

import math
from collections.abc import Iterable, Mapping

from ptyconv_cli.results.history import Point
from ptyconv_cli.results.series import SERIES

ROUNDING = 3e-7
"""Of a value's size: what float32, with 6e-8 for one rounding, makes of a value that stays as it is."""


def not_refined(points: Iterable[Point], scale: float) -> bool:
    """Say whether all changes of a tensor are within the rounding of its values, whose size is `scale`.

    `points`: the raw changes of all of its series, in the unit of `scale`. Averages over an empty mask say nothing;
    where there is no other change, the answer is False, as where one is not finite.
    """
    changes = [point.value for point in points if point.voxels != 0]
    return bool(changes) and all(math.isfinite(change) and change <= ROUNDING * scale for change in changes)


def tensors_not_refined(points: Mapping[str, list[Point]], dx: float) -> set[str]:
    """Return the tensors that a run did not refine, from the raw changes by series key; `dx` in Å per px.

    Scan positions are stored in px, so that their values are of the size of a pixel; all other changes are of values of
    the size of 1: an amplitude, a phase in rad, a fraction of the probe's intensity.
    """
    found: dict[str, list[Point]] = {}
    for series in SERIES:
        found.setdefault(series.tensor, []).extend(points.get(series.key, []))
    return {name for name, of in found.items() if not_refined(of, dx if name == "probe_pos_shifts" else 1.0)}
