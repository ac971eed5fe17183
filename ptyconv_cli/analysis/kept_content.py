"""What files were recognised as by their content, in a file: to know that again, each would have to be opened."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ptyconv_cli.checkpoints.fingerprint import Fingerprint, stamp
from ptyconv_cli.checkpoints.naming import looked_for_patterns, recall_pattern
from ptyconv_cli.checkpoints.opening import Recognised, looked_into, recall
from ptyconv_cli.checkpoints.readers import by_content, versions


def packed(folders: Collection[Path]) -> bytes:
    """Return what was recognised of the files in some folders, where they still are what they were."""
    files = [
        [str(path), now, found.known and [found.known.package, found.known.reader.ENGINE], dict(found.snapshots)]
        for path, (fingerprint, found) in looked_into(folders).items()
        if (now := stamp(path)) and now[:-1] == fingerprint
    ]
    patterns = [
        [pattern, [[str(path), stamp(path)] for path in candidates]]
        for candidates, pattern in looked_for_patterns(folders)
    ]
    return json.dumps({"versions": versions(), "files": files, "patterns": patterns}).encode()


def recall_packed(content: bytes) -> dict[Path, Fingerprint]:
    """Have what `packed` returned be known again of files that have not changed since; return their fingerprints."""
    described = json.loads(content)
    if described["versions"] != versions():
        return {}
    readers = {(known.package, known.reader.ENGINE): known for known in by_content()}
    kept, known = {}, looked_into({Path(name).parent for name, *_ in described["files"]})
    for name, as_it_was, reader, snapshots in described["files"]:
        path, fingerprint = Path(name), tuple(as_it_was[:-1])
        if path in known and known[path][0] == fingerprint:
            kept[path] = fingerprint
        elif _is_as_it_was(name, as_it_was):
            recall(path, fingerprint, Recognised(readers[tuple(reader)] if reader else None, snapshots))
            kept[path] = fingerprint
    for pattern, candidates in described["patterns"]:
        if all(_is_as_it_was(*one) for one in candidates):
            recall_pattern([Path(name) for name, _ in candidates], pattern)
    return kept


def _is_as_it_was(name: str, as_it_was: list[Any] | None) -> bool:
    return as_it_was is not None and stamp(Path(name)) == tuple(as_it_was)
