"""What doubling the iterations changed: the plain numbers that the verdict goes by. Formulas: docs/verdict.md."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

CONTRAST, PIXELS, MRAD = "%", "px", "mrad"
"""The units that a change per doubling is given in."""


@dataclass(frozen=True)
class Quantity:
    """Something that is judged: its `key`, its `label` for people, the `unit` of its change and the default tolerance.

    `of`: what 100 % are, "" where the unit is not a percentage. `plural`: whether the label is.
    """

    key: str
    label: str
    unit: str
    tolerance: float
    of: str = ""
    plural: bool = False


QUANTITIES = (
    Quantity("objp", "object phase", CONTRAST, 5.0, "of the object's contrast"),
    Quantity("obja", "object amplitude", CONTRAST, 5.0, "of the object's contrast"),
    Quantity("probe", "probe", CONTRAST, 5.0, "of its intensity"),
    Quantity("probe_pos_shifts", "scan positions", PIXELS, 0.1, plural=True),
    Quantity("tilt", "object tilt", MRAD, 0.1),
    Quantity("thickness", "slice thickness", CONTRAST, 1.0, "of itself"),
)
"""In the order in which they are shown; the first two are the object."""

QUANTITY = {quantity.key: quantity for quantity in QUANTITIES}

ANGSTROM = "Å"

TOO_FEW = "too few to align"
"""Why a quantity cannot be judged: the ambiguities explain any change of it."""


class Tolerance(NamedTuple):
    """A tolerance as a user gave it: `number` in `unit`, which is that of the quantity, or Å for positions."""

    number: float
    unit: str

    def value(self, dx: float) -> float:
        """Return it in the quantity's unit; `dx` in Å per px."""
        return self.number / dx if self.unit == ANGSTROM else self.number


def check_tolerances(tolerances: Mapping[str, Any]) -> dict[str, Tolerance]:
    """Return tolerances by quantity, of numbers in its unit or texts such as "2%", "0.05px", "0.02Å", "0.2mrad".

    Raises ValueError, which says what is allowed, for others.
    """
    return {key: _tolerance(key, given) for key, given in tolerances.items()}


def _tolerance(key: str, given: Any) -> Tolerance:
    if key not in QUANTITY:
        raise ValueError(f"{key!r} has no tolerance: choose from {', '.join(QUANTITY)}")
    quantity = QUANTITY[key]
    units = (quantity.unit, *((ANGSTROM, "A") if quantity.unit == PIXELS else ()))
    match = re.fullmatch(r"\s*([0-9.eE+-]+?)\s*([^0-9.\s]*)\s*", str(given))
    number = _positive(match[1]) if match else None
    if match is None or number is None or match[2] not in ("", *units):
        allowed = " or ".join(dict.fromkeys(ANGSTROM if unit == "A" else unit for unit in units))
        example = f"{key}={quantity.tolerance:g}{quantity.unit}"
        raise ValueError(
            f"the tolerance of {key} is {given!r}: expected a number above 0 in {allowed}, as in {example}"
        )
    return Tolerance(number, ANGSTROM if match[2] in (ANGSTROM, "A") else quantity.unit)


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


@dataclass(frozen=True)
class Doubling:
    """The change from iteration `since` to iteration `niter`, about twice as late.

    `distance` in the tensor's own unit (rad, Å, mrad, or dimensionless); `relative`: by how much a doubling changes it,
    in the quantity's unit: distance / (contrast · log2(niter / since)), times 100 where that is %.
    """

    niter: int
    since: int
    distance: float
    relative: float


@dataclass(frozen=True)
class Quietest:
    """The iteration `niter` at which the change per doubling was least, and that change."""

    niter: int
    relative: float


@dataclass(frozen=True)
class Forecast:
    """By how much as many iterations again, up to `niter`, will change it: `relative`, in 90 % from `low` to `high`."""

    niter: int
    relative: float
    low: float
    high: float


@dataclass(frozen=True)
class Doublings:
    """A quantity's changes per doubling, and what they say; `unit` and tolerance as in `QUANTITIES`.

    `contrast`: what a change is measured by, in the tensor's own unit. `state`: one of `verdict.rules.STATES`, with the
    iteration `since` which it has converged, stopped or been broken. `quietest`, `forecast`: None where there is none.
    `reaches`: of what is converging, the iteration at which it gets within the tolerance, None where that is far away.
    `size`: of what jitters, its scatter about a point, in the same unit as the changes. `growth`: how many times the
    doubling before the last one changed it, NaN where that is not known. `reason`: what is broken, or why it cannot be
    judged at all.
    """

    unit: str
    contrast: float
    tolerance: float
    points: list[Doubling]
    state: str
    since: int | None = None
    quietest: Quietest | None = None
    forecast: Forecast | None = None
    reaches: int | None = None
    size: float | None = None
    growth: float = math.nan
    reason: str = ""

    @property
    def too_few(self) -> bool:
        """Whether there is too little of it to align, so that nothing can be said."""
        return self.reason == TOO_FEW
