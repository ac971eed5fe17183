"""Several runs in one folder, trials of a study, and the runs that others were resumed from."""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from filecmp import cmp
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

import numpy as np

from ptyconv_cli.checkpoints.headers import Header, is_equal
from ptyconv_cli.checkpoints.opening import number_in_name, open_checkpoint, recognised
from ptyconv_cli.errors import CheckpointError, PtyconvError, SeveralRuns
from ptyconv_cli.results.run_analysis import LeftOut
from ptyconv_cli.results.text import length

TRIAL = re.compile(r"(?:^|[/_])(t\d{3,})(?=_|/|$)")
COLLATED = re.compile(r"model_error_(?P<error>[^_]+)_(?P<trial>t\d+)_(?P<settings>.*?)_?iter(?P<niter>\d+)\.\w+")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Collated(NamedTuple):
    """What the name of a collated file, the end of a trial, says: of `…_t0003_oplr_7.5e-04_C10_63_iter…` two settings.

    `study`: the folder that it is in, beside its trial; `error`: what the study sought the least of, as text.
    """

    study: Path
    trial: str
    error: str
    niter: int
    settings: dict[str, str]

    def has(self, loss: float) -> bool:
        """Say whether the error is this loss, to the digits that it has."""
        _, _, digits = self.error.partition(".")
        return math.isfinite(loss) and self.error == f"{loss:.{len(digits)}f}"


def trial_of(name: str) -> str:
    """Return the trial in a run's name, as t0003, "" where there is none."""
    found = TRIAL.search(name)
    return found[1] if found else ""


def study_of(folder: Path) -> tuple[Path, str] | None:
    """Return the folder of the study whose trial has this folder, and the trial; None where it is of no trial."""
    trial = trial_of(folder.name)
    return (folder.parent, trial) if trial else None


def collated_of(files: Iterable[Path]) -> list[Collated]:
    """Return what the names of collated files say, of those whose names do."""
    found = [(file, match) for file in files if (match := COLLATED.fullmatch(file.name))]
    return [
        Collated(file.parent, match["trial"], match["error"], int(match["niter"]), _pairs(match["settings"]))
        for file, match in found
    ]


def _pairs(text: str) -> dict[str, str]:
    """Return names with the numbers that follow them."""
    pairs, name = {}, list[str]()
    for piece in text.split("_"):
        if NUMBER.fullmatch(piece) and name:
            pairs["_".join(name)] = piece
            name = []
        else:
            name.append(piece)
    return pairs


def differing(settings: dict[str, dict[str, str]]) -> list[str]:
    """Return the names of the settings that are not the same of all runs."""
    names = dict.fromkeys(name for of_one in settings.values() for name in of_one)
    return [name for name in names if len({of_one.get(name) for of_one in settings.values()}) > 1]


if TYPE_CHECKING:
    from ptyconv_cli.checkpoints.checkpoint import Origin
    from ptyconv_cli.checkpoints.growth import Growth

MOST_NAMES = 4
"""Files of a run that are named one by one."""


def matching(paths: list[Path], select: str | None) -> list[Path]:
    """Return the paths whose names match `select`, all if it is no pattern; raise PtyconvError where none does."""
    if select is None or _is_number(select):
        return paths
    found = [path for path in paths if fnmatchcase(path.name, select)]
    if paths and not found:
        raise PtyconvError(
            f"{paths[0].parent}: no checkpoint matches --select {select!r}; names are like {paths[0].name}"
        )
    return found


def run_with(file: Path, headers: list[Header], tensors: tuple[str, ...]) -> list[Header]:
    """Return the headers of the run that `file` belongs to, in a folder that may hold several."""
    return next(run for run in runs_among(headers, tensors) if file in [header.path for header in run])


def of_one_run(
    headers: list[Header], tensors: tuple[str, ...], select: str | None
) -> tuple[list[Header], list[LeftOut]]:
    """Return the headers of one run: all, if they belong together, or those of the run whose number is selected.

    In the latter case the files of the other runs are returned too, as left out.

    Raises SeveralRuns where they don't belong together and none is selected, and PtyconvError where there is no such
    run.
    """
    runs = runs_among(headers, tensors)
    if _is_number(select):
        if not 1 <= int(select) <= len(runs):
            raise PtyconvError(
                f"{headers[0].path.parent}: there is no run {select} to select; {_listing(runs, tensors)}"
            )
        others = [(number, header) for number, run in enumerate(runs, 1) if number != int(select) for header in run]
        left_out = [
            LeftOut(header.path.name, f"belongs to run {number}, not {select}", header.niter)
            for number, header in others
        ]
        return runs[int(select) - 1], left_out
    if len(runs) > 1:
        raise SeveralRuns(headers[0].path.parent, len(runs), _listing(runs, tensors))
    return headers, []


def without_copies(
    headers: list[Header], tensors: tuple[str, ...], wanted: Path | None
) -> tuple[list[Header], list[LeftOut]]:
    """Leave out files that hold the same iteration of the same run as another file; return both kinds.

    The `wanted` file is kept, else the first. `headers` in order of iteration.
    """
    kept: dict[int, list[Header]] = {}
    left_out = []
    for header in sorted(headers, key=lambda header: (header.niter, header.path != wanted)):
        alike = kept.setdefault(header.niter, [])
        place = next((place for place, other in enumerate(alike) if _is_copy(other, header, tensors)), None)
        if place is None:
            alike.append(header)
        else:
            original = alike[place] = with_positions_of(alike[place], header)
            reason = f"is a copy of {original.path.name} (the same iteration {header.niter} of the same run)"
            # Where the engine wrote both, that is as it should be.
            left_out += [] if header.repeats else [LeftOut(header.path.name, reason, header.niter)]
    return [header for alike in kept.values() for header in alike], left_out


def with_positions_of(header: Header, other: Header) -> Header:
    """Return a header with the scan positions of another of the same run, where only that knows them."""
    if header.knows_positions or not other.knows_positions:
        return header
    return replace(header, crop_pos=other.crop_pos, knows_positions=True)


def _is_copy(one: Header, other: Header, tensors: tuple[str, ...]) -> bool:
    if one.format != other.format or other_geometry(one, other, tensors):
        return False
    if _in_files_of_their_own(one, other):
        return False
    if one.repeats and other.repeats and len(one.loss) and len(other.loss):
        return not _contradict(one.loss, other.loss)
    if len(one.loss) or len(other.loss):
        return is_equal(one.loss, other.loss)
    try:
        return cmp(one.path, other.path, shallow=False)
    except OSError:
        return False


def _is_number(select: str | None) -> TypeGuard[str]:
    return select is not None and select.isdecimal() and len(select) < 10


def runs_among(headers: list[Header], tensors: tuple[str, ...]) -> list[list[Header]]:
    """Return the headers run by run, in order of their first iterations; `headers` in order of iteration."""
    runs: list[list[Header]] = []
    for header in headers:
        found = _run_of(header, runs, tensors, False) or _run_of(header, runs, tensors, True)
        if found:
            found.append(header)
        else:
            runs.append([header])
    return runs


def _run_of(
    header: Header, runs: list[list[Header]], tensors: tuple[str, ...], may_have_grown: bool
) -> list[Header] | None:
    """Return the first run that a checkpoint may be the next one of, which `may_have_grown` meanwhile."""
    for run in runs:
        with_loss = next((member for member in reversed(run) if len(member.loss)), run[-1])
        others = [run[-1]] if with_loss is run[-1] else [run[-1], with_loss]
        if not any(difference(other, header, tensors, may_have_grown) for other in others):
            return run
    return None


def difference(one: Header, other: Header, tensors: tuple[str, ...], may_have_grown: bool = True) -> str:
    """Say why `other` cannot be a checkpoint of the same run as `one`, "" where it can.

    `may_have_grown`: whether what has another geometry may be of the same run, where it only grew.
    """
    if one.format != other.format:
        return f"it was written by {other.format}, not {one.format}"
    if _in_files_of_their_own(one, other):
        return f"{one.path.name} holds a run of its own"
    if one.niter == other.niter:
        return f"it holds iteration {other.niter}, and so does {one.path.name}"
    earlier, later = (one, other) if one.niter < other.niter else (other, one)
    # Other settings may come with another geometry within a run, where an engine can change them.
    geometry = other_geometry(one, other, tensors) if one.began == other.began else ""
    if geometry and not (may_have_grown and _goes_on(earlier.loss, later.loss) and growth_of(earlier, later, tensors)):
        return geometry
    return "the loss history differs" if _contradict(earlier.loss, later.loss) else ""


def _in_files_of_their_own(one: Header, other: Header) -> bool:
    """Say whether one of two checkpoints is in a file that holds several, and the other is in another."""
    return one.path != other.path and bool(one.source.name or other.source.name)


def _contradict(earlier: np.ndarray, later: np.ndarray) -> bool:
    """Say whether the losses of two checkpoints cannot be of the same run.

    Most files hold their run's loss from the first iteration on, and so begin with that of every earlier file of the
    run. Where one holds only some of it, no iteration may have two.
    """
    if len(earlier) and len(later) and earlier[0, 0] == later[0, 0]:
        return not is_equal(earlier, later[: len(earlier)])
    _, of_earlier, of_later = np.intersect1d(earlier[:, 0], later[:, 0], return_indices=True)
    return not is_equal(earlier[of_earlier], later[of_later])


def growth_of(one: Header, other: Header, tensors: tuple[str, ...]) -> "Growth | None":
    """Return how a later checkpoint of another geometry grew, None where it did not."""
    from ptyconv_cli.checkpoints.growth import growth_between  # which few runs need

    return growth_between(one, other, tensors)


def _goes_on(earlier: np.ndarray, later: np.ndarray) -> bool:
    """Say whether a later loss history holds an earlier one, and more: then both are of one run, whatever grew."""
    if not len(earlier) or not len(later) or later[-1, 0] <= earlier[-1, 0]:
        return False
    return bool(np.isin(earlier[:, 0], later[:, 0]).any()) and not _contradict(earlier, later)


def other_geometry(one: Header, other: Header, tensors: tuple[str, ...]) -> str:
    """Say how the geometry of two checkpoints differs, "" where a change between them can be computed."""
    for name in tensors:
        shape, before = other.shapes.get(name), one.shapes.get(name)
        if shape and before and shape != before:
            return f"the shape of {name} is {shape}, not {before}"
    if one.probe_shape != other.probe_shape:
        return f"the probe has {other.probe_shape} px, not {one.probe_shape}"
    if one.dx != other.dx:
        return f"the pixel size dx is {length(other.dx, 6)}, not {length(one.dx, 6)}"
    return "" if is_equal(one.scan, other.scan) else "the scan positions (crop_pos) differ"


def _listing(runs: list[list[Header]], tensors: tuple[str, ...]) -> str:
    lines = ["its checkpoints belong to " + (f"{len(runs)} runs:" if len(runs) > 1 else "one run:")]
    for number, run in enumerate(runs, start=1):
        names = list(dict.fromkeys(header.path.name for header in run))
        named = ", ".join(names) if len(names) <= MOST_NAMES else f"{names[0]}, …, {names[-1]} ({len(names)} files)"
        named += f" ({len(run)} snapshots)" if len(names) < len(run) else ""
        why = next(filter(None, (difference(other, run[0], tensors) for other in runs[0])), "") if number > 1 else ""
        lines.append(f"  {number}: {named}" + (f": {why}" if why else ""))
    return "\n".join(lines)


class Parent(NamedTuple):
    """The checkpoint that a run was resumed from: as the run's files name it ("" for none), and as it was found."""

    named: str = ""
    file: Path | None = None


def origin_of(path: Path) -> "Origin":
    """Return where a checkpoint comes from; nothing is known of one that cannot be read any more."""
    try:
        with open_checkpoint(path) as checkpoint:
            return checkpoint.origin()
    except CheckpointError:  # it changed since its header was read: the walk will say so
        from ptyconv_cli.checkpoints.checkpoint import Origin  # loaded where a file is opened, which may be none

        return Origin()


def find_parent(first: Path, taken: Collection[Path] = ()) -> Parent:
    """Return the parent of the run whose first checkpoint is `first`; files that are `taken` are none.

    It is looked for only beside the run's folder, and in it: a file may name any path. Costs opening `first`, and, if
    it names a parent, the files that may be this.
    """
    origin = origin_of(first)
    if number_in_name(Path(name_of_parent(origin))) is None:
        return Parent()
    for file in _candidates(first.parent, origin):
        if is_file(file) and file.resolve() not in taken and _is_parent(file, origin):
            return Parent(origin.parent_file, file)
    return Parent(origin.parent_file)


def resumed_at(folder: Path, checkpoints: Sequence[tuple[int, Path]], origin: "Origin") -> int | None:
    """Return the iteration of the run in `folder` that a checkpoint's `origin` names, None where it names none.

    `checkpoints`: the iterations and files of the run that are known, in order.
    """
    file = folder / name_of_parent(origin)
    named = number_in_name(file)
    by_name = origin.parent or _path(origin.parent_file).parent.name == folder.absolute().name
    if named is not None and by_name and is_file(file) and _is_parent(file, origin):
        return named
    if origin.parent:
        for niter, path in reversed(checkpoints):
            if origin_of(path).identity == origin.parent:
                return niter
    return None


def name_of_parent(origin: "Origin") -> str:
    """Return the name of the parent's file, without its folders."""
    return _path(origin.parent_file).name


def short_name(parent_file: str) -> str:
    """Return the name of a parent's file with that of its folder."""
    return "/".join(_path(parent_file).parts[-2:])


def is_file(path: Path) -> bool:
    """Say whether a file exists, also for a name out of a file that is too long to ask for."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_checkpoint(path: Path) -> bool:
    """Say whether a file exists and is a checkpoint by its name or its content."""
    return is_file(path) and (number_in_name(path) is not None or recognised(path).known is not None)


def _candidates(folder: Path, origin: "Origin") -> Iterator[Path]:
    """Give the places where a run's parent may be: the folder of that name beside it, or, if it can be told, others."""
    folder, name = folder.absolute(), name_of_parent(origin)
    yield folder.parent / _path(origin.parent_file).parent.name / name
    if origin.parent:  # folders are renamed, and a run may have been resumed in its parent's
        yield folder / name
        yield from (beside / name for beside in _listed(folder.parent))


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # a folder that may be passed through, but not listed
        return []


def _is_parent(file: Path, origin: "Origin") -> bool:
    if not origin.parent:
        return True
    try:
        with open_checkpoint(file) as checkpoint:
            return checkpoint.origin().identity == origin.parent
    except CheckpointError:
        return False


def _path(parent_file: str) -> PurePosixPath:
    return PurePosixPath(parent_file.replace("\\", "/"))
