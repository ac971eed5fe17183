"""How much sooner a study is done by two workers than by one process: a part of `make bench`.

    python tests/support/many_runs.py [RUNS] [ROUNDS]

200 small runs, without pictures, in turn by this process and by two processes that are started for it; what it takes to
start these, and to load what an analysis needs, is said apart.
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from toy import write_run

from ptyconv_cli.checkpoints.discovery import find_runs
from ptyconv_cli.cli.options import Where
from ptyconv_cli.cli.study import analyze_study
from ptyconv_cli.metrics.device import choose_device

RUNS, ROUNDS, WORKERS = 200, 3, 2

OPTIONS = {
    **{"aligned": True, "chain": [], "fresh": False, "pictures": False, "tensors": None, "percentile_range": (15, 85)},
    **{"every": None, "select": None, "names": None, "strict": False, "device": "cpu", "tolerances": {}},
}


def write_study(root: Path, runs: int) -> None:
    root.mkdir()
    write_run(root / "run0000", list(range(10, 130, 10)))
    for number in range(1, runs):
        shutil.copytree(root / "run0000", root / f"run{number:04d}")


def seconds(root: Path, out: Path, where: Where | None) -> float:
    """Seconds that a study takes of which nothing is known."""
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    analyze_study(root, find_runs(root), out, OPTIONS, "name", True, None, where)
    return time.perf_counter() - start


def main(runs: int = RUNS, rounds: int = ROUNDS) -> None:
    choose_device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        root, few, out = Path(folder) / "study", Path(folder) / "few", Path(folder) / "out"
        write_study(root, runs)
        write_study(few, 3 * WORKERS)
        where = Where(None, WORKERS)
        for ways in (where, None):
            seconds(few, out, ways)  # loads what is needed
        started = seconds(few, out, where) - seconds(few, out, None) / WORKERS
        times = [(seconds(root, out, None), seconds(root, out, where)) for _ in range(rounds)]
    alone, shared = (statistics.median(of_one) for of_one in zip(*times, strict=True))
    ratios = [one / other for one, other in times]
    print(f"\n{runs} small runs, without pictures; {WORKERS} workers, which take {started:.1f} s to start")
    print(f"one after the other {alone:.2f} s, by {WORKERS} workers {shared:.2f} s", end="; ")
    print(f"{statistics.median(ratios):.2f} × faster ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
