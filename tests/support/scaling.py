"""How the cost of an analysis grows with the number of checkpoints: a part of `make bench`.

    python tests/support/scaling.py

Two runs of one small object, with 200 and with 800 checkpoints.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.cli.outputs import write_numbers
from ptyconv_cli.cli.running_job import spare_the_known

FEW, MANY = 200, 800
SHAPE, PROBE = (1, 2, 150, 150), 32


def write_run(folder: Path, checkpoints: int) -> None:
    """Write checkpoints of an object that approaches its end, each with the loss up to it."""
    folder.mkdir()
    random = np.random.default_rng(0)
    steps = range(0, SHAPE[-1] - PROBE, 8)
    corners = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2).astype(np.int32)
    base, direction = (random.random(SHAPE, np.float32) for _ in range(2))
    loss = np.column_stack([np.arange(1, 10 * checkpoints + 1), np.linspace(1, 0.5, 10 * checkpoints)])
    for k in range(1, checkpoints + 1):
        with h5py.File(folder / f"model_iter{10 * k:04d}.hdf5", "w") as file:
            file["niter"], file["loss_iters"] = 10 * k, loss[: 10 * k]
            file["model_attributes/crop_pos"], file["model_attributes/dx"] = corners, np.float32(0.3)
            file["optimizable_tensors/obja"] = 1 - 0.1 * base * np.float32(1 + 0.01 / k)
            file["optimizable_tensors/objp"] = base + direction * np.float32(0.05 * np.log(k))
            probe = random.random((1, PROBE, PROBE)) * (1 + 1 / k)
            file["optimizable_tensors/probe"] = probe.astype(np.complex64)
            file["optimizable_tensors/probe_pos_shifts"] = random.random((len(corners), 2), np.float32) / np.float32(k)


def whole_process(*arguments: object) -> tuple[float, float]:
    """Seconds that a process took, and its largest memory in MB (Linux: of all children so far, so begin small)."""
    code = (
        "import resource, subprocess, sys, time\n"
        "start = time.perf_counter()\n"
        "subprocess.run(sys.argv[1:], check=True)\n"
        "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)\n"
    )
    command = [sys.executable, "-c", code, sys.executable, *map(str, arguments)]
    seconds, memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
    return float(seconds), float(memory)


def one_more(run_dir: Path, out: Path) -> tuple[float, float]:
    """Seconds that the last checkpoint costs `--follow`, in the process that analyzed all others.

    To analyze it, and to write the results, which are the longer the more checkpoints there are.
    """
    files, cache = sorted(run_dir.iterdir()), Cache(out)
    for count in (-2, -1):  # the second one as any later one: the first makes what is gone on from
        write_numbers(analyze_run(run_dir, files=files[:count], cache=cache, device="cpu"), out, cache.pieces)
        cache.keep()
    spare_the_known()
    start = time.perf_counter()
    analysis = analyze_run(run_dir, files=files, cache=cache, device="cpu")
    analyzed = time.perf_counter()
    write_numbers(analysis, out, cache.pieces)
    cache.keep()
    return analyzed - start, time.perf_counter() - analyzed


def keep_compiled(folder: Path) -> None:
    """Have Python keep what it compiles in a folder, as it does where ptyconv is installed."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")


def main(few: int = FEW, many: int = MANY) -> None:
    with tempfile.TemporaryDirectory() as folder:
        keep_compiled(Path(folder))
        _, (imports, _) = (whole_process("-c", "import numpy, h5py, click") for _ in range(2))
        figures = {}
        for count in (few, many):
            run_dir, out = Path(folder) / f"run{count}", Path(folder) / f"out{count}"
            write_run(run_dir, count)
            command = ("-m", "ptyconv_cli", "analyze", run_dir, "-o", out, "-q", "--no-plot", "--device", "cpu")
            if count == few:
                whole_process("-m", "ptyconv_cli", "analyze", run_dir, "-o", Path(folder) / "compiling", "-q")
            cold, memory = whole_process(*command)
            again, _ = whole_process(*command)
            report = (out / "convergence_report.json").stat().st_size / 1e6
            followed = one_more(run_dir, Path(folder) / f"followed{count}")
            figures[count] = (cold - imports, again / imports, memory, report, *followed)
    names = (
        "analyze, beyond imports (s)",
        "nothing new (× the imports)",
        "peak memory (MB)",
        "report (MB)",
        "one more in --follow: analyze (s)",
        "    and write the results (s)",
    )
    print(f"\n{'checkpoints of a small object':<34}{few:>10}{many:>10}{'ratio':>8}   ({os.cpu_count()} cores)")
    for name, of_few, of_many in zip(names, figures[few], figures[many], strict=True):
        print(f"{name:<34}{of_few:>10.2f}{of_many:>10.2f}{of_many / of_few:>8.2f}")


if __name__ == "__main__":
    main()
