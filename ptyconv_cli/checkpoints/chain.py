"""A run and those that it was resumed from, read and put on one axis of iterations. See docs/runs.md."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ptyconv_cli.checkpoints.discovery import checkpoints_in, find_checkpoints
from ptyconv_cli.checkpoints.grouping import (
    find_parent,
    growth_of,
    is_checkpoint,
    is_file,
    matching,
    name_of_parent,
    of_one_run,
    origin_of,
    other_geometry,
    resumed_at,
    run_with,
    with_positions_of,
    without_copies,
)
from ptyconv_cli.checkpoints.headers import (
    Header,
    check_that_enough_are_left,
    lacking_tensor,
    read_headers,
    read_histories,
)
from ptyconv_cli.checkpoints.opening import Source, open_checkpoint, snapshots_in
from ptyconv_cli.checkpoints.readers import counts_as_file
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.quantities import quantity_of, required_keys, tensor_keys, tensors
from ptyconv_cli.results.history import EngineHistories
from ptyconv_cli.results.run_analysis import SLICES, LeftOut, RunBoundary
from ptyconv_cli.results.text import few

AUTO = "auto"
"""Instead of the runs before: find them."""


@dataclass(frozen=True)
class Selection:
    """Which checkpoints are asked for; parameters as of `analysis.run.analyze_run`.

    `tensors`: None for all that a run has. `files`: only these, None for all. `seen`: headers that were read before,
    which spare reading them again.
    """

    tensors: tuple[str, ...] | None
    every: int | None
    select: str | None
    strict: bool
    files: Collection[Path] | None = None
    seen: dict[Source, Header] | None = None
    names: str | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        """The tensors to look for; where nothing is asked for, without those that most runs have not."""
        return required_keys() if self.tensors is None else self.tensors


@dataclass
class Run:
    """The checkpoints of one run in a folder, in order; `remarks` on its chain; files `left_out` and `unrecognised`.

    `aside`: files that are left out because others are asked for. `until`: the iteration from which the next run of a
    chain was resumed, None for the last run.
    """

    folder: Path
    headers: list[Header]
    left_out: list[LeftOut]
    unrecognised: list[Path]
    aside: list[LeftOut] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    until: int | None = None


def read_run(folder: Path, asked: Selection, with_file: Path | None = None) -> Run:
    """Read the headers of the run in a folder, of several that of `with_file`; raise PtyconvError as `analyze_run`."""
    paths, unrecognised = find_checkpoints(folder, asked.names)
    wanted = None if asked.files is None else set(asked.files)
    paths = matching([path for path in paths if wanted is None or path in wanted], asked.select)
    sources = _every(asked.every, paths)
    # The file tells which run is meant also where it is not among those asked for.
    also = snapshots_in(with_file) if with_file and is_checkpoint(with_file) else []
    also = [source for source in also if source not in sources]
    headers, left_out = _headers(folder, sources + also, asked)
    headers, copies = without_copies(headers, asked.wanted, with_file)
    left_out += copies
    if with_file in [header.path for header in headers]:
        headers = run_with(with_file, headers, asked.wanted)
        return Run(folder, [h for h in headers if h.source not in also], left_out, unrecognised)
    headers, of_other_runs = of_one_run(headers, asked.wanted, asked.select)
    return Run(folder, headers, left_out, unrecognised, of_other_runs)


def read_run_of(file: Path, asked: Selection) -> Run:
    """Read the headers of the run that a file belongs to: its own snapshots, where it holds several."""
    if len(snapshots_in(file)) == 1:
        if file in checkpoints_in(file.parent, asked.names):
            return read_run(file.parent, asked, file)
        with open_checkpoint(file):  # or say why it is none
            raise PtyconvError(
                f"{file}: holds one checkpoint, and is not among those of its folder; say how they are named, with a "
                "star for the iteration (--names)"
            )
    headers, left_out = _headers(file, _every(asked.every, [file]), asked)
    headers, of_other_runs = of_one_run(headers, asked.wanted, asked.select)
    return Run(file.parent, headers, left_out, [], of_other_runs)


def _every(every: int | None, files: Sequence[Path]) -> list[Source]:
    """Return the snapshots in files whose iterations are multiples of `every`."""
    return [source for path in files for source in snapshots_in(path) if (source.niter or 0) % (every or 1) == 0]


def _headers(place: Path, sources: list[Source], asked: Selection) -> tuple[list[Header], list[LeftOut]]:
    if not sources:
        check_that_enough_are_left(place, [], asked.every, [])
    return read_headers(sources, asked.wanted, asked.strict, asked.seen, asked.tensors is None)


def read_chain(run_dir: Path, asked: Selection, earlier: Sequence[Path] | str) -> list[Run]:
    """Read the headers of a run and of the runs before it, in order: of the folders `earlier`, or, if `AUTO`, found.

    A run was resumed from the checkpoint whose object it took, as its files name it. Raises PtyconvError where a run
    cannot be read, or the folders are in the wrong order.
    """
    is_one_file = is_file(run_dir) or counts_as_file(run_dir)
    runs = [read_run_of(run_dir, asked) if is_one_file else read_run(run_dir, asked)]
    if not runs[0].headers:
        check_that_enough_are_left(run_dir, [], asked.every, runs[0].left_out)
    # The number of a run in one folder is none in another.
    asked = replace(asked, files=None, select=None if (asked.select or "").isdecimal() else asked.select)
    if isinstance(earlier, str):
        parents: list[Path] = []
        while (parent := _find_parent(runs)) and parent not in parents:
            parents.append(parent)
            earlier_run = read_run(parent.parent, asked, parent)
            if not earlier_run.headers:
                runs[0].remarks.append(
                    f"{runs[0].folder.name} was resumed from {parent}, but no checkpoint of that run was asked for."
                )
                break
            runs.insert(0, earlier_run)
    else:
        given = [os.path.realpath(folder) for folder in (*earlier, run_dir)]
        twice = [folder for folder in given if given.count(folder) > 1]
        if twice:
            raise PtyconvError(f"{twice[0]}: is given twice; --chain joins different runs")
        for folder in reversed(earlier):
            parent_file = name_of_parent(origin_of(runs[0].headers[0].path))
            runs.insert(0, read_run(folder, asked, folder / parent_file))
            if not runs[0].headers:
                check_that_enough_are_left(folder, [], asked.every, [])
    for run, following in pairwise(runs):
        run.until = _resumed_at(run, following)
    return runs


def tensors_of(runs: Sequence[Run], asked: Selection) -> tuple[tuple[str, ...], list[str]]:
    """Return the tensors to analyze: those asked for, or all that every checkpoint has; and why others are not.

    What is the same in all checkpoints is none, where an engine stores it in any case, as scan positions.
    """
    headers = [header for run in runs for header in run.headers]
    if asked.tensors is not None or not headers:
        return asked.wanted, []
    why = {}
    for quantity in tensors():
        name = quantity.key
        lacking = next((header for header in headers if name not in header.shapes), None)
        fixed = {header.fixed.get(name) for header in headers} if len(headers) > 1 else {None}
        if lacking:
            some_have = any(name in header.shapes for header in headers)
            nothing = "some files have none" if some_have else "" if quantity.is_optional else "the files have none"
            why[name] = lacking.lacking.get(name, nothing)
        elif quantity.is_optional and (differs := _differs(name, headers)):
            why[name] = differs
        elif len(fixed) == 1 and None not in fixed:
            why[name] = f"the {quantity.label} {'are' if quantity.plural else 'is'} the same in all checkpoints"
    found = tuple(name for name in tensor_keys() if name not in why)
    if not found:
        raise lacking_tensor(headers[0], tensor_keys()[0])
    return found, [f"{name} is not analyzed: {reason}." for name, reason in why.items() if reason]


def _differs(name: str, headers: Sequence[Header]) -> str:
    """Say why a tensor that nobody asked for does not fit the run, "" where it does."""
    shapes = {header.shapes[name] for header in headers}
    if len(shapes) > 1:
        return f"its shape differs between the files: {few(str(shape) for shape in sorted(shapes))}"
    (shape,), positions = shapes, len(headers[0].crop_pos)
    by_position = quantity_of(name).axes[0] == "N" and shape[0] != positions
    return f"its shape is {shape}, and there are {positions} scan positions" if by_position else ""


def on_one_axis(runs: list[Run]) -> list[Run]:
    """Add to each run's iterations those of the runs before it; cut each run where the next one was resumed from."""
    found, before = [], 0
    for run in runs:
        until = run.headers[-1].niter if run.until is None else run.until
        headers = [h for h in run.headers if h.niter <= until]
        after = [
            LeftOut(header.path.name, f"the next run was resumed from iteration {until}", header.niter)
            for header in run.headers[len(headers) :]
        ]
        remark = (
            f"{run.folder.name}: iterations after {until} were left out, because the next run was resumed from there."
        )
        found.append(
            replace(
                run,
                headers=[_later_header(header, before) for header in headers],
                left_out=[_later(file, before) for file in run.left_out],
                aside=[_later(file, before) for file in run.aside + after],
                remarks=run.remarks + ([remark] if after else []),
            )
        )
        before += until
    return found


def _later_header(header: Header, before: int) -> Header:
    return replace(header, niter=before + header.niter, before=before) if before else header


def _later(file: LeftOut, before: int) -> LeftOut:
    return replace(file, niter=None if file.niter is None else before + file.niter)


def chained_histories(runs: list[Run]) -> tuple[EngineHistories, list[str]]:
    """Read and join what the engine recorded of runs that are not on one axis yet; return remarks on it too."""
    (engine, remarks), before = read_histories(runs[0].headers), 0
    for run, following in pairwise(runs):
        before += run.until or 0
        later, notices_on_later = read_histories(following.headers)
        engine = engine.followed_by(later, before)
        remarks += notices_on_later
    return engine, remarks


def comparable_parts(headers: list[Header], tensors: tuple[str, ...]) -> tuple[list[list[Header]], list[RunBoundary]]:
    """Cut the checkpoints where one cannot be compared with the one before; return the parts and all boundaries.

    What only grew is compared over what both have; slices, of which both may have others, cannot be.
    """
    cut, boundaries = [headers[:1]], []
    for one, other in pairwise(headers):
        what, after = "", 0
        if one.before != other.before:
            earlier, later = one.path.parent.name, other.path.parent.name
            what = "a resumed run begins" if earlier == later else f"run {later} continues {earlier}"
            after = other.before
        elif one.began != other.began:
            what, after = "the engine changed", other.before + other.began
        difference, away = other_geometry(one, other, tensors), cut[-1][-1].away
        grew = growth_of(one, other, tensors) if difference else None
        growth = ""
        if grew:
            growth = "" if what and grew.kind != SLICES else grew.kind  # where settings changed, these are what matters
            what, after = (what or grew.what), (after or one.niter)
            difference = difference if grew.kind == SLICES else ""
            away = away[0] + grew.away[0], away[1] + grew.away[1]
        if what:
            boundaries.append(RunBoundary(after, what, difference, growth))
        if what and difference:
            cut.append([])
            away = 0, 0
        cut[-1].append(replace(other, away=away) if away != other.away else other)
    return [_with_positions(part) for part in cut], boundaries


def _with_positions(part: list[Header]) -> list[Header]:
    """Return comparable checkpoints, each with scan positions, where any of them knows some."""
    first = next((header for header in part if header.knows_positions), None)
    return [_with_positions_of(header, first) for header in part] if first else part


def _with_positions_of(header: Header, first: Header) -> Header:
    """Return a checkpoint with the scan positions of the first one that knows them, if it knows none itself."""
    found = with_positions_of(header, first)
    moved = np.subtract(header.away, first.away)
    return replace(found, crop_pos=found.crop_pos + moved) if found is not header and moved.any() else found


def _resumed_at(run: Run, following: Run) -> int:
    """Return the iteration of `run` from which `following` was resumed: the last one, where its files don't say.

    Raises PtyconvError where it is the other way round: `run` was resumed from `following`.
    """
    at = _at(run, following)
    if at is not None:
        return at
    if _at(following, run) is not None:
        from shlex import quote

        raise PtyconvError(
            f"{run.folder}: was resumed from the run after it, which must come first:\n"
            f"  --chain {quote(str(following.folder))} {quote(str(run.folder))}"
        )
    origin = origin_of(following.headers[0].path)
    says = f"says it was resumed from {origin.parent_file}" if origin.parent_file else "doesn't say that it was resumed"
    following.remarks.append(
        f"{following.folder.name} {says}. As asked, it is joined to the last checkpoint of {run.folder.name}."
    )
    return run.headers[-1].niter


def _at(run: Run, following: Run) -> int | None:
    origin = origin_of(following.headers[0].path)
    return resumed_at(run.folder, [(header.niter, header.path) for header in run.headers], origin)


def _find_parent(runs: list[Run]) -> Path | None:
    """Return the checkpoint that the first of the runs was resumed from, None where there is none beside it."""
    run = runs[0]
    taken = {header.path.resolve() for run in runs for header in run.headers}
    parent = find_parent(run.headers[0].path, taken)
    if parent.named and not parent.file:
        run.remarks.append(f"{run.folder.name} was resumed from {parent.named}, which was not found beside it.")
    return parent.file
