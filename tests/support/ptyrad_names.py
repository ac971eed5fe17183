"""What every run of PtyRAD holds: its tensors, and the series of its monitor's record."""

from ptyconv_cli.quantities import all_series

TENSORS = ("obja", "objp", "probe", "probe_pos_shifts")

SERIES = tuple(series for series in all_series() if series.tensor in TENSORS)
