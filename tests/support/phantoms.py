"""Invented objects of atoms, and a run of them."""

from pathlib import Path

import h5py
import numpy as np


def bell(distance: np.ndarray) -> np.ndarray:
    return np.exp(-(distance**2) / (2 * 2.0**2))


def atoms(shape: tuple[int, ...], seed: int = 0, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Smooth blobs on a grid of their own in every plane, moved by `shift` px."""
    *planes_of, height, width = shape
    y, x = np.arange(height)[:, None] - shift[0], np.arange(width) - shift[1]
    random = np.random.default_rng(seed)
    found = np.zeros(shape)
    for plane in np.ndindex(*planes_of):
        middles = np.arange(4, height, 9) + random.uniform(-1, 1)
        rows = []
        for _ in middles:
            across = np.arange(3, width, 8) + random.uniform(-1, 1)
            rows.append(random.uniform(0.5, 1, len(across)) @ bell(x - across[:, None]))
        found[plane] = bell(y - middles) @ np.reshape(rows, (len(middles), width))
    return found


def two_mode_run(folder: Path) -> Path:
    """A smooth object of two modes that rescales and changes for real, and drifts with its probe and its positions.

    So little in all that nothing need be moved.
    """
    random = np.random.default_rng(5)
    corners = np.stack(np.meshgrid(range(0, 24, 3), range(0, 30, 3), indexing="ij"), -1).reshape(-1, 2)
    shape = (2, 3, 40, 46)
    for k in range(1, 5):
        amplitude = (1 - 0.1 * atoms(shape, 1, (0.012 * k, 0.006 * k))) * (1 + 0.01 * k * np.arange(3)[:, None, None])
        phase = 0.3 * atoms(shape, 2, (0.012 * k, 0.006 * k)) + 0.05 * k
        wave = atoms((2, 16, 16), 3, (0.004 * k, 0)) + 0j
        with h5py.File(folder / f"model_iter{10 * k:04d}.hdf5", "w") as file:
            file["niter"] = 10 * k
            file["model_attributes/crop_pos"] = corners.astype(np.int32)
            file["model_attributes/dx"] = np.float32(0.25)
            noise = 0.002 / k
            tensors = file.create_group("optimizable_tensors")
            tensors["obja"] = (amplitude + random.normal(0, noise, shape)).astype(np.float32)
            tensors["objp"] = (phase + random.normal(0, noise, shape)).astype(np.float32)
            tensors["probe"] = (wave * (1 + 0.1 * k) + random.normal(0, noise, wave.shape)).astype(np.complex64)
            positions = random.normal(0, noise, corners.shape) + k * np.array([0.008, 0.006])
            tensors["probe_pos_shifts"] = positions.astype(np.float32)
    return folder


def wide_run(folder: Path) -> Path:
    """A run of an object (1, 2, 230, 290) with noise, of which pictures take some room."""
    random = np.random.default_rng(7)
    corners = np.stack(np.meshgrid(range(0, 210, 15), range(0, 270, 15), indexing="ij"), -1).reshape(-1, 2)
    phase = 0.3 * atoms((1, 2, 230, 290), 4)
    folder.mkdir(exist_ok=True)
    for niter in (10, 20, 40, 80):
        with h5py.File(folder / f"model_iter{niter:04d}.hdf5", "w") as file:
            noise = random.normal(0, 1 / niter, phase.shape)
            file["niter"] = niter
            file["model_attributes/crop_pos"] = corners.astype(np.int32)
            file["model_attributes/dx"] = np.float32(0.25)
            file["optimizable_tensors/objp"] = (phase + noise).astype(np.float32)
            file["optimizable_tensors/obja"] = (1 - phase / 5 + noise / 5).astype(np.float32)
            file["optimizable_tensors/probe"] = (atoms((1, 16, 16), 3) + 0j).astype(np.complex64)
            file["optimizable_tensors/probe_pos_shifts"] = random.normal(0, 0.1, corners.shape).astype(np.float32)
    return folder
