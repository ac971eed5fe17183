"""The phase of the object's transmission."""

from typing import TYPE_CHECKING

from ptyconv_cli.quantities.object_part import ObjectPart
from ptyconv_cli.quantities.quantity import AS_MUCH

if TYPE_CHECKING:
    import numpy as np


class ObjectPhase(ObjectPart):
    """In rad. Ambiguities: a constant for each slice, and a linear ramp."""

    key = "objp"
    label = "object phase"
    short_names = ("phase",)
    rate_label = "lr objp"
    own = "offset"
    series_unit = "rad"
    wraps = True
    forecast = AS_MUCH
    change_title, image_title = "Phase change", "Object phase"
    map_values, profile_values, values_unit = "phase", "phase (rad)", "rad"
    over_slices = "sum"
    page_shares = (64, 20)

    def as_image(self, image: "np.ndarray", lit: "np.ndarray | None" = None) -> "np.ndarray":
        """Return the phase without constant and ramp, which are ambiguities."""
        from ptyconv_cli.metrics.image import flattened

        return flattened(image, lit)
