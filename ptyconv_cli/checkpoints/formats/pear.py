"""Files of PEAR, pty-chi's pipeline for X-rays: `recon_NiterN.h5`, an HDF5 file a snapshot. Lengths are in m."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.checkpoints.formats.transmission import ANGSTROM, TransmissionCheckpoint
from ptyconv_cli.checkpoints.formats.tree import (
    REAL,
    VALUES,
    Expected,
    Tree,
    TreeCheckpoint,
    last_number,
    open_tree,
    opened,
    sole_snapshot,
)
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import Curve

OBJECT = Expected("c", "complex", ("slice", "y", "x"), in_parts=True)
PROBE = Expected("c", "complex", ("OPR mode", "mode", "y", "x"), in_parts=True)
WEIGHTS = Expected("fiu", "real", ("N", "OPR mode"))
POSITIONS = Expected("f", "real", ("N", "2"))
NAMES = ("object", "probe", "positions_px", "obj_pixel_size_m")
"""What every file has."""

SETTINGS = EngineSettings(rate_word="", saving="save_freq_iterations", iterations="number_of_iterations")
"""PEAR itself sets pty-chi's step sizes, to 1, and never stops refining what it refines."""


def snapshots(path: Path) -> Mapping[str, int]:
    """Return the iterations done, of a file of PEAR; nothing of any other file."""
    return sole_snapshot(path, NAMES, _iterations)


def open_checkpoint(path: Path, snapshot: str) -> Checkpoint:
    """Open a file; raise CheckpointError where that fails."""
    return opened(PearCheckpoint, open_tree(path))


def _iterations(tree: Tree) -> int:
    """Return the number of iterations done, which is that of the losses, or else in the name."""
    losses = tree.find("loss")
    return int(losses.size) if losses is not None and losses.size else last_number(tree.path)


class PearCheckpoint(TreeCheckpoint, TransmissionCheckpoint):
    """One file."""

    format = "PEAR"
    settings = SETTINGS

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.niter = _iterations(tree)
        size = ANGSTROM * float(self._read("obj_pixel_size_m", REAL))
        self.dx = self.pixel_size(size, size)

    def object_data(self) -> Any:
        """Return the transmission (slice, y, x)."""
        return self._find("object", OBJECT)

    def probe_data(self) -> Any:
        """Return the probe (mode, y, x), of one that depends on the position the mean."""
        return self.mean_probe(self._find("probe", PROBE))

    def weights(self) -> Any:
        """Return the weights (N, mode) of position-dependent probe modes, None where there is but one mode."""
        is_one = self._find("probe", PROBE).shape[0] == 1
        return (
            None if is_one or self._tree.find("opr_mode_weights") is None else self._find("opr_mode_weights", WEIGHTS)
        )

    def crop_pos(self) -> np.ndarray:
        """Return the corners nearest to the current positions, which are about the middle of the object."""
        return self.corners(self._positions("positions_px") + self.room() / 2)

    def scan(self) -> np.ndarray:
        """Return the positions (N, 2) that the run began with, in px; where they are not known, their number."""
        if self._tree.find("init_positions_px") is None:
            return np.array([len(self._positions("positions_px"))])
        return self._positions("init_positions_px")

    def shifts(self) -> np.ndarray:
        """Return the positions (N, 2) in px from the middle of the object, y first."""
        return self._positions("positions_px")

    def slice_thickness(self) -> float | None:
        """Return the mean distance of slices in Å, None for a single slice."""
        return self.mean_distance("slice_spacings_m", ANGSTROM)

    def _positions(self, name: str) -> np.ndarray:
        return self._read(name, POSITIONS).astype(np.float64)

    def _loss(self) -> Curve:
        """Return the loss of each iteration."""
        losses = self._tree.find("loss")
        return list(enumerate(self._read("loss", VALUES).tolist(), 1)) if losses is not None and losses.size else []
