"""What a reader makes of a checkpoint file, whatever its format. To add a format, begin here and in `readers`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.history import Curve, EngineHistories
from ptyconv_cli.results.region import Region
from ptyconv_cli.results.series import OF_OBJECT, TENSORS

AXES = {
    "obja": ("omode", "slice", "y", "x"),
    "objp": ("omode", "slice", "y", "x"),
    "probe": ("pmode", "y", "x"),
    "probe_pos_shifts": ("N", "2"),
}


class Origin(NamedTuple):
    """Where a checkpoint comes from, "" for what it doesn't say.

    `identity`: its own; `parent`: that of the checkpoint from which the run took its object, `parent_file`: that
    checkpoint's file, as the engine was given it.
    """

    identity: str = ""
    parent: str = ""
    parent_file: str = ""


class Checkpoint(ABC):
    """One checkpoint file. A reader has a class of its own, which sets what is not set here, and defines two methods.

    `path`; `format`: what wrote it, in a few words; `niter`: the iteration in it; `dx`: the object's pixel size in Å.
    `precision`: the type that real numbers are kept in, float32 or float64. `phase_wraps`: whether the object's phase
    is known only up to full turns, as of complex numbers. `began`: the iteration after which the settings began that
    hold here, where an engine can change them within a run. `remarks`: what a user should hear of the file.

    Every access may raise CheckpointError, where the file lacks what is asked for or holds something else. Close it, or
    use it in a `with` statement.
    """

    path: Path
    format: str
    niter: int
    dx: float
    remarks: list[str]
    precision: type[np.floating[Any]] = np.float32
    phase_wraps = False
    began = 0

    @abstractmethod
    def crop_pos(self) -> np.ndarray:
        """Return the top-left corners [y, x] of the probe windows in object pixels, whole numbers (N, 2)."""

    @abstractmethod
    def tensor(self, name: str) -> Any:
        """Return one of `results.series.TENSORS`, None where the file has none of this name.

        It needs a `shape`, and to be indexed as numpy's arrays are; it need not be read yet. `obja` amplitude and
        `objp` phase in rad, both (omode, slice, y, x); `probe` complex (pmode, y, x); `probe_pos_shifts` in px (N, 2),
        y first: how far each position is from where it began, or from its corner.
        """

    def scan(self) -> np.ndarray:
        """Return what the positions of one run have in common, by which those of another scan are told apart."""
        return self.crop_pos()

    def slice_thickness(self) -> float | None:
        """Return this checkpoint's slice thickness in Å, None where it holds none."""
        return None

    def object_tilt(self) -> tuple[float, float] | None:
        """Return this checkpoint's object tilt (y, x) in mrad, the mean over positions, None where it holds none."""
        return None

    def loss(self) -> Curve:
        """Return the run's loss from its first iteration up to this checkpoint, empty where it holds none."""
        return []

    def histories(self) -> EngineHistories:
        """Return what the engine recorded up to this checkpoint; what it didn't record is empty."""
        return EngineHistories(loss=self.loss())

    def origin(self) -> Origin:
        """Return where the checkpoint comes from."""
        return Origin()

    def close(self) -> None:  # noqa: B027 - not every reader keeps a file open
        """Let go of the file; what was read stays valid."""

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor, None where there is none of this name; reads nothing of it."""
        found = self.tensor(name)
        return None if found is None else tuple(found.shape)

    def shapes(self, wanted: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors that the file holds, by name.

        What is wrong with one that is not among the `wanted` is no matter: it is not named then.
        """
        found = {}
        for name in TENSORS:
            try:
                shape = self.shape_of(name)
                if shape is not None:
                    found[name] = self._checked(name, shape)
            except CheckpointError:
                if name in wanted:
                    raise
        return found

    def probe_shape(self) -> tuple[int, int]:
        """Return the shape (y, x) of the probe in px."""
        shape = self.shape_of("probe")
        if shape is None:
            raise CheckpointError(f"{self.path}: has no probe, whose size says which region was scanned")
        height, width = self._checked("probe", shape)[-2:]
        return height, width

    def read(self, name: str, region: Region, into: np.ndarray | None = None) -> np.ndarray:
        """Return a tensor that the file has, of the object only the region, in this checkpoint's precision.

        `into`: an array of that shape and type, which is filled and returned.
        """
        part = self.tensor(name)[region.slices if name in OF_OBJECT else ...]
        if into is None:
            into = np.empty(np.shape(part), self.kind_of(name))
        into[...] = part
        return into

    def kind_of(self, name: str) -> np.dtype[Any]:
        """Return the type that a tensor is read as."""
        return np.result_type(self.precision, np.complex64) if name == "probe" else np.dtype(self.precision)

    def _checked(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        axes = AXES[name]
        if len(shape) != len(axes) or 0 in shape or (axes[-1] == "2" and shape[-1] != 2):
            raise CheckpointError(f"{self.path}: {name}: expected ({', '.join(axes)}), found {shape}")
        return shape

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
