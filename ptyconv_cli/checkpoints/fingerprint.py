"""Checks what a file is before it is opened, and whether it is still the same later."""

import stat
from pathlib import Path

from ptyconv_cli.checkpoints.readers import counts_as_file
from ptyconv_cli.errors import CheckpointError

Fingerprint = tuple[int, ...]
"""Numbers that change when a file is written or replaced: device, inode, bytes, and time of the last change in ns."""


def fingerprint(path: Path) -> Fingerprint:
    """Return the fingerprint of a file; raise CheckpointError where it cannot be opened or has no content."""
    found = status(path)
    try:
        if not path.is_dir():
            path.open("rb").close()
        return found
    except OSError as error:
        raise CheckpointError(f"{path}: {_reason(path, error)}") from error


def status(path: Path) -> Fingerprint:
    """Return the fingerprint of a file, which is not opened; raise CheckpointError where it is none, or empty."""
    try:
        found = path.stat()
        size, modified = found.st_size, found.st_mtime_ns
        if stat.S_ISDIR(found.st_mode) and counts_as_file(path):
            inside = [one.stat() for one in path.rglob("*")]
            size, modified = sum(one.st_size for one in inside), max(one.st_mtime_ns for one in inside)
            problem = ""
        else:
            problem = _problem(found.st_mode, size)
    except OSError as error:
        problem = _reason(path, error)
    if problem:
        raise CheckpointError(f"{path}: {problem}")
    return found.st_dev, found.st_ino, size, modified


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
