"""Which checkpoint a run was resumed from, and where it is. See docs/runs.md."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ptyconv_cli.checkpoints.checkpoint import Origin
from ptyconv_cli.checkpoints.opening import number_in_name, open_checkpoint, recognised
from ptyconv_cli.errors import CheckpointError


class Parent(NamedTuple):
    """The checkpoint that a run was resumed from: as the run's files name it ("" for none), and as it was found."""

    named: str = ""
    file: Path | None = None


def origin_of(path: Path) -> Origin:
    """Return where a checkpoint comes from; nothing is known of one that cannot be read any more."""
    try:
        with open_checkpoint(path) as checkpoint:
            return checkpoint.origin()
    except CheckpointError:  # it changed since its header was read: the walk will say so
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


def resumed_at(folder: Path, checkpoints: Sequence[tuple[int, Path]], origin: Origin) -> int | None:
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


def name_of_parent(origin: Origin) -> str:
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


def _candidates(folder: Path, origin: Origin) -> Iterator[Path]:
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
