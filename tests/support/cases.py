"""Inputs that went wrong for people of the field, rebuilt from the small real runs: each stands for a kind of fault."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import runs

LONG, PHASER = runs.ALL["constant_lr"], runs.DATA / "phaser" / "gradient"
OF = "optimizable_tensors/"
TENSORS = ("obja", "objp", "probe", "probe_pos_shifts")
RATES = ("lr_iters", *(f"model_attributes/{name}" for name in ("start_iter", "end_iter", "lr_params")))


def copied(source: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in sorted(source.glob("*iter[0-9]*.*")):
        shutil.copy(path, folder)
    return folder


def each(folder: Path) -> Iterator[tuple[int, h5py.File]]:
    for path in sorted(folder.iterdir()):
        with h5py.File(path, "r+") as file:
            yield int((file["niter"] if "niter" in file else file["iter/total_iter"])[()]), file


def put(file: h5py.File, name: str, values, **how) -> None:
    if name in file:
        del file[name]
    file.create_dataset(name, data=values, **how)


def frozen_tail(folder: Path) -> None:
    copied(LONG, folder)
    with h5py.File(folder / "model_iter0084.hdf5") as file:
        kept = {name: file[OF + name][()] for name in TENSORS}
    for niter, file in each(folder):
        if niter > 84:
            for name, values in kept.items():
                file[OF + name][...] = values
        del file["convergence_iters"]


def object_probe_nan(folder: Path) -> None:
    for niter, file in each(copied(runs.SAMPLE, folder)):
        if niter >= 70:
            for name in ("obja", "objp", "probe"):
                file[OF + name][...] = np.nan
            file["loss_iters"][69:, 1] = np.nan


def one_voxel_nan(folder: Path) -> None:
    for niter, file in each(copied(runs.SAMPLE, folder)):
        if niter >= 100:
            file[OF + "obja"][0, 1, 28, 30] = np.nan


def positions_infinite(folder: Path) -> None:
    for niter, file in each(copied(runs.SAMPLE, folder)):
        if niter >= 90:
            file[OF + "probe_pos_shifts"][3] = np.inf


def settling(folder: Path, change: Callable[[int, h5py.File, dict], None]) -> None:
    """Every checkpoint is the last real one, with noise that decays to a floor."""
    copied(LONG, folder)
    with h5py.File(folder / "model_iter0120.hdf5") as file:
        last = {name: file[OF + name][()] for name in TENSORS}
    for niter, file in each(folder):
        rng, size, tensors = np.random.default_rng(niter + 2000), max(0.1 * np.exp(-niter / 5), 1e-4), {}
        for name, values in last.items():
            noise = rng.normal(size=values.shape) * (values if values.dtype.kind == "c" else np.nanstd(values))
            tensors[name] = (values + size * noise).astype(values.dtype)
        del file["convergence_iters"]
        change(niter, file, tensors)
        for name, values in tensors.items():
            file[OF + name][...] = values


def tilt_and_thickness_drift(folder: Path) -> None:
    def change(niter, file, _):
        put(file, OF + "obj_tilts", np.array([[0.05 * niter, 0]], "f4"))
        put(file, OF + "slice_thickness", np.float32(4 + 0.02 * niter))
        put(file, "avg_tilt_iters/tilt_y", 0.05 * file["avg_tilt_iters/niter"][()])
        niters = file["dz_iters"][:, 0]
        put(file, "dz_iters", np.column_stack([niters, 4 + 0.02 * niters]))

    settling(folder, change)


def phase_only_unrecorded(folder: Path) -> None:
    def change(_, file, tensors):
        tensors["obja"][...] = 1
        for name in RATES:
            if name in file:
                del file[name]

    settling(folder, change)


def probe_zero(folder: Path) -> None:
    for niter, file in each(copied(runs.SAMPLE, folder)):
        if niter > 60:
            file[OF + "probe"][...] = 0
        del file["convergence_iters"]


def phaser_named_by_user(folder: Path) -> None:
    for path in list(copied(PHASER, folder).iterdir()):
        path.rename(folder / f"state_{path.name}")


def named_without_order(folder: Path) -> None:
    for place, path in enumerate(sorted(copied(PHASER, folder).iterdir())):
        path.rename(folder / f"{place % 3}_of_{path.name}")


def loss_recorded_twice(folder: Path) -> None:
    first = np.column_stack([np.arange(1, 121), np.linspace(0.3, 0.2, 120)])
    for _, file in each(copied(runs.SAMPLE, folder)):
        put(file, "loss_iters", np.vstack([first, file["loss_iters"][()]]))
        for name in ("dz_iters", "iter_times"):
            put(file, name, np.concatenate([file[name][()]] * 2))


def phaser_state_01(folder: Path) -> None:
    for _, file in each(copied(PHASER, folder)):
        positions, progress = file["scan/data"][()], file["progress/total_loss"]
        niters, loss = progress["iters"][()], progress["values"][()]
        for name in ("scan", "progress"):
            del file[name]
        file["scan"], file["progress/iters"], file["progress/detector_errors"] = positions, niters.astype("u8"), loss
        put(file, "version", "0.1")
    for path in list(folder.iterdir()):
        path.rename(folder / f"iter{int(path.stem[4:])}.h5")


def pt_int32(folder: Path) -> None:
    import torch

    for path in copied(runs.SAMPLE_PT, folder).iterdir():
        content = torch.load(path, weights_only=False)
        torch.save({**content, "indices": np.asarray(content["indices"], np.int32)}, path)


def filter_blosc(folder: Path) -> None:
    import hdf5plugin

    for _, file in each(copied(runs.SAMPLE, folder)):
        for name in TENSORS:
            values = file[OF + name][()]
            put(file, OF + name, values, chunks=values.shape, **hdf5plugin.Blosc(cname="zstd"))


def one_scan_position(folder: Path) -> None:
    for _, file in each(copied(runs.SAMPLE, folder)):
        for name in ("model_attributes/crop_pos", OF + "probe_pos_shifts"):
            put(file, name, file[name][:1])
        del file["convergence_iters"]


def resumed_and_converged(folder: Path) -> None:
    """The run starts where it ends, and moves by a little noise."""
    copied(runs.SAMPLE, folder)
    rng = np.random.default_rng(0)
    with h5py.File(folder / "model_iter0120.hdf5") as file:
        last = {name: file[OF + name][()] for name in TENSORS}
    for _, file in each(folder):
        for name, values in last.items():
            file[OF + name][...] = values * (1 + 1e-4 * rng.normal(size=values.shape))
        del file["convergence_iters"]
