"""Files of fold_slice, PtychoShelves for electrons: `NiterN.mat`, a MATLAB file of version 7.3, which is HDF5.

MATLAB's axes are in reverse order: (slice, x, y). Lengths are in Å for electrons, and in m for X-rays.
"""

import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.checkpoints.formats.transmission import ANGSTROM, TransmissionCheckpoint, View
from ptyconv_cli.checkpoints.formats.tree import Expected, Tree, TreeCheckpoint, last_number, open_tree, opened
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import Curve

OBJECT = Expected("cf", "complex", ("slice", "x", "y"), in_parts=True)
PROBE = Expected("cf", "complex", ("variable", "mode", "x", "y"), in_parts=True)
POSITIONS = Expected("f", "real", ("2", "N"))
WEIGHTS = Expected("fiu", "real", ("OPR mode", "N"))
SIZES = Expected("f", "real", ("2", "1"))
ERRORS = Expected("f", "real", ("1", "n"))

_NEXT_ENGINE = "another engine after {{niter}} iterations, with eng.{} = inf"

SETTINGS = EngineSettings(
    rate_word="step size",
    rates={**dict.fromkeys(("obja", "objp"), "eng.beta_object"), "probe": "eng.beta_probe"},
    fixing={
        **dict.fromkeys(("obja", "objp"), _NEXT_ENGINE.format("object_change_start")),
        "probe": _NEXT_ENGINE.format("probe_change_start"),
        "probe_pos_shifts": _NEXT_ENGINE.format("probe_position_search"),
    },
    saving="eng.save_results_every",
    iterations="eng.number_iterations",
)
"""Its searches have an iteration at which they begin, and none at which they end."""

METRES = 1e-6
"""A pixel that is smaller than that is in m."""

OLD = b"MATLAB 5.0 MAT-file"
"""What files of MATLAB's versions 5 to 7 begin with."""


def snapshots(path: Path) -> Mapping[str, int]:
    """Return the iterations done, of a file of fold_slice; nothing of any other file.

    Raises CheckpointError for a file of an older version of MATLAB, unless its name says that it is one.
    """
    if _is_old(path):
        if re.fullmatch(r"Niter\d+", path.stem):
            return {"": last_number(path)}
        raise _too_old(path)
    with closing(open_tree(path)) as tree:
        inside = {"object", "probe"} <= set(tree.children("")) and "probe_positions" in tree.children("outputs")
        return {"": _iterations(tree)} if inside and "dx_spec" in tree.children("p") else {}


def open_checkpoint(path: Path, snapshot: str) -> Checkpoint:
    """Open a file; raise CheckpointError where that fails."""
    if _is_old(path):
        raise _too_old(path)
    return opened(FoldSliceCheckpoint, open_tree(path))


def _is_old(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(OLD)) == OLD
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _too_old(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: is a MATLAB file of version 7 or older, which is not read here. In MATLAB: "
        f"s = load('{path.name}'); save('{path.name}', '-struct', 's', '-v7.3')"
    )


def _iterations(tree: Tree) -> int:
    """Return the number of iterations done, which is in the name, or else that of the errors that were computed."""
    number = last_number(tree.path)
    errors = tree.find("outputs/fourier_error_out")
    if number or errors is None or not errors.size or errors.dtype.kind not in ERRORS.kinds:
        return number
    return int(np.flatnonzero(np.isfinite(tree.read("outputs/fourier_error_out").ravel())).max(initial=-1)) + 1


class FoldSliceCheckpoint(TreeCheckpoint, TransmissionCheckpoint):
    """One file."""

    format = "fold_slice"
    settings = SETTINGS

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.niter = _iterations(tree)
        height, width = self._read("p/dx_spec", SIZES).ravel().tolist()
        self._angstrom = ANGSTROM if height < METRES else 1.0
        self.dx = self.pixel_size(self._angstrom * height, self._angstrom * width)

    def object_data(self) -> Any:
        """Return the transmission, (slice, y, x) or (y, x)."""
        return View(self._with_last_axes("object", OBJECT), swapped=True)

    def probe_data(self) -> Any:
        """Return the probe, (mode, y, x) or (y, x): the first of several that vary.

        Not the mean: the weights that it takes may be in the last file alone.
        """
        probe = self._with_last_axes("probe", PROBE)
        return View(probe, [0] if len(probe.shape) == 4 else [], swapped=True)

    def weights(self) -> Any:
        """Return the weights (N, mode) of position-dependent probe modes, None where there is but one mode."""
        found = self._tree.find("outputs/probe_evolution")
        if found is None or (found.ndim == 2 and found.shape[0] == 1):
            return None
        return View(self._find("outputs/probe_evolution", WEIGHTS), swapped=True)

    def crop_pos(self) -> np.ndarray:
        """Return the corners nearest to the current positions."""
        return self.corners(self._positions("probe_positions") + np.ceil(self.room() / 2) - 1)

    def scan(self) -> np.ndarray:
        """Return the positions (N, 2) that the run began with, in px; where they are not known, their number."""
        if self._tree.find("outputs/probe_positions_0") is None:
            return np.array([len(self._positions("probe_positions"))])
        return self._positions("probe_positions_0")

    def shifts(self) -> np.ndarray:
        """Return the positions (N, 2) in px from the middle of the object, y first."""
        return self._positions("probe_positions")

    def slice_thickness(self) -> float | None:
        """Return the mean distance of slices in Å, None for a single slice; that of the last one is infinite."""
        return self.mean_distance("p/multi_slice_param/z_distance", self._angstrom)

    def _loss(self) -> Curve:
        """Return the Fourier error of the iterations for which it was computed."""
        if self._tree.find("outputs/fourier_error_out") is None:
            return []
        errors = self._read("outputs/fourier_error_out", ERRORS).ravel()[: self.niter]
        return [(niter, error) for niter, error in enumerate(errors.tolist(), 1) if not np.isnan(error)]

    def _positions(self, name: str) -> np.ndarray:
        """Read positions [x, y] in px as (N, 2), y first."""
        return self._read(f"outputs/{name}", POSITIONS).astype(np.float64)[::-1].T

    def _with_last_axes(self, name: str, expected: Expected) -> Any:
        """Return an array of which MATLAB drops axes of length 1 at the end, which are the first ones here."""
        found = self._tree.find(name)
        dropped = len(expected.axes) - (found.ndim if found is not None else 0)
        axes = expected.axes[dropped:] if dropped <= len(expected.axes) - 2 else expected.axes
        return self._find(name, expected._replace(axes=axes))
