"""One interface to checkpoint files of every format. To add a format, begin here and in `readers`; docs/formats.md."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.quantities import quantity_of, tensor_keys
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import Curve, EngineHistories
from ptyconv_cli.results.run_analysis import Region
from ptyconv_cli.results.text import MOST_SHOWN, shortened


class Origin(NamedTuple):
    """Where a checkpoint comes from; "" for what its file doesn't say.

    `identity`: its own unique id; `parent`: the id of the checkpoint from which the run took its object;
    `parent_file`: that checkpoint's file, as the engine was given it.
    """

    identity: str = ""
    parent: str = ""
    parent_file: str = ""


class Checkpoint(ABC):
    """One open checkpoint file. A reader subclasses it, sets the attributes and defines `crop_pos` and `tensor`.

    - `path`; `format`: what wrote it, in a few words; `niter`: the iteration in the file.
    - `dx`: the object's pixel size in Å.
    - `precision`: the type of real numbers, float32 or float64.
    - `phase_wraps`: whether the object's phase is known only up to full turns, as that of complex numbers.
    - `has_all`: whether every file of this format has all tensors, so that one that lacks some is damaged.
    - `lacking`: why the file has no such tensor, by name, where that is as it should be: {"obja": "the object is a real
      potential"}.
    - `windows_may_exceed`: whether probe windows may reach beyond the object, which then wraps around, or is padded.
    - `stores_fixed_positions`: whether the file has scan positions, or probe weights, also where the run does not
      refine them: such that are the same in all checkpoints are then no series.
    - `repeats`: whether the engine itself may write an iteration twice, so that a copy is no matter.
    - `knows_positions`: whether `crop_pos` is from scan positions, and not from the shapes alone: the scanned region is
      then that of the first checkpoint that knows them.
    - `began`: the iteration after which the present settings began, for engines that change them within a run.
    - `settings`: what the engine's settings are called, for advice.
    - `remarks`: sentences on the file that the user should read.

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
    has_all = False
    lacking: Mapping[str, str] = MappingProxyType({})
    windows_may_exceed = False
    stores_fixed_positions = False
    repeats = False
    knows_positions = True
    began = 0
    settings = EngineSettings()

    @abstractmethod
    def crop_pos(self) -> np.ndarray:
        """Return the top-left corners [y, x] of the probe windows in object pixels, whole numbers (N, 2).

        Where nothing is known of positions: the corners of the first and the last window that the object has room for.
        """

    @abstractmethod
    def tensor(self, name: str) -> Any:
        """Return one of `quantities.tensors`, None where the file has no such tensor.

        An array, or anything with a `shape` that is indexed like one, such as an HDF5 dataset that is read only when it
        is indexed. `obja`: amplitude, and `objp`: phase in rad, both (omode, slice, y, x). `probe`: complex
        (pmode, y, x), of position-dependent ones the mean. Scan positions: (N, 2) in px, y first, the distance of each
        from its initial one or from its corner. Others: see `quantities`.
        """

    def scan(self) -> np.ndarray:
        """Return numbers that are the same in all checkpoints of a run, to tell scans apart; default `crop_pos`."""
        return self.crop_pos()

    def object_corner(self) -> tuple[float, float] | None:
        """Return where pixel (0, 0) of the object (y, x) is, in px from where positions have 0; None if not known."""
        return None

    def slice_thickness(self) -> float | None:
        """Return the slice thickness in Å, None where the file has none."""
        return None

    def object_tilt(self) -> tuple[float, float] | None:
        """Return the object tilt (y, x) in mrad, averaged over positions, None where the file has none."""
        return None

    def loss(self) -> Curve:
        """Return the run's loss up to this checkpoint, as much of it as the file has; empty where it has none.

        Where two files give one for the same iteration, it is the same, or they are of different runs.
        """
        return []

    def loss_of(self) -> dict[str, str]:
        """Return what the loss is of, by name, as far as the file tells: see `EngineHistories`. Long texts are cut."""
        found = {"engine": self.format.split(" ")[0], **self.facts_on_loss()}
        return {name: shortened(value, MOST_SHOWN) for name, value in found.items() if value}

    def facts_on_loss(self) -> dict[str, str]:
        """Return what else than the engine the loss is of, as the file says it; "" of what it does not say."""
        return {}

    def histories(self) -> EngineHistories:
        """Return what the engine recorded up to this checkpoint; empty where it recorded nothing."""
        return EngineHistories(loss=self.loss())

    def origin(self) -> Origin:
        """Return where the checkpoint comes from: its id, and that of the checkpoint its run was resumed from."""
        return Origin()

    def close(self) -> None:  # noqa: B027 - not every reader keeps a file open
        """Close the file; arrays that were read stay valid."""

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor without reading it, None where the file has no such tensor."""
        found = self.tensor(name)
        return None if found is None else tuple(found.shape)

    def shapes(self, wanted: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors that the file holds, by name.

        What is wrong with one that is not among the `wanted` is no matter: it is not named then.
        """
        found = {}
        for name in tensor_keys():
            try:
                shape = self.shape_of(name)
                if shape is not None:
                    found[name] = self._checked(name, shape)
            except CheckpointError as error:
                if name in wanted:
                    raise
                if quantity_of(name).is_optional:
                    self.remarks.append(f"{error}. It is not followed.")
            except KeyError:  # another package's reader need not know of it
                if name in wanted or not quantity_of(name).is_optional:
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
        """Read a tensor that the file has, of the object only the region, in this checkpoint's precision.

        `into`: an array of that shape and type, which is filled and returned.
        """
        part = self.tensor(name)[region.slices if quantity_of(name).is_object else ...]
        if into is None:
            into = np.empty(np.shape(part), self.kind_of(name))
        into[...] = part
        return into

    def kind_of(self, name: str) -> np.dtype[Any]:
        """Return the type that a tensor is read as."""
        return (
            np.result_type(self.precision, np.complex64) if quantity_of(name).is_complex else np.dtype(self.precision)
        )

    def _checked(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        axes = quantity_of(name).axes
        if len(shape) != len(axes) or 0 in shape or (axes[-1] == "2" and shape[-1] != 2):
            raise CheckpointError(f"{self.path}: {name}: expected ({', '.join(axes)}), found {shape}")
        return shape

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
