"""The changes as one tidy table for pandas or a spreadsheet: `convergence.csv`."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from ptyconv_cli.results.history import Point
from ptyconv_cli.results.pieces import Pieces
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.results.series import SERIES, Series

TABLE_NAME = "convergence.csv"

COLUMNS = (
    *("series", "unit", "niter", "since", "raw", "aligned"),
    *("raw_per_iteration", "aligned_per_iteration", "voxels"),
)


def changes_csv(analysis: RunAnalysis, pieces: Pieces | None = None) -> bytes:
    """Return `convergence.csv`: a row for each series and checkpoint but the first, in the columns `COLUMNS`.

    `raw` and `aligned` are the changes from iteration `since` to `niter`, in `unit` (empty: dimensionless). A field is
    empty where its value is not known or not finite. `pieces`: of what was written before of the same run, which grows.
    """
    pieces = pieces or Pieces()
    texts = [_line(COLUMNS)]
    for series in SERIES:
        aligned = {point.niter: point.value for point in analysis.aligned_points.get(series.key, [])}
        rows = [(point, aligned.get(point.niter, math.nan)) for point in analysis.points.get(series.key, [])]
        texts.append(pieces.joined(f"table {series.key}", rows, partial(_row, series)))
    return "".join(texts).encode()


def _row(series: Series, of_both: tuple[Point, float]) -> str:
    point, aligned = of_both
    values = point.value, aligned
    per_iteration = (_per_iteration(point, value) for value in values)
    numbers = [value if math.isfinite(value) else "" for value in (*values, *per_iteration)]
    return _line([series.key, series.unit, point.niter, point.since, *numbers, point.voxels])


def _line(fields: Sequence[Any]) -> str:
    """Return fields as a line of CSV, None as an empty one. No text among them needs quotes."""
    return ",".join("" if field is None else str(field) for field in fields) + "\n"


def _per_iteration(point: Point, value: float) -> float:
    return value / point.interval if point.interval else math.nan
