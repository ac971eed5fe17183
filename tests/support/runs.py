"""Where the real runs are that the tests read."""

import json
from functools import cache
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_data"
SAMPLE_PT = SAMPLES / "ptyrad-0.1.0b6-pt"
DATA = ROOT / "tests" / "data"
SAMPLE = DATA / "ptyrad-1.0" / "sample"
ATOMS = SAMPLES / "atoms"
HALVES = SAMPLES / "siemens_star" / "half_A", SAMPLES / "siemens_star" / "half_B"

WITH_LIVE_RECORD = {
    "sample": SAMPLE,
    "constant_lr": DATA / "ptyrad-1.0" / "constant_lr",
    "cosine_lr": DATA / "ptyrad-1.0" / "cosine_lr",
    "clipped": DATA / "ptyrad-1.0" / "clipped",
}
WITH_EXPECTED_VALUES = {
    "pt_numpy1": DATA / "ptyrad-0.1.0b6-pt" / "numpy1",
    "pt_numpy2": SAMPLE_PT,
    "0.1.0b10": DATA / "ptyrad-0.1.0b10",
    "0.1.0b13": DATA / "ptyrad-0.1.0b13",
}
ALL = {**WITH_LIVE_RECORD, **WITH_EXPECTED_VALUES}


@cache
def analysis_of(run_dir: Path):
    """The analysis of a run as it is, made once for all tests."""
    from ptyconv_cli import analyze_run

    return analyze_run(run_dir, device="cpu")


def engine_values(name: str) -> dict[str, dict[int, float]]:
    """What PtyRAD 1.0's own monitor says of a run: live in its last file, or replayed on the tensors of an old one."""
    run_dir = ALL[name]
    if name in WITH_EXPECTED_VALUES:
        pairs = json.loads((run_dir / "expected_convergence_iters.json").read_text())
    else:
        with h5py.File(max(run_dir.glob("*.hdf5"))) as file:
            pairs = {key: curve[()].tolist() for key, curve in file["convergence_iters"].items()}
    return {key: {int(niter): value for niter, value in curve} for key, curve in pairs.items()}


def stored(path: Path) -> tuple[dict[str, np.ndarray], float]:
    """The tracked tensors of a checkpoint in float64, cropped by hand."""
    with h5py.File(path) as file:
        tensors = {name: file["optimizable_tensors"][name][()] for name in file["optimizable_tensors"]}
        crop_pos, dx = file["model_attributes/crop_pos"][()], float(file["model_attributes/dx"][()])
    probe = tensors["probe"].view(np.complex64).reshape(-1, *tensors["probe"].shape[1:3])
    middles = crop_pos + np.array(probe.shape[-2:]) // 2
    (top, left), (bottom, right) = np.maximum(middles.min(0) - 1, 0), middles.max(0)
    return {
        "obja": 1 - tensors["obja"][..., top:bottom, left:right].astype(float),
        "objp": tensors["objp"][..., top:bottom, left:right].astype(float),
        "probe": (np.abs(probe.astype(complex)) ** 2).sum(0),
        "probe_pos_shifts": tensors["probe_pos_shifts"].astype(float),
    }, dx
