"""The change per doubling after every ambiguity, of any size, was taken away: in float64, by trying shifts.

Shifts are tried on the whole object, and all else is fitted at each of them. An object is complex (omode, slice, y, x),
zero or NaN where nothing is known of it, a probe (mode, y, x); shifts are (y, x) in px, of the earlier of two states.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from brute_force import fields_of, residual

MARGIN = 24
"""Pixels that an object is continued by on each side, so that what Fourier's shift wraps around stays outside."""

Region = tuple[int, int, int, int]
"""From and to of y, from and to of x."""


class Change(NamedTuple):
    """In % of the contrast, per doubling; `shift` of the object, and `probe_shift`, which may be another one."""

    phase: float
    amplitude: float
    probe: float
    contrast: float
    shift: np.ndarray
    probe_shift: np.ndarray


class Seen:
    """The voxels of a region that the scan lit, of objects that are continued beyond where they are known."""

    def __init__(self, region: Region, lit: np.ndarray) -> None:
        top, bottom, left, right = region
        self.inside = np.s_[..., top:bottom, left:right]
        self.lit = lit[self.inside]
        self.y, self.x = np.mgrid[: bottom - top, : right - left].astype(float)

    def phase_of(self, factor: np.ndarray) -> np.ndarray:
        """The angle of a product of transmissions in the region, without a constant in each slice and without a ramp.

        Whole turns of the ramp, of the first slice, are known from the peak of the Fourier transform, before any angle
        is taken; the rest is fitted.
        """
        spectrum = np.abs(np.fft.fft2(np.where(self.lit, factor[:, 0].sum(0), 0), (256, 256)))
        turns = [np.fft.fftfreq(256)[place] for place in np.unravel_index(spectrum.argmax(), spectrum.shape)]
        levelled = factor.copy()
        levelled[:, 0] *= np.exp(-2j * np.pi * (turns[0] * self.y + turns[1] * self.x))
        levelled *= np.exp(-1j * np.angle(levelled[..., self.lit].sum(-1)))[..., None, None]
        phase = np.angle(levelled)
        return self._without(phase, fields_of("objp", phase)[: -len("yx")])

    def without_fields(self, name: str, change: np.ndarray, current: np.ndarray) -> np.ndarray:
        """What is left of a change, where lit, after all fields of section 2 were projected out."""
        return self._without(change, fields_of(name, current))[..., self.lit]

    def _without(self, change: np.ndarray, fields: list[np.ndarray]) -> np.ndarray:
        basis = np.stack([field[..., self.lit].ravel() for field in fields], 1)
        found = np.linalg.lstsq(basis, change[..., self.lit].ravel(), rcond=None)[0]
        return change - sum(weight * field for weight, field in zip(found, fields, strict=True))

    def amplitude_of(self, transmission: np.ndarray) -> np.ndarray:
        """The amplitude of each slice in units of its mean over what was lit."""
        amplitude = np.abs(transmission[self.inside])
        return amplitude / amplitude[..., self.lit].mean(-1)[..., None, None]

    def difference(self, later: np.ndarray, earlier: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of phase and amplitude, of objects that are registered."""
        phase = self.phase_of(later[self.inside] * earlier[self.inside].conj())
        return phase, self.amplitude_of(later) - self.amplitude_of(earlier)

    def distance(self, later: np.ndarray, earlier: np.ndarray) -> float:
        return sum(mean_square(part[..., self.lit]) for part in self.difference(later, earlier))


def mean_square(values: np.ndarray) -> float:
    return float((values**2).mean())


def continued(transmission: np.ndarray) -> np.ndarray:
    """An object whose unknown border mirrors what is known."""
    known = np.isfinite(transmission).all((0, 1)) & (transmission != 0).any((0, 1))
    (top, bottom), (left, right) = (np.flatnonzero(known.any(axis))[[0, -1]] + (0, 1) for axis in (1, 0))
    height, width = known.shape
    borders = [(0, 0), (0, 0), (top, height - bottom), (left, width - right)]
    return np.pad(transmission[..., top:bottom, left:right].astype(complex), borders, mode="symmetric")


def moved(field: np.ndarray, shift: np.ndarray, margin: int = 0) -> np.ndarray:
    """What lay at r is at r + shift: by Fourier, of the last two axes."""
    wider = np.pad(field, [*[(0, 0)] * (field.ndim - 2), (margin, margin), (margin, margin)], mode="symmetric")
    height, width = wider.shape[-2:]
    waves = np.fft.fftfreq(height)[:, None] * shift[0] + np.fft.fftfreq(width) * shift[1]
    found = np.fft.ifft2(np.fft.fft2(wider) * np.exp(-2j * np.pi * waves))
    return found[..., margin : height - margin, margin : width - margin]


def best_shift(distance: Callable[[np.ndarray], float], reach: int = 8, precision: float = 0.01) -> np.ndarray:
    """The shift of the least distance: of every second pixel within reach, then to the best neighbour, ever nearer."""
    evens = range(-reach, reach + 1, 2)
    best = min((np.array([y, x], float) for y in evens for x in evens), key=distance)
    step, least = 1.0, distance(best)
    while step > precision / 2:
        around = [best + step * np.array(way) for way in ((0, 1), (0, -1), (1, 0), (-1, 0))]
        found = min(around, key=distance)
        if (now := distance(found)) < least:
            best, least = found, now
        else:
            step /= 2
    return best


def intensity_of(probe: np.ndarray) -> np.ndarray:
    """In units of its mean."""
    intensity = (np.abs(probe) ** 2).sum(0)
    return intensity / intensity.mean()


def lit_by(probe: np.ndarray, corners: np.ndarray, shape: tuple[int, int], region: Region) -> np.ndarray:
    """Where the light of all positions is a tenth of its median in the region; windows wrap around."""
    light, intensity = np.zeros(shape), intensity_of(probe)
    rows, columns = (np.arange(size) for size in intensity.shape)
    for y, x in np.floor(np.asarray(corners) + 0.5).astype(int):
        light[np.ix_((y + rows) % shape[0], (x + columns) % shape[1])] += intensity
    top, bottom, left, right = region
    return light >= 0.1 * np.median(light[top:bottom, left:right])


def change(
    objects: tuple[np.ndarray, np.ndarray],
    probes: tuple[np.ndarray, np.ndarray],
    niters: tuple[int, int],
    region: Region,
    lit: np.ndarray,
) -> Change:
    """What changed between an earlier and a later state, given as pairs."""
    earlier, later = (continued(one) for one in objects)
    seen, doublings = Seen(region, lit), np.log2(niters[1] / niters[0])
    shift = best_shift(lambda tried: seen.distance(later, moved(earlier, tried, MARGIN)))
    own_phase, own_amplitude = seen.phase_of(later[seen.inside]), seen.amplitude_of(later)
    phase, amplitude = seen.difference(later, moved(earlier, shift, MARGIN))
    left = [
        seen.without_fields("objp", phase, own_phase),
        seen.without_fields("obja", -amplitude, 1 - own_amplitude),
    ]
    contrast = np.sqrt(mean_square(own_phase[..., seen.lit]) + mean_square(own_amplitude[..., seen.lit] - 1))
    of_probes = [intensity_of(np.asarray(probe, complex)) for probe in probes]

    def of_probe(tried: np.ndarray) -> np.ndarray:
        return of_probes[1] - intensity_of(moved(np.asarray(probes[0], complex), tried))

    probe_shift = best_shift(lambda tried: mean_square(of_probe(tried)))
    left_of_probe = residual(of_probe(probe_shift), fields_of("probe", of_probes[1]))
    per_cent = 100 / doublings
    return Change(
        *(per_cent * np.sqrt(mean_square(one)) / contrast for one in left),
        per_cent * np.sqrt(mean_square(left_of_probe) / mean_square(of_probes[1])),
        contrast,
        shift,
        probe_shift,
    )
