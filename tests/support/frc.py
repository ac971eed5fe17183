"""Runs whose objects are given, and correlations, for the tests of Fourier ring correlation."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from ptyconv_cli.results.frc import Frc, FrcPoint


def write_run(folder: Path, objects: Mapping[int, np.ndarray], dx: float = 0.25, margin: int = 3) -> Path:
    """Write PtyRAD checkpoints whose phases (slice, y, x) are given inside the scanned region, by iteration.

    Around it there is a margin of NaN, which no reader may touch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for niter, phase in objects.items():
        slices, height, width = phase.shape
        whole = np.full((1, slices, height + 2 * margin, width + 2 * margin), np.nan, np.float32)
        whole[0, :, margin : margin + height, margin : margin + width] = phase
        # Corners of windows of 2 px, which light all: the region is from the first centre - 1 to the last one.
        corners = margin + np.moveaxis(np.indices((height, width)), 0, -1).reshape(-1, 2)
        with h5py.File(folder / f"model_iter{niter:04d}.hdf5", "w") as file:
            file["niter"] = niter
            file["model_attributes/crop_pos"] = corners.astype(np.int32)
            file["model_attributes/dx"] = np.float32(dx)
            tensors = file.create_group("optimizable_tensors")
            tensors["objp"] = whole
            tensors["obja"] = 1 - 0.1 * whole
            tensors["probe"] = np.ones((1, 2, 2), np.complex64)
            tensors["probe_pos_shifts"] = np.zeros(corners.shape, np.float32)
    return folder


def scene(shape: tuple[int, int], corner: tuple[float, float] = (0.0, 0.0), seed: int = 0) -> np.ndarray:
    """A view of one endless picture of atoms: what is at p in it is at p + corner there."""
    random = np.random.default_rng(seed)
    y, x = np.indices(shape) + np.reshape(corner, (2, 1, 1))
    found = np.zeros(shape)
    for middle_y, middle_x in random.uniform(-30, 120, (500, 2)):
        found += random.uniform(0.3, 1) * np.exp(-((y - middle_y) ** 2 + (x - middle_x) ** 2) / (2 * 1.6**2))
    return found


POINT = FrcPoint(
    niter=400,
    other=200,
    ring_width=0.1,
    frc=[0.99, 0.9, 0.5, 0.2],
    threshold=[0.8, 0.6, 0.5, 0.45],
    resolution=1 / 0.3,
    area=0.6475,
    correlation=0.97,
    shift=(0.01, -0.02),
    overlap=(40, 42),
)


def of(*points, runs=1, **changed):
    names = ["one", "other"][:runs]
    return Frc([f"/data/{name}" for name in names], names, "objp", 3, None, "one-bit", 0.5, list(points), **changed)
