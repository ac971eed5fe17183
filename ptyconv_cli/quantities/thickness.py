"""The slice thickness, as the engine recorded it."""

from collections.abc import Sequence

from ptyconv_cli.quantities.quantity import Quantity, in_unit_of_length
from ptyconv_cli.results.history import Curve, EngineHistories


class SliceThickness(Quantity):
    """In Å; its change is measured by itself."""

    key = "thickness"
    label = "slice thickness"
    engine_key = "slice_thickness"
    tolerance = 1.0

    def curves(self, engine: EngineHistories) -> list[Curve]:
        """Return the thickness."""
        return [engine.slice_thickness] if engine.slice_thickness else []

    def contrast_of_curves(self, curves: Sequence[Curve], last: int) -> float:
        """Return the last thickness."""
        before = [abs(value) for niter, value in curves[0] if niter <= last]
        return before[-1] if before else 1.0

    def recorded(self, engine: EngineHistories) -> tuple[str, dict[str, Curve]]:
        """Return the thickness in Å, nm or µm."""
        unit, curves = in_unit_of_length({"": engine.slice_thickness})
        return f"thickness ({unit})", curves
