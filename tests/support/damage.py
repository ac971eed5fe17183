"""Checkpoints of the sample run that are changed by a test."""

import zipfile
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


def repacked(source, target, change=lambda entries: None, compression=zipfile.ZIP_STORED):
    """Write an archive again, with its entries by name as a function changes them."""
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target
