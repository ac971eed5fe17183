"""A run that kills its worker, as one does for which memory does not suffice."""

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple


class Job(NamedTuple):
    folder: Path
    place: Path


def work(job: Job) -> str:
    time.sleep(0.05)
    if job.folder.name.startswith("kills"):
        os.kill(os.getpid(), signal.SIGKILL)
    return job.folder.name


def stumble(job: Job) -> float:
    return 1 / 0


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Unloadable:
    """What kills the process that loads it."""

    def __reduce__(self) -> tuple:
        return _die, ()
