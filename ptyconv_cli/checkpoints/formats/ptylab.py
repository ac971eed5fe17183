"""Files of PtyLab that `saveResults` wrote, under the user's own names: an HDF5 file a snapshot. Lengths are in m.

Those of Fourier ptychography have no scan positions, and are none of these.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.checkpoints.formats.transmission import ANGSTROM, POSITIONS, TransmissionCheckpoint, View
from ptyconv_cli.checkpoints.formats.tree import (
    REAL,
    VALUES,
    Expected,
    Tree,
    TreeCheckpoint,
    open_tree,
    opened,
    sole_snapshot,
)
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import Curve

OBJECT = Expected("c", "complex", ("wavelength", "omode", "1", "slice", "y", "x"), in_parts=True)
PROBE = Expected("c", "complex", ("wavelength", "1", "mode", "slice", "y", "x"), in_parts=True)
ENCODER = Expected("f", "real", ("N", "2"))
NAMES = ("object", "probe", "error", "zo", "dxp", "encoder_corrected", "purityProbe")
"""What every file of conventional ptychography has."""

ALL = slice(None)
OF_OBJECT, OF_PROBE = (0, ALL, 0, ALL), (0, 0, ALL, 0)
"""What is followed of the first four axes: the first wavelength, and of a probe what lights the first slice."""

DIGITS = 6
"""Of the pixel size: it is stored in single precision, and the last digit is another one after `load`."""

SETTINGS = EngineSettings(
    rate_word="step size",
    rates={"obja": "engine.betaObject", "objp": "engine.betaObject", "probe": "engine.betaProbe"},
    fixing={POSITIONS: "params.positionCorrectionSwitch = False after {niter} iterations"},
    saving="reconstruction.saveResults in a loop",
    iterations="engine.numIterations",
)


def snapshots(path: Path) -> Mapping[str, int]:
    """Return the iterations done, of a file of PtyLab; nothing of any other file."""
    return sole_snapshot(path, NAMES, _iterations)


def open_checkpoint(path: Path, snapshot: str) -> Checkpoint:
    """Open a file; raise CheckpointError where that fails."""
    return opened(PtylabCheckpoint, open_tree(path))


def _iterations(tree: Tree) -> int:
    """Return the number of iterations done, which is that of the errors; raise CheckpointError where there is none.

    PtyLab has errors from the first iteration on, and saves no whole file before.
    """
    errors = tree.find("error")
    if errors is None or not errors.size or len(errors.shape) != 1 or errors.dtype.kind != "f":
        raise CheckpointError(f"{tree.path}: dataset error: expected {VALUES}")
    return int(errors.size)


class PtylabCheckpoint(TreeCheckpoint, TransmissionCheckpoint):
    """One file. Of several wavelengths the first is followed."""

    format = "PtyLab"
    repeats = True
    settings = SETTINGS

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.niter = _iterations(tree)
        self._pixel = float(self._read("dxp", REAL))
        size = self.pixel_size(ANGSTROM * self._pixel, ANGSTROM * self._pixel)
        self.dx = float(f"{size:.{DIGITS}g}")
        wavelengths = self._find("object", OBJECT).shape[0]
        if wavelengths > 1:
            self.remarks.append(
                f"The files hold an object and a probe for each of {wavelengths} wavelengths: those of the first are "
                "followed."
            )

    def object_data(self) -> Any:
        """Return the transmission (omode, slice, y, x)."""
        return View(self._find("object", OBJECT), OF_OBJECT)

    def probe_data(self) -> Any:
        """Return the probe (mode, y, x)."""
        return View(self._find("probe", PROBE), OF_PROBE)

    def crop_pos(self) -> np.ndarray:
        """Return the corners of the windows that PtyLab takes: positions are about the object's middle pixel.

        It rounds halves to even numbers.
        """
        middle = np.array((self.shape_of("objp") or (0, 0))[-2:]) // 2 - np.array(self.probe_shape()) // 2
        return self.corners(np.round(self._encoder() / self._pixel) + middle)

    def scan(self) -> np.ndarray:
        """Return the number of positions, for all of them may be refined."""
        return np.array([len(self._encoder())])

    def shifts(self) -> np.ndarray:
        """Return the current positions (N, 2) in px, y first."""
        return np.asarray(ANGSTROM * self._encoder() / self.dx)

    def _encoder(self) -> np.ndarray:
        return self._read("encoder_corrected", ENCODER).astype(np.float64)

    def _loss(self) -> Curve:
        """Return the error of each iteration, a sum over the patterns."""
        return list(enumerate(self._read("error", VALUES).tolist(), 1))
