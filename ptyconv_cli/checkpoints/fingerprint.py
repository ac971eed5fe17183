"""Checks what a file is before it is opened, and whether it is still the same later."""

import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ptyconv_cli.checkpoints.readers import counts_as_file
from ptyconv_cli.errors import CheckpointError

Fingerprint = tuple[int, ...]
"""Numbers that change when a file is written or replaced: device, inode, bytes, and time of the last change in ns."""

TICK = 0.02
"""Seconds in which a file may be written twice with one time of modification: file systems count in steps."""

TRIES = 10

_ASKED: ContextVar[dict[Path, Fingerprint] | None] = ContextVar("asked", default=None)
"""What files were found to be in the present look, with the times at which their status changed."""


@contextmanager
def one_look() -> Iterator[None]:
    """Within the block, ask for the status of each file once, which takes long on a network mount.

    What is found is as of one moment then. It is for finding files: what is read of one is checked against the file.
    """
    token = _ASKED.set({} if _ASKED.get() is None else _ASKED.get())
    try:
        yield
    finally:
        _ASKED.reset(token)


def fingerprint(path: Path) -> Fingerprint:
    """Return the fingerprint of a file; raise CheckpointError where it cannot be opened or has no content."""
    found = settled(path)
    try:
        if not path.is_dir():
            path.open("rb").close()
    except OSError as error:
        raise CheckpointError(f"{path}: {_reason(path, error)}") from error
    return found


def status(path: Path) -> Fingerprint:
    """Return the fingerprint of a file, which is not opened; raise CheckpointError where it is none, or empty."""
    return _asked(path)[:-1]


def stamp(path: Path) -> Fingerprint | None:
    """Return the fingerprint of a file, and when its status changed last in ns; None where it has no fingerprint.

    That time tells a file that another one was copied over, though it has the size and time of that one.
    """
    try:
        return _asked(path)
    except CheckpointError:
        return None


def settled(path: Path) -> Fingerprint:
    """Return a file's status once a later writing would show in it; soon also of one that is written all the time."""
    for _ in range(TRIES):
        found = _stamp(path)[:-1]
        age = time.time() - found[-1] / 1e9
        if not 0 <= age < TICK:
            break
        time.sleep(TICK - age)
    return found


def _asked(path: Path) -> Fingerprint:
    """Return what `_stamp` does, in a look what it did first."""
    look = _ASKED.get()
    if look is None:
        return _stamp(path)
    if path not in look:
        look[path] = _stamp(path)
    return look[path]


def _stamp(path: Path) -> Fingerprint:
    """Return what `stamp` does, of a folder that counts as a file that of all in it."""
    try:
        found = path.stat()
        inside = [found]
        if stat.S_ISDIR(found.st_mode) and counts_as_file(path):
            inside += [one.stat() for one in path.rglob("*")]
            problem = ""
        else:
            problem = _problem(found.st_mode, found.st_size)
    except OSError as error:
        problem = _reason(path, error)
    if problem:
        raise CheckpointError(f"{path}: {problem}")
    size, modified = sum(one.st_size for one in inside), max(one.st_mtime_ns for one in inside)
    return found.st_dev, found.st_ino, size, modified, max(one.st_ctime_ns for one in inside)


def _reason(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is a link to a file that does not exist" if path.is_symlink() else "does not exist any more"
    return f"cannot be read ({error.strerror})"


def _problem(mode: int, size: int) -> str:
    if stat.S_ISDIR(mode):
        return "is a folder"
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        return "is not a regular file"
    return "" if size else "is empty (0 bytes)"
