"""Copies of real runs in which the object, its slices or the probe's modes grow."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import runs

PTYCHODUS, GRADIENT = runs.DATA / "engines" / "ptychodus", runs.DATA / "phaser" / "gradient"


def put(file, name, value):
    """Write a dataset anew, with the attributes that it had."""
    kept = dict(file[name].attrs)
    del file[name]
    file[name] = value
    file[name].attrs.update(kept)


def wider(array, before, after):
    """Padded along y and x, by so many pixels at each end."""
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + [(before, after)] * 2, mode="edge")


def halved(array, axis):
    """Each slice as two, of half the phase and the root of the amplitude each."""
    half = np.sqrt(np.abs(array)) * np.exp(0.5j * np.angle(array))
    return np.repeat(half, 2, axis).astype(array.dtype)


def with_modes(probe, axis):
    """Twice as many modes, the further ones a tenth as strong."""
    return np.concatenate([probe, 0.1 * probe], axis).astype(probe.dtype)


def _ptychodus(file, what, done):
    if what == "every":
        step = done // 8 - 1
        put(file, "object", wider(file["object"][()], step, step))
    elif done >= 48 and what == "size":
        put(file, "object", wider(file["object"][()], 5, 5))
    elif done >= 48 and what == "one side":  # the middle moves by half of it
        put(file, "object", wider(file["object"][()], 0, 6))
        for axis, side in (("y", "height"), ("x", "width")):
            file["object"].attrs[f"center_{axis}_m"] += 3 * file["object"].attrs[f"pixel_{side}_m"]
    elif done >= 48 and what == "slices":
        put(file, "object", halved(file["object"][()], 0))
        put(file, "object_layer_spacing_m", np.full(3, 3e-10))
    elif done >= 48 and what == "modes":
        put(file, "probe", with_modes(file["probe"][()], 1))


def _phaser(file, what, done):
    if done > 10 and what == "size":
        put(file, "object/data", wider(file["object/data"][()], 5, 5))
        file["object/corner"][...] -= 5 * file["object/sampling"][()]
    elif done > 10 and what == "slices":
        put(file, "object/data", halved(file["object/data"][()], 0))
        put(file, "object/thicknesses", np.full(4, 2, "f4"))
    elif done > 10 and what == "modes":
        put(file, "probe/data", with_modes(file["probe/data"][()], 0))


def _ptyrad(file, what, done):
    objects = [f"optimizable_tensors/{name}" for name in ("obja", "objp")]
    if done >= 70 and what == "size":
        for name in objects:
            put(file, name, wider(file[name][()], 5, 5))
        file["model_attributes/crop_pos"][...] += 5
    elif done >= 70 and what == "slices":
        put(file, objects[0], np.repeat(np.sqrt(file[objects[0]][()]), 2, 1))
        put(file, objects[1], np.repeat(file[objects[1]][()] / 2, 2, 1))
        put(file, "optimizable_tensors/slice_thickness", np.float32(2))
    elif done >= 70 and what == "modes":
        put(file, "optimizable_tensors/probe", with_modes(file["optimizable_tensors/probe"][()], 0))


ENGINES = {
    "ptychodus": (PTYCHODUS, lambda file: len(file["loss_values"]), _ptychodus),
    "phaser": (GRADIENT, lambda file: int(file["iter/total_iter"][()]), _phaser),
    "PtyRAD": (runs.SAMPLE, lambda file: int(file["niter"][()]), _ptyrad),
}


def grown(engine: str, what: str, target: Path) -> Path:
    """Write a copy of a run in which this grows: at half of it, or "every" time that it is saved."""
    source, iterations_in, change = ENGINES[engine]
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.suffix in (".h5", ".hdf5"):
            shutil.copy(path, target)
            with h5py.File(target / path.name, "r+") as file:
                change(file, what, iterations_in(file))
    return target
