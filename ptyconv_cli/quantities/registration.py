"""Brings one snapshot after the other into the frame of the first: object, probe, and what says where they are.

Formulas: docs/metrics.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics.aligned import first_order_shift
from ptyconv_cli.metrics.arrays import Array, namespace, on_host
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.image import Image, flattened
from ptyconv_cli.metrics.planes import FACTOR, OFFSET
from ptyconv_cli.metrics.registration import (
    InFrame,
    finely,
    level,
    order_of,
    periodic_shift,
    ramp_like,
    shift_between,
    tilt_of,
)
from ptyconv_cli.metrics.snapshot import copied, intensity
from ptyconv_cli.metrics.translation import MARGIN, Beyond, mirrored, moved
from ptyconv_cli.quantities.probe import Probe
from ptyconv_cli.quantities.scan_positions import ScanPositions
from ptyconv_cli.quantities.transmission import (
    AMPLITUDE,
    PHASE,
    apart,
    has_modes,
    in_order,
    moved_part,
    moved_wave,
    picture_of,
    sample_of,
)
from ptyconv_cli.quantities.wrapped_phase import ramp_since, within_half_a_turn
from ptyconv_cli.results.frame import ENOUGH, Frame, Place, Shift, is_enough, minus, plus

PROBE, POSITIONS = Probe.key, ScanPositions.key

DOUBT = 0.3
"""Pixels from which on the object is believed, and not what probe and positions say of it."""


ALIKE = 0.7
"""Share of what is seen of an object that must have been there before for its move to be known to first order."""

FAINT = 1e-4
"""Share of what is seen of an object up to which there was nothing before, but perhaps rounding, to be laid on."""


class Source(Protocol):
    """What else there is of a snapshot."""

    def part(self, name: str, away: tuple[int, int], margin: int) -> tuple[Array, Beyond] | None:
        """Return a part of the object as it is compared (omode, slice, y, x), in memory of its own.

        Of the scanned region, moved `away` by so many px, with a margin all around; and how much of this is beyond what
        is known. None where there is no such part.
        """

    def holds(self, away: tuple[int, int]) -> bool:
        """Say whether the object holds at least half of the region, moved so far."""

    def modes(self) -> Array | None:
        """Return the modes of the probe, complex (mode, y, x); None where there is no probe."""

    def positions(self) -> NDArray[np.floating] | None:
        """Return the scan positions (N, 2) in px; None where they are not known."""


class Registration:
    """Brings snapshots into the frame of the first, in order.

    `lit` (y, x): the voxels of the scanned region that the scan lit, None for all; `wraps`: whether phases are known
    only up to full turns. Of what was before only little is kept: where it was, the probe, and a phase that wraps.
    """

    def __init__(self, lit: NDArray[np.bool_] | None, wraps: bool = False) -> None:
        self.lit, self._wraps = lit, wraps
        self._before: _Before | None = None
        self._now: _Before | None = None
        self._phase: Array | None = None
        self._sample: NDArray[np.complex128] | None = None

    @property
    def phase(self) -> Array | None:
        """The phase in the frame by which the next one that wraps is unwrapped; None where none is."""
        return self._phase

    def go_on_from(self, frame: Frame, values: Mapping[str, Array], source: Source, phase: Array | None) -> InFrame:
        """Bring a snapshot into a frame that is known of it, and go on from there; its `phase`, where that wraps."""
        parts = {name: self._framed(name, array) for name, array in self._moved(frame, values, source)[0].items()}
        if phase is not None and PHASE in parts:
            xp = namespace(phase)
            broken = xp.isnan(parts[PHASE].values)
            parts[PHASE] = self._framed(PHASE, xp.where(broken, parts[PHASE].values, phase))
            self._phase = phase
        self._now = self._looked_at(frame, values, source)
        return self.in_frame(frame, parts, values, source)

    def bring(
        self, values: Mapping[str, Array], source: Source, before: InFrame | None, frame: Frame | None = None
    ) -> InFrame:
        """Bring the next snapshot into the frame; `values` by key, of the object in the scanned region.

        `before`: the one before, None of the first; `frame`: the one that is expected, where that is known.
        """
        frame = self.expect(values, source) if frame is None else frame
        parts, frame = self._parts(frame, values, source)
        parts_before = _parts_of(before)
        if parts and all(name in parts_before and parts_before[name].shape == parts[name].shape for name in parts):
            place, doubt = self._looked_up(frame, parts, parts_before, values, source)
            moved_again = place.shift != frame.object.shift
            frame = frame._replace(object=place, doubt=doubt)
            if moved_again:
                parts, frame = self._parts(frame, values, source)
        return self.in_frame(frame, parts, values, source)

    def expect(self, values: Mapping[str, Array], source: Source) -> Frame:
        """Return the frame of the next snapshot, by what probe and positions say: where both go, the object goes."""
        self._now = now = self._looked_at(Frame(), values, source)
        before = self._before
        if before is None:
            return Frame(at=now.frame.at, tilt=(0.0, 0.0) if now.modes is None else tilt_of(now.modes))
        frame, moved_by = before.frame, (0.0, 0.0)
        if now.frame.at is not None and frame.at is not None:
            moved_by = minus(now.frame.at, frame.at)
        by = now.since(before)
        if by is not None:
            moved_by, frame = plus(moved_by, by), frame._replace(probe=frame.probe.moved_on(by))
        at = frame.at if now.frame.at is None else now.frame.at
        place = frame.object.moved_on(moved_by)
        if not source.holds(place.whole):
            place = frame.object
        return frame._replace(at=at, object=place, order=(), ramp=(0.0, 0.0))

    def needs_all(self, frame: Frame, shape: Sequence[int], source: Source) -> bool:
        """Say whether the object must be looked at as a whole, of this shape; else its parts are as they are."""
        alone = source.positions() is None
        return self._wraps or shape[0] > 1 or any(frame.object.shift) or (alone and self._before is not None)

    def in_frame(self, frame: Frame, parts: dict[str, Framed], values: Mapping[str, Array], source: Source) -> InFrame:
        """Return a snapshot in its frame, and go on from there."""
        if PHASE in parts and self._wraps:
            phase, before = parts[PHASE].values, self._phase
            xp = namespace(phase)
            broken = xp.isnan(phase)
            filled = xp.zeros_like(phase) if before is None else before
            self._phase = xp.where(broken, filled, phase) if bool(xp.any(broken)) else phase
        self._sample = sample_of(parts) if has_modes(parts) else None
        assert self._now is not None
        self._before = self._now._replace(frame=frame)
        modes = source.modes() if PROBE in values and any(frame.probe.shift) else None
        probe = {} if modes is None else {PROBE: intensity(moved(level(modes, frame.tilt), frame.probe.shift))}
        return InFrame(frame, {**parts, **probe}, self.lit)

    def _looked_at(self, frame: Frame, values: Mapping[str, Array], source: Source) -> "_Before":
        """Return what says where the object of a snapshot is."""
        modes, seen = source.modes(), values.get(PROBE)
        seen = intensity(modes) if seen is None and modes is not None else seen
        on_the_host = None if seen is None else on_host(seen).astype(float)
        at = _middle(source.positions())
        return _Before(frame._replace(at=at) if at else frame, on_the_host, None if modes is None else copied(modes))

    def _looked_up(
        self,
        frame: Frame,
        parts: dict[str, Framed],
        before: dict[str, Framed],
        values: Mapping[str, Array],
        source: Source,
    ) -> tuple[Place, Shift]:
        """Return where the object is by what it looks like, and how much doubt is left in what else says so.

        Probe and positions are believed where the object goes along; but not a few positions that stray, or probes that
        take another shape. Where nothing is known of positions, the object is.
        """
        assert self._before is not None
        place, stay, knows = frame.object, self._before.frame.object, source.positions() is not None
        if knows and place.shift == stay.shift:
            return place, frame.doubt
        now, then = (picture_of(one, self._wraps) for one in (parts, before))
        if not any(place.shift) and place.shift == stay.shift:
            by = self._hardly(place, parts, before)
            if by is not None and _is_alike(now, then):
                return place.moved_on(by), frame.doubt
        if _square(then) < FAINT * _square(now):
            return place, frame.doubt

        def there(at: Place) -> Image:
            return picture_of(self._parts(Frame(object=at), values, source)[0], self._wraps)

        looks = _looks(now, then, place, there, source)
        if not knows:
            return place if looks is None else place.moved_on(looks), frame.doubt
        gone = minus(place.shift, stay.shift)
        if looks is None:
            stays = not _square(now - then) < _square(there(stay) - then)
            return Place(stay.shift) if stays else place, frame.doubt
        doubt = plus(frame.doubt, looks)
        if math.hypot(*looks) > max(ENOUGH, math.hypot(*gone) / 2) or math.hypot(*doubt) > DOUBT:
            left = plus(gone, looks)  # so little that the object has hardly moved after all
            found = Place(place.shift).moved_on(looks) if is_enough(left) else Place(stay.shift, left)
            return found, (0.0, 0.0)
        return place, doubt

    def _hardly(self, place: Place, parts: dict[str, Framed], before: dict[str, Framed]) -> Shift | None:
        """Return by how much an object moved that hardly moves, to first order; None of one that moves."""
        name = PHASE if PHASE in parts and PHASE in before else next(iter(parts))
        by = first_order_shift(parts[name], before[name])
        known = all(map(math.isfinite, by))
        return by if known and not is_enough(plus(place.rest, by)) else None

    def _framed(self, name: str, values: Array) -> Framed:
        return Framed(OFFSET if name == PHASE else FACTOR, values, self.lit)

    def _parts(self, frame: Frame, values: Mapping[str, Array], source: Source) -> tuple[dict[str, Framed], Frame]:
        """Return the parts of the object in a frame, of which the place is known; with order, offsets and ramp."""
        arrays, away = self._moved(frame._replace(order=()), values, source)
        if not arrays:
            return {}, frame
        ramp = ramp_since(arrays, self._phase, self.lit) if self._wraps and PHASE in arrays else None
        order = self._order(arrays, ramp)
        if order:
            arrays = {name: in_order(array, order) for name, array in arrays.items()}
        frame = frame._replace(order=order)
        if ramp is not None:
            arrays[PHASE], offset = within_half_a_turn(arrays, ramp, self._phase, self.lit)
            frame = frame._replace(offset=offset)
        frame = frame._replace(ramp=plus(ramp or (0.0, 0.0), away))
        return {name: self._framed(name, array) for name, array in arrays.items()}, frame

    def _moved(self, frame: Frame, values: Mapping[str, Array], source: Source) -> tuple[dict[str, Array], Shift]:
        """Return the parts of the object where they are in a frame, in its order, and the ramp they are rid of."""
        names, away = [name for name in (AMPLITUDE, PHASE) if name in values], (0.0, 0.0)
        found = {name: values[name] for name in names}
        if names and any(frame.object.shift):
            elsewhere, away = self._elsewhere(frame.object, names, source)
            found = elsewhere or found
        if frame.order:
            found = {name: in_order(array, frame.order) for name, array in found.items()}
        return found, away

    def _elsewhere(self, place: Place, names: list[str], source: Source) -> tuple[dict[str, Array], Shift]:
        """Return the parts of the object from another place, and the ramp they are rid of."""
        margin = MARGIN if any(place.fraction) else 0
        if margin and self._wraps:
            return self._wave_elsewhere(place, names, source)
        found, away = dict[str, Array](), (0.0, 0.0)
        for name in names:  # one after the other, for memory
            there = source.part(name, place.whole, margin)
            if there is None:
                continue
            values, beyond = there
            if margin and name == PHASE:  # what has a ramp is cut off at the edges, which is not interpolated well
                away = Framed(OFFSET, values[:, :1]).ramp
                values[:, 0] -= ramp_like(values[0, 0], away)
            values = mirrored(values, beyond)
            found[name] = moved_part(values, place.fraction) if margin else values
        return found, away

    def _wave_elsewhere(self, place: Place, names: list[str], source: Source) -> tuple[dict[str, Array], Shift]:
        """Return the same of a transmission: interpolated as a whole, without its ramp, which makes it finer."""
        read = {name: source.part(name, place.whole, MARGIN) for name in (AMPLITUDE, PHASE)}
        known = {name: one for name, one in read.items() if one is not None}
        there = {name: values for name, (values, _) in known.items()}
        if PHASE not in there:
            return {}, (0.0, 0.0)
        away = ramp_since(there, None, self.lit)
        there[PHASE][:, 0] -= ramp_like(there[PHASE][0, 0], away)
        waves = {name: mirrored(values, known[name][1]) for name, values in there.items()}
        found = moved_wave(waves[PHASE], waves.get(AMPLITUDE), place.fraction)
        return {name: found[name] for name in names}, away

    def _order(self, arrays: dict[str, Array], ramp: Shift | None) -> tuple[int, ...]:
        """Return which mode of the object is which of the one before, by what they hold."""
        before = self._sample
        if before is None:
            return ()
        without = dict(arrays)
        if ramp is not None:
            without[PHASE] = arrays[PHASE] - ramp_like(arrays[PHASE][0, 0], ramp)
        parts = {name: self._framed(name, array) for name, array in without.items()}
        now = sample_of(parts) if has_modes(parts) else None
        if now is None or now.shape != before.shape:
            return ()
        return order_of(np.array([[apart(one, other) for one in now] for other in before]))


class _Before(NamedTuple):
    """What is kept of a snapshot: its `frame`, and the probe: its intensity, on the host, and its modes."""

    frame: Frame
    intensity: NDArray[np.float64] | None
    modes: Array | None

    def since(self, before: "_Before") -> Shift | None:
        """Return by how much the probe has moved, None where that is not known.

        Where it has moved at all, from its modes, which tell more than their intensity at every pixel.
        """
        one, other = self.intensity, before.intensity
        if one is None or other is None or one.shape != other.shape:
            return None
        by = periodic_shift(one, other)
        if by is None or not is_enough(by) or self.modes is None or before.modes is None:
            return by
        found = periodic_shift(
            *(finely(level(on_host(modes), before.frame.tilt)) for modes in (self.modes, before.modes))
        )
        return by if found is None else (found[0] / 2, found[1] / 2)


def _square(picture: Image) -> float:
    """Return the sum of squares of a picture, less the plane that fits best."""
    return float(np.square(flattened(picture)).sum())


def _is_alike(now: Image, then: Image) -> bool:
    """Say whether an object has not grown out of another: to first order that would seem to stay wherever it went."""
    one, other = flattened(now), flattened(then)
    return bool((one * other).sum() >= ALIKE * np.square(one).sum())


def _looks(now: Image, then: Image, place: Place, there: Callable[[Place], Image], source: Source) -> Shift | None:
    """Return by how much an object at a place lies elsewhere than the one before, by what both look like.

    One that is pixels away is moved `there` first: nearer by, more of the two is the same.
    """
    looks = shift_between(now, then)
    whole = (0.0, 0.0) if looks is None else (float(round(looks[0])), float(round(looks[1])))
    nearer = Place(plus(place.shift, whole))
    if not any(whole) or not source.holds(nearer.whole):
        return looks
    again = shift_between(there(nearer), then)
    return looks if again is None else plus(whole, again)


def _parts_of(found: InFrame | None) -> dict[str, Framed]:
    return {} if found is None else {name: one for name, one in found.tensors.items() if isinstance(one, Framed)}


def _middle(positions: NDArray[np.floating] | None) -> Shift | None:
    """Return where positions (N, 2) in px are as a whole: the mean of each axis, without the outer fifth at each end.

    Of a few that stray the mean of all would go far.
    """
    if positions is None or not np.isfinite(positions).all():
        return None
    ordered, cut = np.sort(np.asarray(positions, float), axis=0), len(positions) // 5
    y, x = ordered[cut : len(ordered) - cut].mean(0).tolist()
    return y, x
