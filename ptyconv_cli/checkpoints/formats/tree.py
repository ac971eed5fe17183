"""Checkpoints as trees of named arrays; each dataset is compared with what is expected before it is read."""

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.checkpoints.formats.limits import most_bytes
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.history import LAST_ITERATION, Curve


class Tree(Protocol):
    """A file as a tree of named arrays: `formats.hdf5.Hdf5Tree` and `formats.pt.PtTree` say what the methods do."""

    path: Path
    size: int
    remarks: list[str]

    def close(self) -> None: ...  # noqa: D102
    def children(self, name: str) -> list[str]: ...  # noqa: D102
    def find(self, name: str) -> Any: ...  # noqa: D102
    def text(self, name: str, most: int = ...) -> str: ...  # noqa: D102
    def texts(self, name: str) -> list[str]: ...  # noqa: D102
    def read(self, name: str) -> np.ndarray: ...  # noqa: D102
    def read_into(self, name: str, target: np.ndarray, index: Any) -> None: ...  # noqa: D102
    def explained(self, what: str) -> AbstractContextManager[None]: ...  # noqa: D102


C = TypeVar("C", bound=Checkpoint)
OfTree = TypeVar("OfTree", bound=Tree)


def open_tree(path: Path) -> Tree:
    """Open an HDF5 or a `.pt` file; only for the latter torch is loaded."""
    if path.suffix == ".pt":
        from ptyconv_cli.checkpoints.formats.pt import PtTree

        return PtTree(path)
    from ptyconv_cli.checkpoints.formats.hdf5 import Hdf5Tree

    return Hdf5Tree(path)


def opened(checkpoint: Callable[[OfTree], C], tree: OfTree) -> C:
    """Return the checkpoint in a tree, which is closed where that fails."""
    try:
        return checkpoint(tree)
    except BaseException:
        tree.close()
        raise


def sole_snapshot(
    path: Path, names: Collection[str], niter_of: Callable[[Tree], int], group: str = ""
) -> Mapping[str, int]:
    """Return the iteration of a file that holds one snapshot, as `readers.ContentReader.snapshots` does.

    It is known by some `names` in a group; without all of them the file is of something else.
    """
    with closing(open_tree(path)) as tree:
        return {"": niter_of(tree)} if set(names) <= set(tree.children(group)) else {}


class Expected(NamedTuple):
    """What a dataset must be: the kinds of its numbers (numpy's letters), their name in messages, and its axes, some of
    which are numbers.

    `in_parts`: whether it is read in parts, like the object, and so may be very large.
    """

    kinds: str
    called: str
    axes: tuple[str, ...]
    in_parts: bool = False

    def __str__(self) -> str:
        return f"{self.called} ({', '.join(self.axes)})" if self.axes else f"one {self.called} number"


WHOLE = Expected("iu", "integer", ())
REAL = Expected("fiu", "real", ())
ITERATIONS = Expected("iu", "integer", ("n",))
VALUES = Expected("fiu", "real", ("n",))

MOST_NUMBERS = 1 << 24
"""No list of positions and no history is longer; a small damaged file can claim any size."""

STARTS_OVER = (
    "Histories in the files start over, as where a loop was run again on the same model: the last pass counts, where "
    "iterations are recorded more than once."
)
"""Said once of all histories of all files, and so names none of them."""

T = TypeVar("T")


class TreeCheckpoint(Checkpoint):
    """A checkpoint in a tree.

    Opening and every access raise CheckpointError where the file lacks what is asked for or holds something else. What
    is only shown, and not needed for the changes, is left out instead, with a remark in `remarks`.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.path = tree.path
        self.remarks = list(tree.remarks)

    def close(self) -> None:
        """Close the file; arrays that were read stay valid."""
        self._tree.close()

    def explained(self, what: str) -> AbstractContextManager[None]:
        """Turn what reading stumbles over into CheckpointError, which says `what` could not be read."""
        return self._tree.explained(what)

    def _read(self, name: str, expected: Expected) -> np.ndarray:
        self._find(name, expected)
        return self._tree.read(name)

    def _find(self, name: str, expected: Expected) -> Any:
        """Return an array, not yet read; raise CheckpointError unless it is as expected."""
        array = self._tree.find(name)
        if array is None:
            raise CheckpointError(f"{self.path}: has no dataset {name} (expected {expected})")
        fits = array.ndim == len(expected.axes) and array.dtype.kind in expected.kinds and array.size
        sizes = zip(expected.axes, array.shape, strict=False)
        too_large = array.size > MOST_NUMBERS or array.size * array.dtype.itemsize > most_bytes(self._tree.size)
        if not expected.in_parts and too_large:
            what = f"dataset {name}: {tuple(array.shape)} is larger than any run needs"
            raise CheckpointError(f"{self.path}: {what}, or than what there can be of it in the file")
        if not fits or any(axis.isdecimal() and int(axis) != size for axis, size in sizes):
            found = f"{array.dtype} {tuple(array.shape)}"
            raise CheckpointError(f"{self.path}: dataset {name}: expected {expected}, found {found}")
        return array

    def loss(self) -> Curve:
        """Return the run's loss up to this checkpoint, or as much of it as the file has."""
        no_loss: Curve = []
        return self._shown(self._loss, no_loss)

    def _loss(self) -> Curve:
        """Read the loss; raise CheckpointError where it is damaged."""
        return []

    def _shown(self, read: Callable[[], T], otherwise: T) -> T:
        """Read what is only shown: where that fails, the changes are still worth computing."""
        try:
            return read()
        except CheckpointError as error:
            self.remarks.append(f"{error}. It is left out.")
            return otherwise

    def mean_distance(self, name: str, angstrom: float) -> float | None:
        """Return the mean of finite distances in Å, None where there are none; `angstrom` in a unit of theirs."""
        return self._shown(lambda: self._mean_distance(name, angstrom), None)

    def _mean_distance(self, name: str, angstrom: float) -> float | None:
        if self._tree.find(name) is None:
            return None
        distances = self._tree.read(name)
        if distances.dtype.kind not in REAL.kinds:
            raise CheckpointError(f"{self.path}: dataset {name}: expected real numbers, found {distances.dtype}")
        distances = distances.astype(np.float64)
        distances = distances[np.isfinite(distances)]
        return angstrom * float(distances.mean()) if distances.size else None

    def _curve_of(self, niters: str, values: str) -> Curve:
        """Read a curve from two datasets, empty where the file has none."""
        if self._tree.find(values) is None:
            return []
        return self._pairs(values, self._read(niters, ITERATIONS), self._read(values, VALUES))

    def _pairs(self, name: str, niters: np.ndarray, values: np.ndarray) -> Curve:
        niters = niters.astype(np.float64)  # whose differences are right, as those of unsigned numbers are not
        whole = (abs(niters) <= LAST_ITERATION).all() and (niters == np.floor(niters)).all()
        counts = last_pass(niters)
        # A pass that was recorded again leaves no gap; where one would be left, numbers are damaged.
        damaged = not whole or (not counts.all() and len(set(np.diff(niters[counts]))) > 1)
        if len(niters) != len(values) or damaged:
            expected = "one value for each iteration, in increasing order"
            raise CheckpointError(f"{self.path}: dataset {name}: expected {expected}")
        if not counts.all() and STARTS_OVER not in self.remarks:
            self.remarks.append(STARTS_OVER)
        return [(int(niter), float(value)) for niter, value in zip(niters[counts], values[counts], strict=True)]


def last_number(path: Path) -> int:
    """Return the last number in a file's name, 0 where it has none."""
    numbers = re.findall(r"\d{1,18}", path.stem)
    return int(numbers[-1]) if numbers else 0


def last_pass(niters: np.ndarray) -> np.ndarray:
    """Return which of the iterations (n) are before all that come later, so that those that count rise."""
    least_later = np.minimum.accumulate(niters[::-1])[::-1][1:]
    return np.append(niters[:-1] < least_later, np.ones(len(niters[-1:]), bool))
