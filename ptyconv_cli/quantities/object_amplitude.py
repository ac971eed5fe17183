"""The amplitude of the object's transmission."""

from typing import TYPE_CHECKING

from ptyconv_cli.quantities.object_part import ObjectPart
from ptyconv_cli.quantities.quantity import AS_MUCH

if TYPE_CHECKING:
    import numpy as np

    from ptyconv_cli.metrics.arrays import Array
    from ptyconv_cli.metrics.sketch import Places, Sketch


class ObjectAmplitude(ObjectPart):
    """Compared as 1 - amplitude. Ambiguity: a factor for each slice."""

    key = "obja"
    label = "object amplitude"
    short_names = ("amplitude",)
    rate_label = "lr obja"
    own = "factor"
    forecast = AS_MUCH
    change_title, image_title = "Amplitude change", "Object amplitude"
    map_values, profile_values = "1 - amplitude", "amplitude"
    over_slices = "mean"
    page_shares = (24, 10)

    def copied(self, array: "Array") -> "Array":
        """Return 1 - amplitude."""
        from ptyconv_cli.metrics.snapshot import without_gaps

        return without_gaps(1 - array)

    def prepared(self, array: "Array") -> "Array":
        """Return 1 - amplitude, in place."""
        for plane in array.reshape(-1, *array.shape[-2:]):  # one at a time stays in the cache
            plane *= -1
            plane += 1
        return array

    def size_of(self, rms: float, dx: float) -> float:
        """Return the size of the amplitude, of which 1 - amplitude was worked out."""
        return max(rms, 1.0)

    def size_in_frame(self, rms: float, mean: float, dx: float) -> float:
        """Return 1: there amplitudes are in units of their mean."""
        return 1.0

    def strength(self, places: "Places", sketch: "Sketch") -> float:
        """Return the share of the intensity that gets through: the squared product of the slices' mean amplitudes."""
        from ptyconv_cli.metrics.sketch import mean_of_planes

        amplitudes = 1 - mean_of_planes(places, sketch.values).reshape(places.shape[:2])
        return float((amplitudes.prod(1) ** 2).mean())

    def as_image(self, image: "np.ndarray", lit: "np.ndarray | None" = None) -> "np.ndarray":
        """Return the amplitude."""
        return 1 - image

    def as_image_of_change(self, image: "np.ndarray") -> "np.ndarray":
        """Return the change of the amplitude."""
        return -image
