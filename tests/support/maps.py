"""Maps of runs, and runs that are made for them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from phantoms import atoms, two_mode_run
from ptyrad_names import TENSORS

from ptyconv_cli.analysis.maps import maps_of_run
from ptyconv_cli.analysis.registration import FileSource
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.errors import CheckpointError


def maps_in(run_dir, tensors=TENSORS, *, every=None, select=None, **settings):
    settings = {"percentile_range": (15, 85), "device": "cpu", **settings}
    return maps_of_run(run_dir, Selection(tensors, every, select, strict=False), **settings)


def planted_run(folder: Path, plant) -> Path:
    """Two checkpoints of an object (1, 3, 40, 46), between which `plant` changes amplitude, phase, probe and positions.

    The scanned region is y 7:31, x 7:37.
    """
    corners = np.stack(np.meshgrid(range(0, 24, 3), range(0, 30, 3), indexing="ij"), -1).reshape(-1, 2)
    shape = (1, 3, 40, 46)
    tensors = {
        "obja": 1 - 0.1 * atoms(shape, 1),
        "objp": 0.3 * atoms(shape, 2),
        "probe": atoms((2, 16, 16), 3) + 0j,
        "probe_pos_shifts": np.zeros(corners.shape),
    }
    folder.mkdir()
    for niter in (10, 20):
        if niter == 20:
            plant(tensors)
        with h5py.File(folder / f"model_iter{niter:04d}.hdf5", "w") as file:
            file["niter"] = niter
            file["model_attributes/crop_pos"] = corners.astype(np.int32)
            file["model_attributes/dx"] = np.float32(0.25)
            file["optimizable_tensors/slice_thickness"] = np.float32(4)
            for name, tensor in tensors.items():
                file[f"optimizable_tensors/{name}"] = tensor.astype("c8" if name == "probe" else "f4")
    return folder


def two_modes_in_place(folder: Path) -> Path:
    """A run of two object modes of which only the phase changes, by noise."""
    two_mode_run(folder)
    for niter in (10, 20, 30):
        path = shutil.copy(folder / "model_iter0040.hdf5", folder / f"model_iter{niter:04d}.hdf5")
        with h5py.File(path, "r+") as file:
            file["niter"][...] = niter
            phase = file["optimizable_tensors/objp"]
            phase[...] += 1e-3 * np.random.default_rng(niter).normal(size=phase.shape)
    return folder


def damaged(run_dir: Path, niter: int) -> None:
    """Make the phase of a checkpoint unreadable, though everything about it can be read."""
    path = run_dir / f"model_iter{niter:04d}.hdf5"
    with h5py.File(path, "r+") as file:
        phase = file["optimizable_tensors/objp"][()]
        del file["optimizable_tensors/objp"]
        name = "optimizable_tensors/objp"
        file.create_dataset(name, data=phase, chunks=phase.shape, compression="gzip")
        chunk = file[name].id.get_chunk_info(0)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)


@contextmanager
def damaged_beyond(*niters: int) -> Iterator[None]:
    """Within the block, of some checkpoints no more can be read than the scanned region."""
    part = FileSource.part

    def read(source: FileSource, name: str, away: tuple[int, int], margin: int):
        if source._header.niter in niters:
            raise CheckpointError(f"{source._header.path}: {name} ends too early")
        return part(source, name, away, margin)

    FileSource.part = read
    try:
        yield
    finally:
        FileSource.part = part
