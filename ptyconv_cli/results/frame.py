"""Where a snapshot's object and probe are in the frame of its run. Plain numbers; what finds them is in `metrics`."""

import math
from typing import NamedTuple

Shift = tuple[float, float]
"""Pixels (y, x): what is at p in one picture is at p + shift in the other."""

ENOUGH = 0.05
"""Pixels by which something must lie elsewhere to be moved; what is less the fit to first order removes."""


def plus(one: Shift, other: Shift) -> Shift:
    """Return the sum of two shifts."""
    return one[0] + other[0], one[1] + other[1]


def minus(one: Shift, other: Shift) -> Shift:
    """Return the difference of two shifts."""
    return one[0] - other[0], one[1] - other[1]


def is_enough(shift: Shift) -> bool:
    """Say whether a shift is so large that it is to be undone."""
    return max(map(abs, shift)) > ENOUGH


class Undone(NamedTuple):
    """What was undone of the later of two snapshots, whole, and not of the earlier one: see `Frame`.

    `shift` of the object and of the `probe` (y, x) in px; `offset` in rad (omode, slice) and `ramp` in rad per px, of a
    phase that wraps; `order` of the object's modes, none where they are in order.
    """

    shift: Shift = (0.0, 0.0)
    probe: Shift = (0.0, 0.0)
    offset: tuple[tuple[float, ...], ...] = ()
    ramp: Shift = (0.0, 0.0)
    order: tuple[int, ...] = ()


class Place(NamedTuple):
    """Where something is: what is at p in the frame is at p + `shift` here, but for a `rest` too little to be moved."""

    shift: Shift = (0.0, 0.0)
    rest: Shift = (0.0, 0.0)

    def moved_on(self, by: Shift) -> "Place":
        """Return the place after a further move; what is little is added up until it is enough.

        Of a move by nearly whole pixels only these are moved: nothing need be interpolated.
        """
        if is_enough(by):
            y, x = (float(round(part)) if abs(part - round(part)) <= ENOUGH else part for part in by)
            return Place(plus(self.shift, (y, x)), plus(self.rest, minus(by, (y, x))))._tidy()
        return Place(self.shift, plus(self.rest, by))._tidy()

    def _tidy(self) -> "Place":
        """Return the same with a rest that is enough moved, too, and none that is not."""
        if is_enough(self.rest):
            return Place(plus(self.shift, self.rest))._tidy()
        if any(self.shift) and not is_enough(self.shift):
            return Place((0.0, 0.0), plus(self.rest, self.shift))
        return self

    @property
    def whole(self) -> tuple[int, int]:
        """The pixels of the shift, whole."""
        return round(self.shift[0]), round(self.shift[1])

    @property
    def fraction(self) -> Shift:
        """The part of the shift that is less than a pixel."""
        y, x = (part - round(part) for part in self.shift)
        return (y, x) if max(abs(y), abs(x)) > ROUNDING else (0.0, 0.0)


ROUNDING = 1e-6
"""Pixels that are only rounding."""


class Frame(NamedTuple):
    """Where a snapshot's object and probe are, compared with the first of the run; shifts (y, x) in px.

    `doubt`: by how much the object lies elsewhere than probe and positions say, added up. `at`: where the scan
    positions are as a whole, None where they are not known; `tilt` (y, x) of the first probe, in turns of its phase
    over the window. `order`: which mode of the object is which of the frame, none where they are in order. Of a phase
    that wraps, `offset` in rad (omode, slice) and `ramp` (y, x) in rad per px have been removed, none of others.
    """

    object: Place = Place()
    probe: Place = Place()
    doubt: Shift = (0.0, 0.0)
    at: Shift | None = None
    tilt: Shift = (0.0, 0.0)
    order: tuple[int, ...] = ()
    offset: tuple[tuple[float, ...], ...] = ()
    ramp: Shift = (0.0, 0.0)

    def since(self, before: "Frame") -> Undone:
        """Return what was undone of this snapshot, and not of the one before."""
        turns = 2 * math.pi
        offset = tuple(
            tuple(math.remainder(one - other, turns) for one, other in zip(of_mode, of_before, strict=True))
            for of_mode, of_before in zip(self.offset, before.offset, strict=False)
        )
        return Undone(
            shift=minus(self.object.shift, before.object.shift),
            probe=minus(self.probe.shift, before.probe.shift),
            offset=offset,
            ramp=minus(self.ramp, before.ramp),
            order=self.order if self.order != before.order else (),
        )
