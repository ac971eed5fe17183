"""The one table of series and tensors: JSON keys, titles, units and command-line choices come from here.

Loads neither torch nor matplotlib, so that `--help` and `plot` are quick.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """One series of changes between consecutive checkpoints, or snapshots of a live model.

    `key` is its name in `convergence_iters`, `tensor` the model tensor it is measured on, `label` its name for
    people, `unit` its unit ("" where it has none) and `mask` the voxels that it averages over ("background",
    "foreground", or "" where there is no mask).
    """

    key: str
    tensor: str
    label: str
    unit: str
    mask: str = ""


SERIES = (
    Series("obja_bg", "obja", "object amplitude, background", "", "background"),
    Series("obja_fg", "obja", "object amplitude, foreground", "", "foreground"),
    Series("objp_bg", "objp", "object phase, background", "rad", "background"),
    Series("objp_fg", "objp", "object phase, foreground", "rad", "foreground"),
    Series("probe", "probe", "probe intensity", ""),
    Series("probe_pos_shifts", "probe_pos_shifts", "scan positions", "Å"),
)

TENSORS = tuple(dict.fromkeys(series.tensor for series in SERIES))
"""The tensors that can be tracked, in the order of the table."""

OF_OBJECT = ("obja", "objp")
"""The tensors that are cropped to the scanned region."""
