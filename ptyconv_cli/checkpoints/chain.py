"""From a run folder, or those of runs that go on from each other, to checkpoints on one axis of iterations."""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

from ptyconv_cli.checkpoints.checkpoint import Origin
from ptyconv_cli.checkpoints.discovery import find_checkpoints
from ptyconv_cli.checkpoints.grouping import matching, of_one_run, other_geometry, run_with
from ptyconv_cli.checkpoints.headers import Header, check_that_enough_are_left, read_headers, read_histories
from ptyconv_cli.checkpoints.readers import number_in_name, open_checkpoint
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.results.history import EngineHistories
from ptyconv_cli.results.run_analysis import LeftOut, RunBoundary

AUTO = "auto"
"""Instead of the runs before: find them."""


@dataclass(frozen=True)
class Selection:
    """Which checkpoints are asked for; parameters as of `analysis.run.analyze_run`.

    `files`: only these, None for all.
    """

    tensors: tuple[str, ...]
    every: int | None
    select: str | None
    strict: bool
    files: Collection[Path] | None = None


@dataclass
class Run:
    """The checkpoints of one run in a folder, in order; files `left_out`, and `lookalikes`; `remarks` on its chain.

    `aside`: files that are left out because others are asked for. `until`: the iteration from which the next run of a
    chain goes on, None for the last run.
    """

    folder: Path
    headers: list[Header]
    left_out: list[LeftOut]
    lookalikes: list[Path]
    aside: list[LeftOut] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    until: int | None = None


def read_run(folder: Path, asked: Selection, with_file: Path | None = None) -> Run:
    """Read the headers of the run in a folder, of several that of `with_file`; raise PtyconvError as `analyze_run`."""
    paths, lookalikes = find_checkpoints(folder)
    paths = [path for path in paths if asked.files is None or path in asked.files]
    paths = [path for path in matching(paths, asked.select) if (number_in_name(path) or 0) % (asked.every or 1) == 0]
    # The file tells which run is meant also where it is not among those asked for.
    tells = with_file is not None and number_in_name(with_file) is not None and _is_file(with_file)
    also = [with_file] if with_file is not None and tells and with_file not in paths else []
    if not paths and not also:
        check_that_enough_are_left(folder, [], asked.every, [])
    headers, left_out = read_headers(paths + also, asked.tensors, asked.strict)
    if with_file in [header.path for header in headers]:
        headers = run_with(with_file, headers, asked.tensors)
        return Run(folder, [h for h in headers if h.path not in also], left_out, lookalikes)
    headers, of_other_runs = of_one_run(headers, asked.tensors, asked.select)
    return Run(folder, headers, left_out, lookalikes, of_other_runs)


def read_chain(run_dir: Path, asked: Selection, earlier: Sequence[Path] | str) -> list[Run]:
    """Read the headers of a run and of those before it, in order: of the folders `earlier`, or, if `AUTO`, found.

    A run is resumed from the checkpoint whose object it took, as its files name it. Raises PtyconvError where a run
    cannot be read.
    """
    runs = [read_run(run_dir, asked)]
    # The number of a run in one folder is none in another.
    asked = replace(asked, files=None, select=None if (asked.select or "").isdecimal() else asked.select)
    if isinstance(earlier, str):
        parents: list[Path] = []
        while (parent := _find_parent(runs)) and parent not in parents:
            parents.append(parent)
            earlier_run = read_run(parent.parent, asked, parent)
            if not earlier_run.headers:
                runs[0].remarks.append(
                    f"{runs[0].folder.name} goes on from {parent}, of whose run no file is asked for."
                )
                break
            runs.insert(0, earlier_run)
    else:
        given = [os.path.realpath(folder) for folder in (*earlier, run_dir)]
        twice = [folder for folder in given if given.count(folder) > 1]
        if twice:
            raise PtyconvError(f"{twice[0]}: is given twice: a run goes on from another one")
        for folder in reversed(earlier):
            origin = _origin_of(runs[0].headers[0])
            runs.insert(0, read_run(folder, asked, folder / _name(origin.parent_file)))
            if not runs[0].headers:
                check_that_enough_are_left(folder, [], asked.every, [])
    for run, following in pairwise(runs):
        run.until = _resumed_at(run, following)
    return runs


def on_one_axis(runs: list[Run]) -> list[Run]:
    """Return runs with the iterations of those before added, each only up to where the next one goes on from it."""
    found, before = [], 0
    for run in runs:
        until = run.headers[-1].niter if run.until is None else run.until
        headers = [h for h in run.headers if h.niter <= until]
        after = [
            LeftOut(header.path.name, f"the next run goes on from iteration {until}", header.niter)
            for header in run.headers[len(headers) :]
        ]
        remark = (
            f"{run.folder.name}: what comes after iteration {until} was left out, for the next run goes on from there."
        )
        found.append(
            replace(
                run,
                headers=[replace(header, niter=before + header.niter, before=before) for header in headers],
                left_out=[_later(file, before) for file in run.left_out],
                aside=[_later(file, before) for file in run.aside + after],
                remarks=run.remarks + ([remark] if after else []),
            )
        )
        before += until
    return found


def _later(file: LeftOut, before: int) -> LeftOut:
    return replace(file, niter=None if file.niter is None else before + file.niter)


def chained_histories(runs: list[Run]) -> tuple[EngineHistories, list[str]]:
    """Read what the engine recorded of runs, which are not on one axis yet, and join it; return remarks on it too."""
    (engine, remarks), before = read_histories(runs[0].headers), 0
    for run, following in pairwise(runs):
        before += run.until or 0
        later, notices_on_later = read_histories(following.headers)
        engine = engine.followed_by(later, before)
        remarks += notices_on_later
    return engine, remarks


def comparable_parts(headers: list[Header], tensors: tuple[str, ...]) -> tuple[list[list[Header]], list[RunBoundary]]:
    """Cut checkpoints on one axis where one cannot be compared with the one before; return all boundaries too."""
    cut, boundaries = [headers[:1]], []
    for one, other in pairwise(headers):
        what, after = "", 0
        if one.before != other.before:
            earlier, later = one.path.parent.name, other.path.parent.name
            what = "a resumed run begins" if earlier == later else f"{later} goes on from {earlier}"
            after = other.before
        elif one.began != other.began:
            what, after = "the engine changed", other.before + other.began
        difference = other_geometry(one, other, tensors) if what else ""
        if what:
            boundaries.append(RunBoundary(after, what, difference))
        if difference:
            cut.append([])
        cut[-1].append(other)
    return cut, boundaries


def _origin_of(header: Header) -> Origin:
    try:
        with open_checkpoint(header.path) as checkpoint:
            return checkpoint.origin()
    except CheckpointError:  # changed since its header was read: the walk will say so
        return Origin()


def _resumed_at(run: Run, following: Run) -> int:
    """Return the iteration of a run from which another one goes on, as that names it, else the last one."""
    origin = _origin_of(following.headers[0])
    file = run.folder / _name(origin.parent_file)
    named = number_in_name(file)
    by_name = origin.parent or _path(origin.parent_file).parent.name == run.folder.absolute().name
    if named is not None and by_name and _is_file(file) and _is_parent(file, origin):
        return named
    for header in reversed(run.headers):
        if origin.parent and _origin_of(header).identity == origin.parent:
            return header.niter
    says = (
        f"says it was resumed from {origin.parent_file}" if origin.parent_file else "names no run it was resumed from"
    )
    last = run.headers[-1]
    following.remarks.append(
        f"{following.folder.name} {says}. As asked, it is joined to the last checkpoint of {run.folder.name}."
    )
    return last.niter


def _find_parent(runs: list[Run]) -> Path | None:
    """Find the checkpoint from which the first of the runs was resumed, None where there is none."""
    run = runs[0]
    origin = _origin_of(run.headers[0])
    if number_in_name(Path(_name(origin.parent_file))) is None:
        return None
    taken = {header.path.resolve() for run in runs for header in run.headers}
    for file in _candidates(run.folder, origin):
        if _is_file(file) and file.resolve() not in taken and _is_parent(file, origin):
            return file
    run.remarks.append(f"{run.folder.name} was resumed from {origin.parent_file}, which is not found beside it.")
    return None


def _candidates(folder: Path, origin: Origin) -> Iterator[Path]:
    """Give the places where a run's parent may be: in the folder of that name beside it, or, if it can be told, others.

    Only beside it: what a file names may be anything.
    """
    folder, name = folder.absolute(), _name(origin.parent_file)
    yield folder.parent / _path(origin.parent_file).parent.name / name
    if origin.parent:  # folders are renamed, and a run may have been resumed in its parent's
        yield folder / name
        yield from (beside / name for beside in _listed(folder.parent))


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # a folder that may be passed through, but not listed
        return []


def _is_file(path: Path) -> bool:
    """Say whether a file is there: of a name that comes out of a file, even the question can be too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def _is_parent(file: Path, origin: Origin) -> bool:
    if not origin.parent:
        return True
    try:
        with open_checkpoint(file) as checkpoint:
            return checkpoint.origin().identity == origin.parent
    except CheckpointError:
        return False


def _path(parent_file: str) -> PurePosixPath:
    return PurePosixPath(parent_file.replace("\\", "/"))


def _name(parent_file: str) -> str:
    return _path(parent_file).name
