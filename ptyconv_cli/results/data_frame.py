"""Tables for pandas, where that is installed."""

from collections.abc import Sequence
from typing import Any

from ptyconv_cli.errors import PtyconvError


def data_frame(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """Return a pandas DataFrame; raise PtyconvError where pandas is not installed."""
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise PtyconvError("a DataFrame needs pandas, which is not installed: pip install pandas") from error
    return pd.DataFrame([list(row) for row in rows], columns=list(columns))
