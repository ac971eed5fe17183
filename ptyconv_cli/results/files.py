"""Files that are written whole or not at all, and text of lists that grow."""

import errno
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ptyconv_cli.errors import PtyconvError


def check_writable(folder: Path, made_before: str = "") -> None:
    """Raise PtyconvError, before any work, where `folder` (which need not exist yet) cannot be written to.

    Unless a file of the name `made_before` is in it: what was made before may need no change.
    """
    if made_before and (folder / made_before).is_file():
        return
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise PtyconvError(f"{folder}: cannot write there; choose another folder with -o")


def write_whole(outputs: dict[Path, bytes]) -> None:
    """Write files through temporary ones beside them: a failure or a kill leaves the old file, never half a new one.

    Makes missing folders. Raises PtyconvError where a file cannot be written, unless all hold their content already, as
    those do that were made before in a folder where now nothing can be written.
    """
    temporary: dict[Path, Path] = {}
    try:
        for path, content in outputs.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "a folder has that name")
            temporary[path] = _write_beside(path, content)
        for path in outputs:
            temporary[path].replace(path)
            del temporary[path]
    except OSError as error:
        if all(_holds(path, content) for path, content in outputs.items()):
            return
        reason = error.strerror or error
        raise PtyconvError(f"{path}: cannot be written ({reason}); choose another place with -o") from error
    finally:
        for left_over in temporary.values():
            left_over.unlink(missing_ok=True)


def write_different(outputs: dict[Path, bytes]) -> list[Path]:
    """Write those of the files that don't hold their content already, as `write_whole` does; return them."""
    different = {path: content for path, content in outputs.items() if not _holds(path, content)}
    write_whole(different)
    return list(different)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:  # it is not there, or no file
        return False


def _write_beside(path: Path, content: bytes) -> Path:
    import tempfile  # slow to load, and often there is nothing to write

    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _umask() -> int:
    """Return the permissions that new files are not given, for mkstemp gives others none at all."""
    current = os.umask(0)
    os.umask(current)
    return current


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; raise PtyconvError where it cannot be read, or is none."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise PtyconvError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise PtyconvError(f"{path}: is not JSON ({error})") from error


def or_null(value: float) -> float | None:
    """Return a number as JSON has it, null where it is not finite."""
    return value if math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """Return a number of JSON, NaN for null."""
    return math.nan if value is None else float(value)


Item = TypeVar("Item")


class Pieces:
    """The texts of lists, by name, for one who writes them again and again while they grow."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[list[Any], str]] = {}

    def joined(self, name: str, items: Sequence[Item], text_of: Callable[[Item], str], between: str = "") -> str:
        """Return the texts of a list's items, joined; those of items that were there the last time are not made again.

        `text_of` an item must depend on nothing but the item.
        """
        known, text = self._known.get(name, ([], ""))
        if known != items[: len(known)]:
            known, text = [], ""
        new = between.join(map(text_of, items[len(known) :]))
        text += between + new if known and new else new
        self._known[name] = list(items), text
        return text
