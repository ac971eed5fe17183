"""What is remembered of a run, so that the next analysis need not compute, nor read, it again."""

import json
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ptyconv_cli.analysis.cached_headers import (
    Recorded,
    key_of,
    packed_headers,
    packed_record,
    read_recorded,
    unpacked_headers,
    unpacked_record,
)
from ptyconv_cli.analysis.steps import CachedRows, CachedSteps, Compared, Comparer, Curves, Step
from ptyconv_cli.checkpoints.chain import Run
from ptyconv_cli.checkpoints.discovery import looked_for_patterns, recall_pattern
from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.checkpoints.opening import Fingerprint, Recognised, Source, looked_into, recall, stamp
from ptyconv_cli.checkpoints.readers import by_content, versions
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.files import Pieces, write_whole
from ptyconv_cli.results.frame import Frame, Place
from ptyconv_cli.results.run_analysis import Change, RemovedAmbiguities
from ptyconv_cli.verdict.segments import Counting


def packed_content(folders: Collection[Path]) -> bytes:
    """Return what was recognised of the files in some folders, where they still are what they were."""
    files = [
        [str(path), fingerprint, found.known and [found.known.package, found.known.engine], dict(found.snapshots)]
        for path, (fingerprint, found) in looked_into(folders).items()
        if stamp(path) == fingerprint
    ]
    patterns = [
        [pattern, [[str(path), stamp(path)] for path in candidates]]
        for candidates, pattern in looked_for_patterns(folders)
    ]
    return json.dumps({"versions": versions(), "files": files, "patterns": patterns}).encode()


def recall_content(content: bytes) -> dict[Path, Fingerprint]:
    """Have what `packed` returned be known again of files that have not changed since; return their fingerprints."""
    described = json.loads(content)
    if described["versions"] != versions():
        return {}
    readers = {(known.package, known.engine): known for known in by_content()}
    kept, known = {}, looked_into({Path(name).parent for name, *_ in described["files"]})
    for name, as_it_was, reader, snapshots in described["files"]:
        path, fingerprint = Path(name), Fingerprint(*as_it_was)
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


CACHE_NAME = ".ptyconv"
"""The folder, beside the results."""

HEADERS, RECORDED, CONTENT = "headers", "recorded", "content"
"""The files with the headers of checkpoints, with the engine's histories, and with what files were recognised as."""

FEW = 64
"""Among so many known headers one that is new is not worth writing all again."""

K = TypeVar("K")

Contents = Callable[[Sequence[Header]], Iterable[dict[str, int] | None]]
"""Returns what is in checkpoints, as in `steps.Step.contents`; None of one that cannot be read."""

Comparers = Mapping[str, Comparer]

OWN_NAME = re.compile(r"part\d+-(steps\.jsonl|phase\.npz|\w+\.f32)|\d{6,}\.npz|phase\.npz")
"""No other file in the folder is touched."""


class _Line(NamedTuple):
    """What is kept of a step: all but its checkpoint's header, and the `checksums` of its sketched values.

    `as_read`: what tells its file as it was when it was read, and the `contents` of that, as of `steps.Step`.
    """

    key: str
    as_read: list[int]
    contents: dict[str, int]
    since: int | None
    changes: dict[str, Change]
    compared: dict[str, Compared]
    not_finite: dict[str, bool]
    contrasts: dict[str, float]
    totals: dict[str, float]
    frame: Frame | None
    checksums: dict[str, int]

    def at(self, header: Header) -> Step:
        known = self.since, self.changes, self.compared, self.not_finite, self.contrasts, self.totals, self.frame
        return Step(header, *known, self.contents)


class Cache:
    """The steps kept beside the results in a folder; if `fresh`, those that are there already are not used.

    One object can serve one analysis after the other of a run that grows: what it has read it does not read again, nor
    the `headers` of checkpoints; `curves` are not gathered, nor `pieces` of the results put into text, again.
    """

    def __init__(self, results: Path, fresh: bool = False) -> None:
        self._folder, self._fresh = results / CACHE_NAME, fresh
        self._lines: dict[int, list[_Line]] = {}
        self._whole: dict[int, bool] = {}
        self._parts = 0
        self.pieces, self.curves = Pieces(), Curves()
        self._kept_headers: dict[Source, Fingerprint] = {}
        self._kept_content: dict[Path, Fingerprint] = {}
        self._recorded: tuple[str, Recorded] | None = None
        self._kept_key = ""
        self.pending: Callable[[], None] = lambda: None

    def keep(self) -> None:
        """Write what the last analysis found, after its results; raise PtyconvError where that fails."""
        self.pending()
        self._keep_headers()
        self._fresh = False  # what is here now was computed in this process

    def exists(self) -> bool:
        """Say whether an earlier analysis may have left anything that is to be used."""
        return bool(self._lines) or (not self._fresh and self._folder.is_dir())

    def known(self, part: int, keys: Sequence[str], headers: Sequence[Header], contents: Contents) -> CachedSteps:
        """Return the steps that are known of the checkpoints of a part, from the first one on as far as they are.

        `keys` of the checkpoints, as of `keys_of`; `contents`: what reads those anew whose files may be others now,
        though their sizes and times are what they were.
        """
        lines = self._read(part)
        count = next((k for k, (line, key) in enumerate(zip(lines, keys, strict=False)) if line.key != key), None)
        lines = lines[: min(len(lines), len(keys)) if count is None else count]
        lines = self._as_they_were(part, lines, headers, contents)
        if not lines:
            return CachedSteps()
        named = dict.fromkeys(name for line in lines for name in line.checksums)
        rows = {
            name: CachedRows(
                self._path(part, f"{name}.f32"), [line.checksums[name] for line in lines if name in line.checksums]
            )
            for name in named
        }
        if not {of_one.path for of_one in rows.values()} <= set(self._files()):
            return CachedSteps()
        steps = [line.at(header) for line, header in zip(lines, headers, strict=False)]
        return CachedSteps(steps, *self._phases(part, lines[-1].key), rows)

    def _as_they_were(
        self, part: int, lines: list[_Line], headers: Sequence[Header], contents: Contents
    ) -> list[_Line]:
        """Return the lines up to the first of a checkpoint that holds something else by now."""
        unsure = [k for k, line in enumerate(lines) if line.as_read != _as_read(headers[k])]
        for k, found in zip(unsure, contents([headers[k] for k in unsure]) if unsure else (), strict=True):
            if found != lines[k].contents:
                return lines[:k]
            lines[k] = self._lines[part][k] = lines[k]._replace(as_read=_as_read(headers[k]))
            self._whole[part] = False  # so that they are written anew
        return lines

    def write(self, part: int, known: int, keys: Sequence[str], steps: Sequence[Step], comparers: Comparers) -> None:
        """Write the steps of a part behind the `known` ones; raise PtyconvError where they cannot be written.

        `comparers` by tensor, which have the rows.
        """
        self._check_folder()
        self._parts = max(self._parts, part + 1)
        lines = self._lines.get(part, [])
        nothing_new = known == len(steps) == len(lines)
        if nothing_new and self._whole.get(part):
            return
        new = [
            _Line(
                keys[k],
                _as_read(steps[k].header),
                steps[k].contents,
                steps[k].since,
                steps[k].changes,
                steps[k].compared,
                steps[k].not_finite,
                steps[k].contrasts,
                steps[k].totals,
                steps[k].frame,
                {name: checksum for comparer in comparers.values() for name, checksum in comparer.checksums(k)},
            )
            for k in range(known, len(steps))
        ]
        path = self._path(part, "steps.jsonl")
        rows = {name: of_one for comparer in comparers.values() for name, of_one in comparer.rows_by_name()}
        files = {name: self._path(part, f"{name}.f32") for name in rows}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._check_own([path, *files.values()])
            for name, of_one in rows.items():
                of_one.append_to(files[name])
            if known and known == len(lines) and self._whole.get(part):
                with path.open("ab") as file:
                    file.write(_packed(new))
            else:
                write_whole({path: _packed([*lines[:known], *new])})
        except (OSError, PtyconvError) as error:
            self._whole[part] = False
            if nothing_new:  # but which files were compared, so that they are again the next time
                return
            if isinstance(error, PtyconvError):
                raise
            raise PtyconvError(f"{error.filename or self._folder}: cannot be written ({error.strerror})") from error
        self._lines[part], self._whole[part] = [*lines[:known], *new], True

    def keep_phase(self, part: int, key: str, phase: np.ndarray, in_frame: np.ndarray | None) -> None:
        """Write the phase that the next checkpoint's is to follow, as it is and in the frame of the run.

        Raises PtyconvError where it cannot be written.
        """
        content = BytesIO()
        np.savez(content, key=np.array(key), phase=phase, in_frame=phase[:0] if in_frame is None else in_frame)
        write_whole({self._path(part, "phase.npz"): content.getvalue()})

    def forget_the_rest(self) -> None:
        """Remove the files of parts that the run has not any more, and those of older versions."""
        for path in self._files():
            part = re.match(r"part(\d+)-", path.name)
            if part is None or int(part[1]) >= self._parts:
                path.unlink(missing_ok=True)

    def note(self, name: str) -> bytes | None:
        """Return what `keep_note` kept under a name, None where there is nothing, or it is damaged."""
        path = self._folder / name
        if self._fresh or self._folder.is_symlink() or path.is_symlink():
            return None
        with suppress(OSError, ValueError):
            checksum, _, content = path.read_bytes().partition(b" ")
            return content if int(checksum, 16) == zlib.crc32(content) else None
        return None

    def keep_note(self, name: str, content: bytes) -> None:
        """Keep something in a file of its own; raise PtyconvError where it cannot be written."""
        self._check_folder()
        self._check_own([self._folder / name])
        write_whole({self._folder / name: b"%08x %s" % (zlib.crc32(content), content)})

    @cached_property
    def headers(self) -> dict[Source, Header]:
        """The headers of checkpoints that are known, to which what is read is added."""
        self.recall()
        content, found = self.note(HEADERS), dict[Source, Header]()
        with suppress(Exception):  # it is whole, but may be of a version that has the same number
            found = unpacked_headers(content) if content else {}
        self._kept_headers = {source: header.fingerprint for source, header in found.items()}
        return found

    def recall(self) -> None:
        """Have files that are known by their content be known again, instead of looked into."""
        content = self.note(CONTENT)
        with suppress(Exception):  # as of `headers`
            self._kept_content = recall_content(content) if content else {}

    def _keep_headers(self) -> None:
        """Write the headers and what files were recognised as, unless only few are new among many."""
        headers = {source: header.fingerprint for source, header in self.headers.items()}
        folders = {source.path.parent for source in headers}
        content = {path: fingerprint for path, (fingerprint, _) in looked_into(folders).items()}
        with suppress(PtyconvError):  # then they are read again
            if _are_many(content, self._kept_content):
                self.keep_note(CONTENT, packed_content(folders))
                self._kept_content = content
            if _are_many(headers, self._kept_headers):
                self.keep_note(HEADERS, packed_headers(self.headers.values()))
                self._kept_headers = headers
            if self._recorded and headers == self._kept_headers and self._recorded[0] != self._kept_key:
                self.keep_note(RECORDED, packed_record(*self._recorded))
                self._kept_key = self._recorded[0]

    def recorded(self, runs: Sequence[Run]) -> Recorded:
        """Return what the engine recorded of runs that are not on one axis yet, read unless it is known."""
        if self._recorded is None and (content := self.note(RECORDED)):
            with suppress(Exception):  # as of `headers`
                self._recorded = unpacked_record(content)
                self._kept_key = self._recorded[0]
        key = key_of(runs)
        if self._recorded is None or self._recorded[0] != key:
            self._recorded = key, read_recorded(runs)
        return self._recorded[1]

    def _read(self, part: int) -> list[_Line]:
        if part not in self._lines:
            path = self._path(part, "steps.jsonl")
            found, whole = _unpacked(path) if path in self._files() and not self._fresh else ([], False)
            self._lines[part], self._whole[part] = found, whole
        return self._lines[part]

    def _path(self, part: int, name: str) -> Path:
        return self._folder / f"part{part}-{name}"

    def _check_folder(self) -> None:
        if self._folder.is_symlink():
            raise PtyconvError(f"{self._folder}: is a link to another folder, where nothing is written")

    def _check_own(self, paths: Sequence[Path]) -> None:
        """Raise PtyconvError where something else has the name of a file that is to be written."""
        for path in paths:
            if path.is_symlink() or (path.exists() and not path.is_file()):
                raise PtyconvError(f"{path}: is not a file that ptyconv wrote")

    def _files(self) -> list[Path]:
        """Return the cache files; any other file in the folder is left alone."""
        if self._folder.is_symlink() or not self._folder.is_dir():
            return []
        with suppress(OSError):
            own = [path for path in self._folder.iterdir() if OWN_NAME.fullmatch(path.name)]
            return sorted(path for path in own if path.is_file() and not path.is_symlink())
        return []

    def _phases(self, part: int, key: str) -> tuple[np.ndarray | None, np.ndarray | None]:
        path = self._path(part, "phase.npz")
        if path in self._files():
            # Damage raises many kinds of errors in zipfile, numpy and json; then all is recomputed.
            with suppress(Exception), path.open("rb") as file, np.load(file) as content:
                if str(content["key"]) == key:
                    phase, in_frame = np.asarray(content["phase"]), np.asarray(content["in_frame"])
                    return phase, in_frame if in_frame.size else None
        return None, None


def _are_many(known: Mapping[K, Fingerprint], kept: Mapping[K, Fingerprint]) -> bool:
    """Say whether of all that is known so much is new, or not any more what was kept, that it is worth writing."""
    new = sum(kept.get(one) != fingerprint for one, fingerprint in known.items())
    return new > 0 and new * FEW >= len(known)


def keys_of(headers: Sequence[Header], by: Sequence[Any], counting: Mapping[str, Counting]) -> list[str]:
    """Return the keys of checkpoints: `by` what else the results depend on, `counting` by tensor."""
    # Where the first one's scan was says which voxels count.
    found, so_far = [], repr([by, *(zlib.crc32(one.crop_pos.tobytes()) for one in headers[:1])])
    for header in headers:
        file = header.fingerprint
        # Size and time are those of many files where an archive was unpacked: folder and loss tell runs apart.
        of_file = [header.real_path, header.niter, file.size, file.modified, header.loss_digest, header.dx]
        counts = {name: of_one.up_to(header.niter) for name, of_one in counting.items()}
        so_far = sha256(repr([so_far, of_file, counts]).encode()).hexdigest()
        found.append(so_far)
    return found


def _as_read(header: Header) -> list[int]:
    """Return what tells a checkpoint's file from one that was copied over it, with the size and time of that one."""
    return [header.fingerprint.inode, header.fingerprint.changed]


def _packed(lines: Sequence[_Line]) -> bytes:
    described = (
        {
            **line._asdict(),
            "changes": {of: _described(change) for of, change in line.changes.items()},
            "compared": {name: list(compared) for name, compared in line.compared.items()},
            "frame": line.frame and list(line.frame),
        }
        for line in lines
    )
    texts = [json.dumps(one).encode() for one in described]  # with NaN and Infinity, as they are numbers here
    return b"".join(b"%08x %s\n" % (zlib.crc32(text), text) for text in texts)


def _unpacked(path: Path) -> tuple[list[_Line], bool]:
    """Return the lines of a file up to the first damaged one, and whether all are whole."""
    found: list[_Line] = []
    try:
        with path.open("rb") as file:
            for line in file:
                checksum, text = line[:8], line[9:-1]
                if int(checksum, 16) != zlib.crc32(text) or not line.endswith(b"\n"):
                    return found, False
                one = json.loads(text)
                changes = {of: _change(change) for of, change in one["changes"].items()}
                compared = {name: Compared(*numbers) for name, numbers in one["compared"].items()}
                frame = one["frame"] and _frame(one["frame"])
                found.append(_Line(**{**one, "changes": changes, "compared": compared, "frame": frame}))
    except Exception:  # as there are many kinds of damage; what was kept is computed again
        return found, False
    return found, True


def _frame(described: list[Any]) -> Frame:
    def tuples(found: Any) -> Any:
        return tuple(map(tuples, found)) if isinstance(found, list) else found

    object_place, probe, *others = map(tuples, described)
    return Frame(Place(*object_place), Place(*probe), *others)


def _described(change: Change) -> dict[str, Any]:
    return {**change._asdict(), "removed": change.removed and vars(change.removed)}


def _change(described: dict[str, Any]) -> Change:
    removed = described["removed"]
    if removed:
        pairs = {name: tuple(pair) for name in ("shift", "ramp") if (pair := removed[name]) is not None}
        described = {**described, "removed": RemovedAmbiguities(**{**removed, **pairs})}
    return Change(**described)
