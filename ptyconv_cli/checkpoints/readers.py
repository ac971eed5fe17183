"""The table of readers, one a format: modules with `FILES` and `open_checkpoint`, here or in another package."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple, Protocol

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.errors import CheckpointError, PtyconvError

OWN = ("ptyconv_cli.checkpoints.formats.ptyrad", "ptyconv_cli.checkpoints.formats.phaser")

ENTRY_POINTS = "ptyconv.readers"
"""The group under which another package registers its reader."""


class Reader(Protocol):
    """What the module of a reader must have.

    `FILES`: names of checkpoints, such as `("iter*.h5",)`; the star stands for the digits of the iteration.
    """

    FILES: tuple[str, ...]

    def open_checkpoint(self, path: Path) -> Checkpoint:
        """Open a file; raise CheckpointError where it cannot be read, or is not a checkpoint."""


_NAMES: dict[Path, str] = {}
"""By folder, the pattern of the names that checkpoints have there, where it is not a usual one."""


class _Known(NamedTuple):
    """A reader and the `package` it comes from, "" for our own."""

    reader: Reader
    package: str

    def number(self, name: str) -> int | None:
        """Return the iteration in a file name, None where that is not the name of a checkpoint."""
        for pattern in self.reader.FILES:
            match = digits(pattern).fullmatch(name)
            if match:
                return int(match[1])
        return None


@cache
def known_readers() -> tuple[_Known, ...]:
    """Return all readers, our own first; raise PtyconvError where another package's cannot be loaded."""
    found = [_Known(import_module(name), "") for name in OWN]
    for entry in entry_points(group=ENTRY_POINTS):
        package = entry.dist.name if entry.dist else entry.value
        try:
            reader = entry.load()
            whole = reader.FILES and all(name.count("*") == 1 for name in reader.FILES) and reader.open_checkpoint
        except (Exception, SystemExit) as error:  # whatever another package's module stumbles over
            problem = f"{type(error).__name__}: {error}"
        else:
            if whole:
                found.append(_Known(reader, package))
                continue
            problem = "its FILES must be file names with one star each"
        raise PtyconvError(
            f"the reader {entry.name} of {package} cannot be used ({problem}); repair or uninstall that package"
        )
    return tuple(found)


def number_in_name(path: Path) -> int | None:
    """Return the iteration in a checkpoint's name, None where it is not the name of a checkpoint.

    Where the file says another iteration, that is used.
    """
    usual = usual_number(path)
    if usual is None and path.parent in _NAMES:
        match = digits(_NAMES[path.parent]).fullmatch(path.name)
        return int(match[1]) if match else None
    return usual


def usual_number(path: Path) -> int | None:
    """Return the iteration in a name as engines give it, None for any other."""
    return next((number for known in known_readers() if (number := known.number(path.name)) is not None), None)


def name_files(folder: Path, pattern: str) -> None:
    """Have the files in a folder count whose names are like `pattern`, where a star stands for the digits."""
    _NAMES[folder] = pattern


def looks_alike(path: Path, by_suffix: bool = False) -> bool:
    """Say whether a name is like a checkpoint's, as `model_iter0010_copy.hdf5` is, or has the suffix of one."""
    patterns = [pattern for known in known_readers() for pattern in known.reader.FILES]
    if by_suffix:
        return path.suffix in {Path(pattern).suffix for pattern in patterns}
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), path.name) for pattern in patterns)


def names() -> str:
    """Return how checkpoints are named, for messages."""
    patterns = [pattern for known in known_readers() for pattern in known.reader.FILES]
    return ", ".join(pattern.replace("*", "NNNN") for pattern in patterns)


@contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """Open a checkpoint file; raise CheckpointError where that, or reading in the `with` block, fails.

    One without a usual name is known by its content.
    """
    known = next((known for known in known_readers() if known.number(path.name) is not None), None) or _by_content(path)
    try:
        with known.reader.open_checkpoint(path) as checkpoint:
            yield checkpoint
    except (PtyconvError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if not known.package:
            raise
        problem = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: the reader of {known.package} cannot read it ({problem})") from error


def _by_content(path: Path) -> _Known:
    """Return the reader that takes a file for its own; raise CheckpointError where none does."""
    errors = []
    for known in known_readers():
        try:
            with known.reader.open_checkpoint(path):
                return known
        except (Exception, SystemExit) as error:  # whatever another package's reader stumbles over
            errors.append(f"{error}".removeprefix(f"{path}: "))
    reasons = "; ".join(dict.fromkeys(errors))
    raise CheckpointError(f"{path}: is no checkpoint of a known format ({reasons})")


@cache
def digits(pattern: str) -> re.Pattern[str]:
    """Return what a file name must match, in which a star stands for the digits, its group."""
    return re.compile(r"(\d{1,18})".join(map(re.escape, pattern.split("*"))))
