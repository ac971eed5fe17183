"""Walks a run: finds its checkpoints, lets the monitor step over them, and gathers what there is to know."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import torch

from ptyconv_cli.agreement import compare_with_live
from ptyconv_cli.checkpoints import open_checkpoint
from ptyconv_cli.checkpoints.discover import find_checkpoints, number_in_name
from ptyconv_cli.checkpoints.run import Header, check_that_they_match, read_headers, read_histories
from ptyconv_cli.convergence import ConvergenceMonitor
from ptyconv_cli.device import choose_device, host_buffers_for, one_thread_an_operation
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.history import CheckpointInfo, Point, RunAnalysis
from ptyconv_cli.region import Region
from ptyconv_cli.remarks import remarks_on_live_record, remarks_on_points
from ptyconv_cli.series import TENSORS
from ptyconv_cli.settings import DEFAULT_PERCENTILES, MonitorSettings, check_whole_number
from ptyconv_cli.snapshot import Snapshot
from ptyconv_cli.version import __version__

Progress = Callable[[int, int], None]


def analyze_run(
    run_dir: str | Path,
    *,
    tensors: Iterable[str] = TENSORS,
    percentile_range: tuple[float, float] = DEFAULT_PERCENTILES,
    every: int | None = None,
    device: str = "auto",
    progress: Progress = lambda done, total: None,
) -> RunAnalysis:
    """Compute how much each tensor changed between consecutive checkpoints of the run in `run_dir`.

    `tensors`: names out of `series.TENSORS`; `percentile_range` (low, high) in percent; `every`: use only iterations
    that are multiples of it; `device`: auto, cpu, cuda, cuda:N or mps; `progress` is called with the number of
    checkpoints done and the number in all. Units of the values are in `series.SERIES`; formulas: README, "What the
    numbers mean".

    Raises ValueError for settings that are not allowed, and PtyconvError, with a message for the user, where the run
    cannot be analyzed: no folder, fewer than two checkpoints, a file that cannot be read, files that don't match.
    """
    settings = MonitorSettings.from_params({"tensors": tensors, "percentile_range": percentile_range})
    check_whole_number("every", every)
    chosen_device = choose_device(device)
    paths, lookalikes = find_checkpoints(Path(run_dir))
    headers = read_headers(paths, every)
    check_that_they_match(headers, settings.tensors)
    engine, remarks_on_engine = read_histories(headers)
    points, region = _walk(headers, settings, chosen_device, progress)
    agreement = compare_with_live(points, engine, settings.percentile_range)
    return RunAnalysis(
        run_dir=str(Path(run_dir).resolve()),
        ptyconv_version=__version__,
        device=str(chosen_device),
        percentile_range=settings.percentile_range,
        every=every,
        region=region,
        dx=headers[0].dx,
        checkpoints=[CheckpointInfo(h.path.name, h.niter, h.shapes) for h in headers],
        points=points,
        engine=engine,
        live_agreement=agreement,
        warnings=[
            *_remarks_on_files(headers, lookalikes),
            *remarks_on_points(points, settings.percentile_range),
            *remarks_on_engine,
            *remarks_on_live_record(agreement),
        ],
    )


def _walk(
    headers: list[Header], settings: MonitorSettings, device: torch.device, progress: Progress
) -> tuple[dict[str, list[Point]], Region]:
    """Let the monitor step over the checkpoints; each is read while the two before it are compared.

    Three snapshots take turns, however many checkpoints there are.
    """
    buffers = host_buffers_for(device)
    params = {"tensors": settings.tensors, "percentile_range": settings.percentile_range}
    with open_checkpoint(headers[0].path, device, buffers) as checkpoint:
        try:
            monitor = ConvergenceMonitor(params, checkpoint)
        except ValueError as error:  # the scan lies outside the object
            raise CheckpointError(f"{checkpoint.path}: {error}") from error
    progress(1, len(headers))

    def take(header: Header, into: Snapshot | None = None) -> Snapshot:
        with open_checkpoint(header.path, device, buffers) as checkpoint:
            return monitor.take(checkpoint, into)

    points: dict[str, list[Point]] = {}
    threads = 1 if buffers else 2  # a GPU is busy with one tensor, and the host buffers are for one thread
    readers, comparers = ThreadPoolExecutor(threads), ThreadPoolExecutor(threads)
    with one_thread_an_operation(), readers, comparers:
        upcoming = deque(readers.submit(take, header) for header in headers[1:3])
        for done, (before, header) in enumerate(pairwise(headers), start=2):
            snapshot, spare = upcoming.popleft().result(), monitor.last
            for key, change in monitor.compare(snapshot, comparers.map).items():
                points.setdefault(key, []).append(Point(header.niter, before.niter, change.value, change.voxels))
            if done + 1 < len(headers):
                upcoming.append(readers.submit(take, headers[done + 1], spare))
            progress(done, len(headers))
    return points, monitor.region


def _remarks_on_files(headers: list[Header], lookalikes: list[Path]) -> list[str]:
    found = [f"{path.name} was left out: its name is not model_iterNNNN." for path in lookalikes]
    for header in headers:
        if header.niter != number_in_name(header.path):
            found.append(f"{header.path.name} holds iteration {header.niter}, which counts, not its name.")
        found += header.remarks
    return found
