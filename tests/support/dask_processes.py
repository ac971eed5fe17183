"""A scheduler of Dask and its workers, each a process of its own, and ways to hold, watch and spoil what they do.

A worker that analyzes a run, of which there is a file `hold-NAME` in the folder that the variable PTYCONV_TEST names,
writes a file `begun-NAME-PID` there and waits until the other is gone. The checkpoints it opens are listed in `opened`.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from processes import started

WATCHED = """
import os, time
from pathlib import Path
from ptyconv_cli.checkpoints.formats.hdf5 import Hdf5Tree
from ptyconv_cli.cli import study

def watch(analyze_into, open_file, there):
    def held(place, run_dir, **options):
        hold = there / f"hold-{run_dir.name}"
        if hold.exists():
            (there / f"begun-{run_dir.name}-{os.getpid()}").touch()
        while hold.exists():
            time.sleep(0.02)
        return analyze_into(place, run_dir, **options)

    def listed(self):
        with (there / "opened").open("a") as file:
            file.write(f"{self.path}\\n")
        return open_file(self)

    study.analyze_into, Hdf5Tree._open = held, listed

if study.analyze_into.__name__ != "held":  # Dask loads it twice
    watch(study.analyze_into, Hdf5Tree._open, Path(os.environ["PTYCONV_TEST"]))
"""

PATIENCE = 240.0
"""Seconds that a test waits for what must come, on a busy machine."""


def wait_until(ask, what: str = "what was waited for"):
    """Return what `ask` returns as soon as that is true."""
    until = time.monotonic() + PATIENCE
    while not (found := ask()):
        assert time.monotonic() < until, f"{what} did not come"
        time.sleep(0.02)
    return found


class Watched:
    """The folder through which a test knows what workers do, and makes them wait."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.preload = folder, folder / "watched.py"
        self.preload.write_text(WATCHED)

    def hold(self, name: str) -> None:
        (self.folder / f"hold-{name}").touch()

    def let_go(self, name: str) -> None:
        (self.folder / f"hold-{name}").unlink()

    def begun(self, name: str) -> list[int]:
        """The processes that have begun with a run, in order."""
        files = sorted(self.folder.glob(f"begun-{name}-*"), key=lambda path: path.stat().st_mtime_ns)
        return [int(path.name.rpartition("-")[2]) for path in files]

    def wait_for(self, name: str, count: int = 1) -> int:
        """Wait until a run was begun so many times; return the process that has done so last."""
        return wait_until(lambda: len(self.begun(name)) >= count and self.begun(name)[-1], f"start {count} of {name}")

    def opened(self) -> list[str]:
        listed = self.folder / "opened"
        return listed.read_text().splitlines() if listed.exists() else []

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PTYCONV_TEST": str(self.folder)}


@contextmanager
def scheduler(folder: Path, *further: object, **config: str) -> Iterator[tuple[str, object]]:
    """The address of a scheduler that lacks ptyconv, and its process; `further` options of it."""
    (folder / "lacking.py").write_text("import sys\nsys.modules['ptyconv_cli'] = None")
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    command = (sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    options = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", file)
    options = (*options, "--preload", folder / "lacking.py", *further)
    with (
        (folder / "scheduler.log").open("a") as log,
        started([*command, *options], stderr=log, env={**os.environ, **config}) as process,
    ):
        wait_until(lambda: file.exists() and file.read_text().endswith("}"), "the scheduler")
        yield json.loads(file.read_text())["address"], process


@contextmanager
def worker(
    address: str, watched: Watched, nanny: bool = False, preload: str = "", further: Sequence[object] = ()
) -> Iterator[object]:
    """A worker that the scheduler knows; a `nanny` would start it again; `preload`: what else it runs first."""
    folder = watched.folder
    spoil = folder / f"preload{time.monotonic_ns()}.py"
    spoil.write_text(preload)
    command = (sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard")
    preloads = ("--preload", watched.preload, *(("--preload", spoil) if preload else ()))
    options = ("--nanny" if nanny else "--no-nanny", "--local-directory", folder / "scratch", *further)
    written = folder / f"worker{time.monotonic_ns()}.log"
    with (
        written.open("a") as log,
        started([*command, *preloads, *options], stderr=log, env=watched.environment()) as process,
    ):
        wait_until(lambda: "Registered to" in written.read_text(), "a worker")
        yield process
