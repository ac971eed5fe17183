"""The cache of an analysis, in the hidden folder `.ptyconv` beside its results: the next one computes only what is new.

Each file holds the steps that one analysis computed. Every step has a key, a digest of the settings and of all
checkpoints up to there by path, iteration, size, modification time and loss. If a checkpoint has changed, everything
from there on is recomputed. See docs/performance.md.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ptyconv_cli.analysis.steps import CachedSteps, Step
from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.metrics.change import Change
from ptyconv_cli.metrics.sketch import Sketch
from ptyconv_cli.results.files import write_whole
from ptyconv_cli.results.region import Region
from ptyconv_cli.results.run_analysis import RemovedAmbiguities
from ptyconv_cli.results.settings import MonitorSettings
from ptyconv_cli.version import __version__

PHASE = "phase.npz"
"""The unwrapped phase of the last checkpoint, with which the next one is unwrapped."""

OWN_NAME = re.compile(r"\d{6,}\.npz|phase\.npz")
"""The names of cache files; no other file in the folder is touched."""


class Cache:
    """The steps in a cache folder, which need not exist yet, for an analysis with some settings on a device.

    `fresh`: ignore the steps that are there.
    """

    def __init__(self, folder: Path, settings: MonitorSettings, device: torch.device, fresh: bool = False) -> None:
        self._folder, self._tensors, self._device = folder, settings.tensors, device
        versions = [__version__, torch.__version__, np.__version__]
        self._by = [*versions, str(device), settings.tensors, settings.percentile_range, settings.aligned]
        self._found: dict[str, tuple[Path, _CachedStep]] = {}
        for path in [] if fresh else self._files():
            self._found |= {key: (path, step) for key, step in _unpacked(path).items()}
        self._of_use: set[Path] = set()

    def known(self, headers: Sequence[Header], region: Region) -> CachedSteps:
        """Return the cached steps of checkpoints, from the first one up to the first that is not cached."""
        keys = self._keys(headers, region)
        steps = []
        for header, key in zip(headers, keys, strict=True):
            if key not in self._found:
                break
            steps.append(self._found[key][1].at(header))
        if not steps or not (headers[0].phase_wraps and "objp" in self._tensors):
            return CachedSteps(steps)
        phase = self._phase(keys[len(steps) - 1])
        return CachedSteps(steps, phase) if phase is not None or len(steps) == len(headers) else CachedSteps()

    def keep(self, steps: Sequence[Step], region: Region, phase: torch.Tensor | None) -> None:
        """Write those of a walk's steps that are not cached yet; raise PtyconvError where that fails."""
        if self._folder.is_symlink():
            raise PtyconvError(f"{self._folder}: is a link to another folder, so nothing is written there")
        keys = self._keys([step.header for step in steps], region)
        self._of_use |= {self._found[key][0] for key in keys if key in self._found}
        new = {key: step for key, step in zip(keys, steps, strict=True) if key not in self._found}
        outputs = {}
        if new:
            outputs[self._folder / f"{next(iter(new.values())).header.niter:06d}.npz"] = _packed(new)
        if phase is not None:
            outputs[self._folder / PHASE] = _npz({"key": np.array(keys[-1]), "phase": phase.cpu().numpy()})
        write_whole(outputs)
        self._of_use |= set(outputs)

    def forget_the_rest(self) -> None:
        """Remove the cache files of which no step was used."""
        for path in set(self._files()) - self._of_use:
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """Return the cache files; any other file in the folder is left alone."""
        if self._folder.is_symlink() or not self._folder.is_dir():
            return []
        with suppress(OSError):
            own = [path for path in self._folder.iterdir() if OWN_NAME.fullmatch(path.name)]
            return sorted(path for path in own if path.is_file() and not path.is_symlink())
        return []

    def _keys(self, headers: Sequence[Header], region: Region) -> list[str]:
        found, so_far = [], repr([*self._by, tuple(region)])
        for header in headers:
            size, modified = header.fingerprint[-2:]
            # Unpacked from an archive, many files may share size and time: path and loss tell runs apart.
            of_file = [str(header.path.resolve()), header.niter, size, modified, header.loss.tobytes()]
            so_far = sha256(repr([so_far, of_file]).encode()).hexdigest()
            found.append(so_far)
        return found

    def _phase(self, key: str) -> torch.Tensor | None:
        path = self._folder / PHASE
        if path in self._files():
            # Damage raises many kinds of errors in zipfile, numpy and json; then all is recomputed.
            with suppress(Exception), path.open("rb") as file, np.load(file) as content:
                if str(content["key"]) == key:
                    self._of_use.add(path)
                    return torch.from_numpy(content["phase"]).to(self._device)
        return None


class _CachedStep(NamedTuple):
    """A step without the header of its checkpoint, which is read anew."""

    since: int | None
    changes: dict[str, Change]
    sketches: dict[str, Sketch]
    not_finite: dict[str, bool]

    def at(self, header: Header) -> Step:
        return Step(header, *self)


def _packed(steps: Mapping[str, Step]) -> bytes:
    """Pack steps by key into an .npz file: changes as JSON, sketches as arrays."""
    described, arrays = [], {}
    for number, (key, step) in enumerate(steps.items()):
        described.append(
            {
                "key": key,
                "since": step.since,
                "changes": {of: _described(change) for of, change in step.changes.items()},
                "totals": {tensor: sketch.total for tensor, sketch in step.sketches.items()},
                "not_finite": step.not_finite,
            }
        )
        for tensor, sketch in step.sketches.items():
            arrays[f"{number}/{tensor}/values"] = sketch.values
            arrays[f"{number}/{tensor}/gradients"] = sketch.gradients
    text = json.dumps(described).encode()  # with NaN and Infinity, as they are numbers here
    return _npz({"steps": np.frombuffer(text, np.uint8), **arrays})


def _unpacked(path: Path) -> dict[str, _CachedStep]:
    """Return the steps in a file by key; none where it is damaged, or holds the phase instead."""
    found = {}
    try:
        with path.open("rb") as file, np.load(file) as content:  # numpy would leave open a file that it cannot read
            described = json.loads(content["steps"].tobytes()) if "steps" in content else []
            for number, step in enumerate(described):
                sketches = {
                    tensor: Sketch(content[f"{number}/{tensor}/values"], content[f"{number}/{tensor}/gradients"], total)
                    for tensor, total in step["totals"].items()
                }
                changes = {of: _change(change) for of, change in step["changes"].items()}
                found[step["key"]] = _CachedStep(step["since"], changes, sketches, step["not_finite"])
    except Exception:  # there are many kinds of damage; the steps are recomputed
        return {}
    return found


def _described(change: Change) -> dict[str, Any]:
    return {**change._asdict(), "removed": change.removed and vars(change.removed)}


def _change(described: dict[str, Any]) -> Change:
    removed = described["removed"]
    if removed:
        pairs = {name: tuple(pair) for name in ("shift", "ramp") if (pair := removed[name]) is not None}
        described = {**described, "removed": RemovedAmbiguities(**{**removed, **pairs})}
    return Change(**described)


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    content = BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # its own options are keywords, too
    return content.getvalue()
