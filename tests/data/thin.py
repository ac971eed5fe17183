"""Thin real PtyRAD HDF5 checkpoints to what ptyconv reads, so that many runs fit in the repository.

    python tests/data/thin.py RUN_DIR OUT_DIR

Kept to the bit: the tensors inside the scanned region, probe, positions, histories, the few settings that say
how the run was made. Object voxels outside the scanned region become NaN: they compress to nothing, and a
reader that strays beyond the region cannot give a plausible number. Datasets are gzip-compressed; the engine's
own are not (the ones in sample_data/ are as the engine wrote them).
"""

import sys
from pathlib import Path

import h5py
import numpy as np

KEPT = (
    "niter",
    "ptyrad_version",
    "model_attributes/crop_pos",
    "model_attributes/dx",
    "model_attributes/lr_params",
    "model_attributes/start_iter",
    "loss_iters",
    "iter_times",
    "dz_iters",
    "lr_iters",
    "avg_tilt_iters",
    "convergence_iters",
    "params/recon_params/NITER",
    "params/recon_params/SAVE_ITERS",
    "params/recon_params/convergence_monitor",
    "params/model_params/update_params",
)


def thin(source: Path, target: Path) -> None:
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        for name in KEPT:
            if name in old:
                old.copy(old[name], new, name)
        tensors = old["optimizable_tensors"]
        centres = old["model_attributes/crop_pos"][()] + np.array(tensors["probe"].shape[-2:]) // 2
        (y_low, x_low), (y_high, x_high) = np.maximum(centres.min(0) - 1, 0), centres.max(0)
        region = np.s_[..., y_low:y_high, x_low:x_high]
        for name, tensor in tensors.items():
            values = tensor[()]
            if name in ("obja", "objp"):
                values = np.full_like(values, np.nan)
                values[region] = tensor[region]
            packing = {"compression": "gzip", "shuffle": True} if values.ndim else {}
            new.create_dataset(f"optimizable_tensors/{name}", data=values, **packing)


def main() -> None:
    run_dir, out_dir = Path(sys.argv[1]), Path(sys.argv[2])
    out_dir.mkdir(parents=True)
    for source in sorted(run_dir.glob("model_iter*.hdf5")):
        thin(source, out_dir / source.name)


if __name__ == "__main__":
    main()
