"""The change of one series at one checkpoint. Plain numbers."""

from typing import NamedTuple

from ptyconv_cli.results.run_analysis import RemovedAmbiguities


class Change(NamedTuple):
    """The value of one series at one snapshot, and the number of voxels in its mask (None where it has no mask).

    `aligned`: the value without the ambiguities, and what was `removed`; None where not asked for.
    """

    value: float
    voxels: int | None = None
    aligned: float | None = None
    removed: RemovedAmbiguities | None = None
