"""Archives of quantem: zarr in a zip file or a folder, with the snapshots of a run, or else with its state. In Å.

Pixel size and state are inside modules of PyTorch, which are read without running them; see `torch_pickle`.
"""

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.checkpoints.formats.torch_pickle import Saved, StandIn, Tensor, describe
from ptyconv_cli.checkpoints.formats.transmission import REAL_OBJECT, Centred, TransmissionCheckpoint
from ptyconv_cli.checkpoints.formats.tree import VALUES, Expected, TreeCheckpoint, last_number, opened
from ptyconv_cli.checkpoints.formats.zarr_tree import ZarrTree
from ptyconv_cli.checkpoints.opening import Fingerprint, status
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import Curve, EngineHistories, is_iteration
from ptyconv_cli.results.text import few

OBJECT = Expected("cf", "complex or real", ("slice", "y", "x"), in_parts=True)
PROBE = Expected("c", "complex", ("mode", "y", "x"), in_parts=True)
MODULE = Expected("u", "integer", ("byte",), in_parts=True)
PADDING = Expected("iu", "integer", ("2",))

LOSSES = "_iter_losses/values"
POSITIONS = "_dataset_metadata/learned_scan_positions_px"
OBJECT_MODEL, PROBE_MODEL = "_obj_model/module", "_probe_model/module"
RATES = {"object": ("obja", "objp"), "probe": ("probe",), "dataset": ("probe_pos_shifts",)}
"""The tensors for each name of learning rates."""

_ARGUMENTS = {"object": "lr_obj", "probe": "lr_probe", "dataset": "lr_scan_positions"}
"""Of PtychoLite's reconstruct, for each name of learning rates."""

LITE = EngineSettings(
    rates={key: f"reconstruct({_ARGUMENTS[name]}=...)" for name, keys in RATES.items() for key in keys},
    fixing={
        key: f"remove_optimizer({name!r}) after {{niter}} iterations" for name, keys in RATES.items() for key in keys
    },
    saving="reconstruct(store_iterations_every=...)",
    iterations="reconstruct(num_iters=...)",
)
FULL = replace(
    LITE,
    rates={key: f"optimizer_params[{name!r}]['lr']" for name, keys in RATES.items() for key in keys},
    saving="reconstruct(store_snapshots_every=...)",
)
"""Of PtychoLite, and of Ptychography."""


def snapshots(path: Path) -> Mapping[str, int]:
    """Return the iterations done of the snapshots in an archive, or of its state; nothing of one of something else."""
    with closing(ZarrTree(path)) as tree:
        if not _is_of_quantem(tree):
            return {}
        tree.check_names()
        return _iterations(tree)


def open_checkpoint(path: Path, snapshot: str) -> Checkpoint:
    """Open a snapshot of an archive; raise CheckpointError where that fails."""
    return opened(lambda tree: QuantemCheckpoint(tree, snapshot), ZarrTree(path))


def _written_by(tree: ZarrTree) -> Mapping[str, Any]:
    """Return what an archive says of the class that it holds, nothing where it says nothing."""
    found = tree.attributes("").get("_autoserialize")
    return found if isinstance(found, dict) else {}


def _is_of_quantem(tree: ZarrTree) -> bool:
    module = str(_written_by(tree).get("class_module"))
    return module.startswith("quantem.") and {"_obj_model", "_probe_model"} <= set(tree.children(""))


@lru_cache(maxsize=64)
def _known_iterations(path: Path, fingerprint: Fingerprint) -> Mapping[str, int]:
    """Return what `_iterations` does, once as long as an archive is the same: each of many snapshots asks for it."""
    with closing(ZarrTree(path)) as tree:
        return _iterations(tree)


def _iterations(tree: ZarrTree) -> Mapping[str, int]:
    """Return the iterations done of the snapshots, by their names; those of the archive where it has none."""
    found = dict[str, int]()
    names = [name for name in tree.children("_snapshots") if re.fullmatch(r"[0-9]{1,9}", name)]
    for name in sorted(names, key=int):
        niter: Any = tree.attributes(f"_snapshots/{name}").get("iteration")
        if not is_iteration(niter):
            raise CheckpointError(
                f"{tree.path}: _snapshots/{name} has no attribute iteration, a whole number from 0 to 2^53"
            )
        found[name] = int(niter)
    if found:
        return found
    shape = tree.shape(LOSSES)
    return {"": shape[0] if shape else last_number(tree.path)}


class Geometry(NamedTuple):
    """What is the same in all snapshots of an archive.

    `sampling`: the size of a pixel [y, x] in Å; `thickness`: the mean one of slices in Å, None for one slice;
    `object_type`; `positions`: (N, 2) [y, x] of the probe's middle in px, at the end, None where the run did not learn
    them; `remarks` on what is odd.
    """

    sampling: tuple[float, float]
    thickness: float | None
    object_type: str
    positions: np.ndarray | None
    remarks: list[str]


@lru_cache(maxsize=64)
def _geometry(path: Path, fingerprint: Fingerprint) -> Geometry:
    """Read what is the same in all snapshots of an archive, once as long as that is the same."""
    with closing(ZarrTree(path)) as tree:
        module = Module(tree, OBJECT_MODEL)
        sampling = module.numbers("_sampling").ravel().tolist()
        if len(sampling) != 2:
            raise CheckpointError(f"{path}: {OBJECT_MODEL}: _sampling holds {len(sampling)} numbers, not 2")
        thickness = module.numbers("_slice_thicknesses").ravel() if module.has("_slice_thicknesses") else np.zeros(0)
        positions, remarks = None, module.remarks
        if POSITIONS.rpartition("/")[2] in tree.children("_dataset_metadata"):
            saved = Module(tree, f"{POSITIONS}/tensor")
            positions, remarks = saved.tensor(saved.root).astype(np.float64), remarks + saved.remarks
            if positions.ndim != 2 or positions.shape[1] != 2 or not len(positions):
                raise CheckpointError(f"{path}: {POSITIONS}: expected real (N, 2), found {positions.shape}")
    return Geometry(
        (sampling[0], sampling[1]),
        float(thickness.mean()) if thickness.size and np.isfinite(thickness).all() else None,
        module.text("_obj_type"),
        positions,
        remarks,
    )


class Module:
    """A module of PyTorch, or a tensor, in an archive, as `torch_pickle` reads it.

    `remarks` name what it holds besides that could run code. Everything raises CheckpointError where it is damaged.
    """

    def __init__(self, tree: ZarrTree, name: str) -> None:
        self._tree, self._name = tree, name
        found = tree.find(name)
        if found is None or found.dtype.kind not in MODULE.kinds or found.dtype.itemsize != 1 or found.ndim != 1:
            raise CheckpointError(f"{tree.path}: has no dataset {name} (expected bytes)")
        tree.check_chunks(name)
        with tree.explained(name):
            self._saved = Saved(tree.read(name).tobytes(), tree.size)
        self.root = self._saved.root
        unfamiliar = self._saved.unfamiliar()
        self.remarks = [
            f"{tree.path}: {name} names {few(unfamiliar)}, as a file does that is to run code. Nothing of it was run: "
            "only tensors and numbers are read."
        ] * bool(unfamiliar)

    def has(self, name: str) -> bool:
        """Say whether the module has an attribute."""
        return self._attribute(name) is not None

    def text(self, name: str) -> str:
        """Return an attribute that is a string, "" where there is none."""
        found = self._attribute(name)
        return found if isinstance(found, str) else ""

    def numbers(self, name: str) -> np.ndarray:
        """Return an attribute that is a number, several, or a tensor."""
        with self._tree.explained(f"{name} in {self._name}"):
            return self._saved.numbers(self._attribute(name))

    def parameter(self, name: str) -> Tensor:
        """Return a parameter, not yet read."""
        parameters = self._attribute("_parameters")
        found = parameters.get(name) if isinstance(parameters, dict) else None
        if not isinstance(found, Tensor):
            raise CheckpointError(
                f"{self._tree.path}: {self._name} has no parameter {name} that is a tensor (found "
                f"{describe(found)}). Where the object or the probe is made by a network, let the run store snapshots"
            )
        return found

    def tensor(self, found: Any) -> np.ndarray:
        """Return a tensor of the module."""
        with self._tree.explained(self._name):
            if not isinstance(found, Tensor):
                raise ValueError(f"expected a tensor, found {describe(found)}")
            return self._saved.numbers(found)

    def _attribute(self, name: str) -> Any:
        state = self.root.state if isinstance(self.root, StandIn) else None
        return state.get(name) if isinstance(state, dict) else None


class QuantemCheckpoint(TreeCheckpoint, TransmissionCheckpoint):
    """One snapshot, or, in an archive without any, its state: the object as quantem shows it, which is constrained."""

    format = "quantem"

    def __init__(self, tree: ZarrTree, snapshot: str) -> None:
        super().__init__(tree)
        self._zarr, self._snapshot = tree, snapshot
        self.niter = _known_iterations(self.path, status(self.path))[snapshot]
        self.settings = LITE if str(_written_by(tree).get("class_name")).startswith("PtychoLite") else FULL
        if not snapshot and tree.shape(LOSSES):
            self._values(LOSSES)  # whose number is that of the iterations: it must be right
        self._geometry = _geometry(self.path, status(self.path))
        self.remarks += self._geometry.remarks
        self.dx = self.pixel_size(*self._geometry.sampling)
        self._state: dict[str, np.ndarray] = {}
        self.lacking = {}
        if self._snapshot:
            self.lacking |= {"probe_pos_shifts": "quantem stores scan positions only at the end"}
        elif self._geometry.positions is None:
            self.lacking |= {"probe_pos_shifts": "the run did not learn its scan positions"}
        is_complex = self.object_data().dtype.kind == "c"
        self.phase_wraps = is_complex
        if not is_complex or self._geometry.object_type == "pure_phase":
            self.lacking |= REAL_OBJECT

    def object_data(self) -> Any:
        """Return the transmission or the phase (slice, y, x)."""
        if self._snapshot:
            return self._stored("obj", OBJECT)
        if "object" not in self._state:
            found = self._of_module(OBJECT_MODEL, "_obj", OBJECT)
            self._state["object"] = constrained(found, self._geometry.object_type, str(self.path))
        return self._state["object"]

    def probe_data(self) -> Any:
        """Return the probe (mode, y, x), whose middle is stored in its corner."""
        if self._snapshot:
            return Centred(self._stored("probe", PROBE))
        if "probe" not in self._state:
            self._state["probe"] = self._of_module(PROBE_MODEL, "_probe", PROBE)
        return Centred(self._state["probe"])

    def crop_pos(self) -> np.ndarray:
        """Return the corners nearest to the positions of the end, which are those of the probe's middle.

        Without positions, those of the first and the last window that lie inside the object's padding.
        """
        half = np.array(self.probe_shape()) // 2
        if self._geometry.positions is not None:
            return self.corners(self._geometry.positions - half)
        if self._tree.find("_obj_padding_px") is None:
            return self.corners_of_shapes()
        padding = self._read("_obj_padding_px", PADDING).astype(np.int64)
        shape = self.shape_of("objp") or (0, 0)
        last = np.maximum(np.array(shape[-2:]) - 1 - padding, padding)
        return np.stack([padding - half, last - half])

    def scan(self) -> np.ndarray:
        """Return the number of positions, for all of them may be refined; where they are not known, the corners."""
        positions = self._geometry.positions
        return self.crop_pos() if positions is None else np.array([len(positions)])

    def shifts(self) -> np.ndarray | None:
        """Return the positions (N, 2) in px, y first: of an archive without snapshots."""
        return self._geometry.positions

    def slice_thickness(self) -> float | None:
        """Return the mean thickness of slices in Å, None for a single slice."""
        return self._geometry.thickness

    def _loss(self) -> Curve:
        """Return the loss of each iteration up to this one."""
        return self._values(LOSSES)

    def histories(self) -> EngineHistories:
        """Return the loss and the learning rates up to this iteration; none of positions that were never learned."""
        rates = {name: self._history(f"_iter_lrs/{name}/values") for name in RATES}
        if not any(rate for _, rate in rates["dataset"]):
            rates["dataset"] = []
        return EngineHistories(
            loss=self.loss(),
            learning_rates={tensor: rates[name] for name, of in RATES.items() for tensor in of if rates[name]},
        )

    def _history(self, name: str) -> Curve:
        none: Curve = []
        return self._shown(lambda: self._values(name), none)

    def _values(self, name: str) -> Curve:
        if self._tree.find(name) is None:
            return []
        if name == LOSSES:  # which is never 0, so that zarr never leaves it out
            self._zarr.check_chunks(name)
        return list(enumerate(self._read(name, VALUES)[: self.niter].tolist(), 1))

    def _stored(self, name: str, expected: Expected) -> Any:
        """Return an array of the snapshot, none of whose chunks are missing, but those of a phase that is 0 there."""
        name = f"_snapshots/{self._snapshot}/{name}"
        found = self._find(name, expected)
        self._zarr.check_chunks(name, all_needed=found.dtype.kind == "c")
        return found

    def _of_module(self, name: str, parameter: str, expected: Expected) -> np.ndarray:
        """Read a parameter of a module; raise CheckpointError unless it is as expected."""
        module = Module(self._zarr, name)
        self.remarks += [remark for remark in module.remarks if remark not in self.remarks]
        found = module.tensor(module.parameter(parameter))
        if found.ndim != len(expected.axes) or found.dtype.kind not in expected.kinds or not found.size:
            said = f"{found.dtype} {found.shape}"
            raise CheckpointError(f"{self.path}: {name}: {parameter}: expected {expected}, found {said}")
        return found


def constrained(stored: np.ndarray, object_type: str, path: str) -> np.ndarray:
    """Return an object (slice, y, x) as quantem shows it, in double precision; raise CheckpointError for another type.

    A complex one has an amplitude of at most 1, and its mean is real. A potential is at least 0. The mean of a pure
    phase is 0; in archives from before 2026-06 that is complex.
    """
    if object_type == "complex" and stored.dtype.kind == "c":
        found = stored.astype(np.complex128)
        found /= np.maximum(np.abs(found), 1)
        found *= np.exp(-1j * np.angle(found.mean()))
        return found
    if object_type == "potential" and stored.dtype.kind == "f":
        return np.asarray(stored.astype(np.float64).clip(0))
    if object_type == "pure_phase":
        if stored.dtype.kind == "f":
            return np.asarray(stored.astype(np.float64) - stored.mean(dtype=np.float64))
        phase = np.angle(stored.astype(np.complex128))
        return np.asarray(np.exp(1j * (phase - phase.mean())))
    raise CheckpointError(f"{path}: an object of the type {object_type!r} and {stored.dtype} is none that is known")
