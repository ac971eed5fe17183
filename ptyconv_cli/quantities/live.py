"""What there is of a live model to say where its object is: see `quantities.registration.Source`."""

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import Array, on_host
from ptyconv_cli.metrics.light import lit
from ptyconv_cli.metrics.snapshot import Model, intensity, there
from ptyconv_cli.metrics.translation import Beyond
from ptyconv_cli.quantities import of_object, quantity_of
from ptyconv_cli.quantities.registration import POSITIONS
from ptyconv_cli.results.run_analysis import Region


class ModelSource:
    """Of a model, whose tensors are only read; what is taken of them is on `device`, by default that of the model."""

    def __init__(self, model: Model, region: Region, device: str | None) -> None:
        self._model, self._region, self._device = model, region, device
        self._modes: Array | None = None
        self._positions: NDArray[np.floating] | None = None

    def part(self, name: str, away: tuple[int, int], margin: int) -> tuple[Array, Beyond] | None:
        """As `quantities.registration.Source.part`."""
        if name not in self._model.optimizable_tensors:
            return None
        tensor = self._model.optimizable_tensors[name].detach()
        wanted = self._region.within(tensor.shape).moved(away, margin)
        inside = wanted.inside(tensor.shape)
        if not inside.holds_any():
            return None
        return quantity_of(name).copied(there(tensor[inside.slices], self._device)), wanted.beyond(inside)

    def holds(self, away: tuple[int, int]) -> bool:
        """As `quantities.registration.Source.holds`."""
        return all(self._region.is_held_by(shape, away) for shape in self._shapes())

    def _shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the object's parts (omode, slice, y, x)."""
        held = self._model.optimizable_tensors
        shapes = [tuple(held[name].shape) for name in of_object() if name in held]
        return [shape for shape in shapes if len(shape) == len("msyx")]

    def modes(self) -> Array | None:
        """As `quantities.registration.Source.modes`."""
        if self._modes is None:
            self._modes = there(self._model.get_complex_probe_view(), self._device)
        return self._modes

    def positions(self) -> NDArray[np.floating] | None:
        """As `quantities.registration.Source.positions`."""
        tensor = self._model.optimizable_tensors.get(POSITIONS)
        if self._positions is None and tensor is not None:
            self._positions = on_host(there(tensor, "cpu"))
        return self._positions

    def lit(self) -> NDArray[np.bool_] | None:
        """Return which voxels of the scanned region (y, x) the scan lit; None for all."""
        shapes = self._shapes()
        if not shapes:
            return None
        seen = on_host(intensity(there(self._model.get_complex_probe_view(), "cpu"))).astype(float)
        return lit(self._model.crop_pos.cpu().numpy(), seen, self._region.within(shapes[0]))
