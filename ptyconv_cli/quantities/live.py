"""What there is of a live model to say where its object is: see `quantities.registration.Source`."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.arrays import Array, on_host
from ptyconv_cli.metrics.light import lit
from ptyconv_cli.metrics.snapshot import Model, intensity, there
from ptyconv_cli.metrics.translation import Beyond
from ptyconv_cli.quantities import of_object, quantity_of
from ptyconv_cli.quantities.registration import POSITIONS, PROBE
from ptyconv_cli.results.run_analysis import Region

FARTHEST = 1 << 31
"""Pixels beyond which no object lies."""

HAS = "optimizable_tensors, crop_pos, dx and get_complex_probe_view()"
"""What a model has."""


class Geometry(NamedTuple):
    """Of a model: the `corners` [y, x] of its probe windows (N, 2) in px, the shape (y, x) of the probe, `dx` in Å."""

    corners: NDArray[np.int64]
    probe_shape: tuple[int, int]
    dx: float


def geometry_of(model: Any) -> Geometry:
    """Return what a model says of its scan; raise ValueError, which says what is lacking, for what is no such model."""
    if not hasattr(model, "optimizable_tensors"):
        if hasattr(model, "module"):
            raise ValueError("the model is wrapped, as by DistributedDataParallel: pass model.module")
        raise ValueError(f"a {type(model).__name__} is no model that can be watched: it needs {HAS}; see docs/live.md")
    if not all(hasattr(model.optimizable_tensors, name) for name in ("keys", "get", "__getitem__")):
        raise ValueError("the model's optimizable_tensors must be a dict of tensors")
    return Geometry(corners_of(model), _probe_shape(model), _dx(model))


def corners_of(model: Any) -> NDArray[np.int64]:
    """Return the corners [y, x] of the probe windows of a model, of a tensor or array of any real numbers."""
    given: Any = getattr(model, "crop_pos", None)
    try:
        found = on_host(there(given, "cpu")) if hasattr(given, "detach") else np.asarray(given)
    except Exception as error:  # whatever numpy or torch say of what has no numbers
        raise ValueError(f"the model's crop_pos holds no numbers ({error})") from error
    fits = found.ndim == 2 and found.shape[1] == 2 and len(found) and found.dtype.kind in "iuf"
    if not fits or not np.isfinite(found).all() or abs(found).max() > FARTHEST:
        raise ValueError(
            "the model's crop_pos must be the corners [y, x] of the probe windows in px, finite numbers (N, 2); "
            f"found {found.dtype} {found.shape}"
        )
    return np.floor(found.astype(np.float64) + 0.5).astype(np.int64)


def _probe_shape(model: Any) -> tuple[int, int]:
    try:
        height, width = quantity_of(PROBE).of_model(model).shape[-2:]
    except Exception as error:  # of the model's own code
        raise ValueError(f"the model's get_complex_probe_view() must return (pmode, y, x): {error}") from error
    return int(height), int(width)


def _dx(model: Any) -> float:
    given = getattr(model, "dx", None)
    try:
        dx = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        dx = math.nan
    if not 0 < dx < math.inf:
        raise ValueError(f"the model's dx, the size of a pixel in Å, must be a number above 0; found {given!r}")
    return dx


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
        return lit(corners_of(self._model), seen, self._region.within(shapes[0]))
