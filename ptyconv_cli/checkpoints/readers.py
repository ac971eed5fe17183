"""The table of formats, those of other packages too."""

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ptyconv_cli import __version__
from ptyconv_cli.errors import PtyconvError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from ptyconv_cli.checkpoints.checkpoint import Checkpoint


def registered(group: str) -> list["EntryPoint"]:
    """Return the entry points of a group, of all packages that are installed."""
    others = any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path)
    if not others and not any(_may_register(Path(folder), group.encode()) for folder in sys.path):
        return []
    from importlib.metadata import entry_points

    return list(entry_points(group=group))


def _may_register(folder: Path, group: bytes) -> bool:
    """Say whether a package in a folder of `sys.path` may register something; where that is an archive, one may."""
    try:
        found = [path for path in folder.iterdir() if path.name.lower().endswith((".dist-info", "egg-info"))]
    except OSError:
        return folder.is_file()
    for path in found:
        with suppress(OSError):
            if group in (path / "entry_points.txt").read_bytes():
                return True
    return False


ENTRY_POINTS = "ptyconv.readers"
"""The group under which another package registers its reader."""


class NamedReader(Protocol):
    """The module of a reader whose files are known by their names, and hold one snapshot each.

    `FILES`: names of checkpoints, such as `("iter*.h5",)`; the star stands for the digits of the iteration. Of our own
    readers they are in `OWN`.
    """

    FILES: tuple[str, ...]

    def open_checkpoint(self, path: Path) -> "Checkpoint":
        """Open a file; raise CheckpointError where it cannot be read, or is not a checkpoint."""


class ContentReader(Protocol):
    """The module of a reader whose files have any name, and may hold many snapshots.

    Of our own readers `ENGINE` and `SUFFIXES` are in `OWN`.

    - `ENGINE`: what writes such files, for messages.
    - `SUFFIXES`: of the files that `snapshots` is asked about. One like "/zarr.json" stands for folders with a file of
      this name in them: such a folder then counts as a file.
    - `run_folders(folder)`, which a reader may have: the folders that the files of a run in this folder lie in, where
      that is more than one, else nothing. The folder is one of them, or the one that they have in common.
    """

    ENGINE: str
    SUFFIXES: tuple[str, ...]

    def snapshots(self, path: Path) -> Mapping[str, int]:
        """Return the iteration of each snapshot in a file, by a name for it: "" where a file always holds one.

        Empty where the file is of something else. Raises CheckpointError where the file cannot be read.
        """

    def open_checkpoint(self, path: Path, snapshot: str) -> "Checkpoint":
        """Open one snapshot of a file; raise CheckpointError where it cannot be read."""


class Known(NamedTuple):
    """A reader, with what says which files it may take: our own modules are loaded only to look into such a file.

    `module`: it itself, or its name. `files`: as `FILES` of a `NamedReader`; or, where there are none, `engine` and
    `suffixes` as of a `ContentReader`, and whether it `has_run_folders`. The `package` it comes from with its
    `version`, "" for our own. `versions`: those of the engine that it was tried on.
    """

    module: Any
    files: tuple[str, ...] = ()
    engine: str = ""
    suffixes: tuple[str, ...] = ()
    has_run_folders: bool = False
    package: str = ""
    version: str = ""
    versions: str = ""

    @property
    def reader(self) -> Any:
        """Its module, which is loaded now unless it was before."""
        return import_module(self.module) if isinstance(self.module, str) else self.module

    @property
    def by_content(self) -> bool:
        """Whether its files are known by what is in them."""
        return not self.files

    def takes(self, path: Path) -> bool:
        """Say whether a file has a suffix of this reader's, or is a folder that counts as a file of it."""
        suffixes = self.suffixes or [Path(name).suffix for name in self.files]
        return path.suffix in suffixes or self.takes_folder(path)

    def takes_folder(self, path: Path) -> bool:
        """Say whether a path is a folder that counts as a file of this reader."""
        try:
            return any((path / suffix[1:]).is_file() for suffix in self.suffixes if suffix.startswith("/"))
        except OSError:  # a folder that may be listed, but not entered
            return False

    def run_folders(self, folder: Path) -> list[Path]:
        """Return the folders in which the files of a run in this folder lie, where that is more than one."""
        return list(self.reader.run_folders(folder)) if self.has_run_folders else []

    def number(self, name: str) -> int | None:
        """Return the iteration in a file name, None where that is not the name of a checkpoint."""
        for pattern in self.files:
            match = digits(pattern).fullmatch(name)
            if match:
                return int(match[1])
        return None


OWN = (
    Known(
        "ptyconv_cli.checkpoints.formats.ptyrad",
        ("model_iter*.hdf5", "model_iter*.h5", "model_iter*.pt"),
        engine="PtyRAD",
        versions="0.1.0b5 to 1.0 and v2",
    ),
    Known("ptyconv_cli.checkpoints.formats.phaser", ("iter*.h5",), engine="phaser", versions="0.3"),
    Known("ptyconv_cli.checkpoints.formats.ptychodus", engine="ptychodus", suffixes=(".h5", ".hdf5"), versions="1.7"),
    Known("ptyconv_cli.checkpoints.formats.pear", engine="PEAR", suffixes=(".h5", ".hdf5")),
    Known("ptyconv_cli.checkpoints.formats.fold_slice", engine="fold_slice", suffixes=(".mat",)),
    Known(
        "ptyconv_cli.checkpoints.formats.ptypy",
        engine="ptypy",
        suffixes=(".ptyr", ".h5", ".hdf5"),
        has_run_folders=True,
        versions="0.9",
    ),
    Known(
        "ptyconv_cli.checkpoints.formats.cdtools",
        engine="cdtools",
        suffixes=(".h5", ".hdf5", ".pt"),
        versions="0.3",
    ),
    Known("ptyconv_cli.checkpoints.formats.ptylab", engine="PtyLab", suffixes=(".hdf5", ".h5"), versions="0.2 and 0.3"),
    Known(
        "ptyconv_cli.checkpoints.formats.py4dstem",
        engine="py4DSTEM",
        suffixes=(".h5", ".hdf5", ".emd"),
        versions="0.14",
    ),
    Known("ptyconv_cli.checkpoints.formats.quantem", engine="quantem", suffixes=(".zip", "/zarr.json"), versions="0.1"),
)
"""Our own readers. Those of a kind are asked in this order."""


@cache
def known_readers() -> tuple[Known, ...]:
    """Return all readers, our own first; raise PtyconvError where another package's cannot be loaded."""
    found = list(OWN)
    for entry in registered(ENTRY_POINTS):
        package = entry.dist.name if entry.dist else entry.value
        try:
            reader = entry.load()
            problem = _problem(reader)
            found += [] if problem else [_known(reader, package, entry.dist.version if entry.dist else "")]
        except (Exception, SystemExit) as error:  # whatever another package's module stumbles over
            problem = f"{type(error).__name__}: {error}"
        if problem:
            raise PtyconvError(
                f"the reader {entry.name} of {package} cannot be used ({problem}); repair or uninstall that package"
            )
    return tuple(found)


def _problem(reader: Any) -> str:
    """Say what a reader's module lacks, "" where it is whole; it may raise anything."""
    callable(reader.open_checkpoint)
    if hasattr(reader, "snapshots"):
        text = [reader.ENGINE, *reader.SUFFIXES]
        fits = reader.SUFFIXES and all(isinstance(one, str) for one in text) and not isinstance(reader.SUFFIXES, str)
        return "" if fits else "its ENGINE must be a name, and its SUFFIXES like .h5"
    fits = reader.FILES and all(name.count("*") == 1 for name in reader.FILES)
    return "" if fits else "its FILES must be file names with one star each"


def _known(reader: Any, package: str, version: str) -> Known:
    """Return another package's reader as its module describes it."""
    if hasattr(reader, "snapshots"):
        suffixes, has_run_folders = tuple(reader.SUFFIXES), hasattr(reader, "run_folders")
        return Known(reader, (), reader.ENGINE, suffixes, has_run_folders, package, version)
    return Known(reader, tuple(reader.FILES), package=package, version=version)


def versions() -> list[str]:
    """Return what tells readers from other ones: what they read is kept, and must not be taken for what these read."""
    return [__version__, *(f"{known.package} {known.version}" for known in known_readers() if known.package)]


def by_content() -> list[Known]:
    """Return the readers of files that are known by their content."""
    return [known for known in known_readers() if known.by_content]


def counts_as_file(folder: Path) -> bool:
    """Say whether a folder is of a format that keeps a snapshot in a folder."""
    return any(known.takes_folder(folder) for known in by_content())


def is_one_file(path: Path) -> bool:
    """Say whether a path is a file, or a folder that counts as one."""
    return path.is_file() or counts_as_file(path)


def usual_number(path: Path) -> int | None:
    """Return the iteration in a name as engines give it, None for any other."""
    return next((number for known in known_readers() if (number := known.number(path.name)) is not None), None)


def looks_alike(path: Path, by_suffix: bool = False) -> bool:
    """Say whether a name is like a checkpoint's, as `model_iter0010_copy.hdf5` is, or has the suffix of one."""
    if by_suffix:
        return any(known.takes(path) for known in known_readers())
    patterns = [pattern for known in known_readers() for pattern in known.files]
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), path.name) for pattern in patterns)


def names() -> str:
    """Return how checkpoints are named, and what writes those with other names, for messages."""
    patterns = [pattern.replace("*", "NNNN") for known in known_readers() for pattern in known.files]
    engines = list(dict.fromkeys(known.engine for known in by_content()))
    return ", ".join(patterns) + (f", or files of {', '.join(engines)}" if engines else "")


def formats() -> list[str]:
    """Return what writes the files that are read, with its versions, or the package that brings the reader along."""
    return [
        " ".join(filter(None, [known.engine or ", ".join(known.files), known.versions, _brought_by(known)]))
        for known in known_readers()
    ]


def _brought_by(known: Known) -> str:
    return f"({known.package} {known.version})" if known.package else ""


@cache
def digits(pattern: str) -> re.Pattern[str]:
    """Return what a file name must match, in which a star stands for the digits, its group."""
    return re.compile(r"(\d{1,18})".join(map(re.escape, pattern.split("*"))))
