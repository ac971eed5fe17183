"""The layout of PtyRAD 0.1.0b5 to 1.0: which names hold what, in an HDF5 file and in a `.pt` file alike."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.history import Curve, EngineHistories
from ptyconv_cli.region import Region
from ptyconv_cli.series import OF_OBJECT


class Tree(Protocol):
    """A file as a tree of named arrays: `hdf5.Hdf5Tree` and `pt.PtTree` say what the methods do."""

    path: Path
    remarks: list[str]

    def close(self) -> None: ...  # noqa: D102
    def children(self, name: str) -> list[str]: ...  # noqa: D102
    def find(self, name: str) -> Any: ...  # noqa: D102
    def read(self, name: str) -> np.ndarray: ...  # noqa: D102
    def read_into(self, name: str, target: np.ndarray, index: Any) -> None: ...  # noqa: D102


class Expected(NamedTuple):
    """What a dataset must be: the kinds of its numbers (numpy's letters), how people call them, and its axes."""

    kinds: str
    called: str
    axes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.called} ({', '.join(self.axes)})" if self.axes else f"one {self.called} number"


OBJECT = Expected("f", "real", ("omode", "slice", "y", "x"))
PROBE = Expected("c", "complex", ("pmode", "y", "x"))
SHIFTS = Expected("f", "real", ("N", "2"))
TILTS = Expected("fiu", "real", ("N", "2"))
CORNERS = Expected("iu", "integer", ("N", "2"))
WHOLE = Expected("iu", "integer", ())
REAL = Expected("fiu", "real", ())
CURVE = Expected("fiu", "real", ("n", "2"))
ITERATIONS = Expected("iu", "integer", ("n",))
VALUES = Expected("fiu", "real", ("n",))

MOST_NUMBERS = 1 << 24
"""More are in no list of positions and no history; a small file can claim any number, packed or repeated."""

T = TypeVar("T")

TENSORS = {"obja": OBJECT, "objp": OBJECT, "probe_pos_shifts": SHIFTS, "probe": PROBE}

READ_IN_PARTS = tuple(f"optimizable_tensors/{name}" for name in OF_OBJECT)


class Checkpoint:
    """One checkpoint file. `niter` is the iteration in it; `dx` in Å.

    Of its tensors only what is asked for is read. Close it, or use it in a `with` statement.

    Making one, and every access, raises CheckpointError where the file lacks what is asked for or holds something
    else. Only what is there to be shown, and not needed for the changes, is left out with a remark in `remarks`.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.path = tree.path
        self.niter = int(self._read("niter", WHOLE))
        self.dx = float(self._read("model_attributes/dx", REAL))
        if not 0 < self.dx < math.inf:
            raise CheckpointError(f"{self.path}: the pixel size model_attributes/dx is {self.dx:g} Å")
        self.remarks = list(tree.remarks)

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self._tree.close()

    def crop_pos(self) -> np.ndarray:
        """Return the top-left corners [y, x] of the probe windows, int64 (N, 2) in px."""
        corners = self._read("model_attributes/crop_pos", CORNERS)
        if corners.min() < 0 or corners.max() > MOST_NUMBERS:
            raise CheckpointError(f"{self.path}: dataset model_attributes/crop_pos: windows lie outside any object")
        return corners.astype(np.int64)

    def shapes(self, tensors: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors that the file holds, by name; reads none of them.

        What is wrong with one that is not among the `tensors` asked for is no matter: it is not named then.
        """
        found = {}
        for name in TENSORS:
            try:
                if self._tree.find(f"optimizable_tensors/{name}") is not None:
                    found[name] = self.shape_of(name)
            except CheckpointError:
                if name in tensors:
                    raise
        return found

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return the shape of one of the tensors that can be tracked."""
        return tuple(self._find(f"optimizable_tensors/{name}", TENSORS[name]).shape)

    def probe_shape(self) -> tuple[int, int]:
        """Return the shape (y, x) of the probe in px; reads nothing of it."""
        height, width = self.shape_of("probe")[-2:]
        return height, width

    def slice_thickness(self) -> float | None:
        """Return this checkpoint's slice thickness in Å, None where it holds none."""
        return self._shown(lambda: self._thickness("optimizable_tensors/slice_thickness"), None)

    def object_tilt(self) -> tuple[float, float] | None:
        """Return this checkpoint's object tilt (y, x) in mrad, the mean over positions, None where it holds none."""
        return self._shown(lambda: self._mean_tilt("optimizable_tensors/obj_tilts"), None)

    def loss(self) -> Curve:
        """Return the run's loss up to this checkpoint, empty where it holds none."""
        no_loss: Curve = []
        return self._shown(lambda: self._curve("loss_iters"), no_loss)

    def histories(self) -> EngineHistories:
        """Return what the engine recorded up to this checkpoint; what its version didn't record is empty."""
        no_tilts: dict[str, Curve] = {}
        tilts = self._shown(lambda: self._curves_beside_niter("avg_tilt_iters", ("tilt_y", "tilt_x")), no_tilts)
        return EngineHistories(
            loss=self.loss(),
            learning_rates=self._shown(lambda: self._curves_beside_niter("lr_iters"), {}),
            tilts={name.removeprefix("tilt_"): curve for name, curve in tilts.items()},
            slice_thickness=self._shown(lambda: self._curve("dz_iters"), []),
            convergence=self._shown(self._live_record, {}),
            optimised=self._shown(self._optimised, {}),
            live_percentiles=self._shown(self._live_percentiles, None),
        )

    def read(self, name: str, region: Region, into: np.ndarray | None = None) -> np.ndarray:
        """Return a tensor as it is in the file, of the object only the region: float32, or complex64 for the probe.

        `into`: an array of that shape and type, which is filled and returned.
        """
        path, expected = f"optimizable_tensors/{name}", TENSORS[name]
        shape, index = tuple(self._find(path, expected).shape), (...,)
        if name in OF_OBJECT:
            shape, index = region.shape_in(shape), region.slices
        if into is None:
            into = np.empty(shape, np.complex64 if expected is PROBE else np.float32)
        self._tree.read_into(path, into, index)
        return into

    def _read(self, name: str, expected: Expected) -> np.ndarray:
        self._find(name, expected)
        return self._tree.read(name)

    def _find(self, name: str, expected: Expected) -> Any:
        """Return an array unread, or raise CheckpointError unless it is what is expected."""
        array = self._tree.find(name)
        if array is None:
            raise CheckpointError(f"{self.path}: has no dataset {name} (expected {expected})")
        fits = array.ndim == len(expected.axes) and array.dtype.kind in expected.kinds and array.size
        if name not in READ_IN_PARTS and array.size > MOST_NUMBERS:
            raise CheckpointError(f"{self.path}: dataset {name}: {tuple(array.shape)} is more than any run needs")
        if not fits or (expected.axes[-1:] == ("2",) and array.shape[-1] != 2):
            found = f"{array.dtype} {tuple(array.shape)}"
            raise CheckpointError(f"{self.path}: dataset {name}: expected {expected}, found {found}")
        return array

    def _shown(self, read: Callable[[], T], otherwise: T) -> T:
        """Read what is only there to be shown: where that fails, the changes are still worth computing."""
        try:
            return read()
        except CheckpointError as error:
            self.remarks.append(f"{error}. It is left out.")
            return otherwise

    def _thickness(self, name: str) -> float | None:
        return None if self._tree.find(name) is None else float(self._read(name, REAL))

    def _mean_tilt(self, name: str) -> tuple[float, float] | None:
        if self._tree.find(name) is None:
            return None
        tilt_y, tilt_x = self._read(name, TILTS).mean(0)
        return float(tilt_y), float(tilt_x)

    def _live_record(self) -> dict[str, Curve]:
        curves = {key: self._curve(f"convergence_iters/{key}") for key in self._tree.children("convergence_iters")}
        return {key: curve for key, curve in curves.items() if curve}

    def _optimised(self) -> dict[str, tuple[int | None, int | None]]:
        names = [name for name in TENSORS if name in self._tree.children("model_attributes/start_iter")]
        return {name: (self._iteration(f"start_iter/{name}"), self._iteration(f"end_iter/{name}")) for name in names}

    def _iteration(self, name: str) -> int | None:
        name = f"model_attributes/{name}"
        if self._tree.find(name) is None:
            return None
        value = float(self._read(name, REAL))
        if not value.is_integer():
            raise CheckpointError(f"{self.path}: dataset {name}: expected an iteration, found {value}")
        return int(value)

    def _live_percentiles(self) -> tuple[float, float] | None:
        name = "params/recon_params/convergence_monitor/percentile_range"
        if self._tree.find(name) is None:
            return None
        percentiles = self._read(name, VALUES)
        if len(percentiles) != 2 or not np.isfinite(percentiles).all():
            raise CheckpointError(f"{self.path}: dataset {name}: expected two numbers")
        return float(percentiles[0]), float(percentiles[1])

    def _curve(self, name: str) -> Curve:
        array = self._tree.find(name)
        if array is None or array.size == 0:
            return []
        niters, values = self._read(name, CURVE).T
        return self._pairs(name, niters, values)

    def _curves_beside_niter(self, group: str, wanted: tuple[str, ...] | None = None) -> dict[str, Curve]:
        """Read curves from a group that holds the iterations once, as `niter`: all of them, or the wanted ones."""
        names = self._tree.children(group) if wanted is None else wanted
        held = [name for name in names if name != "niter" and self._tree.find(f"{group}/{name}") is not None]
        if not held:
            return {}
        niters = self._read(f"{group}/niter", ITERATIONS)
        return {name: self._pairs(f"{group}/{name}", niters, self._read(f"{group}/{name}", VALUES)) for name in held}

    def _pairs(self, name: str, niters: np.ndarray, values: np.ndarray) -> Curve:
        niters = niters.astype(np.float64)  # whose differences are right, as those of unsigned numbers are not
        whole = np.isfinite(niters).all() and (niters == np.floor(niters)).all()
        if len(niters) != len(values) or not whole or (np.diff(niters) <= 0).any():
            expected = "one value for each iteration, in rising order"
            raise CheckpointError(f"{self.path}: dataset {name}: expected {expected}")
        return [(int(niter), float(value)) for niter, value in zip(niters, values, strict=True)]
