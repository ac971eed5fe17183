"""Real runs of PtyRAD 1.0 over 400 to 1000 iterations: packed into a file each, and made into checkpoints again.

    python tests/support/long_runs.py FOLDER_OF_RUNS      # packs each run there into tests/data/long_runs

Checkpoints of a run have most of their histories in common, so a packed run takes a tenth of the space. Kept to the
bit: the tensors inside the scanned region (NaN elsewhere), probe, positions, histories.
"""

import sys
from pathlib import Path

import h5py
import numpy as np

FOLDER = Path(__file__).parents[1] / "data" / "long_runs"
NAMES = (
    "converged",
    "fixed_positions",
    "lowdose",
    "midlr",
    "modes",
    "pair_A",
    "pair_B",
    "plain",
    "veryhighlr",
)
TENSORS = ("obja", "objp", "probe", "probe_pos_shifts", "obj_tilts", "slice_thickness")
SETTINGS = ("model_attributes", "params", "ptyrad_version")
HISTORIES = ("loss_iters", "iter_times")


def region_of(corners: np.ndarray, probe_shape: tuple[int, ...]) -> tuple:
    centres = corners + np.array(probe_shape[-2:]) // 2
    (y_low, x_low), (y_high, x_high) = np.maximum(centres.min(0) - 1, 0), centres.max(0)
    return np.s_[..., y_low:y_high, x_low:x_high]


def pack(run_dir: Path, target: Path) -> None:
    files = [h5py.File(path) for path in sorted(run_dir.glob("model_iter*.hdf5"))]
    last = files[-1]
    region = region_of(last["model_attributes/crop_pos"][()], last["optimizable_tensors/probe"].shape)
    with h5py.File(target, "w") as packed:
        packed["niters"] = [int(file["niter"][()]) for file in files]
        for name in TENSORS:
            values = np.stack([file["optimizable_tensors"][name][()] for file in files])
            if name in ("obja", "objp"):
                packed.attrs["object_shape"] = values.shape[1:]
                values = values[region]
            options = {"compression": "gzip", "shuffle": True} if values.ndim > 1 else {}
            packed.create_dataset(name, data=values, **options)
        for name in (*SETTINGS, *HISTORIES, "lr_iters"):
            last.copy(last[name], packed, name)
    for file in files:
        file.close()


def unpack(name: str, target: Path, until: int | None = None) -> Path:
    """Write the checkpoints of a run into a folder, up to an iteration; return the folder."""
    target.mkdir(parents=True, exist_ok=True)
    with h5py.File(FOLDER / f"{name}.h5") as packed:
        tensors = {tensor: packed[tensor][()] for tensor in TENSORS}
        rates = {key: rates[()] for key, rates in packed["lr_iters"].items()}
        for k, niter in enumerate(packed["niters"][()].tolist()):
            if until is None or niter <= until:
                with h5py.File(target / f"model_iter{niter:04d}.hdf5", "w") as file:
                    _write(file, packed, {tensor: values[k] for tensor, values in tensors.items()}, niter)
                    for key, curve in rates.items():
                        file[f"lr_iters/{key}"] = curve[:niter]
    return target


def _write(file: h5py.File, packed: h5py.File, tensors: dict[str, np.ndarray], niter: int) -> None:
    for name in SETTINGS:
        packed.copy(packed[name], file, name)
    file["niter"] = niter
    for name in HISTORIES:
        file[name] = packed[name][:niter]
    region = region_of(packed["model_attributes/crop_pos"][()], tensors["probe"].shape)
    for name, values in tensors.items():
        if name in ("obja", "objp"):
            whole = np.full(packed.attrs["object_shape"], np.nan, values.dtype)
            whole[region] = values
            values = whole
        file[f"optimizable_tensors/{name}"] = values


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for folder in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        pack(folder, FOLDER / f"{folder.name}.h5")
