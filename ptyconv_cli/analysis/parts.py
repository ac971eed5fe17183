"""Walks over the parts of a run between its boundaries; what is in the cache is not computed again."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.checkpoints.prefetch import TURNS, Prefetch
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.results.region import Region, scanned_region
from ptyconv_cli.results.run_analysis import LeftOut
from ptyconv_cli.results.series import OF_OBJECT
from ptyconv_cli.results.settings import MonitorSettings
from ptyconv_cli.results.trajectory import Trajectory

if TYPE_CHECKING:  # they load torch
    import torch

    from ptyconv_cli.analysis.cache import Cache
    from ptyconv_cli.analysis.steps import CachedSteps, Step
    from ptyconv_cli.analysis.walk import Found

CACHE_NAME = ".ptyconv"
"""The folder of the cache, beside the results."""


@dataclass(frozen=True)
class Walked:
    """What was found in each part of a run, the region of each, the settings and the device; the `cache`, if any."""

    found: "list[Found]"
    regions: Sequence[Region]
    settings: MonitorSettings
    device: "torch.device"
    cache: "Cache | None"

    @property
    def steps(self) -> "list[Step]":
        """The steps of all parts."""
        return [step for found in self.found for step in found.steps]

    @property
    def known(self) -> int:
        """The number of steps that were in the cache."""
        return sum(found.known for found in self.found)

    @property
    def left_out(self) -> list[LeftOut]:
        """The checkpoints that could not be read."""
        return [file for found in self.found for file in found.left_out]

    def trajectories(self) -> dict[str, Trajectory]:
        """Return the distances between the checkpoints of the last part by tensor, none for a single checkpoint."""
        from ptyconv_cli.analysis.steps import sketches_of
        from ptyconv_cli.metrics.sketch import Places
        from ptyconv_cli.metrics.trajectory import trajectory

        steps, region = self.found[-1].steps, self.regions[-1]
        if len(steps) < 2:
            return {}
        header, niters, found = steps[0].header, [step.header.niter for step in steps], {}
        for name, sketches in sketches_of(steps).items():
            shape = header.probe_shape if name == "probe" else header.shapes[name]
            places = Places(name, region.shape_in(shape) if name in OF_OBJECT else shape)
            found[name] = trajectory(places, sketches, niters, header.dx)
        return found

    def keep(self, folder: Path) -> None:
        """Write the cache beside the results in a folder; raise PtyconvError where that fails."""
        from ptyconv_cli.analysis.cache import Cache

        cache = self.cache or Cache(folder / CACHE_NAME, self.settings, self.device, fresh=True)
        for found, region in zip(self.found, self.regions, strict=True):
            cache.keep(found.steps, region, found.phase)
        cache.forget_the_rest()


def region_of_run(first: Header, tensors: Iterable[str]) -> Region:
    """Return the scanned region; raise CheckpointError where positions, probe and object don't fit together."""
    lowest_corner = first.crop_pos.max(0)
    for name in tensors:
        shape = first.shapes[name]
        if name in OF_OBJECT and (lowest_corner + first.probe_shape > shape[-2:]).any():
            raise CheckpointError(f"{first.path}: scan positions (crop_pos) lie outside {name}, whose shape is {shape}")
        if name == "probe_pos_shifts" and shape[0] != len(first.crop_pos):
            positions = f"{len(first.crop_pos)} scan positions (crop_pos)"
            raise CheckpointError(f"{first.path}: {positions}, but the shape of {name} is {shape}")
    return scanned_region(first.crop_pos, first.probe_shape)


def walk_parts(
    parts: Sequence[list[Header]],
    regions: Sequence[Region],
    settings: MonitorSettings,
    device: str,
    strict: bool,
    progress: Callable[[int, int], None],
    cached_in: Path | None,
) -> Walked:
    """Walk over the parts of a run one after the other; use the cache in the folder `cached_in`.

    Other parameters as of `analysis.run.analyze_run`; raises what `analysis.walk.walk` does.
    """
    for part, region in zip(parts, regions, strict=True):
        check_memory(part[0], region, settings.tensors)
    cached = cached_in is not None and (cached_in / CACHE_NAME).is_dir()
    cache = _cache(settings, device, cached_in) if cached_in is not None and cached else None
    total, found = sum(map(len, parts)), []
    for k, (part, region) in enumerate(zip(parts, regions, strict=True)):

        def undone(count: int, up_to_here: int = sum(map(len, parts[: k + 1]))) -> None:
            progress(up_to_here - count, total)

        known = cache.known(part, region) if cache else None
        found.append(_walk_part(part, region, known, settings, device, strict, undone))
    from ptyconv_cli.metrics.device import choose_device

    return Walked(found, regions, settings, choose_device(device), cache)


def _cache(settings: MonitorSettings, device: str, folder: Path) -> "Cache":
    from ptyconv_cli.analysis.cache import Cache
    from ptyconv_cli.metrics.device import choose_device

    return Cache(folder / CACHE_NAME, settings, choose_device(device))


def _walk_part(
    part: list[Header],
    region: Region,
    known: "CachedSteps | None",
    settings: MonitorSettings,
    device: str,
    strict: bool,
    undone: Callable[[int], None],
) -> "Found":
    """Walk over a part from its last cached checkpoint on; call `undone` with the number of checkpoints left."""
    done = len(known.steps) if known else 0
    rest = [] if done == len(part) else part[max(done - 1, 0) :]
    with Prefetch(rest, settings.tensors, region) as reading:
        # Loading torch takes as long as reading a few checkpoints: both are done at once.
        from ptyconv_cli.analysis.steps import CachedSteps
        from ptyconv_cli.analysis.walk import CacheIsStale, Found, walk
        from ptyconv_cli.metrics.device import choose_device

        known = known or CachedSteps()
        if not rest:
            return Found(known.steps, [], None, len(known.steps))

        def progress(done: int, total: int) -> None:
            undone(total - done)

        try:
            return walk(rest, reading, settings, choose_device(device), strict, progress, known)
        except CacheIsStale:
            pass
    return _walk_part(part, region, None, settings, device, strict, undone)


def check_memory(first: Header, region: Region, tensors: Iterable[str]) -> None:
    """Raise PtyconvError where this machine has less memory than reading will need."""
    numbers = {
        name: math.prod(region.shape_in(first.shapes[name]) if name in OF_OBJECT else first.shapes[name])
        for name in tensors
    }
    needed = TURNS * sum(first.kinds[name].itemsize * count for name, count in numbers.items())
    if not hasattr(os, "sysconf"):  # Windows doesn't tell
        return
    held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > held:
        raise PtyconvError(
            f"{first.path.parent}: {TURNS} checkpoints at a time need {needed / 1e9:.3g} GB of memory; this machine "
            f"has {held / 1e9:.3g} GB; choose fewer tensors (-t)"
        )
