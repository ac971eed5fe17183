"""Checks what a file is before it is opened, and whether it is still the same later."""

import stat
import time
from os import stat_result
from pathlib import Path

from ptyconv_cli.errors import CheckpointError

Fingerprint = tuple[int, ...]
"""Numbers that change when a file is written or replaced."""

TICK = 0.02
"""Seconds in which a file may be written twice with one time of modification: file systems count in steps."""

TRIES = 10


def fingerprint(path: Path) -> Fingerprint:
    """Return the fingerprint of a file; raise CheckpointError where it cannot be opened or has no content."""
    try:
        status = _settled(path)
        problem = _problem(status.st_mode, status.st_size)
        if not problem:
            with path.open("rb"):
                return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    except FileNotFoundError:
        problem = "is a link to a file that does not exist" if path.is_symlink() else "does not exist any more"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    raise CheckpointError(f"{path}: {problem}")


def is_still(path: Path, known: Fingerprint) -> bool:
    """Say whether a file is what it was, without opening it."""
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) == known


def _settled(path: Path) -> stat_result:
    """Return a file's status once a later writing would show in it; soon also of one that is written all the time."""
    for _ in range(TRIES):
        status = path.stat()
        age = time.time() - status.st_mtime
        if not 0 <= age < TICK:
            break
        time.sleep(TICK - age)
    return status


def _problem(mode: int, size: int) -> str:
    if stat.S_ISDIR(mode):
        return "is a folder"
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        return "is not a regular file"
    return "" if size else "is empty (0 bytes)"
