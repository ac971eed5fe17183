"""The weights of position-dependent probe modes (orthogonal probe relaxation): how much of each mode a position has."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ptyconv_cli.quantities.quantity import Quantity
from ptyconv_cli.results.run_analysis import Change

if TYPE_CHECKING:
    from ptyconv_cli.metrics.arrays import Array
    from ptyconv_cli.metrics.sketch import Distances, Places, Sketch, Values
    from ptyconv_cli.metrics.snapshot import Pair


class ProbeWeights(Quantity):
    """(N, mode). Ambiguity: other modes that are sums of these, with other weights. Formulas: docs/metrics.md."""

    key = "probe_weights"
    label = "probe weights"
    plural = True
    short_names = ("weights",)
    rate_label = "lr weights"
    of = "of their variation"
    ambiguity = "other modes, which are sums of these"
    axes = ("N", "OPR mode")
    is_optional = True
    on_host = True
    by_rows = True
    stored_if_fixed = True

    def changed(self, pair: "Pair") -> dict[str, Change]:
        """Return the RMS of the change of the weights; dimensionless."""
        from ptyconv_cli.metrics.aligned import align_weights
        from ptyconv_cli.metrics.arrays import rms

        change = Change(rms(pair.now - pair.before))
        if pair.in_frame:
            left, removed = align_weights(*pair.in_frame)
            change = change._replace(aligned=rms(left), removed=removed)
        return {self.key: change}

    def too_few_to_align(self, shape: Sequence[int]) -> bool:
        """Say whether there are no more positions than modes, so that other modes explain any change."""
        return shape[0] <= shape[1]

    def moments(self, values: "Array") -> "list[Array]":
        """Return of how far the weights of a mode vary over the positions: those of the first one are near 1."""
        from ptyconv_cli.metrics.arrays import namespace

        return super().moments(values - namespace(values).mean(values, axis=0))

    def is_in(self, model: Any) -> bool:
        """Say whether a live model has weights that can be followed."""
        tensor = model.optimizable_tensors.get(self.key)
        return tensor is not None and not self.problem(tensor)

    def distances_between(
        self, places: "Places", later: "Sketch", earlier: "Sequence[Values]", dx: float
    ) -> "Distances":
        """Return the RMS of the differences of the weights, aligned without what other modes explain."""
        from ptyconv_cli.metrics.sketch import distances_of_weights

        return distances_of_weights(later, earlier)

    def sizes(self, shape: Sequence[int]) -> dict[str, str]:
        """Return how many modes there are."""
        return {"position-dependent probe modes": str(shape[1])} if len(shape) == 2 else {}
