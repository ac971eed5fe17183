"""The results of an analysis as plain numbers, and the files they are written to. Loads no torch, no matplotlib."""

from collections.abc import Callable
from typing import Any

html_of: Callable[[Any], str] | None = None
"""Makes of a `run_analysis.RunAnalysis` what a notebook shows: set from above, for pages are not known here."""
