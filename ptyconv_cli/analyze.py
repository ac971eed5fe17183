"""Analyzes a run: finds its checkpoints, has them compared, and gathers what there is to know."""

from collections.abc import Callable, Iterable
from pathlib import Path

from ptyconv_cli.agreement import compare_with_live
from ptyconv_cli.checkpoints.ahead import ReadAhead
from ptyconv_cli.checkpoints.discover import find_checkpoints, number_in_name
from ptyconv_cli.checkpoints.run import Header, check_that_they_match, read_headers, read_histories
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.history import CheckpointInfo, RunAnalysis
from ptyconv_cli.region import Region, scanned_region
from ptyconv_cli.remarks import remarks_on_live_record, remarks_on_points
from ptyconv_cli.series import OF_OBJECT, TENSORS
from ptyconv_cli.settings import DEFAULT_PERCENTILES, MonitorSettings, check_device_name, check_whole_number
from ptyconv_cli.version import __version__


def analyze_run(
    run_dir: str | Path,
    *,
    tensors: Iterable[str] = TENSORS,
    percentile_range: tuple[float, float] = DEFAULT_PERCENTILES,
    every: int | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
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
    check_device_name(device)
    paths, lookalikes = find_checkpoints(Path(run_dir))
    headers = read_headers(paths, every)
    check_that_they_match(headers, settings.tensors)
    engine, remarks_on_engine = read_histories(headers)
    region = _scanned_region(headers[0], settings.tensors)
    with ReadAhead([header.path for header in headers], settings.tensors, region) as reading:
        # Loading torch takes as long as reading a few checkpoints, so it is done meanwhile.
        from ptyconv_cli.walk import walk

        points, device = walk(headers, reading, settings.percentile_range, device, progress)
    agreement = compare_with_live(points, engine, settings.percentile_range)
    return RunAnalysis(
        run_dir=str(Path(run_dir).resolve()),
        ptyconv_version=__version__,
        device=device,
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


def _scanned_region(first: Header, tensors: Iterable[str]) -> Region:
    region = scanned_region(first.crop_pos, first.probe_shape)
    for name in set(OF_OBJECT).intersection(tensors):
        try:
            region.shape_in(first.shapes[name])
        except ValueError as error:
            raise CheckpointError(f"{first.path}: {error}") from error
    return region


def _remarks_on_files(headers: list[Header], lookalikes: list[Path]) -> list[str]:
    found = [f"{path.name} was left out: its name is not model_iterNNNN." for path in lookalikes]
    for header in headers:
        if header.niter != number_in_name(header.path):
            found.append(f"{header.path.name} holds iteration {header.niter}, which counts, not its name.")
        found += header.remarks
    return found
