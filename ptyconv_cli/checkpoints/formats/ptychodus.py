"""Products of ptychodus, which holds the results of pty-chi: `product.NNNNNN.h5`, an HDF5 file a snapshot.

The last one is there twice, as `product.h5`. Lengths are in m.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.checkpoints.formats.transmission import ANGSTROM, TransmissionCheckpoint
from ptyconv_cli.checkpoints.formats.tree import (
    ITERATIONS,
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
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import Curve

OBJECT = Expected("c", "complex", ("slice", "y", "x"), in_parts=True)
PROBE = Expected("c", "complex", ("OPR mode", "mode", "y", "x"), in_parts=True)
WEIGHTS = Expected("fiu", "real", ("N", "OPR mode"))
POSITIONS = Expected("f", "real", ("N",))
NAMES = ("object", "probe", "probe_position_x_m", "probe_position_y_m", "loss_values")
"""What every product has."""

_OPTIONS = {
    **dict.fromkeys(("obja", "objp"), "object_options"),
    "probe": "probe_options",
    "probe_pos_shifts": "probe_position_options",
    "probe_weights": "opr_mode_weight_options",
    "thickness": "object_options.slice_spacing_options",
}
"""Of pty-chi's task, by the key of the quantity that they are about."""

SETTINGS = EngineSettings(
    rate_word="step size",
    rates={key: f"{options}.step_size" for key, options in _OPTIONS.items()}
    | {"probe_weights": "opr_mode_weight_options.update_relaxation"},
    fixing={key: f"{options}.optimization_plan.stop = {{niter}}" for key, options in _OPTIONS.items()},
    saving="--num-sync-epochs",
    iterations="reconstructor_options.num_epochs",
)
"""A product does not say which algorithm made it: DM and RAAR heed no step size of the object and the probe."""


def snapshots(path: Path) -> Mapping[str, int]:
    """Return the epochs done, of a product; nothing of any other file."""
    return sole_snapshot(path, NAMES, _epochs)


def open_checkpoint(path: Path, snapshot: str) -> Checkpoint:
    """Open a product; raise CheckpointError where that fails."""
    return opened(PtychodusCheckpoint, open_tree(path))


def _epochs(tree: Tree) -> int:
    """Return the number of epochs done, which is that of the losses, or else in the name."""
    losses, epochs = tree.find("loss_values"), tree.find("loss_epochs")
    known = losses is not None and losses.size and (epochs is None or epochs.size == losses.size)
    return int(losses.size) if known else last_number(tree.path)


class PtychodusCheckpoint(TreeCheckpoint, TransmissionCheckpoint):
    """One product."""

    format = "ptychodus"
    repeats = True
    settings = SETTINGS

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.niter = _epochs(tree)
        height, width = (float(self._read(f"object/pixel_{side}_m", REAL)) for side in ("height", "width"))
        self.dx = self.pixel_size(ANGSTROM * height, ANGSTROM * width)
        self._pixel = np.array([height, width])

    def object_data(self) -> Any:
        """Return the transmission (slice, y, x)."""
        return self._find("object", OBJECT)

    def probe_data(self) -> Any:
        """Return the probe (mode, y, x), of one that depends on the position the mean."""
        return self.mean_probe(self._find("probe", PROBE))

    def weights(self) -> Any:
        """Return the weights (N, mode) of position-dependent probe modes, None where there is but one mode."""
        has_none = self._find("probe", PROBE).shape[0] == 1 or self._tree.find("opr_weights") is None
        return None if has_none else self._find("opr_weights", WEIGHTS)

    def crop_pos(self) -> np.ndarray:
        """Return the corners nearest to the current positions, which are about the middle of the object."""
        return self.corners(self._positions() - self._middle() + self.room() / 2)

    def scan(self) -> np.ndarray:
        """Return the number of positions, for all of them may be refined."""
        return np.array([len(self._positions())])

    def object_corner(self) -> tuple[float, float] | None:
        """Return where pixel (0, 0) is, by the middle of the object and its size."""
        y, x = self._middle() - np.array(self._find("object", OBJECT).shape[-2:]) / 2
        return float(y), float(x)

    def shifts(self) -> np.ndarray:
        """Return the positions (N, 2) in px, y first, from where the scan has 0, for the object's middle may move."""
        return self._positions()

    def slice_thickness(self) -> float | None:
        """Return the mean distance of slices in Å, None for a single slice."""
        return self.mean_distance("object_layer_spacing_m", ANGSTROM)

    def _positions(self) -> np.ndarray:
        """Read the positions (N, 2) in px, y first."""
        y, x = (self._read(f"probe_position_{axis}_m", POSITIONS).astype(np.float64) for axis in "yx")
        if y.shape != x.shape:
            raise CheckpointError(f"{self.path}: there are {len(y)} scan positions in y, and {len(x)} in x")
        return np.asarray(np.stack([y, x], 1) / self._pixel)

    def _middle(self) -> np.ndarray:
        """Read where the middle of the object (y, x) is, in px."""
        middle = [float(self._read(f"object/center_{axis}_m", REAL)) for axis in "yx"]
        return np.asarray(np.array(middle) / self._pixel)

    def _loss(self) -> Curve:
        """Return the loss of each epoch."""
        losses = self._tree.find("loss_values")
        if losses is None or not losses.size:
            return []
        return self._pairs("loss_values", self._read("loss_epochs", ITERATIONS) + 1, self._read("loss_values", VALUES))
