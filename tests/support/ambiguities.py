"""What no diffraction pattern can tell apart, done to the checkpoints of a run when their tensors are read.

With probe P, object O and positions p, a pattern is that of the wave P(r) O(r + p), and of what it becomes on its way
through further slices. It stays as it is where

- the object moves by s, and the positions by s, too, or the probe does, of which the whole wave then moves along,
- a slice is multiplied by a factor, and the probe, or another slice, by its inverse,
- the first slice is multiplied by a ramp of phase: so is the probe, by the opposite one,
- modes of the probe are mixed by a unitary matrix, and modes of the object change places.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from brute_walks import moved

from ptyconv_cli.analysis import compare, registration
from ptyconv_cli.checkpoints.opening import open_checkpoint
from ptyconv_cli.results.run_analysis import Region

READERS: list[Any] = [compare, registration]
"""The modules that open checkpoints to read tensors."""

MARGIN = 24
"""Pixels that an object is continued by, for what a shift brings in from beyond its edge."""

ROOM = 3
"""Pixels of the object that stay beyond the scanned region where it is moved."""


@dataclass(frozen=True)
class State:
    """Phase in rad and amplitude (omode, slice, y, x), probe (mode, y, x), positions (N, 2) in px; None for none.

    `wraps`: the object is complex, so that phases are known but for full turns.
    """

    wraps: bool
    objp: np.ndarray
    obja: np.ndarray | None
    probe: np.ndarray
    probe_pos_shifts: np.ndarray | None


def read_state(checkpoint: Any) -> State:
    """All of a checkpoint, in double precision; an unknown border of the object mirrors what is known."""
    height, width = checkpoint.shape_of("objp")[-2:]
    names = [field.name for field in fields(State) if field.name != "wraps"]
    held = {
        name: checkpoint.read(name, Region(0, height, 0, width)).astype(complex if name == "probe" else float)
        for name in names
        if checkpoint.shape_of(name) is not None
    }
    state = State(checkpoint.phase_wraps, **{name: held.get(name) for name in names})
    known = np.isfinite(state.objp).all((0, 1))
    if state.obja is not None:
        known &= np.isfinite(state.obja).all((0, 1)) & (state.obja != 0).any((0, 1))
    (top, bottom), (left, right) = (np.flatnonzero(known.any(axis))[[0, -1]] + (0, 1) for axis in (1, 0))

    def continued(part: np.ndarray) -> np.ndarray:
        borders = [(0, 0), (0, 0), (top, height - bottom), (left, width - right)]
        return np.pad(part[..., top:bottom, left:right], borders, mode="symmetric")

    return replace(state, objp=continued(state.objp), obja=None if state.obja is None else continued(state.obja))


@dataclass(frozen=True)
class Ambiguity:
    """What is done to the checkpoints at some `places` in a run; what is not said of it does nothing.

    `offsets` in rad of all (omode, slice); `turns` (y, x) of a ramp over the whole object; `flipped`: object and probe
    change their signs; `shift` of the object and `probe_shift`, (y, x) in px; `scales` of the slices' amplitudes;
    `growing`: of each further checkpoint the scales are multiplied once more; `mixing`: the seed of a unitary matrix;
    `swapped`: the object's modes are in another order.
    """

    places: tuple[int, ...]
    offsets: tuple[tuple[float, ...], ...] = ()
    turns: tuple[float, float] = (0, 0)
    flipped: bool = False
    shift: tuple[float, float] = (0, 0)
    probe_shift: tuple[float, float] = (0, 0)
    scales: tuple[float, ...] = ()
    growing: bool = False
    mixing: int | None = None
    swapped: bool = False

    def __str__(self) -> str:
        said = [f"{field.name}={getattr(self, field.name)}" for field in fields(self)]
        return ", ".join(one for one, field in zip(said, fields(self), strict=True) if self._does(field))

    def _does(self, field: Any) -> bool:
        return field.name == "places" or getattr(self, field.name) != field.default

    def of(self, state: State, place: int) -> State:
        """The state of a checkpoint, changed if it is one of those."""
        if place not in self.places:
            return state
        return self._scaled(self._turned(self._mixed(self._moved(state))), 1 + self.places.index(place))

    def _moved(self, state: State) -> State:
        positions = state.probe_pos_shifts
        if positions is not None:
            positions = positions + np.array(self.shift) - self.probe_shift
        probe = moved(state.probe, np.array(self.probe_shift)) if any(self.probe_shift) else state.probe
        state = replace(state, probe=probe, probe_pos_shifts=positions)
        if not any(self.shift):
            return state
        if not state.wraps:
            amplitude = None if state.obja is None else moved_object(state.obja, self.shift).real
            return replace(state, objp=moved_object(state.objp, self.shift).real, obja=amplitude)
        transmission = moved_object(state.obja * np.exp(1j * state.objp), self.shift)
        return replace(state, objp=np.angle(transmission), obja=np.abs(transmission))

    def _mixed(self, state: State) -> State:
        if self.swapped:
            state = replace(state, objp=state.objp[::-1], obja=None if state.obja is None else state.obja[::-1])
        if self.mixing is None:
            return state
        rng, modes = np.random.default_rng(self.mixing), len(state.probe)
        unitary, _ = np.linalg.qr(rng.normal(size=(modes, modes)) + 1j * rng.normal(size=(modes, modes)))
        return replace(state, probe=np.tensordot(unitary, state.probe, 1))

    def _turned(self, state: State) -> State:
        (height, width), (rows, columns) = state.objp.shape[-2:], state.probe.shape[-2:]
        phase = state.objp + np.array(self.offsets)[..., None, None] if self.offsets else state.objp.copy()
        y, x = np.arange(height)[:, None], np.arange(width)
        phase[:, 0] += 2 * np.pi * (self.turns[0] * y / height + self.turns[1] * x / width)
        tilt = self.turns[0] * np.arange(rows)[:, None] / height + self.turns[1] * np.arange(columns) / width
        probe = state.probe * np.exp(-2j * np.pi * tilt)
        if self.flipped:
            phase[:, 0] += np.pi
            probe = -probe
        if state.wraps and (self.offsets or any(self.turns) or self.flipped):
            phase = np.angle(np.exp(1j * phase))
        return replace(state, objp=phase, probe=probe)

    def _scaled(self, state: State, times: int) -> State:
        if not self.scales:
            return state
        scales = np.array(self.scales) ** (times if self.growing else 1)
        return replace(state, obja=state.obja * scales[:, None, None], probe=state.probe / scales.prod())


def moved_object(part: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """What is at r is at r + shift: by Fourier, or, where the shift is whole, to the bit."""
    if any(one % 1 for one in shift):
        return moved(part, np.array(shift), MARGIN)
    wider = np.pad(part, [(0, 0), (0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)], mode="symmetric")
    return np.roll(wider, [int(one) for one in shift], (-2, -1))[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


class Changed:
    """An open checkpoint, of which the tensors are those of a `State`."""

    def __init__(self, opened: Any, state: State) -> None:
        self._opened, self._state = opened, state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def read(self, name: str, region: Region, into: np.ndarray | None = None) -> np.ndarray:
        whole = getattr(self._state, name, None)
        if whole is None:  # probe weights, say
            return self._opened.read(name, region, into)
        part = whole[region.slices] if name in ("objp", "obja") else whole
        if into is None:
            into = np.empty(part.shape, self._opened.kind_of(name))
        into[...] = part
        return into


class Reading:
    """The checkpoints of a run as they are opened, changed by an ambiguity; the files are read only once.

    `niters`: the iterations of the checkpoints, which say at which place one is.
    """

    def __init__(self) -> None:
        self._states: dict[tuple[Path, str | None], State] = {}
        self.niters: list[int] = []
        self.ambiguity = Ambiguity(())

    @contextmanager
    def open(self, path: Path, snapshot: str | None = None) -> Iterator[Changed]:
        with open_checkpoint(path, snapshot) as opened:
            if (path, snapshot) not in self._states:
                self._states[path, snapshot] = read_state(opened)
            place = self.niters.index(opened.niter) if self.niters else -1
            yield Changed(opened, self.ambiguity.of(self._states[path, snapshot], place))

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Within the block, tensors of checkpoints are read so."""
        before = [module.open_checkpoint for module in READERS]
        for module in READERS:
            module.open_checkpoint = self.open
        try:
            yield
        finally:
            for module, opened in zip(READERS, before, strict=True):
                module.open_checkpoint = opened


@dataclass(frozen=True)
class Run:
    """What of a run decides which ambiguities it has.

    `count` of its checkpoints; `first`: the place of the first one in whose region the last ones are compared;
    `phase`: the shape of its object's phase; `modes` of its probe; `region` that was scanned; `has_amplitude`,
    `has_positions`: whether it has series of them; `has_weights`: whether modes of the probe have weights of their own.
    """

    count: int
    first: int
    phase: tuple[int, ...]
    modes: int
    region: Region
    has_amplitude: bool
    has_positions: bool
    has_weights: bool


Draw = Callable[[np.random.Generator, Run], dict[str, Any]]


def _offsets(rng: np.random.Generator, run: Run) -> dict[str, Any]:
    drawn = rng.uniform(-np.pi, np.pi, run.phase[:2]).round(3)
    return {"offsets": tuple(map(tuple, drawn.tolist()))}


def _ramp(rng: np.random.Generator, run: Run) -> dict[str, Any]:
    return {"turns": tuple(rng.uniform(-5, 5, 2).round(2).tolist())}


def _sign(rng: np.random.Generator, run: Run) -> dict[str, Any]:
    return {"flipped": True}


def _shift(rng: np.random.Generator, run: Run, step: float = 1.0) -> dict[str, Any]:
    """Of the object, no farther than there is object beyond the region; of the probe as well, where that must be."""
    (height, width), region = run.phase[-2:], run.region
    least = ROOM - np.array([region.y_start, region.x_start])
    most = np.array([height - region.y_stop, width - region.x_stop]) - ROOM
    count = round(4 / step)
    shift = np.clip(step * rng.integers(-count, count + 1, 2), np.minimum(least, 0), np.maximum(most, least))
    shift = tuple(shift.round(2).tolist())
    of_probe = rng.choice(["along", "not", "else"]) if run.has_positions else "along"
    own = tuple((step * rng.integers(-count, count + 1, 2)).round(2).tolist())
    return {"shift": shift, "probe_shift": {"along": shift, "not": (0, 0), "else": own}[str(of_probe)]}


def _fraction(rng: np.random.Generator, run: Run) -> dict[str, Any]:
    return _shift(rng, run, 0.05)


def _scale(rng: np.random.Generator, run: Run) -> dict[str, Any]:
    slices = run.phase[1]
    if rng.random() < 0.3:
        return {"scales": (*[1.0] * (slices - 1), 1.2), "growing": True}
    share = rng.dirichlet(np.ones(slices)) if slices > 1 else np.ones(1)
    total = rng.uniform(np.log(0.02), np.log(50))
    return {"scales": tuple(np.exp(total * share).round(4).tolist())}


def _mixture(rng: np.random.Generator, run: Run) -> dict[str, Any]:
    return {"mixing": int(rng.integers(1000))}


def _order(rng: np.random.Generator, run: Run) -> dict[str, Any]:
    return {"swapped": True}


KINDS: dict[str, Draw] = {
    "offsets": _offsets,
    "ramp": _ramp,
    "sign": _sign,
    "whole pixels": _shift,
    "fraction": _fraction,
    "scale": _scale,
    "mixture": _mixture,
    "order": _order,
}
SHIFTS = ("whole pixels", "fraction")


def kinds_of(run: Run) -> list[str]:
    """The kinds of ambiguity that a run has."""
    lacking = {
        "scale": not run.has_amplitude,
        "mixture": run.modes < 2 or run.has_weights,
        "order": run.phase[0] < 2,
    }
    return [kind for kind in KINDS if not lacking.get(kind, False)]


def drawn(kinds: list[str], run: Run, seed: list[int]) -> Ambiguity:
    """An ambiguity of these kinds, of all checkpoints, of one, or from one on.

    What is moved is never the first one, in whose pixels the region is that all are compared in. Nothing is done to
    those before it, which may be of another shape.
    """
    rng = np.random.default_rng(seed)
    first = run.first + 1 if set(kinds) & set(SHIFTS) else run.first
    place = int(rng.integers(first, run.count))
    places = [range(first, run.count), [place], range(place, run.count)][rng.integers(3)]
    done: dict[str, Any] = {}
    for kind in kinds:
        done |= KINDS[kind](rng, run)
    return Ambiguity(tuple(places), **done)
