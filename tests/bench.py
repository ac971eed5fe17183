"""How long an analysis takes beside reading the same bytes: `make bench`.

Writes a synthetic run (seeded, in a temporary folder) and times both in turn, in one process, after one warm-up, so
that the ratio holds on a noisy machine. Both read from the page cache.
"""

import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch

from ptyconv_cli.analyze import analyze_run
from ptyconv_cli.device import choose_device

CHECKPOINTS, OBJECT, PROBE, ROUNDS = 5, (1, 8, 512, 512), (4, 128, 128), 5


def write_checkpoint(path: Path, niter: int, random: np.random.Generator) -> None:
    grid = np.stack(np.meshgrid(np.arange(0, 384, 8), np.arange(0, 384, 8), indexing="ij"), -1).reshape(-1, 2)
    with h5py.File(path, "w") as file:
        file["niter"] = niter
        file["model_attributes/crop_pos"] = grid.astype(np.int32)
        file["model_attributes/dx"] = np.float32(0.2)
        file["optimizable_tensors/obja"] = 1 + 0.01 * random.standard_normal(OBJECT, dtype=np.float32)
        file["optimizable_tensors/objp"] = random.standard_normal(OBJECT, dtype=np.float32)
        file["optimizable_tensors/probe"] = random.standard_normal(PROBE).astype(np.complex64)
        file["optimizable_tensors/probe_pos_shifts"] = random.standard_normal(grid.shape).astype(np.float32)


def read_regions(run_dir: Path) -> None:
    for path in run_dir.iterdir():
        with h5py.File(path) as file:
            for name in ("obja", "objp"):
                file[f"optimizable_tensors/{name}"][..., 63:441, 63:441]


def seconds(task) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def main() -> None:
    device = choose_device("auto")
    with tempfile.TemporaryDirectory() as folder:
        run_dir, random = Path(folder), np.random.default_rng(0)
        for k in range(1, CHECKPOINTS + 1):
            write_checkpoint(run_dir / f"model_iter{10 * k:04d}.hdf5", 10 * k, random)
        tasks = (lambda: read_regions(run_dir), lambda: analyze_run(run_dir))
        for task in tasks:
            task()
        reading, analysis = (
            statistics.median(times)
            for times in zip(*([seconds(task) for task in tasks] for _ in range(ROUNDS)), strict=True)
        )
    voxels = 2 * OBJECT[0] * OBJECT[1] * 378 * 378
    print(
        f"{CHECKPOINTS} checkpoints of {voxels / 1e6:.1f} million voxels in the scanned region, {device}, "
        f"{torch.get_num_threads()} threads, median of {ROUNDS}"
    )
    print(f"reading the regions     {reading:8.3f} s")
    print(f"analyze_run             {analysis:8.3f} s   {analysis / reading:.1f} × reading")


if __name__ == "__main__":
    main()
