"""Analyzes a run: finds its checkpoints, has them compared, and gathers what there is to know."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ptyconv_cli.agreement import compare_with_live
from ptyconv_cli.checkpoints.ahead import TURNS, ReadAhead
from ptyconv_cli.checkpoints.belonging import matching, of_one_run
from ptyconv_cli.checkpoints.discover import find_checkpoints, number_in_name
from ptyconv_cli.checkpoints.run import Header, check_that_enough_are_left, read_headers, read_histories
from ptyconv_cli.conclusion import conclude, evidence_of_run
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.history import CheckpointInfo, RunAnalysis
from ptyconv_cli.region import Region, scanned_region
from ptyconv_cli.remarks import remarks_on_left_out, remarks_on_live_record, remarks_on_not_finite, remarks_on_points
from ptyconv_cli.series import OF_OBJECT, TENSORS
from ptyconv_cli.settings import DEFAULT_PERCENTILES, MonitorSettings, check_device_name, check_whole_number
from ptyconv_cli.version import __version__


def analyze_run(
    run_dir: str | Path,
    *,
    tensors: Iterable[str] = TENSORS,
    percentile_range: tuple[float, float] = DEFAULT_PERCENTILES,
    every: int | None = None,
    select: str | None = None,
    strict: bool = False,
    aligned: bool = True,
    tolerances: Mapping[str, float] | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RunAnalysis:
    """Compute how much each tensor changed between consecutive checkpoints of the run in `run_dir`.

    `tensors`: names out of `series.TENSORS`; `percentile_range` (low, high) in percent; `every`: use only iterations
    that are multiples of it; `select`: use only files whose names match this pattern, or, if it is a number, those of
    one of the runs that a folder holds; `strict`: raise an error for a file that cannot be read, instead of leaving it
    out; `aligned`: compute the aligned changes, the trajectories and the verdict too; `tolerances`: as of
    `conclusion.evidence_of_run`; `device`: auto, cpu, cuda, cuda:N or mps; `progress` is called with the number of
    checkpoints done and the number in all. Units of the values are in `series.SERIES`; formulas: README, "What the
    numbers mean", "The change that is real" and the two sections after it.

    Raises ValueError for settings that are not allowed, and PtyconvError, with a message for the user, where the run
    cannot be analyzed: no folder, fewer than two checkpoints to read, files of several runs, too little memory.
    """
    settings = MonitorSettings.from_params(
        {"tensors": tensors, "percentile_range": percentile_range, "aligned": aligned}
    )
    check_whole_number("every", every)
    check_device_name(device)
    run_dir = Path(run_dir)
    paths, lookalikes = find_checkpoints(run_dir)
    paths = [path for path in matching(paths, select) if number_in_name(path) % (every or 1) == 0]
    if not paths:
        check_that_enough_are_left(run_dir, [], every, [])
    headers, left_out = read_headers(paths, settings.tensors, strict)
    headers, of_other_runs = of_one_run(headers, settings.tensors, select)
    left_out += of_other_runs
    check_that_enough_are_left(run_dir, headers, every, left_out)
    engine, remarks_on_engine = read_histories(headers)
    region = _scanned_region(headers[0], settings.tensors)
    _check_memory(headers[0], region, settings.tensors)
    with ReadAhead(headers, settings.tensors, region) as reading:
        # Loading torch takes as long as reading a few checkpoints, so it is done meanwhile.
        from ptyconv_cli.trajectory import trajectory
        from ptyconv_cli.walk import walk

        found = walk(headers, reading, settings, device, strict, progress)
    left_out += found.left_out
    check_that_enough_are_left(run_dir, found.used, every, left_out)
    niters = [header.niter for header in found.used]
    trajectories = {
        name: trajectory(places, found.sketches[name], niters, headers[0].dx) for name, places in found.places.items()
    }
    evidence = evidence_of_run(found.aligned_points, trajectories, engine, tolerances or {})
    agreement = compare_with_live(found.points, engine, settings.percentile_range)
    remarks = [
        *_remarks_on_files(found.used, lookalikes),
        *remarks_on_left_out(left_out, found.points),
        *remarks_on_points(found.points, settings.percentile_range),
        *remarks_on_not_finite(found.not_finite, niters),
        *remarks_on_engine,
        *remarks_on_live_record(agreement),
    ]
    return RunAnalysis(
        run_dir=str(run_dir.resolve()),
        ptyconv_version=__version__,
        device=found.device,
        percentile_range=settings.percentile_range,
        every=every,
        select=select,
        region=region,
        dx=headers[0].dx,
        checkpoints=[CheckpointInfo(h.path.name, h.niter, h.shapes) for h in found.used],
        left_out=left_out,
        not_finite=found.not_finite,
        points=found.points,
        aligned_points=found.aligned_points,
        taken_out=found.taken_out,
        trajectories=trajectories,
        verdict=conclude(evidence) if evidence else None,
        engine=engine,
        live_agreement=agreement,
        warnings=list(dict.fromkeys(remarks)),  # each once, though many files may say the same
    )


def _scanned_region(first: Header, tensors: Iterable[str]) -> Region:
    """Return the region of a run; raise CheckpointError where positions, probe and object don't fit together."""
    lowest_corner = first.crop_pos.max(0)
    for name in tensors:
        shape = first.shapes[name]
        if name in OF_OBJECT and (lowest_corner + first.probe_shape > shape[-2:]).any():
            raise CheckpointError(f"{first.path}: scan positions (crop_pos) lie outside {name}, whose shape is {shape}")
        if name == "probe_pos_shifts" and shape[0] != len(first.crop_pos):
            positions = f"{len(first.crop_pos)} scan positions (crop_pos)"
            raise CheckpointError(f"{first.path}: {positions}, but the shape of {name} is {shape}")
    return scanned_region(first.crop_pos, first.probe_shape)


def _check_memory(first: Header, region: Region, tensors: Iterable[str]) -> None:
    """Raise PtyconvError where this machine cannot hold what is to be read, before memory is asked for."""
    numbers = {
        name: math.prod(region.shape_in(first.shapes[name]) if name in OF_OBJECT else first.shapes[name])
        for name in tensors
    }
    needed = TURNS * sum((8 if name == "probe" else 4) * count for name, count in numbers.items())
    if not hasattr(os, "sysconf"):  # Windows doesn't tell
        return
    held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > held:
        raise PtyconvError(
            f"{first.path.parent}: {TURNS} checkpoints at a time need {needed / 1e9:.3g} GB of memory; this machine "
            f"has {held / 1e9:.3g} GB; follow fewer tensors (-t)"
        )


def _remarks_on_files(headers: list[Header], lookalikes: list[Path]) -> list[str]:
    found = [f"{path.name} was left out: its name is not model_iterNNNN." for path in lookalikes]
    for header in headers:
        damaged = any("loss_iters" in remark for remark in header.remarks)
        if not len(header.loss) and not damaged and any(len(other.loss) for other in headers):
            found.append(f"{header.path.name} has no loss history, by which files of other runs are told apart.")
        if header.niter != number_in_name(header.path):
            found.append(f"{header.path.name} holds iteration {header.niter}, which counts, not its name.")
        found += header.remarks
    return found
