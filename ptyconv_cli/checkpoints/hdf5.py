"""An HDF5 file as a tree of named arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptyconv_cli.errors import CheckpointError


class Hdf5Tree:
    """Read-only view of an HDF5 file; names are paths like `optimizable_tensors/obja`.

    What is no dataset is looked for among the attributes of its group, where a development branch of PtyRAD keeps
    some of the metadata. Opening and reading raise CheckpointError where the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained("the file"):
            self._file = h5py.File(path, "r")

    def close(self) -> None:
        """Close the file; arrays that were read stay valid."""
        self._file.close()

    def children(self, name: str) -> list[str]:
        """Names of all that is right inside a group; none where there is no such group."""
        with self._explained(name):
            group = self._item(name)
            return list(group) if isinstance(group, h5py.Group) else []

    def find(self, name: str) -> h5py.Dataset | np.ndarray | None:
        """Return an array unread, with its shape, dtype, ndim and size; None where there is none of this name."""
        with self._explained(name):
            item = self._item(name)
            if item is None:
                parent, _, attribute = name.rpartition("/")
                group = self._item(parent or "/")
                value = None if group is None else group.attrs.get(attribute)
                item = None if value is None else np.asarray(value)
            return item if _is_array(item) else None

    def read(self, name: str) -> np.ndarray:
        """Read an array that `find` finds."""
        with self._explained(name):
            return np.asarray(self.find(name)[()])  # type: ignore[index]

    def read_into(self, name: str, target: np.ndarray, index: Any) -> None:
        """Fill a contiguous array with the part of a dataset that `index` selects, straight from the file."""
        with self._explained(name):
            dataset = self.find(name)
            if isinstance(dataset, h5py.Dataset):
                dataset.read_direct(target, index)
            else:
                target[...] = dataset[index]  # type: ignore[index]

    def _item(self, name: str) -> Any:
        """Return a group or dataset, None where there is none; raise KeyError where it is there but damaged."""
        named = name == "/" or self._file.get(name, getlink=True) is not None
        return self._file[name] if named else None

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            reason = str(error).strip("'")  # in which Python wraps the text of a KeyError
            raise CheckpointError(f"{self.path}: HDF5 cannot read {what} ({reason})") from error


def _is_array(item: Any) -> bool:
    """Numbers only: no group, no empty dataspace, no string such as the `__NONE__` that PtyRAD writes for None."""
    is_array = isinstance(item, (h5py.Dataset, np.ndarray)) and item.shape is not None
    return is_array and item.dtype.kind in "biufc"
