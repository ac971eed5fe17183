"""Checkpoints of phaser, its state files 0.1 (of early 2025) and 0.2.

The object is a complex transmission: its phase is known only up to full turns.

Numbers are read in float64, because phases and positions are differences of single-precision numbers.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint
from ptyconv_cli.checkpoints.formats.transmission import TransmissionCheckpoint
from ptyconv_cli.checkpoints.formats.tree import MOST_NUMBERS, WHOLE, Expected, Tree, TreeCheckpoint, open_tree, opened
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import Curve, EngineHistories

OBJECT = Expected("c", "complex", ("z", "y", "x"), in_parts=True)
PROBE = Expected("c", "complex", ("mode", "y", "x"), in_parts=True)
PAIR = Expected("f", "real", ("2",))
THICKNESSES = Expected("f", "real", ("z",))


class Layout(NamedTuple):
    """The names of datasets that differ from version to version of the state file; "" for what one doesn't have.

    `scan`: positions, and the `initial` ones; `loss`, and the iterations of its values, `loss_iters`.
    """

    scan: str
    initial: str
    loss: str
    loss_iters: str


LAYOUTS = {
    "0.1": Layout("scan", "", "progress/detector_errors", "progress/iters"),
    "0.2": Layout("scan/data", "scan/initial", "progress/total_loss/values", "progress/total_loss/iters"),
}
"""By the version that a file says it is of; one that says none, or a later one, is read as the last."""


_UPDATED = {
    **dict.fromkeys(("obja", "objp"), "update_object"),
    "probe": "update_probe",
    "probe_pos_shifts": "update_positions",
}

NO_TERMS = {"pos_update_rms", "time", "total_loss", "utc"}
"""What has a history besides the terms of the loss."""

SETTINGS = EngineSettings(
    rate_word="step size",
    rates={
        **dict.fromkeys(("obja", "objp"), "solver.beta_object (gradient: solvers.object.learning_rate)"),
        "probe": "solver.beta_probe (gradient: solvers.probe.learning_rate)",
        "probe_pos_shifts": "position_solver.step_size (gradient: solvers.positions.learning_rate)",
    },
    fixing={key: f"{flag}.before: {{niter}}" for key, flag in _UPDATED.items()},
    saving="save.every",
    iterations="niter",
)
"""Keys of an entry of `engines` in a plan. A state file does not say whether its engine is a conventional one."""


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a file; raise CheckpointError where that fails."""
    return opened(PhaserCheckpoint, open_tree(path))


class PhaserCheckpoint(TreeCheckpoint, TransmissionCheckpoint):
    """One checkpoint of phaser."""

    format = "phaser"
    has_all = True
    windows_may_exceed = False
    stores_fixed_positions = False

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        if tree.text("type") != "phaser_state":
            raise CheckpointError(f"{self.path}: is not a checkpoint of phaser (its type is {tree.text('type')!r})")
        self._layout = self._find_layout(tree.text("version"))
        self.niter = int(self._read("iter/total_iter", WHOLE))
        self.began = self.niter - int(self._read("iter/engine_iter", WHOLE))
        if not 0 <= self.began <= self.niter:
            raise CheckpointError(f"{self.path}: iter/engine_iter and iter/total_iter contradict each other")
        # `before` counts from where an engine begins, as iterations of the run do in the first one alone.
        self.settings = replace(SETTINGS, fixing={}) if self.began else SETTINGS
        self._sampling = self._read("object/sampling", PAIR).astype(np.float64)
        if not (np.isfinite(self._sampling).all() and (self._sampling > 0).all()):
            raise CheckpointError(f"{self.path}: the pixel size object/sampling is {self._sampling.tolist()} Å")
        self.dx = self.pixel_size(*self._sampling.tolist())

    def _find_layout(self, version: str) -> Layout:
        *_, last = LAYOUTS
        if version not in ("", *LAYOUTS):
            self.remarks.append(
                f"{self.path}: is a state file of version {version!r} of phaser, which is not known here. It is "
                f"read as one of {last}."
            )
        return LAYOUTS.get(version, LAYOUTS[last])

    def crop_pos(self) -> np.ndarray:
        """Return the top-left corners [y, x] of the probe windows, int64 (N, 2) in px: around the nearest pixel.

        A position that is NaN or infinite, which the run's verdict will speak of, has the window that it began with;
        where that is not known, one in the middle of the object.
        """
        pixels = self._in_pixels(self._layout.scan)
        if not np.isfinite(pixels).all():
            pixels = np.where(np.isfinite(pixels), pixels, self._somewhere_inside())
        if not np.isfinite(pixels).all() or np.abs(pixels).max() > MOST_NUMBERS:
            raise CheckpointError(f"{self.path}: dataset {self._layout.scan}: positions lie outside any object")
        # Rounded half up: pixel [0, 0] is centred at the corner.
        return np.asarray(np.floor(pixels + 0.5).astype(np.int64) - np.array(self.probe_shape()) // 2)

    def _somewhere_inside(self) -> np.ndarray:
        if self._has_initial():
            return self._in_pixels(self._layout.initial)
        return np.array(self._find("object/data", OBJECT).shape[-2:]) // 2

    def _has_initial(self) -> bool:
        return bool(self._layout.initial) and self._tree.find(self._layout.initial) is not None

    def scan(self) -> np.ndarray:
        """Return the initial positions of the run in px; without them in the file, only their number."""
        if self._has_initial():
            return self._in_pixels(self._layout.initial)
        return np.array([len(self._positions(self._layout.scan))])

    def object_data(self) -> Any:
        """Return the transmission (slice, y, x), None where there is none."""
        return None if self._tree.find("object/data") is None else self._find("object/data", OBJECT)

    def probe_data(self) -> Any:
        """Return the probe (mode, y, x), None where there is none."""
        return None if self._tree.find("probe/data") is None else self._find("probe/data", PROBE)

    def slice_thickness(self) -> float | None:
        """Return the mean slice thickness in Å, None for a single slice, which has none."""
        return self._shown(self._thickness, None)

    def _loss(self) -> Curve:
        return self._curve_of(self._layout.loss_iters, self._layout.loss)

    def facts_on_loss(self) -> dict[str, str]:
        """Return the terms of the loss, each of which has a history of its own."""
        return {"loss function": " + ".join(sorted(set(self._tree.children("progress")) - NO_TERMS))}

    def histories(self) -> EngineHistories:
        """Return what the engine recorded up to this checkpoint."""
        no_seconds: Curve = []
        return EngineHistories(loss=self.loss(), seconds=self._shown(self._seconds, no_seconds))

    def _seconds(self) -> Curve:
        """Return the seconds up to the end of each iteration, which phaser counts from 0 here."""
        times = self._curve_of("progress/time/iters", "progress/time/values")
        after_each = [(niter + 1, seconds) for niter, seconds in times]
        # At the end of an engine there is one more, which is of no iteration yet.
        return [(niter, seconds) for niter, seconds in after_each if niter <= self.niter]

    def _thickness(self) -> float | None:
        found = self._tree.find("object/thicknesses")
        return None if found is None or not found.size else float(self._read("object/thicknesses", THICKNESSES).mean())

    def shifts(self) -> np.ndarray | None:
        """Return the positions (N, 2) in px, y first, relative to the initial ones where those are known."""
        layout = self._layout
        if self._tree.find(layout.scan) is None:
            return None
        now = self._positions(layout.scan)
        began = self._positions(layout.initial) if self._has_initial() else np.zeros_like(now)
        if began.shape != now.shape:
            raise CheckpointError(f"{self.path}: {layout.initial} has {len(began)} positions, {layout.scan} {len(now)}")
        return np.asarray((now - began) / self.dx)

    def _in_pixels(self, name: str) -> np.ndarray:
        corner = self._read("object/corner", PAIR).astype(np.float64)
        return np.asarray((self._positions(name) - corner) / self._sampling)

    def _positions(self, name: str) -> np.ndarray:
        """Read positions (…, 2) in Å as (N, 2)."""
        found = self._tree.find(name)
        axes = ("…",) * (found.ndim - 1) if found is not None and found.ndim > 1 else ("…",)
        return self._read(name, Expected("f", "real", (*axes, "2"))).astype(np.float64).reshape(-1, 2)
