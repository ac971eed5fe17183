"""What other packages register as entry points, found without `importlib.metadata` where there is nothing to find.

To load that takes longer than all else that a command which finds nothing new does with names of files.
"""

import sys
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def registered(group: str) -> list["EntryPoint"]:
    """Return the entry points of a group, of all packages that are installed."""
    others = any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path)
    if not others and not any(_may_register(Path(folder), group.encode()) for folder in sys.path):
        return []
    from importlib.metadata import entry_points

    return list(entry_points(group=group))


def _may_register(folder: Path, group: bytes) -> bool:
    """Say whether a package in a folder of `sys.path` may register something; where that is an archive, one may."""
    try:
        found = [path for path in folder.iterdir() if path.name.lower().endswith((".dist-info", "egg-info"))]
    except OSError:
        return folder.is_file()
    for path in found:
        with suppress(OSError):
            if group in (path / "entry_points.txt").read_bytes():
                return True
    return False
