"""Maps of where a run still changes: the aligned change between two checkpoints, by voxel, slice and position."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.analysis.compare import Prefetch, contrasts_of
from ptyconv_cli.analysis.registration import brought, read_beside, registration_of
from ptyconv_cli.analysis.run_parts import check_memory, check_voxels, read_comparable, region_of_run
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.checkpoints.headers import Header, put_aside
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.metrics.aligned import align_object, align_positions, align_probe, whole
from ptyconv_cli.metrics.arrays import Array, all_finite, namespace, on_host, total
from ptyconv_cli.metrics.device import choose_device, or_on_cpu, too_much_for
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.image import flattened
from ptyconv_cli.metrics.planes import coordinates
from ptyconv_cli.metrics.registration import InFrame
from ptyconv_cli.metrics.snapshot import Snapshot
from ptyconv_cli.quantities import QUANTITIES, drawn_as, quantity_of
from ptyconv_cli.quantities.quantity import ARROWS, IMAGES, INTENSITY
from ptyconv_cli.quantities.settings import check_percentile_range
from ptyconv_cli.quantities.snapshots import framed
from ptyconv_cli.results.run_analysis import LeftOut
from ptyconv_cli.results.text import length_unit

MOST_SMALL = 8
"""The most small maps over the run."""


@dataclass(frozen=True)
class ObjectMap:
    """Where amplitude or phase changed, inside the scanned region, without the ambiguities.

    `image` (y, x): the later checkpoint's phase in rad, or 1 - amplitude / its mean, summed over the slices (of several
    object modes the mean), less the plane that fits best. `change` (y, x): the aligned |change|, summed likewise;
    `by_slice`: its mean over each slice, from the first on; `rms` of the aligned change of all voxels. `foreground` and
    `background` (y, x): the share of slices and modes that are in the mask there, from 0 to 1. `contrast`: what the
    later checkpoint's transmission holds, as the verdict has it, NaN where it isn't finite.

    What the scan hardly lit is NaN in images, and counts nowhere.
    """

    image: np.ndarray
    change: np.ndarray
    by_slice: np.ndarray
    rms: float
    foreground: np.ndarray
    background: np.ndarray
    contrast: float

    @property
    def relative(self) -> float:
        """The RMS change as a share of the object's contrast; NaN where there is none to compare with."""
        return self.rms / self.contrast if self.contrast > 0 else math.nan


@dataclass(frozen=True)
class SmallMap:
    """The aligned |change| per iteration of one interval of the run, as `ObjectMap.change` (y, x)."""

    since: int
    niter: int
    change: np.ndarray


@dataclass(frozen=True)
class Maps:
    """Where a run changed from iteration `since` to iteration `niter`; empty, or None, what was not asked for.

    `dx` in Å per px; `thickness` of a slice in Å, None where it isn't known. `objects` by the key of the part of the
    object. `probe` (y, x): the aligned change of its intensity, and `intensity` (y, x) of the later one, both relative
    to its peak. `positions` (N, 2) in Å, y first, from the corner of the object, and their aligned `displacements` (N,
    2) in Å. `small` maps of the tensor `small_of`, over the run. `warnings` for the user.
    """

    name: str
    since: int
    niter: int
    dx: float
    thickness: float | None
    objects: dict[str, ObjectMap]
    probe: np.ndarray | None
    intensity: np.ndarray | None
    positions: np.ndarray
    displacements: np.ndarray | None
    small_of: str
    small: list[SmallMap]
    warnings: list[str]


def maps_of_run(
    run_dir: str | Path,
    asked: Selection,
    *,
    at: int | None = None,
    begin: int | None = None,
    percentile_range: tuple[float, float],
    chain: Sequence[Path] | str = (),
    device: str = "auto",
) -> Maps:
    """Map the change of a run up to iteration `at`, by default its last, from iteration `begin`, by default the one
    before that has a checkpoint.

    `asked`: which checkpoints and tensors; other parameters as of `analysis.run.analyze_run`. Formulas:
    docs/metrics.md. Raises PtyconvError where there are no such checkpoints, or nothing can be compared between them.
    """
    run_dir, percentile_range = Path(run_dir), check_percentile_range(percentile_range)
    on, notice = choose_device(device)
    found, failed = or_on_cpu(partial(_maps, run_dir, asked, at, begin, percentile_range, chain), on)
    notice = failed or notice
    return replace(found, warnings=[*([notice] if notice else []), *found.warnings])


def _maps(
    run_dir: Path,
    asked: Selection,
    at: int | None,
    begin: int | None,
    percentile_range: tuple[float, float],
    chain: Sequence[Path] | str,
    device: str,
) -> Maps:
    run = read_comparable(run_dir, asked, chain)
    tensors, parts, left_out = run.tensors, run.parts, run.left_out
    if not any(quantity_of(name).drawn_as for name in tensors):
        drawn = ", ".join(one.key for one in QUANTITIES if one.drawn_as)
        raise PtyconvError(f"{run_dir}: there is no map of {', '.join(tensors)}; choose from {drawn}")
    reading = _Reading(device, asked.strict, left_out)
    with too_much_for(reading.device), np.errstate(all="ignore"):  # a NaN is shown as one
        while True:
            part, since, niter = _interval(run_dir, parts, at, begin)
            pair = [header for header in part if header.niter in (since, niter)]
            found = _InOneFrame(reading, part, tensors).pair(pair)
            if found:
                break
            if {at, begin} & {file.niter for file in left_out}:
                file = left_out[-1]
                raise CheckpointError(f"{run.folder / file.file}: {file.reason}")
            unread = [header for header in pair if header.niter in {file.niter for file in left_out}]
            parts = [[header for header in one if header not in unread] for one in parts]
        before, now = found
        contrasts = contrasts_of(pair[-1], now, region_of_run(part[0], tensors))
        objects = {
            name: _object_map(framed(name, now), framed(name, before), now.dx, percentile_range, contrasts[name])
            for name in tensors
            if quantity_of(name).is_object
        }
        small_of = next((one.key for one in drawn_as(IMAGES) if one.key in objects), "")
        small = list(_small_maps(parts, small_of, reading)) if small_of else []
        of_probe = [_probe_maps(one.key, now, before) for one in drawn_as(INTENSITY) if one.key in tensors]
        probe, intensity = of_probe[0] if of_probe else (None, None)
        moved = [_displacements(one.key, now, before) for one in drawn_as(ARROWS) if one.key in tensors]
    header = pair[-1]
    return Maps(
        name=run_dir.absolute().name,
        since=since,
        niter=niter,
        dx=header.dx,
        thickness=header.slice_thickness if 0 < (header.slice_thickness or 0) < math.inf else None,
        objects=objects,
        probe=probe,
        intensity=intensity,
        positions=header.dx * (header.crop_pos - header.away + np.array(header.probe_shape) // 2),
        displacements=moved[0] if moved else None,
        small_of=small_of,
        small=small,
        warnings=[*run.notices(), *_not_finite(now, before)],
    )


class _Reading:
    """How snapshots are read; unreadable files go to `left_out`, or, if `strict`, raise CheckpointError."""

    def __init__(self, device: str, strict: bool, left_out: list[LeftOut]) -> None:
        self.device, self._strict, self._left_out = device, strict, left_out

    def put_aside(self, header: Header, error: CheckpointError) -> None:
        """Leave a file out that cannot be read, or raise the error."""
        if self._strict:
            raise error
        put_aside(header, error, self._left_out)


class _InOneFrame:
    """Reads snapshots of a part of a run, in order, as they are in the frame of the part's first checkpoint."""

    def __init__(self, reading: _Reading, part: Sequence[Header], tensors: tuple[str, ...]) -> None:
        first, self._reading, self._tensors = part[0], reading, tensors
        self._region = region_of_run(first, tensors)
        check_memory(first, self._region, tensors)
        check_voxels(first, self._region, tensors, reading.device)
        self._first: Header | None = first
        self._before: InFrame | None = None
        self._frames = registration_of(first, self._region, tensors)
        self._beside = read_beside(part, tensors)

    def pair(self, pair: Sequence[Header]) -> tuple[Snapshot, Snapshot] | None:
        """Return two snapshots, None where one cannot be read."""
        if self._first and self._first not in pair:
            self._read(self._first)  # where it cannot be read, the frame is that of the next one
        self._first = None
        before, now = (self._read(header) for header in pair)
        return None if before is None or now is None else (before, now)

    def _read(self, header: Header) -> Snapshot | None:
        with Prefetch([header], self._tensors, self._region, beside=self._beside) as reading:
            try:
                arrays = reading.next()
                bring = partial(self._frames.bring, before=self._before)
                found = brought(header, arrays, self._tensors, self._region, self._reading.device, bring)
            except CheckpointError as error:
                self._reading.put_aside(header, error)
                return None
        self._before = found.in_frame
        return found


def _not_finite(now: Snapshot, before: Snapshot) -> list[str]:
    return [
        f"{name} holds NaN or infinity in the scanned region: where it changed is not known."
        for name in now.values
        if not all(all_finite(snapshot.values[name]) for snapshot in (now, before))
    ]


def _interval(
    run_dir: Path, parts: list[list[Header]], at: int | None, begin: int | None
) -> tuple[list[Header], int, int]:
    """Return the part of the run that holds the interval, and where it begins and ends."""
    niters = [header.niter for part in parts for header in part]
    for asked in (at, begin):
        if asked is not None and asked not in niters:
            listed = ", ".join(map(str, niters if len(niters) <= 12 else [*niters[:5], "…", *niters[-5:]]))
            raise PtyconvError(f"{run_dir}: has no checkpoint at iteration {asked}; there are {listed}")
    if at == niters[0]:
        raise PtyconvError(f"{run_dir}: iteration {at} is the first: there is no checkpoint before it to compare with")
    ends = [at] if at is not None else niters[:0:-1]
    for end in ends:
        part = next(part for part in parts if end in [header.niter for header in part])
        of_part = [header.niter for header in part]
        start = begin if begin is not None else next((niter for niter in reversed(of_part) if niter < end), None)
        if start is not None and start >= end:
            raise PtyconvError(f"{run_dir}: --from {start} must be an iteration before {end}")
        if start in of_part:
            assert start is not None
            return part, start, end
        if at is not None or begin is not None:
            break
    between = f"between iterations {begin} and {end}" if begin is not None else f"before iteration {end}"
    raise PtyconvError(f"{run_dir}: {between} there is a run boundary, across which nothing can be compared")


def _object_map(
    now: Framed, before: Framed, dx: float, percentile_range: tuple[float, float], contrast: float
) -> ObjectMap:
    left, values = _left(now, before, dx), _in_frame(now)
    lit = np.ones(now.shape[-2:], bool) if now.lit is None else now.lit
    low, high = np.percentile(values[..., lit], percentile_range)
    count = now.voxels / now.shape[1]
    return ObjectMap(
        image=flattened(np.where(lit, values.sum(1).mean(0), math.nan)),
        change=_summed(left, now),
        by_slice=on_host(namespace(left).sum(left, axis=(0, 2, 3))).astype(float) / count,
        rms=math.sqrt(float(total(left * left)) / now.voxels),
        foreground=((values > high) & lit).mean((0, 1)),
        background=((values < low) & lit).mean((0, 1)),
        contrast=contrast,
    )


def _left(now: Framed, before: Framed, dx: float) -> Array:
    """Return the aligned |change| of a part of the object (omode, slice, y, x); 0 where the scan lit nothing."""
    residual, _ = align_object(now, before, dx)
    left = abs(whole(residual)).reshape(now.shape)
    return left if now.light is None else namespace(left).where(now.light > 0, left, 0)


def _in_frame(part: Framed) -> NDArray[np.float64]:
    """Return a part of the object as its masks are of, on the host: without what is ambiguous of each plane."""
    (factors, offsets, ramp), (omodes, slices, height, width) = part.affine, part.shape
    found = on_host(part.values).astype(float)
    found *= factors.reshape(omodes, slices, 1, 1)
    found += offsets.reshape(omodes, slices, 1, 1)
    found[:, 0] -= ramp[0] * coordinates(height)[:, None] + ramp[1] * coordinates(width)
    return np.asarray(found)


def _summed(left: Array, now: Framed) -> np.ndarray:
    xp = namespace(left)
    found = on_host(xp.mean(xp.sum(left, axis=1), axis=0)).astype(float)
    return found if now.lit is None else np.where(now.lit, found, math.nan)


def _probe_maps(name: str, now: Snapshot, before: Snapshot) -> tuple[np.ndarray, np.ndarray]:
    """Return the aligned change of the probe's intensity, and the intensity (y, x), both relative to its peak."""
    current = framed(name, now)
    left, _ = align_probe(current, framed(name, before), now.dx)
    peak = float(current.max() / current.sum()) or 1.0  # of intensities whose total is 1, as the change is of
    intensity = on_host(current).astype(float) / (float(current.max()) or 1.0)
    return on_host(left).astype(float) / peak, intensity


def _displacements(name: str, now: Snapshot, before: Snapshot) -> np.ndarray:
    left, _ = align_positions(now.values[name], before.values[name], now.dx)
    found: np.ndarray = now.dx * on_host(left).astype(float)
    return found


def _small_maps(parts: list[list[Header]], name: str, reading: _Reading) -> Iterator[SmallMap]:
    """Map intervals spread evenly over the run, the first and the last among them, where they can be read."""
    pairs = [(part, pair) for part in parts for pair in pairwise(part)]
    chosen = {round(k) for k in np.linspace(0, len(pairs) - 1, min(MOST_SMALL, len(pairs)))}
    for part in parts:
        of_part = [pairs[k][1] for k in sorted(chosen) if pairs[k][0] is part]
        if not of_part:
            continue
        in_frame = _InOneFrame(reading, part, (name,))
        for pair in of_part:
            found = in_frame.pair(pair)
            if found:
                before, now = (framed(name, snapshot) for snapshot in found)
                since, niter = (header.niter for header in pair)
                yield SmallMap(since, niter, _summed(_left(now, before, found[1].dx), now) / (niter - since))


def shown_depths(found: Mapping[str, ObjectMap], thickness: float | None) -> tuple[np.ndarray, str]:
    """Return where the slices are for a profile, and what that axis is called: Å or nm if their thickness is known."""
    numbers = np.arange(len(next(iter(found.values())).by_slice))
    if thickness is None:
        return numbers + 1, "slice"
    depths = (numbers + 0.5) * thickness
    size, unit = length_unit(depths[-1])
    return depths / size, f"depth of the slice's middle ({unit})"
