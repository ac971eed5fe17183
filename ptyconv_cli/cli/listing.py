"""The command `ptyconv ls`: lists the runs below a path, without loading a tensor."""

from dataclasses import dataclass, field
from pathlib import Path

import click

from ptyconv_cli.checkpoints.discovery import (
    Found,
    checkpoints_in,
    find_checkpoints,
    find_runs,
    no_checkpoint,
    not_recognised_text,
)
from ptyconv_cli.checkpoints.grouping import difference, origin_of, runs_among, short_name, without_copies
from ptyconv_cli.checkpoints.headers import Header, read_header
from ptyconv_cli.checkpoints.opening import Source, fingerprint, known_by_content, open_checkpoint, snapshots_in
from ptyconv_cli.checkpoints.readers import is_one_file
from ptyconv_cli.cli.console import left_out, say, say_wrapped, that_fit
from ptyconv_cli.cli.options import NAMES, PATH
from ptyconv_cli.errors import CheckpointError, PtyconvError
from ptyconv_cli.quantities import of_object, tensor_keys
from ptyconv_cli.results.text import (
    counted,
    detail_unit,
    shortened,
    text_width,
    told_apart,
    unbroken,
    with_place_kept,
    wrapped,
)

NAME_WIDTH, SHORTEST_NAME = 25, 23

COLUMNS = {"format": 16, "saved": 5, "iterations": 12, "object": 16, "dx": 6}
"""The widths of what is said of a run."""

BETWEEN = {"saved": 1, "iterations": 1, "object": 3}
"""Blanks that the longest text in a column has beside it."""

GIVEN_UP = ("dx", "object", "format")
"""Columns that a narrow terminal has no room for, in this order."""

MANY = 50
"""Runs from which on the files between the first and the last of each are not opened."""

NOT_OPENED = """Of so many runs only the first and the last file of each were opened.
List a run alone to have all of its files looked into."""

MOST_PROBLEMS = 3
"""Problems of a run that are printed one by one."""


@dataclass
class Listed:
    """One run: `name`, number of readable `checkpoints`, what the last of them says, and `problems` with it.

    `iterations`: the first and the last; `shape` (omode, slice, y, x) of the object in px, `dx` in Å.
    """

    name: str
    checkpoints: int = 0
    format: str = ""
    iterations: tuple[int, int] | None = None
    shape: tuple[int, ...] | None = None
    dx: float | None = None
    resumed_from: str = ""
    problems: list[str] = field(default_factory=list)


def list_folder(root: Path, folder: Path, names_like: str | None = None, by_names: bool = False) -> list[Listed]:
    """Return the run in a folder below `root`, or the several that it holds, in the order of `--select`.

    Headers are read only of the first and the last file, iterations of all; if `by_names`, these are those of their
    names, where they have usual ones. Files of another run in between are found only by `analyze`.
    """
    name = str(folder.relative_to(root)) if folder != root else root.absolute().name
    paths, unrecognised = find_checkpoints(folder, names_like)
    problems = [not_recognised_text(unrecognised)] if unrecognised else []
    return _list_files(name, paths, problems, by_names)


def list_file(file: Path, names_like: str | None = None) -> list[Listed]:
    """Return the run that a file is, or, where it holds one checkpoint of a run, what its folder holds.

    Raises CheckpointError where it is no checkpoint.
    """
    (first, *_) = snapshots_in(file)
    if not first.name and file in checkpoints_in(file.parent, names_like):
        return list_folder(file.parent, file.parent, names_like)
    with open_checkpoint(file):  # or say why it is none
        return _list_files(file.name, [file], [])


def _list_files(name: str, paths: list[Path], problems: list[str], by_names: bool = False) -> list[Listed]:
    """Return the run, or the runs, of which files are; `problems` with others; `by_names` as of `list_folder`."""
    sources = sorted((source for path in paths for source in snapshots_in(path)), key=lambda source: source.niter or 0)
    first = _first_readable(sources, problems)
    after_it = sources[sources.index(first[0].source) + 1 :] if first else []
    headers = first + _first_readable(after_it[::-1], problems)
    mixed = len(headers) == 2 and bool(difference(headers[0], headers[1], _tensors(headers)))
    if headers and (mixed or _may_be_several(sources)):
        headers = sorted(_headers(sources, problems), key=lambda header: header.niter)
        problems = list(dict.fromkeys(problems))
        headers, copies = without_copies(headers, _tensors(headers), None)
        runs = runs_among(headers, _tensors(headers))
        names = [f"{name}/run{number}" for number in range(1, len(runs) + 1)] if len(runs) > 1 else [name]
        listed = [_listed(of_run, len(run), run, []) for of_run, run in zip(names, runs, strict=True)]
        listed[0].problems += problems + [f"{file.file}: {file.reason}" for file in copies]
        return listed
    niters = {header.source: header.niter for header in headers}
    unread = {problem.partition(":")[0] for problem in problems}
    for source in sources:
        if source in niters or source.path.name in unread:
            continue
        if by_names and source.niter is not None:
            niters[source] = source.niter
            continue
        try:
            niters[source] = _iteration(source)
        except CheckpointError as error:
            problems.append(_short(source.path, error))
    renamed = [(source.path.name, niter) for source, niter in niters.items() if niter != source.niter]
    problems += [f"{name}: the file says iteration {niter}, which is used" for name, niter in renamed]
    return [_listed(name, len(niters), headers, problems)]


def _may_be_several(sources: list[Source]) -> bool:
    """Say whether files that are known by their content may be of several runs: then all headers are compared."""
    recognised = [(source, known) for source in sources if (known := known_by_content(source.path))]
    iterations = {source.niter for source, _ in recognised}
    files_of_many = {source.path for source, _ in recognised if source.name}
    return len({known for _, known in recognised}) > 1 or len(iterations) < len(recognised) or len(files_of_many) > 1


def _iteration(source: Source) -> int:
    """Return the iteration of a snapshot; raise CheckpointError where its file cannot be opened."""
    fingerprint(source.path)
    if source.niter is not None and known_by_content(source.path):
        return source.niter
    with open_checkpoint(source.path, source.name) as checkpoint:
        return checkpoint.niter


def _first_readable(sources: list[Source], problems: list[str]) -> list[Header]:
    """Return the header of the first readable file, if any; add what is wrong with files before it to `problems`."""
    for source in sources:
        found = _headers([source], problems)
        if found:
            return found
    return []


def listing(found: Found, root: Path, listed: list[Listed]) -> list[str]:
    """Return the runs as lines for a terminal."""
    heading = f"{unbroken(str(root))}: {unbroken(counted(len(listed), 'run'))}{_collated(found)}"
    lines = wrapped(heading, text_width(), "  ")
    size, unit = min((_unit_of(run) for run in listed), default=(1.0, ""))
    cells = [_cells(run, size) for run in listed]
    widths = dict(COLUMNS)
    for key, between in BETWEEN.items():
        widths[key] = max([COLUMNS[key], *(len(one[key]) + between for one in cells)])
    shown = that_fit(widths, text_width() - SHORTEST_NAME, GIVEN_UP)
    longest = max((len(run.name) for run in listed), default=0)
    name_width = min(max(NAME_WIDTH, longest + 1), text_width() - sum(shown.values()))
    if listed:
        heads = {"format": "format", "saved": "saved", "iterations": "iterations", "object": "object (px)"}
        lines.append(_line("run", {**heads, "dx": f"dx ({unit})"}, name_width, shown))
    names = told_apart([run.name for run in listed], name_width - 1)
    for name, run, of_run in zip(names, listed, cells, strict=True):
        lines.append(_line(name, of_run, name_width, shown))
        notes = [f"resumed from {short_name(run.resumed_from)}"] if run.resumed_from else []
        notes += run.problems[:MOST_PROBLEMS]
        notes += [f"and {len(run.problems) - MOST_PROBLEMS} more"] if len(run.problems) > MOST_PROBLEMS else []
        lines += [f"  {line}" for note in notes for line in wrapped(with_place_kept(note), text_width() - 2, "  ")]
    lines += left_out(len(COLUMNS) - len(shown)) if listed else []
    return lines + [line for text in found.problems for line in wrapped(with_place_kept(text), text_width(), "  ")]


def _unit_of(run: Listed) -> tuple[float, str]:
    """Return the unit in which the pixel size of a run is shown, and how many Å it has."""
    return detail_unit(max((run.shape or (0,))[-2:]) * (run.dx or 0.0))


def _line(name: str, cells: dict[str, str], name_width: int, shown: dict[str, int]) -> str:
    """Return a row of the table: what was written in words is on the left, numbers on the right."""
    texts = [f"{cells[key]:<{width}}" if key == "format" else f"{cells[key]:>{width}}" for key, width in shown.items()]
    if "object" in shown:
        texts[list(shown).index("object")] = f"  {cells['object']:<{shown['object'] - 2}}"
    return f"{name:<{name_width}}{''.join(texts)}"


def _cells(run: Listed, size: float) -> dict[str, str]:
    iterations = "-" if run.iterations is None else f"{run.iterations[0]} to {run.iterations[1]}"
    shape = "-" if run.shape is None else "×".join(map(str, run.shape))
    dx = "-" if run.dx is None else _in_six_letters(run.dx / size)
    written_by = shortened(run.format or "-", 15, at_end=True)
    return {
        "format": written_by,
        "saved": str(run.checkpoints),
        "iterations": iterations,
        "object": shape,
        "dx": dx,
    }


def _in_six_letters(number: float) -> str:
    return f"{number:.4f}"[:6].rstrip(".") if number < 1e6 else f"{number:.0e}"


def _collated(found: Found) -> str:
    if not found.collated:
        return ""
    return f", {counted(len(found.collated), 'collated file')} (the ends of different trials)"


def _headers(sources: list[Source], problems: list[str]) -> list[Header]:
    """Read headers, with whatever tensors the files have; add unreadable files to `problems`."""
    headers = []
    for source in sources:
        try:
            headers.append(read_header(source, ()))
        except CheckpointError as error:
            problems.append(_short(source.path, error))
    return headers


def _tensors(headers: list[Header]) -> tuple[str, ...]:
    """Return the tensors that all of them have."""
    return tuple(name for name in tensor_keys() if all(name in header.shapes for header in headers))


def _listed(name: str, checkpoints: int, headers: list[Header], problems: list[str]) -> Listed:
    if not headers:
        return Listed(name, checkpoints, problems=problems)
    first, last = headers[0], headers[-1]
    few = ["a change needs at least two checkpoints"] if checkpoints < 2 else []
    return Listed(
        name,
        checkpoints,
        last.format,
        (first.niter, last.niter),
        next((last.shapes[name] for name in reversed(of_object()) if name in last.shapes), None),
        last.dx,
        origin_of(last.path).parent_file,
        problems + few,
    )


def _short(path: Path, error: CheckpointError) -> str:
    return str(error).replace(f"{path}: ", f"{path.name}: ")


@click.command("ls")
@click.argument("path", type=PATH, default=Path())
@NAMES
def list_runs(path: Path, names: str | None) -> None:
    """List the runs at or below PATH.

    For each run: the program that wrote it, how many checkpoints were saved, iterations, shape of the object (omode,
    slice, y, x), pixel size dx, the checkpoint it was resumed from, and problems. The reconstructions are not loaded.
    PATH is a folder, by default the current one, or a file.
    """
    if is_one_file(path):
        found, many, listed = Found(), False, list_file(path, names)
    else:
        found = find_runs(path, names)
        if not found.runs and not found.collated:
            raise PtyconvError(f"{path}: {no_checkpoint(found, path, names)}")
        many = len(found.runs) > MANY
        listed = [run for folder in found.runs for run in list_folder(path, folder, names, by_names=many)]
    say("\n".join(listing(found, path, listed)))
    if many:
        say("")
        for line in NOT_OPENED.splitlines():
            say_wrapped(line)
