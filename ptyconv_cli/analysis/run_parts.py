"""The parts of a run between its boundaries, one after the other; what is in the cache is not computed again."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptyconv_cli.analysis.cache import Cache, keys_of
from ptyconv_cli.analysis.steps import IN_FRAME, CachedSteps, CacheIsStale, Comparer, Found, StaleRow, Step
from ptyconv_cli.checkpoints.chain import Selection, comparable_parts, on_one_axis, read_chain, tensors_of
from ptyconv_cli.checkpoints.headers import Header, check_that_enough_are_left
from ptyconv_cli.checkpoints.readers import versions
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.metrics.device import Unusable, arithmetic_of, choose_device, likely_device
from ptyconv_cli.quantities import quantity_of, wrapping
from ptyconv_cli.quantities.settings import MonitorSettings
from ptyconv_cli.results.run_analysis import LeftOut, Region, scanned_region
from ptyconv_cli.verdict.segments import Counting


@dataclass(frozen=True)
class Comparable:
    """The `parts` of a run, in each of which all checkpoints can be compared, and the `tensors` that they all have.

    `folder` of the run; files `left_out`, to which may be added; `remarks` on the chain and the tensors.
    """

    folder: Path
    tensors: tuple[str, ...]
    parts: list[list[Header]]
    left_out: list[LeftOut]
    remarks: list[str]

    def notices(self, known: Sequence[LeftOut] = ()) -> list[str]:
        """Return the remarks, and which files were left out but for those that are `known` already, for the user."""
        said = {(Path(file.file).name, file.niter) for file in known}
        new = [file for file in self.left_out if (Path(file.file).name, file.niter) not in said]
        return [*self.remarks, *map(left_out_text, new)]


def left_out_text(file: LeftOut) -> str:
    """Return the warning that a file was left out."""
    return f"{file.file} was left out: {file.reason}."


def read_comparable(run_dir: Path, asked: Selection, chain: Sequence[Path] | str) -> Comparable:
    """Read the headers of a run; parameters and errors as of `analysis.run.analyze_run`."""
    runs = read_chain(run_dir, asked, chain)
    tensors, remarks = tensors_of(runs, asked)
    runs = on_one_axis(runs)
    headers = [header for run in runs for header in run.headers]
    left_out = [file for run in runs for file in run.left_out]
    check_that_enough_are_left(run_dir, headers, asked.every, left_out)
    parts, _ = comparable_parts(headers, tensors)
    return Comparable(runs[-1].folder, tensors, parts, left_out, remarks)


@dataclass(frozen=True)
class Walked:
    """What was found in each part of a run, with the region of each, on a device.

    `comparers` by tensor of each part; `counting`: by tensor, how its iterations count; `cache`: what it
    can be kept in, None where it is not to be; `notice`: what is to be told about the device, "" for nothing.
    """

    found: list[Found]
    regions: Sequence[Region]
    comparers: list[dict[str, Comparer]]
    counting: Mapping[str, Counting]
    device: str
    cache: Cache | None
    depends_on: list[Any]
    notice: str = ""

    @property
    def steps(self) -> list[Step]:
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

    def keep(self) -> None:
        """Write what the next analysis can go on from into the cache; raise PtyconvError where that fails."""
        if self.cache is None:
            return
        for part, (found, comparers) in enumerate(zip(self.found, self.comparers, strict=True)):
            by = [*self.depends_on, tuple(self.regions[part])]
            keys = keys_of([step.header for step in found.steps], by, self.counting)
            self.cache.write(part, found.known, keys, found.steps, comparers)
            if found.phase is not None:
                self.cache.keep_phase(part, keys[-1], found.phase, found.phase_in_frame)
        self.cache.forget_the_rest()


def region_of_run(first: Header, tensors: Iterable[str]) -> Region:
    """Return the scanned region; raise CheckpointError where positions, probe and object don't fit together.

    Where windows may reach beyond the object, what is beyond is no part of the region.
    """
    lowest_corner, region = first.crop_pos.max(0), scanned_region(first.crop_pos, first.probe_shape)
    for name in tensors:
        shape = first.shapes[name]
        quantity = quantity_of(name)
        outside = quantity.is_object and (lowest_corner + first.probe_shape > shape[-2:]).any()
        clamped = region.within(shape) if quantity.is_object and first.windows_may_exceed else region
        if (outside and not first.windows_may_exceed) or not clamped.holds_any():
            raise CheckpointError(f"{first.path}: scan positions (crop_pos) lie outside {name}, whose shape is {shape}")
        region = clamped
        if quantity.axes[0] == "N" and shape[0] != len(first.crop_pos):
            positions = f"{len(first.crop_pos)} scan positions (crop_pos)"
            raise CheckpointError(f"{first.path}: {positions}, but the shape of {name} is {shape}")
    return region


def shape_compared(name: str, first: Header) -> tuple[int, ...]:
    """Return the shape of what is compared of a tensor, by the first checkpoint of a part."""
    return quantity_of(name).shape_compared(first.shapes[name], scanned_region(first.crop_pos, first.probe_shape))


def walk_parts(
    parts: Sequence[list[Header]],
    regions: Sequence[Region],
    settings: MonitorSettings,
    counting: Mapping[str, Counting],
    strict: bool,
    progress: Callable[[int, int], None],
    cache: Cache | None,
    device: str,
) -> Walked:
    """Walk over the parts of a run one after the other; what the cache knows from an earlier analysis is not done
    again.

    `counting`: by tensor, how its iterations count. Parameters otherwise as of
    `analysis.run.analyze_run`; raises what `analysis.compare.walk` does, and Unusable where a GPU cannot be used.
    """
    on, found, comparers, notice = likely_device(device), [], [], ""
    by = depends_on(settings, on)
    knowns = [
        _known(cache, number, part, region, by, counting, settings)
        for number, (part, region) in enumerate(zip(parts, regions, strict=True))
    ]
    for part, region, known in zip(parts, regions, knowns, strict=True):
        if len(known.steps) < len(part):
            check_memory(part[0], region, settings.tensors)
    total = sum(map(len, parts))
    for number, (part, region, known) in enumerate(zip(parts, regions, knowns, strict=True)):

        def undone(count: int, up_to_here: int = sum(map(len, parts[: number + 1]))) -> None:
            progress(up_to_here - count, total)

        of_part, of_tensors, notice = _walk_part(part, region, known, settings, counting, device, strict, undone)
        found.append(of_part)
        comparers.append(of_tensors)
    return Walked(found, regions, comparers, counting, on, cache, by, notice)


def depends_on(settings: MonitorSettings, device: str) -> list[Any]:
    """Return what the numbers depend on besides the checkpoints: versions, the device, settings."""
    return [*versions(), *arithmetic_of(device), settings.tensors, settings.percentile_range, settings.aligned]


def _known(
    cache: Cache | None,
    number: int,
    part: list[Header],
    region: Region,
    by: Sequence[Any],
    counting: Mapping[str, Counting],
    settings: MonitorSettings,
) -> CachedSteps:
    """Return what the cache knows of a part; nothing where a phase that wraps is to be continued, and is not known."""
    if cache is None or not cache.exists():
        return CachedSteps()

    def contents(headers: Sequence[Header]) -> Iterator[dict[str, int] | None]:
        from ptyconv_cli.analysis.compare import contents_of  # as in `_walk_part`
        from ptyconv_cli.analysis.registration import read_beside

        beside = read_beside(part, settings.tensors) if settings.aligned else ()
        return contents_of(settings.tensors, region, beside, headers)

    known = cache.known(number, keys_of(part, [*by, tuple(region)], counting), part, contents)
    wraps = part[0].phase_wraps and wrapping(settings.tensors) and len(known.steps) < len(part)
    return CachedSteps() if wraps and known.phase is None else known


def _walk_part(
    part: list[Header],
    region: Region,
    known: CachedSteps,
    settings: MonitorSettings,
    counting: Mapping[str, Counting],
    device: str,
    strict: bool,
    undone: Callable[[int], None],
) -> tuple[Found, dict[str, Comparer], str]:
    """Walk over a part from the last checkpoint on that is known; say how many are `undone`.

    Return what is to be told about the device, too.
    """
    comparers = _comparers(part[0], region, settings, counting, known)
    if len(known.steps) == len(part):
        return Found(known.steps, [], None, None, len(part)), comparers, ""
    from ptyconv_cli.analysis.compare import Prefetch  # which, as the arithmetic, only what is new needs
    from ptyconv_cli.analysis.registration import read_beside

    rest = part[max(len(known.steps) - 1, 0) :]
    beside = read_beside(part, settings.tensors) if settings.aligned else ()
    with Prefetch(rest, settings.tensors, region, beside=beside) as reading:
        # What the walk loads, with a GPU also torch, is loaded while the first checkpoints are read.
        from ptyconv_cli.analysis.compare import nothing_left_on, walk

        on, notice = choose_device(device)
        if on != likely_device(device):
            raise Unusable(f"{likely_device(device)}: PyTorch cannot use it", notice)
        check_voxels(part[0], region, settings.tensors, on)

        def progress(done: int, total: int) -> None:
            undone(total - done)

        try:
            with nothing_left_on(on, comparers):
                found = walk(rest, reading, settings, on, strict, progress, known, comparers, region, part[0])
            return found, comparers, notice
        except (CacheIsStale, StaleRow):
            pass
    return _walk_part(part, region, CachedSteps(), settings, counting, device, strict, undone)


def _comparers(
    first: Header,
    region: Region,
    settings: MonitorSettings,
    counting: Mapping[str, Counting],
    known: CachedSteps,
) -> dict[str, Comparer]:
    """Return what compares each tensor with earlier checkpoints, none where the aligned change was not asked for."""
    found = {}
    for name in settings.tensors if settings.aligned else ():
        shape = quantity_of(name).shape_compared(first.shapes[name], region)
        compared = [step.compared[name] for step in known.steps]
        rows, in_frame = known.rows.get(name), known.rows.get(name + IN_FRAME)
        found[name] = Comparer(name, shape, first.dx, counting.get(name, Counting()), compared, rows, in_frame)
    return found


def check_voxels(first: Header, region: Region, tensors: Iterable[str], device: str) -> None:
    """Raise PtyconvError where a tensor has more voxels than a device can count."""
    from ptyconv_cli.metrics import snapshot

    for name in tensors:
        voxels = math.prod(region.shape_in(first.shapes[name])) if quantity_of(name).is_object else 0
        if device != "cpu" and voxels > snapshot.MOST_VOXELS:
            raise PtyconvError(
                f"{first.path.parent}: {name}: {voxels:,} voxels are too many for a GPU; use --device cpu"
            )


def check_memory(first: Header, region: Region, tensors: Sequence[str], runs: int = 1) -> None:
    """Raise PtyconvError where this machine has less memory than reading so many runs at a time will need."""
    from ptyconv_cli.analysis.compare import TURNS

    numbers = {
        name: math.prod(region.shape_in(first.shapes[name]) if quantity_of(name).is_object else first.shapes[name])
        for name in tensors
    }
    needed = runs * TURNS * sum(first.kinds[name].itemsize * count for name, count in numbers.items())
    if not hasattr(os, "sysconf"):  # Windows doesn't tell
        return
    held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > held:
        raise PtyconvError(
            f"{first.path.parent}: {runs * TURNS} checkpoints at a time need {needed / 1e9:.3g} GB of memory; this "
            f"machine has {held / 1e9:.3g} GB{'; choose fewer tensors (-t)' if len(tensors) > 1 else ''}"
        )
