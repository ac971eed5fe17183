"""The results of an analysis as plain numbers, and the files they are written to. Loads no torch, no matplotlib."""

from collections.abc import Callable, Sequence
from typing import Any

rows_of: Callable[[Any], tuple[Sequence[str], list[list[Any]]]] | None = None
"""Makes of a `run_analysis.RunAnalysis` the columns and rows of its table: set from above, where it is written."""

html_of: Callable[[Any], str] | None = None
"""Makes of a `run_analysis.RunAnalysis` what a notebook shows: set from above, for pages are not known here."""
