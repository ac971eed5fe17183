"""The changes as one tidy table for pandas or a spreadsheet: `convergence.csv`."""

import csv
import math
from collections.abc import Iterator
from io import StringIO
from typing import Any

from ptyconv_cli.results.history import Point
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.results.series import SERIES

TABLE_NAME = "convergence.csv"

COLUMNS = (
    *("series", "unit", "niter", "since", "raw", "aligned"),
    *("raw_per_iteration", "aligned_per_iteration", "voxels"),
)


def changes_csv(analysis: RunAnalysis) -> bytes:
    """Return `convergence.csv`: a row for each series and checkpoint but the first, in the columns `COLUMNS`.

    `raw` and `aligned` are the changes from iteration `since` to `niter`, in `unit` (empty: dimensionless). A field is
    empty where its value is not known or not finite.
    """
    content = StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(analysis))
    return content.getvalue().encode()


def _rows(analysis: RunAnalysis) -> Iterator[list[Any]]:
    for series in SERIES:
        aligned = {point.niter: point.value for point in analysis.aligned_points.get(series.key, [])}
        for point in analysis.points.get(series.key, []):
            values = point.value, aligned.get(point.niter, math.nan)
            per_iteration = (_per_iteration(point, value) for value in values)
            numbers = [value if math.isfinite(value) else "" for value in (*values, *per_iteration)]
            yield [series.key, series.unit, point.niter, point.since, *numbers, point.voxels]


def _per_iteration(point: Point, value: float) -> float:
    return value / point.interval if point.interval else math.nan
