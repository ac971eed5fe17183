"""Files of cdtools that `save_to_h5` wrote, under the user's own names: an HDF5 file a snapshot. Lengths are in m.

What its `checkpoint()` writes, `<stem>_<n>.pt`, is one file a job, to resume it: no series, and refused.
"""

import zipfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.checkpoints.formats.cdtools_text import MOST_TEXT, Told, told_by
from ptyconv_cli.checkpoints.formats.transmission import ANGSTROM, POSITIONS, TransmissionCheckpoint
from ptyconv_cli.checkpoints.formats.tree import (
    VALUES,
    WHOLE,
    Expected,
    Tree,
    TreeCheckpoint,
    open_tree,
    opened,
    sole_snapshot,
)
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.quantities.quantity import within_rounding
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import Curve, EngineHistories

OBJECT = Expected("c", "complex", ("slice", "y", "x"), in_parts=True)
PROBE = Expected("c", "complex", ("mode", "y", "x"), in_parts=True)
TRANSLATIONS = Expected("f", "real", ("N", "3"))
BASIS = Expected("f", "real", ("3", "2"))
PAIR = Expected("f", "real", ("2",))
FLAG = Expected("b", "yes-or-no", ())
NAMES = ("obj", "probe", "obj_basis", "translations", "state_dict", "loss_history")
"""What every file has."""

PARAMETERS = {"obja": "obj", "objp": "obj", "probe": "probe", "probe_pos_shifts": "translation_offsets"}
"""What a model calls them, by the key of the quantity."""

OF_A_JOB = (b"optimizer_state_dict", b"obj_basis", b"translations")
"""What the pickle of a file to resume a job from has in it."""


def snapshots(path: Path) -> Mapping[str, int]:
    """Return the epochs done, of a file of cdtools; nothing of any other file.

    A file to resume a job from is one, too, so that it is said why it isn't used when it is opened.
    """
    if path.suffix == ".pt":
        return {"": 0} if _resumes_a_job(path) else {}
    return sole_snapshot(path, NAMES, _epochs)


def open_checkpoint(path: Path, snapshot: str) -> Checkpoint:
    """Open a file; raise CheckpointError where that fails."""
    if path.suffix == ".pt":
        raise CheckpointError(
            f"{path}: is what cdtools resumes a job from, not one of a series: save snapshots with "
            "model.save_to_h5(f'recon_{epoch:04d}.h5', dataset)"
        )
    return opened(CdtoolsCheckpoint, open_tree(path))


def _resumes_a_job(path: Path) -> bool:
    """Say whether a file is of cdtools's `checkpoint()`, by the names in its pickle, of which nothing is loaded."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
            if len(pickles) != 1 or pickles[0].compress_type != zipfile.ZIP_STORED:
                return False
            content = archive.read(pickles[0])
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return False  # whatever else it is
    return all(name in content for name in OF_A_JOB)


def _epochs(tree: Tree) -> int:
    """Return the number of epochs done, which is recorded, or else that of the losses."""
    epoch = tree.find("epoch")
    if epoch is not None and epoch.shape == () and epoch.dtype.kind in WHOLE.kinds:
        return int(tree.read("epoch"))
    losses = tree.find("loss_history")
    return int(losses.size) if losses is not None else 0


class CdtoolsCheckpoint(TreeCheckpoint, TransmissionCheckpoint):
    """One file."""

    repeats = True

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.format = f"cdtools {tree.text('cdtools_version')}".rstrip()
        self.niter = _epochs(tree)
        self._basis = self._read("obj_basis", BASIS).astype(np.float64)
        height, width = np.sqrt((self._basis**2).sum(0)).tolist()
        self.dx = self.pixel_size(ANGSTROM * height, ANGSTROM * width)
        if abs(self._basis.T @ self._basis)[0, 1] > (1 - 1e-6) * height * width:
            raise CheckpointError(f"{self.path}: dataset obj_basis: the steps of a pixel lie in one line")

    @property
    def settings(self) -> EngineSettings:  # type: ignore[override]
        """What the arguments of the method are called with which the last epochs were made."""
        call = f"{self._told.method or 'Adam'}_optimize"
        return EngineSettings(
            rates=dict.fromkeys(PARAMETERS, f"{call}(lr=...)"),
            fixing={
                key: f"model.{name}.requires_grad = False after epoch {{niter}}" for key, name in PARAMETERS.items()
            },
            saving="model.save_to_h5 in the loop",
            iterations=f"{call}(iterations=...)",
        )

    def object_data(self) -> Any:
        """Return the transmission, (slice, y, x) or (y, x); where T is stored, it is exp(iT)."""
        found = self._tree.find("obj")
        axes = OBJECT.axes[1:] if found is not None and found.ndim == 2 else OBJECT.axes
        stored = self._find("obj", OBJECT._replace(axes=axes))
        flag = "state_dict/exponentiate_obj"
        is_exponent = self._tree.find(flag) is not None and bool(self._read(flag, FLAG))
        return Exponential(stored) if is_exponent else stored

    def probe_data(self) -> Any:
        """Return the probe (mode, y, x)."""
        return self._find("probe", PROBE)

    def crop_pos(self) -> np.ndarray:
        """Return the corners nearest to the current positions."""
        return self.corners(self.shifts() - self._read("state_dict/min_translation", PAIR))

    def scan(self) -> np.ndarray:
        """Return the positions (N, 3) that were given, in m; where they are not known, their number."""
        if self._tree.find("original_translations") is None:
            return np.array([len(self._read("translations", TRANSLATIONS))])
        return self._read("original_translations", TRANSLATIONS)

    def object_corner(self) -> tuple[float, float] | None:
        """Return where pixel (0, 0) is: positions are counted from there."""
        y, x = self._read("state_dict/min_translation", PAIR).tolist()
        return float(y), float(x)

    def shifts(self) -> np.ndarray:
        """Return the current positions (N, 2) in px, y first."""
        translations = self._read("translations", TRANSLATIONS).astype(np.float64)
        with self.explained("obj_basis"):
            return np.asarray(translations @ np.linalg.pinv(self._basis).T)

    def histories(self) -> EngineHistories:
        """Return the loss, and the learning rates where the file tells those of all its epochs."""
        rates = {key: self._told.rates_of(name) for key, name in PARAMETERS.items()}
        known = len(self._told.rates) == self.niter > 0
        held = {key for key in PARAMETERS if key != POSITIONS or self._moved()} if known else set()
        return EngineHistories(loss=self.loss(), learning_rates={key: rates[key] for key in rates if key in held})

    def facts_on_loss(self) -> dict[str, str]:
        """Return the name of the loss function."""
        return {"loss function": self._tree.text("loss_function")}

    @cached_property
    def _told(self) -> Told:
        with suppress(CheckpointError):
            return told_by(self._tree.text("training_history", MOST_TEXT + 1))
        return Told()

    def _moved(self) -> bool:
        """Say whether positions are not those that were given, and so are refined; False where that is not known."""
        with suppress(CheckpointError):
            if self._tree.find("original_translations") is None:
                return False
            now = self._read("translations", TRANSLATIONS).astype(np.float64)
            given = self._read("original_translations", TRANSLATIONS).astype(np.float64)
            # Rounded a few times: what is given in m is turned into px, and what comes of it into m again.
            return now.shape == given.shape and not within_rounding((now - given).flat, 4 * np.abs(given).max())
        return False

    def _loss(self) -> Curve:
        """Return the loss of each epoch."""
        return list(enumerate(self._read("loss_history", VALUES).tolist(), 1))


class Exponential:
    """A transmission exp(iT), of which T is stored; nothing is read before it is indexed."""

    def __init__(self, stored: Any) -> None:
        self._stored = stored
        self.shape, self.dtype = tuple(stored.shape), stored.dtype

    def __getitem__(self, index: tuple[Any, ...] | EllipsisType) -> np.ndarray:
        """Read what an index selects."""
        return np.asarray(np.exp(1j * np.asarray(self._stored[index], np.complex128)))
