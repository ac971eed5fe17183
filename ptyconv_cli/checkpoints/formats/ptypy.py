"""Files of ptypy, `<run>_<engine>_NNNN.ptyr`, an HDF5 file a snapshot. Lengths are in m.

They lie in two folders: in `dumps/<run>` those that are saved while the run goes on, in `recons/<run>` the state after
each engine. The iteration goes on from engine to engine.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.checkpoints.formats.transmission import ANGSTROM, TransmissionCheckpoint
from ptyconv_cli.checkpoints.formats.transmission import POSITIONS as POSITIONS_KEY
from ptyconv_cli.checkpoints.formats.tree import (
    WHOLE,
    Expected,
    Tree,
    TreeCheckpoint,
    last_number,
    open_tree,
    opened,
    sole_snapshot,
)
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import Curve

FOLDERS = ("dumps", "recons")
"""Each holds a folder for every run."""

OBJECT = Expected("c", "complex", ("omode", "y", "x"), in_parts=True)
PROBE = Expected("c", "complex", ("mode", "y", "x"), in_parts=True)
POSITIONS = Expected("f", "real", ("N", "2"))
PAIR = Expected("f", "real", ("2",))
ERRORS = Expected("f", "real", ("3",))
NAMES = ("obj", "probe", "runtime")
"""What every file has below `content`."""

ITERATIONS = "content/runtime/iter_info"
"""Has a group for each iteration in files of `recons`, and for the last one in those of `dumps`."""

ENGINES = "content/pars/engines"
"""Has a group for each engine of the run, under the name that the user gave it."""


NOT_RECORDED = "ptypy records scan positions only at the end of an engine, unless record_positions is on"

_ALPHA_AND_BETA = "{0}alpha and {0}beta"

RATES = {
    "EPIE": {"obja": _ALPHA_AND_BETA, "objp": _ALPHA_AND_BETA, "probe": _ALPHA_AND_BETA},
    "SDR": {"obja": "{0}beta_object", "objp": "{0}beta_object", "probe": "{0}beta_probe"},
}
"""The step sizes by engine, with where they are; DM, RAAR and ML have none.

Of ePIE's two, ptypy's documentation and its code say the opposite as to which one is the object's.
"""


def snapshots(path: Path) -> Mapping[str, int]:
    """Return the iterations done, of a file of ptypy; nothing of any other file."""
    return sole_snapshot(path, NAMES, lambda tree: _iterations(tree)[0], "content")


def open_checkpoint(path: Path, snapshot: str) -> Checkpoint:
    """Open a file; raise CheckpointError where that fails."""
    return opened(PtypyCheckpoint, open_tree(path))


def run_folders(folder: Path) -> Sequence[Path]:
    """Return the folder of a run's dumps and that of its reconstructions.

    Given is one of them, or the folder that has both, and no other run.
    """
    beside = folder.absolute().parent
    if beside.name in FOLDERS:
        return [beside.parent / name / folder.name for name in FOLDERS]
    try:
        found = [run for name in FOLDERS if (folder / name).is_dir() for run in (folder / name).iterdir()]
        runs = {run.name for run in found if run.is_dir()}
    except OSError:
        return []
    return [folder / name / run for name in FOLDERS for run in runs] if len(runs) == 1 else []


def _iterations(tree: Tree) -> tuple[int, int]:
    """Return the iterations done, and those of them that the present engine has done; (0, 0) before the first one."""
    recorded = tree.children(ITERATIONS)
    if not recorded:
        return (0 if "iter_info" in tree.children("content/runtime") else last_number(tree.path)), 0
    of_all, of_engine = (_whole(tree, f"{ITERATIONS}/{max(recorded)}/{name}") for name in ("iterations", "iteration"))
    return of_all, of_engine


def _whole(tree: Tree, name: str) -> int:
    found = tree.find(name)
    if found is None or found.size != 1 or found.dtype.kind not in WHOLE.kinds:
        raise CheckpointError(f"{tree.path}: dataset {name}: expected {WHOLE}")
    return int(tree.read(name).item())


def _last_engine(tree: Tree) -> str:
    """Return the name of the engine that made the last iteration in a file, "" where that is not told."""
    last = max(tree.children(ITERATIONS), default="")
    return tree.text(f"{ITERATIONS}/{last}/engine") if last else ""


def _settings(tree: Tree) -> EngineSettings:
    """Return what the settings of the engine are called that made the last iteration in a file."""
    engine = _last_engine(tree)
    entries = [one for one in tree.children(ENGINES) if tree.text(f"{ENGINES}/{one}/name") == engine]
    prefix = f"p.engines.{entries[0]}." if len(entries) == 1 else ""
    rates = RATES.get(engine.partition("_")[0], {})  # EPIE_serial and the like are the same on other hardware
    return EngineSettings(
        rate_word="step size" if rates else "",
        rates={key: setting.format(prefix) for key, setting in rates.items()},
        saving="p.io.autosave.interval",
        iterations=f"{prefix}numiter",
    )


class PtypyCheckpoint(TreeCheckpoint, TransmissionCheckpoint):
    """One file. Of several objects the largest is followed."""

    format = "ptypy"
    repeats = True
    modes_first = True

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.niter, of_engine = _iterations(tree)
        self.began = self.niter - of_engine if of_engine else 0
        self.settings = self._shown(lambda: _settings(tree), EngineSettings(rate_word=""))
        self._storage = self._largest("obj", "objects")
        self._object = f"content/obj/{self._storage}"
        self._probe = f"content/probe/{self._largest('probe', 'probes', self._storage)}/data"
        height, width = self._read(f"{self._object}/_psize", PAIR).tolist()
        self.dx = self.pixel_size(ANGSTROM * height, ANGSTROM * width)
        self._pixel = np.array([height, width])
        self.knows_positions = tree.find(f"content/positions/{self._storage}") is not None
        if not self.knows_positions:
            self.lacking = {POSITIONS_KEY: NOT_RECORDED}

    def object_data(self) -> Any:
        """Return the transmission (omode, y, x)."""
        return self._find(f"{self._object}/data", OBJECT)

    def probe_data(self) -> Any:
        """Return the probe (mode, y, x)."""
        return self._find(self._probe, PROBE)

    def crop_pos(self) -> np.ndarray:
        """Return the corners nearest to the positions, or else those that the object, less its padding, has room for.

        Positions are in m, of the probe's middle pixel.
        """
        if not self.knows_positions:
            return self._padded()
        origin, pixel = (self._read(f"{self._object}/{name}", PAIR) for name in ("_origin", "_psize"))
        middles = (self._read(f"content/positions/{self._storage}", POSITIONS) - origin) / pixel
        return self.corners(middles - np.array(self.probe_shape()) // 2)

    def shifts(self) -> np.ndarray | None:
        """Return the positions (N, 2) in px, y first, from where they have 0; None where none were recorded."""
        name = f"content/positions/{self._storage}"
        return self._read(name, POSITIONS) / self._pixel if self.knows_positions else None

    def scan(self) -> np.ndarray:
        """Return where the scan's origin is in the object, [y, x] in px, for positions may be refined, or not known."""
        return self._read(f"{self._object}/_center", PAIR)

    def facts_on_loss(self) -> dict[str, str]:
        """Return which of its engines' errors it is: they measure different things."""
        engine = self._shown(lambda: _last_engine(self._tree), "").partition("_")[0]
        return {"loss function": engine and f"error of {engine}"}

    def _loss(self) -> Curve:
        """Return an error of each iteration that the file has one of: of photons, or else the Fourier error."""
        found = []
        for name in sorted(self._tree.children(ITERATIONS)):
            fourier, photons, _ = self._read(f"{ITERATIONS}/{name}/error", ERRORS).tolist()
            found.append((_whole(self._tree, f"{ITERATIONS}/{name}/iterations"), photons or fourier))
        niters, errors = np.array(found).reshape(-1, 2).T
        return self._pairs(ITERATIONS, niters, errors)

    def _padded(self) -> np.ndarray:
        """Return the first and the last corner that the object has room for within its padding."""
        name = f"{self._object}/padding"
        padding = _whole(self._tree, name)
        if not 0 <= 2 * padding <= max(self.room().min(), 0):
            raise CheckpointError(f"{self.path}: dataset {name}: {padding} px leave no room for the probe")
        return np.asarray(self.corners_of_shapes() + np.array([[padding], [-padding]]))

    def _largest(self, kind: str, called: str, wanted: str = "") -> str:
        """Return the name of an object or probe: the `wanted` one, or else the largest; that is a remark."""
        group = f"content/{kind}"
        found = {name: self._tree.find(f"{group}/{name}/data") for name in self._tree.children(group)}
        sizes = {name: data.size for name, data in found.items() if data is not None}
        if wanted in sizes:
            return wanted
        if not sizes:
            raise CheckpointError(f"{self.path}: has no dataset {group}/…/data")
        largest = max(sizes, key=lambda name: sizes[name])
        if len(sizes) > 1:
            self.remarks.append(f"The files hold {len(sizes)} {called} ({', '.join(sizes)}): {largest} is followed.")
        return largest
