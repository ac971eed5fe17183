"""Thin real HDF5 checkpoints to what ptyconv reads, so that many runs fit in the repository.

    python tests/data/thin.py FOLDER OUT_FOLDER

FOLDER may be a run or have runs below it; PtyRAD's files (both layouts) and phaser's are told apart by what is in
them. Kept to the bit: the tensors inside the scanned region, probe, positions, histories, the few settings that say
how the run was made. Object voxels outside the scanned region become NaN: they compress to nothing, and a
reader that strays beyond the region cannot give a plausible number. Large datasets are gzip-compressed; the engines'
own are not (those in sample_data/atoms are as the engine wrote them).
"""

import json
import sys
from pathlib import Path

import h5py
import numpy as np

KEPT = (
    "niter",
    "ptyrad_version",
    "ptyrad_schema",
    "model_attributes/crop_pos",
    "model_attributes/dx",
    "model_attributes/lr_params",
    "model_attributes/probe_int_sum",
    "model_attributes/start_iter",
    "loss_iters",
    "iter_times",
    "dz_iters",
    "lr_iters",
    "avg_tilt_iters",
    "convergence_iters",
    "params/init_params/obj_params",
    "params/init_params/meas_params/path",
    "params/loss_params",
    "params/recon_params/NITER",
    "params/recon_params/SAVE_ITERS",
    "params/recon_params/convergence_monitor",
    "params/model_params/update_params",
    "params/recon/niter",
    "model_meta/dx",
    "model_meta/length_unit",
    "components/object/param_specs",
    "components/positions/tensors/crop_pos",
    "history",
    "type",
    "version",
    "iter",
    "object/sampling",
    "object/corner",
    "object/thicknesses",
    "scan/data",
    "scan/initial",
    "progress",
)

TENSORS = (
    "optimizable_tensors",
    "components/object/tensors",
    "components/probe/tensors",
    "components/positions/tensors",
)

SMALL = 2**16
"""Bytes up to which a dataset is not compressed."""

OF_OBJECT = ("obja", "objp", "amp", "phase", "data")


def region_of(file: h5py.File) -> tuple:
    """The scanned region, reckoned here for itself."""
    if "scan/data" in file:
        pixels = (file["scan/data"][()].reshape(-1, 2) - file["object/corner"][()]) / file["object/sampling"][()]
        centres = np.floor(pixels + 0.5).astype(int)
    else:
        v2 = "components" in file
        corners = file["components/positions/tensors/crop_pos" if v2 else "model_attributes/crop_pos"][()]
        probe = file["components/probe/tensors/modes" if v2 else "optimizable_tensors/probe"]
        centres = corners + np.array(probe.shape[-2:]) // 2
    (y_low, x_low), (y_high, x_high) = np.maximum(centres.min(0) - 1, 0), centres.max(0)
    return np.s_[..., y_low:y_high, x_low:x_high]


def thin(source: Path, target: Path) -> None:
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        for name in KEPT:
            if name in old:
                old.copy(old[name], new, name, without_attrs=True)  # of phaser's, which refer to other datasets
        if "provenance_json" in old.attrs:
            new.attrs["provenance_json"] = json.dumps(
                {
                    kind: [{key: value for key, value in entry.items() if key != "params"} for entry in entries]
                    for kind, entries in json.loads(old.attrs["provenance_json"]).items()
                }
            )
        groups = [old[name] for name in TENSORS if name in old]
        names = [tensor.name.strip("/") for group in groups for tensor in group.values()]
        names += ["object/data", "probe/data"] if "scan/data" in old else []
        for name in names:
            if name not in new:
                put(new, name, old[name], region_of(old))


def put(new: h5py.File, name: str, tensor: h5py.Dataset, region: tuple) -> None:
    values = tensor[()]
    if name.rpartition("/")[2] in OF_OBJECT and name != "probe/data":
        values = np.full_like(values, np.nan)
        values[region] = tensor[region]
    packing = {"compression": "gzip", "shuffle": True} if values.nbytes > SMALL else {}
    new.create_dataset(name, data=values, **packing)


def main() -> None:
    folder, out_folder = Path(sys.argv[1]), Path(sys.argv[2])
    for source in sorted([*folder.rglob("*.hdf5"), *folder.rglob("iter*.h5")]):
        target = out_folder / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        thin(source, target)


if __name__ == "__main__":
    main()
