"""Maps of where a run still changes: the aligned change between two checkpoints, by voxel, slice and position."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from ptyconv_cli.analysis.compare import Prefetch
from ptyconv_cli.analysis.run_parts import check_memory, check_voxels, read_comparable, region_of_run
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.checkpoints.headers import Header, put_aside
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.metrics.aligned import align_object, align_positions, align_probe, whole
from ptyconv_cli.metrics.arrays import Array, all_finite, namespace, on_host
from ptyconv_cli.metrics.device import choose_device, or_on_cpu, too_much_for
from ptyconv_cli.metrics.image import flattened
from ptyconv_cli.metrics.snapshot import Snapshot, unwrap
from ptyconv_cli.quantities import QUANTITIES, drawn_as, quantity_of, wrapping
from ptyconv_cli.quantities.quantity import ARROWS, IMAGES, INTENSITY
from ptyconv_cli.quantities.settings import check_percentile_range
from ptyconv_cli.quantities.snapshots import snapshot_of
from ptyconv_cli.results.run_analysis import LeftOut, Region
from ptyconv_cli.results.text import length_unit

MOST_SMALL = 8
"""The most small maps over the run."""


@dataclass(frozen=True)
class ObjectMap:
    """Where amplitude or phase changed, inside the scanned region, without the ambiguities.

    `image` (y, x): the later checkpoint's phase in rad, or 1 - amplitude, summed over the slices (of several object
    modes the mean), less the plane that fits best: offset and ramp are ambiguities. `change` (y, x): the aligned
    |change|, summed likewise; `by_slice`: its mean over each slice, from the first on; `foreground` and `background`
    (y, x): the share of slices and modes that are in the mask there, from 0 to 1.
    """

    image: np.ndarray
    change: np.ndarray
    by_slice: np.ndarray
    foreground: np.ndarray
    background: np.ndarray

    @property
    def contrast(self) -> float:
        """The range of the image in its unit, without its darkest and its brightest 1 %; NaN where it isn't finite."""
        low, high = np.percentile(self.image, (1, 99))
        return float(high - low)

    @property
    def relative(self) -> float:
        """The mean change as a share of the object's contrast; NaN where there is none to compare with."""
        return float(self.change.mean()) / self.contrast if self.contrast > 0 else math.nan


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
            found = reading.pair(pair, tensors, region_of_run(part[0], tensors))
            if found:
                break
            if {at, begin} & {file.niter for file in left_out}:
                file = left_out[-1]
                raise CheckpointError(f"{run.folder / file.file}: {file.reason}")
            parts = [[header for header in one if header.niter != left_out[-1].niter] for one in parts]
        before, now = found
        objects = {
            name: _object_map(name, now, before, percentile_range) for name in tensors if quantity_of(name).is_object
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
        positions=header.dx * (header.crop_pos + np.array(header.probe_shape) // 2),
        displacements=moved[0] if moved else None,
        small_of=small_of,
        small=small,
        warnings=[*run.notices(), *_not_finite(now, before)],
    )


class _Reading:
    """Reads pairs of snapshots; unreadable files go to `left_out`, or, if `strict`, raise CheckpointError."""

    def __init__(self, device: str, strict: bool, left_out: list[LeftOut]) -> None:
        self.device, self._strict, self._left_out = device, strict, left_out

    def pair(
        self, pair: Sequence[Header], tensors: tuple[str, ...], region: Region
    ) -> tuple[Snapshot, Snapshot] | None:
        """Return two snapshots, None where one cannot be read; phases that wrap differ by at most half a turn."""
        check_memory(pair[0], region, tensors)
        check_voxels(pair[0], region, tensors, self.device)
        found = []
        for header in pair:
            with Prefetch([header], tensors, region) as reading:
                try:
                    found.append(snapshot_of(reading.next(), header.dx, self.device))
                except CheckpointError as error:
                    if self._strict:
                        raise
                    put_aside(header, error, self._left_out)
                    return None
        before, now = found
        phase = wrapping(tensors)
        if pair[0].phase_wraps and phase:
            unwrap(now.values[phase], unwrap(before.values[phase], None))
        return before, now


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


def _left(name: str, now: Snapshot, before: Snapshot) -> Array:
    """Return the aligned |change| of an object tensor (omode, slice, y, x)."""
    current = now.values[name]
    residual, _ = align_object(quantity_of(name).own, current, before.values[name], now.dx)
    return abs(whole(residual)).reshape(current.shape)


def _object_map(name: str, now: Snapshot, before: Snapshot, percentile_range: tuple[float, float]) -> ObjectMap:
    left, values = _left(name, now, before), on_host(now.values[name])
    low, high = np.percentile(values, percentile_range)
    return ObjectMap(
        image=flattened(values.sum(1, dtype=float).mean(0)),
        change=_summed(left),
        by_slice=on_host(namespace(left).mean(left, axis=(0, 2, 3))).astype(float),
        foreground=(values > high).mean((0, 1)),
        background=(values < low).mean((0, 1)),
    )


def _summed(left: Array) -> np.ndarray:
    xp = namespace(left)
    return on_host(xp.mean(xp.sum(left, axis=1), axis=0)).astype(float)


def _probe_maps(name: str, now: Snapshot, before: Snapshot) -> tuple[np.ndarray, np.ndarray]:
    """Return the aligned change of the probe's intensity, and the intensity (y, x), both relative to its peak."""
    current = now.values[name]
    left, _ = align_probe(current, before.values[name], now.dx)
    peak = float(current.max() / current.sum()) or 1.0  # of intensities whose total is 1, as the change is of
    intensity = on_host(current).astype(float) / (float(current.max()) or 1.0)
    return on_host(left).astype(float) / peak, intensity


def _displacements(name: str, now: Snapshot, before: Snapshot) -> np.ndarray:
    left, _ = align_positions(now.values[name], before.values[name], now.dx)
    found: np.ndarray = now.dx * on_host(left).astype(float)
    return found


def _small_maps(parts: list[list[Header]], name: str, reading: _Reading) -> Iterator[SmallMap]:
    """Map intervals spread evenly over the run, the first and the last among them, where they can be read."""
    pairs = [(part[0], *pair) for part in parts for pair in pairwise(part)]
    chosen = {round(k) for k in np.linspace(0, len(pairs) - 1, min(MOST_SMALL, len(pairs)))}
    for k in sorted(chosen):
        first, *pair = pairs[k]
        found = reading.pair(pair, (name,), region_of_run(first, (name,)))
        if found:
            since, niter = (header.niter for header in pair)
            yield SmallMap(since, niter, _summed(_left(name, found[1], found[0])) / (niter - since))


def shown_depths(found: Mapping[str, ObjectMap], thickness: float | None) -> tuple[np.ndarray, str]:
    """Return where the slices are for a profile, and what that axis is called: Å or nm if their thickness is known."""
    numbers = np.arange(len(next(iter(found.values())).by_slice))
    if thickness is None:
        return numbers + 1, "slice"
    depths = (numbers + 0.5) * thickness
    size, unit = length_unit(depths[-1])
    return depths / size, f"depth of the slice's middle ({unit})"
