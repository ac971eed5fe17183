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
from ptyconv_cli.checkpoints.formats.cdtools_text import MOST_HISTORY, Told, told_by
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
from ptyconv_cli.results.text import MOST_SHOWN, shortened

OBJECT = Expected("c", "complex", ("slice", "y", "x"), in_parts=True)
PROBE = Expected("c", "complex", ("mode", "y", "x"), in_parts=True)
TRANSLATIONS = Expected("f", "real", ("N", "3"))
BASIS = Expected("f", "real", ("3", "2"))
PAIR = Expected("f", "real", ("2",))
FLAG = Expected("b", "yes-or-no", ())
BACKGROUND = Expected("f", "real", ("y", "x"))
HAS_MODES = "FancyPtycho"
"""The model whose object may have several modes."""

HAVE_SLICES = "Multislice"
"""What the names of models begin with whose object has slices."""

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
        model = tree.text("model_class")
        self.modes_first = model == HAS_MODES  # of whose object there may be several, of the others slices
        if self._object().ndim == 3 and not (self.modes_first or model.startswith(HAVE_SLICES)):
            called = f"a model {shortened(model, MOST_SHOWN)!r}" if model else "a model that is not named"
            raise CheckpointError(
                f"{self.path}: is of {called}, and has an object of several planes: what they are is not known"
            )

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
        """Return the transmission, (mode or slice, y, x) or (y, x); where T is stored, it is exp(iT)."""
        stored = self._object()
        if not self._is_so("exponentiate_obj"):
            return stored
        return Exponential(stored, self._is_so("phase_only"))

    def _object(self) -> Any:
        found = self._tree.find("obj")
        axes = OBJECT.axes[1:] if found is not None and found.ndim == 2 else OBJECT.axes
        return self._find("obj", OBJECT._replace(axes=axes))

    def _is_so(self, flag: str) -> bool:
        """Say whether an option of the model is on."""
        name = f"state_dict/{flag}"
        return self._tree.find(name) is not None and bool(self._read(name, FLAG))

    def probe_data(self) -> Any:
        """Return the probe (mode, y, x) as it lights the object, whose pixels may be smaller than its own."""
        stored = self._find("probe", PROBE)
        shape, in_fourier_space = tuple(stored.shape[-2:]), self._is_so("fourier_probe")
        if self._tree.find("background") is not None:
            oversampling = 1 if self._tree.find("oversampling") is None else int(self._read("oversampling", WHOLE))
            height, width = (oversampling * size for size in self._find("background", BACKGROUND).shape)
            if height < shape[0] or width < shape[1]:
                raise CheckpointError(
                    f"{self.path}: dataset probe: {shape} is larger than a pattern, {(height, width)}"
                )
            shape = height, width
        is_as_it_is = shape == tuple(stored.shape[-2:]) and not in_fourier_space
        return stored if is_as_it_is else OfFourierSpace(stored, shape, in_fourier_space)

    def crop_pos(self) -> np.ndarray:
        """Return the corners nearest to the current positions."""
        found = self.corners(self.shifts() - self._read("state_dict/min_translation", PAIR))
        if (np.ptp(found, 0) > self.room() + 0.1 * np.array(self.probe_shape()) + 1).any():
            raise CheckpointError(
                f"{self.path}: the scan is larger than the object: its model has options that are not read here, "
                "as one that gives the object larger pixels"
            )
        return found

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
            return told_by(self._tree.text("training_history", MOST_HISTORY + 1))
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


class OfFourierSpace:
    """A probe (mode, y, x) with the pixels of the object: there may be fewer in it, as of one cut in Fourier space.

    `in_fourier_space`: whether that is what is stored, its middle in the middle. Nothing is read before it is indexed.
    """

    def __init__(self, stored: Any, shape: tuple[int, int], in_fourier_space: bool) -> None:
        self._stored, self._is_there = stored, in_fourier_space
        self.shape, self.dtype = (stored.shape[0], *shape), stored.dtype

    def __getitem__(self, index: EllipsisType) -> np.ndarray:
        """Read all of it."""
        axes, wave = (-2, -1), np.asarray(self._stored[index], np.complex128)
        if not self._is_there:
            wave = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(wave, axes), norm="ortho"), axes)
        lacking = [size - there for size, there in zip(self.shape[1:], wave.shape[1:], strict=True)]
        wave = np.pad(wave, [(0, 0), *((count // 2, count - count // 2) for count in lacking)])
        return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(wave, axes), norm="ortho"), axes)


class Exponential:
    """A transmission exp(iT), of which T is stored; nothing is read before it is indexed.

    `phase_only`: whether T counts as real.
    """

    def __init__(self, stored: Any, phase_only: bool = False) -> None:
        self._stored, self._phase_only = stored, phase_only
        self.shape, self.dtype = tuple(stored.shape), stored.dtype

    def __getitem__(self, index: tuple[Any, ...] | EllipsisType) -> np.ndarray:
        """Read what an index selects."""
        stored = np.asarray(self._stored[index], np.complex128)
        return np.asarray(np.exp(1j * (stored.real if self._phase_only else stored)))
