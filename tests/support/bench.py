"""What an analysis costs beside reading the same bytes, the straightforward way, and PtyRAD's monitor: `make bench`.

    python tests/support/bench.py [--large] [--slices N] [--size PX] [--checkpoints N] [--rounds N]
                                  [--scaling FEW MANY] [--runs N] [--json FILE]

Makes a synthetic run (seeded, in a temporary folder), lets every way work on it in turn, several rounds, and takes
medians, so that ratios hold on a noisy machine. Files are in the page cache. `--large` is an object of
(1, 20, 1200, 1200) with a scan of 256 × 256. At the end, how the cost grows with the number of checkpoints, and how
much sooner two workers are done with many runs.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import many_runs
import numpy as np
import scaling
import torch

from ptyconv_cli import frc
from ptyconv_cli.analysis.follow import Watch
from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.checkpoints.opening import open_checkpoint
from ptyconv_cli.convergence import ConvergenceMonitor
from ptyconv_cli.metrics.aligned import align_object
from ptyconv_cli.metrics.device import choose_device
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.percentiles import mean_change_outside, mean_left_outside
from ptyconv_cli.metrics.planes import OFFSET, Planes, products
from ptyconv_cli.metrics.sketch import Places
from ptyconv_cli.quantities.snapshots import contrasts
from ptyconv_cli.results.run_analysis import Region, scanned_region

PROBE = 128
SAMPLE = Path(__file__).parents[2] / "sample_data" / "atoms"
PARAMS = {
    "tensors": ["obja", "objp", "probe", "probe_pos_shifts"],
    "every_n_iters": None,
    "percentile_range": [15, 85],
}


NOTHING_NEW, CHECK = "    with nothing new, cold", "    check of an analyzed run, cold"

REPLAY = "(e) replay by PtyRAD's monitor"

READING_TWO, FRC_OF_TWO = "    reading the phase of two", "(j) frc of two checkpoints"

IMPORTS = "    importing numpy, h5py, click"


class LiveModel:
    """A checkpoint's tensors in memory, as an engine holds them."""

    def __init__(self, path: Path, device: str) -> None:
        with h5py.File(path) as file:
            self.optimizable_tensors = {
                name: torch.from_numpy(array[()]).to(device) for name, array in file["optimizable_tensors"].items()
            }
            self.crop_pos = torch.from_numpy(file["model_attributes/crop_pos"][()]).to(device)
        self.dx = 0.2
        self.convergence_iters: dict = defaultdict(list)

    def get_complex_probe_view(self) -> torch.Tensor:
        return self.optimizable_tensors["probe"]


def write_run(folder: Path, slices: int, size: int, scan: int, checkpoints: int) -> None:
    random = np.random.default_rng(0)
    steps = np.round(np.linspace(0, size - PROBE, scan)).astype(np.int32)
    corners = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    shape = (1, slices, size, size)
    tensors = {
        "obja": 1 - 0.05 * random.random(shape, dtype=np.float32),
        "objp": 0.2 * random.standard_normal(shape, dtype=np.float32),
        "probe_pos_shifts": random.standard_normal(corners.shape, dtype=np.float32),
        "probe": random.standard_normal((6, PROBE, PROBE)).astype(np.complex64),
    }
    for k in range(1, checkpoints + 1):
        with h5py.File(folder / f"model_iter{10 * k:04d}.hdf5", "w") as file:
            file["niter"] = 10 * k
            file["model_attributes/crop_pos"] = corners
            file["model_attributes/dx"] = np.float32(0.2)
            for name, tensor in tensors.items():
                file[f"optimizable_tensors/{name}"] = tensor
        for tensor in tensors.values():
            tensor += np.float32(0.001) * random.standard_normal(tensor.shape, dtype=np.float32).astype(tensor.dtype)


def region_of(run_dir: Path) -> Region:
    with open_checkpoint(min(run_dir.iterdir())) as checkpoint:
        return scanned_region(checkpoint.crop_pos(), checkpoint.probe_shape())


def read_regions(run_dir: Path, last: int = 0, names: Sequence[str] = ("obja", "objp")) -> None:
    """(a) The same bytes once into memory, nothing else; `last`: of so many checkpoints only."""
    region = region_of(run_dir).slices
    for path in sorted(run_dir.iterdir())[-last:]:
        with h5py.File(path) as file:
            for name in names:
                file[f"optimizable_tensors/{name}"][region]


def straightforward(run_dir: Path) -> None:
    """(b) Every file loaded whole, the region sorted whole."""
    region, before = region_of(run_dir).slices, {}
    for path in sorted(run_dir.iterdir()):
        with h5py.File(path) as file:
            whole = {name: torch.from_numpy(array[()]) for name, array in file["optimizable_tensors"].items()}
        for name in ("obja", "objp"):
            now = whole[name][region]
            if name in before:
                ordered = now.flatten().sort().values
                low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.15, 0.85))
                change = (now - before[name]).abs()
                for mask in (now < low, now > high):
                    change[mask].mean()
            before[name] = now


def analyze_cold(*options: str) -> Callable[[Path], None]:
    """(c) The command, from start to end."""

    def analyze(run_dir: Path) -> None:
        out = run_dir.parent / "out"
        run("-m", "ptyconv_cli", "analyze", run_dir, "--no-plot", "-q", "--fresh", "-o", out, *options)

    return analyze


def go_on(run_dir: Path) -> Callable[[Path], None]:
    """(g) The command, when an earlier one has done all checkpoints but the last."""
    stopped, going = run_dir.parent / "stopped", run_dir.parent / "going"
    analyze = ("-m", "ptyconv_cli", "analyze", run_dir, "--no-plot", "-q")
    last = max(run_dir.iterdir())
    aside = last.rename(run_dir.parent / last.name)
    run(*analyze, "-o", stopped)
    aside.rename(last)

    def go(_: Path) -> None:
        shutil.rmtree(going, ignore_errors=True)
        shutil.copytree(stopped, going)
        run(*analyze, "-o", going)

    return go


def again(run_dir: Path, command: str) -> Callable[[Path], None]:
    """The command, when an earlier analyze, pictures too, has done all."""
    done = run_dir.parent / "done"
    if not done.exists():
        run("-m", "ptyconv_cli", "analyze", run_dir, "-q", "-o", done)
    where = {"analyze": "-o", "check": "--results"}[command]
    return lambda _: run("-m", "ptyconv_cli", command, run_dir, where, done, quietly=True)


def list_runs(run_dir: Path) -> Callable[[Path], object]:
    """(h) `ptyconv ls` of 50 runs with 20 checkpoints each."""
    root = run_dir.parent / "many"
    for number in range(50):
        links_to_one(max(run_dir.iterdir()), root / f"run{number:02d}", 20)
    command = [sys.executable, "-m", "ptyconv_cli", "ls", root]
    return lambda _: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def look_on(run_dir: Path) -> Callable[[Path], None]:
    """(i) 100 of the looks that `--follow` takes at a run with 200 checkpoints, when nothing is new."""
    links_to_one(max(run_dir.iterdir()), run_dir.parent / "followed", 200)
    watch = Watch(run_dir.parent / "followed", PARAMS["tensors"])

    def look(_: Path) -> None:
        for _ in range(100):
            watch.look()

    return look


def links_to_one(path: Path, folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for niter in range(1, count + 1):
        (folder / f"model_iter{niter:04d}.hdf5").symlink_to(path)


def analyze_sample(run_dir: Path) -> None:
    run("-m", "ptyconv_cli", "analyze", SAMPLE, "-q", "--fresh", "-o", run_dir.parent / "out")


def run(*arguments: str | Path, quietly: bool = False) -> None:
    """Run Python; `quietly`: without what it prints, and whatever its exit code says of the run."""
    ended = subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL if quietly else None)
    if ended.returncode not in ((0, 3, 4) if quietly else (0,)):
        raise SystemExit(f"{arguments} ended with {ended.returncode}")


def peak_memory(run_dir: Path) -> int:
    """Bytes that (c) has at most. Linux only: elsewhere, and in the parent's eyes, a child begins as the parent is."""
    arguments = ["analyze", str(run_dir), "--no-plot", "-q", "--fresh", "-o", str(run_dir.parent / "out")]
    code = f"""
from ptyconv_cli.cli.main import main
main({arguments!r}, standalone_mode=False)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    return 1024 * int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)


def replay(monitor_class: type, device: str) -> Callable[[Path], None]:
    """(e) A live monitor that steps over checkpoints loaded whole."""

    def step_over(run_dir: Path) -> None:
        first, *others = sorted(run_dir.iterdir())
        monitor = monitor_class(PARAMS, LiveModel(first, device))
        for path in others:
            monitor.step(LiveModel(path, device), 1)

    return step_over


def live_step(monitor_class: type, model: LiveModel, **params: bool) -> Callable[[Path], None]:
    """(f) One step of a live monitor."""
    monitor = monitor_class({**PARAMS, **params}, model)

    def step(_: Path) -> None:
        monitor.step(model, 1)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return step


def seconds(task: Callable[[Path], object], run_dir: Path) -> float:
    start = time.perf_counter()
    task(run_dir)
    return time.perf_counter() - start


def passes(run_dir: Path) -> dict[str, Callable[[], object]]:
    """What is done with the voxels of the phase on a CPU, one thread, by name."""
    with open_checkpoint(max(run_dir.iterdir())) as checkpoint:
        now = checkpoint.read("objp", region_of(run_dir))
    before = now + np.float32(0.001) * np.random.default_rng(0).standard_normal(now.shape, dtype=np.float32)
    planes = Planes(OFFSET, now[0], before[0], now.shape[1])
    framed = Framed(OFFSET, now)
    residual, _ = align_object(framed, Framed(OFFSET, before), 0.2)
    places = Places(now.shape, gradients=True)
    return {
        "reading both from memory": lambda: (now.max(), before.max()),
        "the changes in the masks": lambda: mean_change_outside(now, before, (15, 85)),
        "the products of the fit": lambda: products(planes),
        "what the fit leaves in its own masks": lambda: mean_left_outside(framed, residual, (15, 85)),
        "a sketch": lambda: places.sketch(now),
        "contrast, of the last checkpoint only": lambda: contrasts({"objp": Framed(OFFSET, now)}),
    }


def say_passes(run_dir: Path, voxels: int, rounds: int) -> None:
    tasks = passes(run_dir)
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, task in tasks.items():
            times[name].append(seconds(lambda _, task=task: task(), run_dir))
    medians = {name: statistics.median(of_one[1:]) for name, of_one in times.items()}
    print("\nOn a CPU, in one thread, for each voxel of a tensor and step:")
    for name, value in medians.items():
        print(
            f"{name:<38}{value / voxels * 1e9:>6.2f} ns {value / medians['reading both from memory']:>6.1f} × reading"
        )


def ways(run_dir: Path, device: str) -> dict[str, Callable[[Path], object]]:
    model = LiveModel(max(run_dir.iterdir()), device)
    found: dict[str, Callable[[Path], object]] = {
        "(a) reading the regions": read_regions,
        "(b) loading whole, sorting": straightforward,
        "(c) analyze --no-aligned, cold": analyze_cold("--no-aligned"),
        "    analyze, aligned too": analyze_cold(),
        "(g) going on with one more, cold": go_on(run_dir),
        NOTHING_NEW: again(run_dir, "analyze"),
        CHECK: again(run_dir, "check"),
        IMPORTS: lambda _: run("-c", "import numpy, h5py, click"),
        "    importing torch too": lambda _: run("-c", "import numpy, h5py, click, torch"),
        "(d) analyze_run": lambda _: analyze_run(run_dir, device=str(device), aligned=False),
        "    analyze_run, aligned too": lambda _: analyze_run(run_dir, device=str(device)),
        "(f) live step()": live_step(ConvergenceMonitor, model),
        "    live step(), aligned too": live_step(ConvergenceMonitor, model, aligned=True),
        READING_TWO: lambda _: read_regions(run_dir, last=2, names=("objp",)),
        FRC_OF_TWO: lambda _: frc(*sorted(run_dir.iterdir())[-2:]),
        "(h) ls of 50 runs, cold": list_runs(run_dir),
        "(i) 100 looks, nothing new": look_on(run_dir),
        "    the sample run, cold": analyze_sample,
        "    importing matplotlib": lambda _: run("-c", "import numpy, h5py, click, matplotlib"),
    }
    try:
        from ptyrad.runtime.convergence import ConvergenceMonitor as PtyRADs
    except Exception as error:  # one of the many packages it needs is missing, or doesn't fit this PyTorch
        print(f"(e) is left out: PtyRAD cannot be imported ({error})\n")
    else:
        found[REPLAY] = replay(PtyRADs, device)
        found["    PtyRAD's live step()"] = live_step(PtyRADs, model)
    return found


def device_copy(device: str, count: int) -> float:
    """Seconds that reading two float32 arrays of `count` once takes at the bandwidth of a copy on the device."""
    source = torch.empty(1 << 28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    for _ in range(3):
        target.copy_(source)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        target.copy_(source)
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / 20 * (8 * count) / (2 * source.numel())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--size", type=int, default=640, metavar="PX")
    parser.add_argument("--checkpoints", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scaling", type=int, nargs=2, default=(scaling.FEW, scaling.MANY), metavar=("FEW", "MANY"))
    parser.add_argument("--runs", type=int, default=many_runs.RUNS)
    parser.add_argument("--json", type=Path, default=Path("bench_output/bench.json"))
    options = parser.parse_args()
    slices, size, scan = (20, 1200, 256) if options.large else (options.slices, options.size, 64)
    device, _ = choose_device("auto")
    with tempfile.TemporaryDirectory() as folder:
        scaling.keep_compiled(Path(folder))
        run_dir = Path(folder) / "run"
        run_dir.mkdir()
        write_run(run_dir, slices, size, scan, options.checkpoints)
        found = ways(run_dir, device)
        times: dict[str, list[float]] = {name: [] for name in found}
        for done in range(options.rounds + 1):
            for name, task in found.items():
                if done or not name.startswith(("(b)", "(e)")):  # one round to warm up, but for what takes long
                    times[name].append(seconds(task, run_dir))
        peak = peak_memory(run_dir)
        voxels = int(np.prod(region_of(run_dir).shape_in((1, slices, size, size))))
        say_passes(run_dir, voxels, options.rounds)
    medians = {name: statistics.median(values[-options.rounds :]) for name, values in times.items()}
    print(f"\n{options.checkpoints} checkpoints, object {(1, slices, size, size)}; {voxels / 1e6:.1f} M voxels in the")
    print(f"scanned region; {device}, {os.cpu_count()} cores; medians of {options.rounds} rounds\n")
    for name, value in medians.items():
        print(f"{name:<34}{value:>8.3f} s {value / medians['(a) reading the regions']:>8.1f} × (a)")
    for compatible, aligned in (
        ("(c) analyze --no-aligned, cold", "    analyze, aligned too"),
        ("(d) analyze_run", "    analyze_run, aligned too"),
        ("(f) live step()", "    live step(), aligned too"),
        ("    analyze, aligned too", "(g) going on with one more, cold"),
    ):
        print(f"{aligned.strip()}: {medians[aligned] / medians[compatible]:.2f} × {compatible}")
    for name in ("(c) analyze --no-aligned, cold", "    analyze, aligned too"):
        beyond = (medians[name] - medians[IMPORTS]) / medians["(a) reading the regions"]
        print(f"{name.strip()}: beyond imports {beyond:.1f} × (a)", end="")
        whole = medians.get(REPLAY)
        print(f"; {whole / medians[name]:.0f} × faster than (e)" if whole else "")
    print(f"frc of two checkpoints: {medians[FRC_OF_TWO] / medians[READING_TWO]:.1f} × reading their regions")
    for name in (NOTHING_NEW, CHECK):
        print(f"{name.strip()}: {medians[name] / medians[IMPORTS]:.2f} × {IMPORTS.strip()}")
    print(f"\npeak memory of analyze: {peak / 1e6:.0f} MB; one checkpoint's regions: {8 * voxels / 1e6:.0f} MB")
    if device.startswith("cuda"):
        share = 2 * device_copy(device, voxels) / medians["(f) live step()"]
        print(f"live step(): {share:.0%} of the bandwidth of a copy on the device")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(
        json.dumps({"voxels": voxels, "device": str(device), "peak_bytes": peak, "seconds": times}, indent=1) + "\n"
    )
    print(f"\nwrote {options.json}")
    scaling.main(*options.scaling)
    many_runs.main(options.runs, options.rounds)


if __name__ == "__main__":
    main()
