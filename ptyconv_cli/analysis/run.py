"""Analyzes one run: from its checkpoints to changes, distances and verdict."""

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ptyconv_cli import __version__
from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.cached_headers import read_recorded
from ptyconv_cli.analysis.notices import (
    compare_with_live,
    notices_on_boundaries,
    notices_on_files,
    notices_on_left_out,
    notices_on_live_record,
    notices_on_loss,
    notices_on_not_finite,
    notices_on_points,
    notices_on_region,
    notices_on_stray_positions,
    notices_on_too_few,
    notices_on_vanished,
)
from ptyconv_cli.analysis.run_parts import region_of_run, shape_compared, walk_parts
from ptyconv_cli.analysis.steps import Compared, Comparer, Curves, Step, shown_before
from ptyconv_cli.checkpoints.chain import (
    AUTO,
    Selection,
    comparable_parts,
    on_one_axis,
    read_chain,
    tensors_of,
)
from ptyconv_cli.checkpoints.discovery import check_pattern
from ptyconv_cli.checkpoints.grouping import Parent, find_parent
from ptyconv_cli.checkpoints.headers import Header, check_that_enough_are_left
from ptyconv_cli.checkpoints.opening import one_look
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.metrics.device import check_device_name, or_on_cpu
from ptyconv_cli.quantities import QUANTITIES, quantity_of, tensor_keys
from ptyconv_cli.quantities.quantity import Quantity
from ptyconv_cli.quantities.settings import (
    DEFAULT_PERCENTILES,
    MonitorSettings,
    Tolerance,
    check_tolerances,
    check_whole_number,
)
from ptyconv_cli.results.history import Curve, Distances, EngineHistories, Point, Trajectory, lag_of
from ptyconv_cli.results.run_analysis import (
    CheckpointInfo,
    Doublings,
    LeftOut,
    RunAnalysis,
    RunBoundary,
    RunVerdict,
)
from ptyconv_cli.verdict.conclusion import RunEvidence, conclude, stopped_late
from ptyconv_cli.verdict.evidence import (
    NOT_FINITE,
    SMALLEST_MOVE,
    VANISHED,
    Motion,
    doublings_of,
    least_move,
    motions_of_histories,
    since_when,
    still_since,
    vanished,
)
from ptyconv_cli.verdict.segments import Counting, counting_of, doublings_between, stopped_since


def trajectories_of(steps: Sequence[Step], comparers: Mapping[str, Comparer]) -> dict[str, Trajectory]:
    """Return the distances between checkpoints by tensor, none of a single checkpoint."""
    if len(steps) < 2:
        return {}
    shown = [*shown_before(len(steps) - 1), len(steps) - 1]
    found = {}
    for name in comparers:
        quantity = quantity_of(name)
        of_raw = quantity.scale_of_raw(steps[-1].compared[name].total, steps[-1].compared[name].all_voxels)
        raw, aligned = (
            Distances(
                [
                    [steps[k].compared[name].to(j, is_aligned) / scale for j in shown[:row]]
                    for row, k in enumerate(shown)
                ],
                _drift_ratio(steps, name, is_aligned),
            )
            for is_aligned, scale in ((False, of_raw), (True, 1.0))
        )
        found[name] = Trajectory(
            niters=[steps[k].header.niter for k in shown],
            unit=quantity.distance_unit or quantity.series_unit,
            kept=steps[-1].compared[name].kept,
            all_voxels=steps[-1].compared[name].all_voxels,
            lag=lag_of(len(steps)),
            raw=raw,
            aligned=aligned,
        )
    return found


def _drift_ratio(steps: Sequence[Step], name: str, aligned: bool = True) -> Curve:
    lag = lag_of(len(steps))
    return [(steps[k].header.niter, _ratio_at(steps, k, name, lag, aligned)) for k in range(lag, len(steps)) if lag > 1]


def _ratio_at(steps: Sequence[Step], place: int, name: str, lag: int, aligned: bool = True) -> float:
    compared = steps[place].compared[name]
    one = compared.to(place - 1, aligned)
    moved = one > SMALLEST_MOVE * quantity_of(name).size_of(compared.size, steps[place].header.dx)
    return compared.to(place - lag, aligned) / one if moved else math.nan  # rounding has no direction


def verdict_of(
    steps: Sequence[Step],
    engine: EngineHistories,
    counting: Mapping[str, Counting],
    tolerances: Mapping[str, Tolerance],
    resumed_from: str = "",
) -> RunVerdict | None:
    """Return the verdict on the last part of a run, None where the aligned change was not asked for.

    `counting`: by quantity, how its iterations count; `resumed_from`: see `verdict.conclusion.RunEvidence`.
    """
    if not steps[-1].compared:
        return None
    doublings, niters = _doublings(steps, engine, counting, tolerances), [step.header.niter for step in steps]
    before = {}
    for key, since in stopped_late(doublings, niters[-1], counting).items():
        until = [step for step in steps if step.header.niter <= since]
        if len(until) > 1:
            before[key] = _doublings(until, engine, counting, tolerances)[key]
    frames = {step.header.niter: step.frame for step in steps if step.frame}
    return conclude(RunEvidence(doublings, niters, engine, before, frames, resumed_from))


def _doublings(
    steps: Sequence[Step],
    engine: EngineHistories,
    counting: Mapping[str, Counting],
    tolerances: Mapping[str, Tolerance],
) -> dict[str, Doublings]:
    dx = steps[-1].header.dx
    names, niters = list(steps[-1].compared), [step.header.niter for step in steps]
    gone = vanished({name: {step.header.niter: step.compared[name].strength for step in steps} for name in names})
    motions = {name: _motion(name, steps, engine, counting[name], gone[name]) for name in names}
    motions |= motions_of_histories(engine, niters, counting)
    return {
        quantity.key: doublings_of(
            motions[quantity.key],
            quantity,
            tolerances[quantity.key].value(dx) if quantity.key in tolerances else quantity.tolerance,
            engine.learning_rates.get(quantity.recorded_as, []),
            engine.loss,
        )
        for quantity in QUANTITIES
        if quantity.key in motions
    }


def _motion(
    name: str,
    steps: Sequence[Step],
    engine: EngineHistories,
    counting: Counting,
    gone: Collection[int],
) -> Motion:
    """Return how a tensor moved over the checkpoints of a part; it had vanished at the iterations `gone`."""
    quantity, niters = quantity_of(name), [step.header.niter for step in steps]
    compared = [step.compared[name] for step in steps]
    last = len(steps) - 1
    moves = [_moved(quantity, compared[place], place, steps[place].header.dx) for place in range(1, len(steps))]
    lag = lag_of(len(steps))
    broken = [step.not_finite.get(name, False) for step in steps]
    still = still_since(niters, moves)
    stopped = stopped_since(quantity.recorded_as, engine, niters[max(last - 1, 0)], niters[last])
    return Motion(
        niter=niters[last],
        contrasts={step.header.niter: step.contrasts.get(name, step.header.dx) for step in steps},
        doubled=doublings_between(niters, counting, lambda place, half: compared[place].to(half)),
        to_last=[(niters[place], distance) for place, distance in zip(*compared[last][0:3:2], strict=True)],
        drift_ratio=_ratio_at(steps, last, name, lag) if lag > 1 else math.nan,
        lag=lag,
        counting=counting,
        broken_since=since_when(niters, [one or niter in gone for one, niter in zip(broken, niters, strict=True)]),
        stopped_since=min((since for since in (still, stopped) if since is not None), default=None),
        reason=NOT_FINITE if broken[last] else VANISHED,
        too_few=quantity.too_few_to_align(shape_compared(name, steps[0].header)),
    )


def _moved(quantity: Quantity, compared: Compared, place: int, dx: float) -> float:
    """Return how far a tensor moved since the checkpoint before, as `least_move` does."""
    sizes = quantity.size_of(compared.size, dx), quantity.size_in_frame(compared.size, compared.mean, dx)
    return least_move(compared.to(place - 1, False), compared.to(place - 1, True), sizes)


Progress = Callable[[int, int], None]


def analyze_run(
    run_dir: str | Path,
    *,
    tensors: Iterable[str] | None = None,
    percentile_range: tuple[float, float] = DEFAULT_PERCENTILES,
    every: int | None = None,
    select: str | None = None,
    names: str | None = None,
    strict: bool = False,
    aligned: bool = True,
    tolerances: Mapping[str, float | str] | None = None,
    chain: Sequence[str | Path] | str = (),
    files: Collection[Path] | None = None,
    cache: Cache | None = None,
    device: str = "auto",
    progress: Progress = lambda done, total: None,
) -> RunAnalysis:
    """Compute how much each tensor changed between consecutive checkpoints of a run.

    - `run_dir`: the folder of the run, or a file: one with several snapshots, or one of the run's.
    - `tensors`: out of "objp" (or "phase"), "obja" ("amplitude"), "probe", "probe_pos_shifts" ("positions") and
      "probe_weights" ("weights"), by default all that the run has. `percentile_range`: (low, high) in percent.
    - `every`: use only iterations that are multiples of it. `select`: use only files whose names match this pattern,
      or, if it is a number, the run of this number in a folder with several. `files`: use only these of the files.
    - `names`: how the files are named, where not as usual, with a star for the digits of the iteration, as
      "state_iter*.h5"; by default they are found by their content where a folder leaves no doubt.
    - `strict`: raise an error for a file that cannot be read, instead of leaving it out.
    - `aligned`: also compute the aligned changes, the trajectories and the verdict. `tolerances`: how much a doubling
      of the iterations may change what has converged, by quantity, as {"phase": "2%", "positions": "0.05px"};
      also "tilt" (mrad) and "thickness" (%). Numbers without a unit are in %, px or mrad: 2 is 2 %.
    - `chain`: the folders of the runs that this one was resumed from, in order, or "auto" to find them; all are put on
      one axis of iterations. See docs/runs.md.
    - `cache`: what an earlier analysis kept, and where this one is to be kept by `cache.keep()`.
    - `device`: auto, cpu, cuda, cuda:N or mps; `progress`: called with the numbers of checkpoints done and in all.

    Changes of the phase are in rad, of the positions in Å, the others have no unit. Formulas: docs/metrics.md and
    docs/verdict.md.

    Raises ValueError for settings that are not allowed, and PtyconvError, with a message for the user, where the run
    cannot be analyzed: no folder, fewer than two readable checkpoints, files of several runs, too little memory.
    """
    settings = MonitorSettings.from_params(
        {
            "tensors": tensor_keys() if tensors is None else tensors,
            "percentile_range": percentile_range,
            "aligned": aligned,
        }
    )
    check_whole_number("every", every)
    check_device_name(device)
    if isinstance(chain, str) and chain != AUTO:
        raise ValueError(f"chain must be a list of folders, or {AUTO!r}; got {chain!r}")
    checked_tolerances, run_dir = check_tolerances(tolerances or {}), Path(run_dir)
    earlier = chain if isinstance(chain, str) else [Path(folder) for folder in chain]
    wanted, pattern = None if tensors is None else settings.tensors, check_pattern(names)
    with one_look():
        asked = Selection(wanted, every, select, strict, files, cache.headers if cache else None, pattern)
        runs = read_chain(run_dir, asked, earlier)
        engine, notices_on_engine, resumed = cache.recorded(runs) if cache else read_recorded(runs)
    used_tensors, notices_on_tensors = tensors_of(runs, asked)
    settings = replace(settings, tensors=used_tensors)
    first = runs[0].headers[0].path
    runs = on_one_axis(runs)
    base = runs[-1].folder
    headers = [header for run in runs for header in run.headers]
    left_out = [_seen_from(base, run.folder, file) for run in runs for file in run.left_out]
    aside = [_seen_from(base, run.folder, file) for run in runs for file in run.aside]
    check_that_enough_are_left(run_dir, headers, every, left_out + aside)
    parts, boundaries = comparable_parts(headers, settings.tensors)
    regions = [region_of_run(part[0], settings.tensors) for part in parts]
    judged = [one for one in QUANTITIES if one.key in settings.tensors or not one.axes]
    counting = {one.key: counting_of(one.recorded_as, engine, boundaries) for one in judged}
    walk = partial(walk_parts, parts, regions, settings, counting, strict, progress, cache)
    walked, failed = or_on_cpu(walk, device)
    notice_on_device = failed or walked.notice
    left_out += [_seen_from(base, base, file) for file in walked.left_out]
    used = [step.header for step in walked.steps]
    curves = (cache.curves if cache else Curves()).of(walked.steps)
    _check_that_any_are_compared(run_dir, used, curves.points, every, left_out, boundaries)
    parent = Parent()
    if not earlier and (resumed or used[0].path != first):
        parent = find_parent(used[0].path, {Path(header.real_path) for header in used})
    if cache:
        cache.pending = walked.keep
    last = max(number for number, found in enumerate(walked.found) if found.steps)  # of others nothing could be read
    last_part = walked.found[last].steps
    boundaries = [boundary for boundary in boundaries if boundary.niter < used[-1].niter]
    agreement = compare_with_live(curves.points, engine, settings.percentile_range)
    remarks = [
        *(remark for run in runs for remark in run.remarks),
        *([notice_on_device] if notice_on_device else []),
        *notices_on_boundaries(boundaries),
        *notices_on_tensors,
        *(text for part in parts for text in notices_on_region(part[0], settings.tensors)),
        *(text for part in parts for text in notices_on_stray_positions(part[0], settings.tensors)),
        *notices_on_files(used, [run.unrecognised for run in runs]),
        *notices_on_left_out(left_out, curves.points),
        *notices_on_points(curves.points, settings.percentile_range),
        *notices_on_not_finite(curves.not_finite, [header.niter for header in used]),
        *notices_on_vanished([header.niter for header in used], [step.totals for step in walked.steps]),
        *notices_on_loss(engine.loss),
        *(notices_on_too_few(parts[last][0], settings.tensors) if settings.aligned else []),
        *(text for text in notices_on_engine if not any(text in header.remarks for header in used)),
        *notices_on_live_record(agreement),
    ]
    return RunAnalysis(
        run_dir=str((run_dir if headers[-1].source.name else base).resolve()),
        ptyconv_version=__version__,
        device=walked.device,
        percentile_range=settings.percentile_range,
        every=every,
        select=select,
        known=walked.known,
        region=regions[last].moved(used[-1].away, 0),
        dx=headers[-1].dx,
        checkpoints=[_info(base, header) for header in used],
        boundaries=boundaries,
        left_out=left_out + aside,
        not_finite=curves.not_finite,
        points=curves.points,
        aligned_points=curves.aligned_points,
        removed=curves.removed,
        trajectories=trajectories_of(last_part, walked.comparers[last]),
        verdict=verdict_of(last_part, engine, counting, checked_tolerances, parent.named),
        engine=engine,
        live_agreement=agreement,
        warnings=list(dict.fromkeys(remarks)),  # each once
        parent_name=parent.named,
        parent=parent.file,
    )


def _check_that_any_are_compared(
    run_dir: Path,
    used: list[Header],
    points: dict[str, list[Point]],
    every: int | None,
    left_out: list[LeftOut],
    boundaries: list[RunBoundary],
) -> None:
    """Raise PtyconvError where there is no change to show."""
    check_that_enough_are_left(run_dir, used, every, left_out)
    if not points:
        apart = "; ".join(
            f"after iteration {boundary.niter} {boundary.difference}" for boundary in boundaries if boundary.difference
        )
        raise PtyconvError(f"{run_dir}: no two checkpoints can be compared, because {apart}")


def _info(run_dir: Path, header: Header) -> CheckpointInfo:
    file = header.fingerprint
    return CheckpointInfo(
        _name(run_dir, header.path), header.niter, header.shapes, file.size, file.modified, header.before
    )


def _name(run_dir: Path, file: Path) -> str:
    """Return a file's name relative to the run's folder; earlier runs are beside it."""
    return file.name if file.parent == run_dir else os.path.relpath(file, run_dir)


def _seen_from(run_dir: Path, folder: Path, file: LeftOut) -> LeftOut:
    return replace(file, file=_name(run_dir, folder / file.file))
