"""The settings of a monitor or an analysis, tolerances among them, and their checks. Loads neither torch nor numpy."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, NamedTuple

from ptyconv_cli.quantities import QUANTITIES, quantity_of, tensor_keys
from ptyconv_cli.quantities.quantity import ANGSTROM, CONTRAST, PIXELS, Quantity

DEFAULT_PERCENTILES = (15.0, 85.0)


@dataclass(frozen=True)
class MonitorSettings:
    """Checked settings of a convergence monitor.

    `tensors` are tracked in the order of `quantities.tensors`; `every_n_iters` is the interval between live
    snapshots in iterations, or None to follow the engine's saving; `percentile_range` (low, high), in percent,
    bounds background and foreground; `snapshot_device` is "cpu", or None for the model's own; `aligned`: whether the
    aligned change is computed too.
    """

    tensors: tuple[str, ...] = field(default_factory=tensor_keys)
    every_n_iters: int | None = None
    percentile_range: tuple[float, float] = DEFAULT_PERCENTILES
    snapshot_device: str | None = None
    aligned: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "MonitorSettings":
        """Check `params`, as PtyRAD's `recon_params.convergence_monitor` has them; what is missing gets its default.

        Raises ValueError, which says what is allowed, for an unknown key or tensor, an empty list of tensors,
        `every_n_iters` that is not a whole number of at least 1, a percentile range that is not an ordered pair within
        0 to 100, another `snapshot_device` than "cpu" or None, and `aligned` that is not True or False.
        """
        if not isinstance(params, Mapping):
            raise ValueError(f"the parameters must be a dict; got {params!r}")
        allowed = ("tensors", "every_n_iters", "percentile_range", "snapshot_device", "aligned")
        unknown = [str(key) for key in params if key not in allowed]
        if unknown:
            raise ValueError(f"unknown parameter {', '.join(unknown)}: allowed are {', '.join(allowed)}")
        return cls(
            tensors=check_tensors(params.get("tensors", tensor_keys())),
            every_n_iters=check_whole_number("every_n_iters", params.get("every_n_iters")),
            percentile_range=check_percentile_range(params.get("percentile_range", DEFAULT_PERCENTILES)),
            snapshot_device=_check_snapshot_device(params.get("snapshot_device")),
            aligned=_check_aligned(params.get("aligned", False)),
        )


def check_tensors(names: Iterable[str]) -> tuple[str, ...]:
    """Return the keys of the named tensors, each once, in the order of the registry.

    Raises ValueError for others than the keys and short names of tensors, and for none.
    """
    known = tensor_keys()
    allowed = ", ".join(known)
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"tensors must be a list of names out of {allowed}; got {names!r}")
    by_name = {name: key for key in known for name in quantity_of(key).names}
    names = list(names)
    unknown = [str(name) for name in names if name not in by_name]
    if unknown:
        raise ValueError(f"unknown tensor {', '.join(unknown)}: choose from {allowed}")
    if not names:
        raise ValueError(f"no tensor to track: choose at least one of {allowed}")
    chosen = {by_name[name] for name in names}
    return tuple(key for key in known if key in chosen)


def check_percentile_range(percentiles: Any) -> tuple[float, float]:
    """Return (low, high) as floats; raise ValueError unless 0 <= low <= high <= 100."""
    rule = "percentile_range must be two numbers, low then high, with 0 <= low <= high <= 100"
    try:
        low, high = percentiles
    except (TypeError, ValueError):
        raise ValueError(f"{rule}; got {percentiles!r}") from None
    if not all(isinstance(value, Real) and not isinstance(value, bool) for value in (low, high)):
        raise ValueError(f"{rule}; got {percentiles!r}")
    if not 0 <= low <= high <= 100:
        raise ValueError(f"{rule}; got {low:g} and {high:g}")
    return float(low), float(high)


def check_whole_number(name: str, value: Any) -> int | None:
    """Return `value`, an interval in iterations or None; raise ValueError unless it is a whole number from 1 on."""
    if value is not None and (not isinstance(value, Integral) or isinstance(value, bool) or value < 1):
        raise ValueError(f"{name} must be a whole number of at least 1, or None; got {value!r}")
    return None if value is None else int(value)


def _check_snapshot_device(device: Any) -> str | None:
    if device not in (None, "cpu"):
        raise ValueError(f'snapshot_device must be "cpu", or None for the model\'s own; got {device!r}')
    return None if device is None else "cpu"


def _check_aligned(aligned: Any) -> bool:
    if not isinstance(aligned, bool):
        raise ValueError(f"aligned must be True or False; got {aligned!r}")
    return aligned


class Tolerance(NamedTuple):
    """A tolerance as a user gave it: `number` in `unit`, which is that of the quantity, or Å for positions."""

    number: float
    unit: str

    def value(self, dx: float) -> float:
        """Return it in the quantity's unit; `dx` in Å per px."""
        return self.number / dx if self.unit == ANGSTROM else self.number


def check_tolerances(tolerances: Mapping[str, Any]) -> dict[str, Tolerance]:
    """Return tolerances by quantity, of numbers in its unit or texts with one, as "2%", "0.05px", "0.02Å", "0.2mrad".

    Raises ValueError, which says what is allowed, for others.
    """
    return {_judged(name).key: _tolerance(name, given) for name, given in tolerances.items()}


def _judged(name: str) -> Quantity:
    try:
        return quantity_of(name)
    except KeyError:
        known = ", ".join(quantity.names[-1] for quantity in QUANTITIES)
        raise ValueError(f"{name!r} has no tolerance: choose from {known}") from None


def _tolerance(name: str, given: Any) -> Tolerance:
    quantity = _judged(name)
    units = (quantity.unit, *((ANGSTROM, "A") if quantity.unit == PIXELS else ()))
    match = re.fullmatch(r"\s*([0-9.eE+-]+?)\s*([^0-9.\s]*)\s*", str(given))
    number = _positive(match[1]) if match else None
    if match and number is not None and not match[2] and isinstance(given, str):
        raise ValueError(f"the tolerance of {name} is {given}, without a unit: {_readings(match[1], number, quantity)}")
    if match is None or number is None or match[2] not in ("", *units):
        allowed = " or ".join(dict.fromkeys(ANGSTROM if unit == "A" else unit for unit in units))
        example = f"{name}={quantity.tolerance:g}{quantity.unit}"
        raise ValueError(
            f"the tolerance of {name} is {given!r}: expected a number above 0 in {allowed}, as in {example}"
        )
    return Tolerance(number, ANGSTROM if match[2] in (ANGSTROM, "A") else quantity.unit)


def _readings(text: str, number: float, quantity: Quantity) -> str:
    """Say how a number without a unit may be meant."""
    if quantity.unit == PIXELS:
        return f"write {text}{PIXELS} or {text}{ANGSTROM}"
    if quantity.unit == CONTRAST and number < 1:
        return f"write {text}{CONTRAST}, or {100 * number:g}{CONTRAST}, which is {text} {quantity.of}".rstrip()
    return f"write {text}{quantity.unit}"


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None
