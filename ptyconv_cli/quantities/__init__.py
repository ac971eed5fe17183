"""The registry of quantities: what a run is followed and judged by. One module each; see docs/development.md."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Protocol

from ptyconv_cli.quantities.object_amplitude import ObjectAmplitude
from ptyconv_cli.quantities.object_phase import ObjectPhase
from ptyconv_cli.quantities.probe import Probe
from ptyconv_cli.quantities.probe_weights import ProbeWeights
from ptyconv_cli.quantities.quantity import ANGSTROM, Quantity, Series, within_rounding
from ptyconv_cli.quantities.scan_positions import ScanPositions
from ptyconv_cli.quantities.thickness import SliceThickness
from ptyconv_cli.quantities.tilt import ObjectTilt
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.text import detail_unit

QUANTITIES: list[Quantity] = [
    ObjectPhase(),
    ObjectAmplitude(),
    Probe(),
    ScanPositions(),
    ProbeWeights(),
    ObjectTilt(),
    SliceThickness(),
]
"""In the order in which they are shown."""


def quantity_of(name: str) -> Quantity:
    """Return the quantity that has a key or a short name; raise KeyError where none has."""
    return _by_name(tuple(QUANTITIES))[name]


@cache
def _by_name(quantities: tuple[Quantity, ...]) -> dict[str, Quantity]:
    return {name: quantity for quantity in quantities for name in quantity.names}


def tensors() -> tuple[Quantity, ...]:
    """Return the quantities that checkpoints hold, in the order of their keys, which is that of PtyRAD's record."""
    return _tensors(tuple(QUANTITIES))


@cache
def _tensors(quantities: tuple[Quantity, ...]) -> tuple[Quantity, ...]:
    return tuple(sorted((quantity for quantity in quantities if quantity.axes), key=lambda quantity: quantity.key))


def tensor_keys() -> tuple[str, ...]:
    """Return the keys of the quantities that checkpoints hold, in the same order."""
    return tuple(quantity.key for quantity in tensors())


def required_keys() -> tuple[str, ...]:
    """Return the keys of the tensors that are looked for where nothing is asked for: those that runs should have."""
    return tuple(quantity.key for quantity in tensors() if not quantity.is_optional)


def of_object() -> tuple[str, ...]:
    """Return the keys of the object's quantities, which are compared in the scanned region."""
    return tuple(quantity.key for quantity in tensors() if quantity.is_object)


def wrapping(names: Iterable[str]) -> str:
    """Return which of these keys is of a phase, which some engines know only up to full turns; "" of none."""
    return next((name for name in names if quantity_of(name).wraps), "")


def drawn_as(kind: str) -> tuple[Quantity, ...]:
    """Return the quantities that are drawn in a way (see `quantity`), in the order in which they are shown."""
    return tuple(quantity for quantity in QUANTITIES if quantity.drawn_as == kind)


def all_series() -> tuple[Series, ...]:
    """Return the series of all quantities, in the order of PtyRAD's record: that of the keys."""
    return tuple(series for quantity in tensors() for series in quantity.series)


def tensors_of(keys: Iterable[str]) -> list[str]:
    """Return the keys of the quantities that these series are of, in order."""
    held = set(keys)
    return list(dict.fromkeys(series.tensor for series in all_series() if series.key in held))


class Sized(Protocol):
    """What has a size: the `shapes` of its tensors by key, and `dx`, the object's pixel size in Å."""

    @property
    def shapes(self) -> Mapping[str, Sequence[int]]: ...  # noqa: D102
    @property
    def dx(self) -> float: ...  # noqa: D102


def unit_of_length(run: Sized) -> tuple[float, str]:
    """Return how many Å the unit has in which changes and shifts of a run are shown, and its name: Å, or nm."""
    shape = next((run.shapes[name] for name in of_object() if name in run.shapes), ())
    return detail_unit(max(shape[-2:], default=0) * run.dx)


def unit_of(series: Series, run: Sized) -> tuple[float, str]:
    """Return how many of a series' own units the one has in which it is shown, and its name."""
    return unit_of_length(run) if series.unit == ANGSTROM else (1.0, series.unit)


def name_of(name: str) -> str:
    """Return what people call a quantity, by its key or by what engines call it; others keep their name."""
    return next((one.label for one in QUANTITIES if name in (one.key, one.recorded_as)), name)


def short_name_of(name: str) -> str:
    """Return what a quantity is called where there is little place."""
    return name_of(name).removeprefix("object ").removeprefix("scan ")


def never_refined(points: Mapping[str, list[Point]], dx: float) -> tuple[str, ...]:
    """Return the keys of the quantities that a run did not refine: their changes are 0, or rounding. `dx` in Å per px.

    `points`: the raw changes by key of the series; averages over an empty mask say nothing.
    """
    found = []
    for quantity in tensors():
        of_series = [points.get(series.key, []) for series in quantity.series]
        measured = [point.value for of_one in of_series for point in of_one if point.voxels != 0]
        if within_rounding(measured, quantity.size_of_changes(dx)):
            found.append(quantity.key)
    return tuple(found)
