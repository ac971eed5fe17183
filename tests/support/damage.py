"""Checkpoints of the sample run that are changed by a test."""

from pathlib import Path

import h5py

MIDDLE, NEWEST = "model_iter0060.hdf5", "model_iter0120.hdf5"
OBJP = "optimizable_tensors/objp"


def edit(path: Path, name: str, make) -> None:
    """Replace an object of an HDF5 file by what `make(file)` makes under its name."""
    with h5py.File(path, "r+") as file:
        del file[name]
        make(file, name)


def put(content):
    return lambda file, name: file.__setitem__(name, content)


def spoil(path, name, values):
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if values is not None:
            file[name] = values
