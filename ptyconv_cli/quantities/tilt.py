"""The object tilt, as the engine recorded it."""

from ptyconv_cli.quantities.quantity import MRAD, Quantity
from ptyconv_cli.results.history import Curve, EngineHistories


class ObjectTilt(Quantity):
    """(y, x) in mrad, averaged over positions."""

    key = "tilt"
    label = "object tilt"
    engine_key = "obj_tilts"
    unit, tolerance, of = MRAD, 0.1, ""
    in_first_row = True

    def curves(self, engine: EngineHistories) -> list[Curve]:
        """Return the tilts in y and in x."""
        return list(engine.tilts.values())

    def recorded(self, engine: EngineHistories) -> tuple[str, dict[str, Curve]]:
        """Return the tilts in mrad."""
        return f"tilt ({MRAD})", engine.tilts
