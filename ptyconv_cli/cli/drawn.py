"""Which pictures are already there as they would be drawn, so that they need not be drawn again."""

import json
from collections.abc import Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from ptyconv_cli import pictures
from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.version import __version__

NOTE = "pictures.json"
"""In the cache: by name of the picture, what it was drawn from, and its content, both as digests."""


class Drawn:
    """The pictures in a folder, of an analysis whose `report` says all that they show."""

    def __init__(self, folder: Path, report: bytes, cache: Cache) -> None:
        self._folder, self._cache = folder, cache
        self._source = sha256(b"".join([*_drawn_by(), report])).hexdigest()
        self._noted: dict[str, list[str]] = json.loads(cache.note(NOTE) or b"{}")

    def is_there(self, name: str) -> bool:
        """Say whether the picture is there, untouched, as this analysis and these versions would draw it."""
        digest = _digest(self._folder / name)
        return digest is not None and self._noted.get(name) == [self._source, digest]

    def keep(self, names: Sequence[str]) -> None:
        """Note that these pictures were drawn from the report; raise PtyconvError where that cannot be written."""
        found = {name: [self._source, _digest(self._folder / name)] for name in names}
        if found != self._noted:
            self._cache.keep_note(NOTE, json.dumps(found).encode())


def _digest(path: Path) -> str | None:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:  # it is not there
        return None


def _drawn_by() -> list[bytes]:
    """Return what tells the code that draws from another version of it, without loading it."""
    own = sorted(Path(pictures.__path__[0]).glob("*.py"))
    matplotlib = find_spec("matplotlib")
    versions = Path(matplotlib.origin).parent / "_version.py" if matplotlib and matplotlib.origin else Path()
    changed = [f"{module.name} {module.stat().st_mtime_ns}".encode() for module in own]  # by who works on it
    return [__version__.encode(), versions.read_bytes() if versions.is_file() else b"", *changed]
