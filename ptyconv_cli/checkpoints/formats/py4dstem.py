"""Results of py4DSTEM: an HDF5 file with all snapshots of a run, or, where it stored none, with its end. In Å."""

import re
from collections.abc import Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.checkpoints.formats.transmission import REAL_OBJECT, Centred, TransmissionCheckpoint, View
from ptyconv_cli.checkpoints.formats.tree import (
    VALUES,
    Expected,
    Tree,
    TreeCheckpoint,
    last_number,
    open_tree,
    opened,
)
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import Curve

OBJECT = Expected("cf", "complex or real", ("iteration", "slice", "y", "x"), in_parts=True)
PROBE = Expected("c", "complex", ("iteration", "mode", "y", "x"), in_parts=True)
POSITIONS = Expected("f", "real", ("N", "2"))
SIZES = Expected("f", "real", ("2",))

NAMES = ("_object_emd", "_probe_emd", "metadatabundle")
"""What every reconstruction has."""

OBJECTS, PROBES = "_object_iterations_emd/data", "_probe_iterations_emd/data"
ERRORS = "metadatabundle/reconstruction_metadata/reconstruction_error"
POSITIONS_PX = "metadatabundle/preprocess_metadata/positions_px"
SAMPLING = "metadatabundle/preprocess_metadata/sampling"
THICKNESS = "metadatabundle/instantiation_metadata/slice_thicknesses"

SETTINGS = EngineSettings(
    rate_word="step size",
    rates={
        **dict.fromkeys(("obja", "objp", "probe"), "reconstruct(step_size=...)"),
        "probe_pos_shifts": "reconstruct(positions_step_size=...)",
    },
    fixing={
        "probe": "reconstruct(fix_probe=True) after {niter} iterations",
        "probe_pos_shifts": "reconstruct(fix_positions=True) after {niter} iterations",
    },
    saving="set_save_defaults(save_iterations_frequency=...)",
    iterations="reconstruct(num_iter=...)",
)
"""A file does not say which method made it: all but gradient descent heed no step size of object and probe."""

END = "end"
"""The name of the snapshot that is the end of a run which stored others before."""


def snapshots(path: Path) -> Mapping[str, int]:
    """Return the iterations done of the snapshots in a file; nothing of a file of something else."""
    with closing(open_tree(path)) as tree:
        root = _root(tree)
        return _iterations(tree, root) if root else {}


def open_checkpoint(path: Path, snapshot: str) -> Checkpoint:
    """Open a snapshot of a file; raise CheckpointError where that fails."""
    return opened(lambda tree: Py4dstemCheckpoint(tree, snapshot), open_tree(path))


def _root(tree: Tree) -> str:
    """Return the group that holds the first reconstruction in a file, "" where there is none."""
    groups = [f"{name}/{name.removesuffix('_root')}" for name in tree.children("") if name.endswith("_root")]
    return next((group for group in groups if set(NAMES) <= set(tree.children(group))), "")


def _iterations(tree: Tree, root: str) -> Mapping[str, int]:
    """Return the iterations done of the snapshots: those that were stored, and the end, if that is later."""
    errors, stack = tree.find(f"{root}/{ERRORS}"), tree.find(f"{root}/{OBJECTS}")
    done = int(errors.size) if errors is not None else 0
    if stack is None:
        return {"": done or last_number(tree.path)}
    name = f"{root}/_object_iterations_emd/dim{stack.ndim - 1}"
    labels = [re.fullmatch(r"iteration_(\d{1,9})", label) for label in tree.texts(name)]
    niters = [int(label[1]) + 1 for label in labels if label]
    if len(niters) != len(labels) or not niters or any(one >= other for one, other in pairwise(niters)):
        raise CheckpointError(f"{tree.path}: dataset {name}: expected labels like iteration_005, in increasing order")
    found = {str(place): niter for place, niter in enumerate(niters)}
    return {**found, END: done} if done > niters[-1] else found


class Py4dstemCheckpoint(TreeCheckpoint, TransmissionCheckpoint):
    """One snapshot: one of those stored, the end after them, or, where none were stored, the end."""

    format = "py4DSTEM"
    settings = SETTINGS

    def __init__(self, tree: Tree, snapshot: str) -> None:
        super().__init__(tree)
        self._root = _root(tree)
        iterations = _iterations(tree, self._root)
        self._place = int(snapshot) if snapshot.isdecimal() else None
        self._alone = snapshot == ""
        self.niter = iterations[snapshot]
        height, width = self._read(f"{self._root}/{SAMPLING}", SIZES).tolist()
        self.dx = self.pixel_size(height, width)
        self.lacking = {} if self._alone else {"probe_pos_shifts": "py4DSTEM stores scan positions only at the end"}
        if self.object_data().dtype.kind != "c":
            self.phase_wraps = False
            self.lacking |= REAL_OBJECT
        self._check_what_was_stored(iterations)

    def object_data(self) -> Any:
        """Return the transmission or the potential, (slice, y, x) or (y, x)."""
        if self._place is None:
            return self._stored("_object_emd/data", OBJECT)
        return self._of_stack(OBJECTS, OBJECT)

    def probe_data(self) -> Any:
        """Return the probe, (mode, y, x) or (y, x); that of the end has its middle in the corner."""
        if self._place is None:
            return Centred(self._stored("_probe_emd/data", PROBE))
        return self._of_stack(PROBES, PROBE)

    def crop_pos(self) -> np.ndarray:
        """Return the corners nearest to the positions of the end, which are those of the probe's middle."""
        return self.corners(self._positions() - np.array(self.probe_shape()) // 2)

    def scan(self) -> np.ndarray:
        """Return the number of positions, for all of them may be refined."""
        return np.array([len(self._positions())])

    def shifts(self) -> np.ndarray:
        """Return the positions (N, 2) in px, y first: of a file that holds nothing but the end."""
        return self._positions()

    def slice_thickness(self) -> float | None:
        """Return the mean thickness of slices in Å, None for a single slice."""
        return self.mean_distance(f"{self._root}/{THICKNESS}", 1.0)

    def _loss(self) -> Curve:
        """Return the error of each iteration up to this one."""
        if self._tree.find(f"{self._root}/{ERRORS}") is None:
            return []
        return list(enumerate(self._read(f"{self._root}/{ERRORS}", VALUES)[: self.niter].tolist(), 1))

    def _positions(self) -> np.ndarray:
        return self._read(f"{self._root}/{POSITIONS_PX}", POSITIONS).astype(np.float64)

    def _of_stack(self, name: str, expected: Expected) -> View:
        stack = self._with_last_axes(f"{self._root}/{name}", expected, ("iteration",))
        if self._place is None or self._place >= len(stack):
            raise CheckpointError(f"{self.path}: dataset {self._root}/{name}: holds fewer snapshots than have a label")
        return View(stack, [self._place])

    def _stored(self, name: str, expected: Expected) -> View:
        return View(self._with_last_axes(f"{self._root}/{name}", expected))

    def _with_last_axes(self, name: str, expected: Expected, first: tuple[str, ...] = ()) -> Any:
        """Return an array with the `first` axes, without an axis of slices or modes where there is one of them."""
        found = self._tree.find(name)
        short = found is not None and found.ndim == len(first) + 2
        return self._find(name, expected._replace(axes=(*first, *expected.axes[2 if short else 1 :])))

    def _check_what_was_stored(self, iterations: Mapping[str, int]) -> None:
        """Remark on a run that stored only some of its iterations: the labels may then count those alone."""
        stored = [niter for name, niter in iterations.items() if name not in ("", END)]
        if len(stored) > 1 and END in iterations and iterations[END] > stored[-1] + stored[-1] - stored[-2]:
            self.remarks.append(
                f"The run made {iterations[END]} iterations, but stored none from {stored[-1] + 1} to "
                f"{iterations[END] - 1}. Iterations are those of the labels, which may not count what calls of "
                "reconstruct without store_iterations did before."
            )
