"""The scan positions. Formulas: docs/metrics.md and docs/verdict.md."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptyconv_cli.quantities.quantity import ANGSTROM, ARROWS, AS_MUCH, PIXELS, Quantity
from ptyconv_cli.results.run_analysis import Change

if TYPE_CHECKING:
    from ptyconv_cli.metrics.arrays import Array
    from ptyconv_cli.metrics.sketch import Distances, Places, Sketch, Values
    from ptyconv_cli.metrics.snapshot import Pair


class ScanPositions(Quantity):
    """(N, 2) in px, y first; changes in Å. Ambiguity: a displacement of all of them."""

    key = "probe_pos_shifts"
    label = "scan positions"
    plural = True
    short_names = ("positions",)
    rate_label = "lr pos"
    unit, tolerance, of = PIXELS, 0.1, ""
    forecast = AS_MUCH
    axes = ("N", "2")
    on_host = True
    by_rows = True
    stored_if_fixed = True
    series_unit = ANGSTROM
    drawn_as = ARROWS

    def size_of(self, rms: float, dx: float) -> float:
        """Return it in Å."""
        return dx * rms

    def size_of_changes(self, dx: float) -> float:
        """Return the size of a pixel: positions are stored in px."""
        return dx

    def changed(self, pair: "Pair") -> dict[str, Change]:
        """Return the RMS displacement in Å."""
        from ptyconv_cli.metrics.aligned import align_positions, rms_displacement

        change = Change(rms_displacement(pair.now - pair.before, pair.dx))
        if pair.in_frame:
            left, removed = align_positions(*pair.in_frame, pair.dx)
            change = change._replace(aligned=rms_displacement(left, pair.dx), removed=removed)
        return {self.key: change}

    def too_few_to_align(self, shape: Sequence[int]) -> bool:
        """Say whether it is a single position: their mean is removed."""
        return shape[0] <= 1

    def moments(self, values: "Array") -> "list[Array]":
        """Return none: what they are measured by is the size of a pixel."""
        return []

    def distances_between(
        self, places: "Places", later: "Sketch", earlier: "Sequence[Values]", dx: float
    ) -> "Distances":
        """Return the RMS displacements in Å, without the mean where aligned."""
        from ptyconv_cli.metrics.sketch import displacements

        return displacements(later, earlier, dx)

    def sizes(self, shape: Sequence[int]) -> dict[str, str]:
        """Return how many there are."""
        return {"scan positions": str(shape[0])} if shape else {}
