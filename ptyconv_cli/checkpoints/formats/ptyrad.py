"""PtyRAD's checkpoints: which name holds what, in HDF5 and `.pt` files alike. See docs/formats.md."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from ptyconv_cli.checkpoints.checkpoint import Checkpoint, Origin
from ptyconv_cli.checkpoints.formats.limits import MIB, most_bytes
from ptyconv_cli.checkpoints.formats.tree import (
    ITERATIONS,
    MOST_NUMBERS,
    REAL,
    VALUES,
    WHOLE,
    Expected,
    Tree,
    TreeCheckpoint,
    last_pass,
    open_tree,
    opened,
)
from ptyconv_cli.checkpoints.readers import usual_number
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.quantities import quantity_of, tensor_keys
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import LAST_ITERATION, Curve, EngineHistories
from ptyconv_cli.results.run_analysis import Region

TILTS = Expected("fiu", "real", ("N", "2"))
CORNERS = Expected("iu", "integer", ("N", "2"))
CURVE = Expected("fiu", "real", ("n", "2"))
FLAG = Expected("b", "yes-or-no", ())

MOST_PROVENANCE = 4 * MIB
"""Characters of a description of where an object comes from that are looked at."""


class Layout(NamedTuple):
    """The names of a file's datasets, by the names of PtyRAD 1.0.

    `tensors` and `optimised`, its first and last iteration, of a tensor's key, None where there is none; `histories`:
    the prefix of the histories' names; `rates`: the tensor for each name in `lr_iters`; `losses`: a group with one for
    each term of the loss; `intensity`: of a pattern, the mean.
    """

    called: str
    tensors: Callable[[str], str | None]
    crop_pos: str
    dx: str
    length_unit: str
    thickness: str
    tilts: str
    histories: str
    rates: Mapping[str, str]
    optimised: Callable[[str], tuple[str, str] | None]
    live_percentiles: str
    planned: str
    losses: str
    data_file: str
    intensity: str
    parent_file: str
    settings: EngineSettings


_UPDATED = {
    **{key: key for key in ("objp", "obja", "probe", "probe_pos_shifts")},
    "tilt": "obj_tilts",
    "thickness": "slice_thickness",
}
"""The name in `update_params`, by the key of the quantity."""

V1 = Layout(
    called="PtyRAD",
    tensors=lambda key: f"optimizable_tensors/{key}",
    crop_pos="model_attributes/crop_pos",
    dx="model_attributes/dx",
    length_unit="",
    thickness="optimizable_tensors/slice_thickness",
    tilts="optimizable_tensors/obj_tilts",
    histories="",
    rates={},
    optimised=lambda key: (f"model_attributes/start_iter/{key}", f"model_attributes/end_iter/{key}"),
    live_percentiles="params/recon_params/convergence_monitor/percentile_range",
    planned="params/recon_params/NITER",
    losses="params/loss_params",
    data_file="params/init_params/meas_params/path",
    intensity="model_attributes/probe_int_sum",
    parent_file="params/init_params/obj_params",
    settings=EngineSettings(
        rates={key: f"model_params.update_params.{name}.lr" for key, name in _UPDATED.items()},
        fixing={key: f"model_params.update_params.{name}.end_iter: {{niter}}" for key, name in _UPDATED.items()},
        saving="recon_params.SAVE_ITERS",
        iterations="recon_params.NITER",
    ),
)
"""PtyRAD 0.1.0b5 to 1.0."""

SPECS = {
    "obja": "components/object/param_specs/amp",
    "objp": "components/object/param_specs/phase",
    "probe": "components/probe/param_specs/pixels",
    "probe_pos_shifts": "components/positions/param_specs/shifts",
}

V2 = Layout(
    called="PtyRAD v2",
    tensors={
        "obja": "components/object/tensors/amp",
        "objp": "components/object/tensors/phase",
        "probe": "components/probe/tensors/modes",
        "probe_pos_shifts": "components/positions/tensors/shifts",
    }.get,
    crop_pos="components/positions/tensors/crop_pos",
    dx="model_meta/dx",
    length_unit="model_meta/length_unit",
    thickness="components/object/tensors/thickness",
    tilts="components/object/tensors/tilts",
    histories="history/",
    rates={
        "object.amp": "obja",
        "object.phase": "objp",
        "probe.pixels": "probe",
        "positions.shifts": "probe_pos_shifts",
    },
    optimised={key: (f"{spec}/start_iter", f"{spec}/end_iter") for key, spec in SPECS.items()}.get,
    live_percentiles="",
    planned="params/recon/niter",
    losses="",
    data_file="params/data/params/path",
    intensity="model_meta/probe_int_sum",
    parent_file="",
    settings=EngineSettings(saving="recon.save_iters", iterations="recon.niter"),
)
"""Schema 2."""

WITHOUT_END = re.compile(r"(0\.1\.0b([0-9]|10)(\D.*)?)?")
"""The versions of PtyRAD, with "" of those that don't name themselves, that knew no `end_iter`."""

ANGSTROM = ("", "Ang")
"""Units of length as files name them."""


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a file of any version; raise CheckpointError where that fails."""
    return opened(_of_its_layout, open_tree(path))


def _of_its_layout(tree: Tree) -> Checkpoint:
    # The version in the file is no help: schema 2 still says 1.0.0.
    return PtyradCheckpoint(tree, V2 if tree.children("components/object/tensors") else V1)


def _expected(name: str) -> Expected:
    """Return what a dataset of a tensor must be."""
    quantity = quantity_of(name)
    kind = ("c", "complex") if quantity.is_complex else ("f", "real")
    return Expected(*kind, quantity.axes, in_parts="y" in quantity.axes)


class PtyradCheckpoint(TreeCheckpoint):
    """One checkpoint of PtyRAD. Tensors are read only when asked for."""

    has_all = True

    def __init__(self, tree: Tree, layout: Layout) -> None:
        super().__init__(tree)
        self._layout = layout
        self.niter = int(self._read("niter", WHOLE))

    @property
    def settings(self) -> EngineSettings:  # type: ignore[override]
        """What PtyRAD's parameters are called."""
        found = self._layout.settings
        has_end = not WITHOUT_END.fullmatch(self._tree.text("ptyrad_version"))
        return found if has_end else replace(found, fixing={})

    @property
    def dx(self) -> float:  # type: ignore[override]
        """The object's pixel size in Å."""
        layout = self._layout
        dx = float(self._read(layout.dx, REAL))
        if not 0 < dx < math.inf:
            raise CheckpointError(f"{self.path}: the pixel size {layout.dx} is {dx:g} Å")
        unit = self._tree.text(layout.length_unit) if layout.length_unit else ""
        if unit not in ANGSTROM:
            raise CheckpointError(f"{self.path}: its lengths ({layout.length_unit}) are in {unit!r}, not in Å ('Ang')")
        return dx

    @property
    def format(self) -> str:  # type: ignore[override]
        """What wrote it."""
        # Versions before HDF5 don't name themselves.
        version = self._tree.text("ptyrad_version") or self.path.suffix
        return f"{self._layout.called} {version}" if self._layout is V1 else self._layout.called

    def crop_pos(self) -> np.ndarray:
        """Return the top-left corners [y, x] of the probe windows, int64 (N, 2) in px."""
        corners = self._read(self._layout.crop_pos, CORNERS)
        if corners.min() < 0 or corners.max() > MOST_NUMBERS:
            raise CheckpointError(f"{self.path}: dataset {self._layout.crop_pos}: windows lie outside any object")
        return corners.astype(np.int64)

    def tensor(self, name: str) -> Any:
        """Return a dataset, not yet read, None where the file has no such tensor."""
        path = self._layout.tensors(name)
        return None if path is None or self._tree.find(path) is None else self._find(path, _expected(name))

    def slice_thickness(self) -> float | None:
        """Return the slice thickness in Å, None where the file has none."""
        return self._shown(lambda: self._number(self._layout.thickness), None)

    def object_tilt(self) -> tuple[float, float] | None:
        """Return the object tilt (y, x) in mrad, averaged over positions, None where the file has none."""
        return self._shown(self._mean_tilt, None)

    def _loss(self) -> Curve:
        return self._curve(f"{self._layout.histories}loss_iters")

    def histories(self) -> EngineHistories:
        """Return what the engine recorded up to this checkpoint; what its version didn't record is empty."""
        no_tilts: dict[str, Curve] = {}
        tilts = self._shown(lambda: self._curves_beside_niter("avg_tilt_iters", ("tilt_y", "tilt_x")), no_tilts)
        no_rates: dict[str, Curve] = {}
        rates = self._shown(self._rates, no_rates)
        return EngineHistories(
            loss=self.loss(),
            learning_rates=rates,
            tilts={name.removeprefix("tilt_"): curve for name, curve in tilts.items()},
            slice_thickness=self._shown(lambda: self._curve(f"{self._layout.histories}dz_iters"), []),
            convergence=self._shown(self._live_record, {}),
            optimised=self._shown(self._optimised, {}),
            live_percentiles=self._shown(self._live_percentiles, None),
            seconds=self._shown(self._seconds, []),
            planned=self._shown(lambda: self._iteration(self._layout.planned), None),
        )

    def facts_on_loss(self) -> dict[str, str]:
        """Return the terms of the loss, the name of the data file, and the patterns' mean intensity."""
        intensity = self._shown(lambda: self._number(self._layout.intensity), None)
        no_terms: list[str] = []
        found = {
            "loss function": " + ".join(self._shown(self._terms, no_terms)),
            "data file": PurePosixPath(self._tree.text(self._layout.data_file).replace("\\", "/")).name,
            "pattern intensity": f"{intensity:.6g}" if intensity and math.isfinite(intensity) else "",
        }
        return {name: "" if value == "__NONE__" else value for name, value in found.items()}

    def _terms(self) -> list[str]:
        """Return the terms of the loss that count, with their settings."""
        group, found = self._layout.losses, []
        for term in sorted(self._tree.children(group)) if group else ():
            if bool(self._read(f"{group}/{term}/state", FLAG)):
                names = sorted(set(self._tree.children(f"{group}/{term}")) - {"state"})
                numbers = {name: self._tree.find(f"{group}/{term}/{name}") for name in names}
                given = [
                    name for name, at in numbers.items() if at is not None and not at.shape and at.dtype.kind in "fiu"
                ]
                said = [f"{name} {self._number(f'{group}/{term}/{name}'):g}" for name in given]
                found.append(f"{term} ({', '.join(said)})" if said else term)
        return found

    def origin(self) -> Origin:
        """Return where the checkpoint comes from, by its provenance and its parameters."""
        identity, parent, parent_file = self._provenance()
        named = self._tree.text(self._layout.parent_file) if self._layout.parent_file else ""
        return Origin(identity, parent, parent_file or ("" if named == "__NONE__" else named))

    def read(self, name: str, region: Region, into: np.ndarray | None = None) -> np.ndarray:
        """Return a tensor as it is in the file, of the object only the region: float32, or complex64 for the probe.

        `into`: an array of that shape and type, which is filled and returned.
        """
        path = self._layout.tensors(name) or ""
        shape, index = tuple(self._find(path, _expected(name)).shape), (...,)
        if quantity_of(name).is_object:
            shape, index = region.shape_in(shape), region.slices
        if into is None:
            into = np.empty(shape, self.kind_of(name))
        self._tree.read_into(path, into, index)
        return into

    def _number(self, name: str) -> float | None:
        return None if self._tree.find(name) is None else float(self._read(name, REAL))

    def _mean_tilt(self) -> tuple[float, float] | None:
        if self._tree.find(self._layout.tilts) is None:
            return None
        tilt_y, tilt_x = self._read(self._layout.tilts, TILTS).mean(0)
        return float(tilt_y), float(tilt_x)

    def _live_record(self) -> dict[str, Curve]:
        group = f"{self._layout.histories}convergence_iters"
        curves = {key: self._curve(f"{group}/{key}") for key in self._names_of_curves(group)}
        return {key: curve for key, curve in curves.items() if curve}

    def _rates(self) -> dict[str, Curve]:
        """Return the learning rates by tensor, of those that are ever optimised: PtyRAD records one of others, too."""
        curves = self._curves_beside_niter("lr_iters")
        found = {self._layout.rates.get(name, name): curve for name, curve in curves.items()}
        return {name: curve for name, curve in found.items() if not self._is_fixed(name)}

    def _is_fixed(self, name: str) -> bool:
        """Say whether a tensor is never optimised: it has a first iteration at which it is, which is None."""
        start, _ = self._layout.optimised(name) or ("", "")
        group, _, last = start.rpartition("/")
        return last in self._tree.children(group) and self._tree.find(start) is None

    def _optimised(self) -> dict[str, tuple[int | None, int | None]]:
        found = {}
        for name in tensor_keys():
            start, end = self._layout.optimised(name) or ("", "")
            group, _, last = start.rpartition("/")
            if last in self._tree.children(group):
                found[name] = self._iteration(start), self._iteration(end)
        return found

    def _iteration(self, name: str) -> int | None:
        value = self._number(name)
        if value is not None and not (value.is_integer() and abs(value) <= LAST_ITERATION):
            raise CheckpointError(f"{self.path}: dataset {name}: expected an iteration, found {value}")
        return None if value is None else int(value)

    def _seconds(self) -> Curve:
        """Add up the seconds of each iteration, from the first one on, of the last pass where there were several."""
        name = f"{self._layout.histories}iter_times"
        array = self._tree.find(name)
        if array is None or array.size == 0:
            return []
        seconds = self._read(name, VALUES).astype(np.float64)
        if not np.isfinite(seconds).all() or (seconds < 0).any():
            raise CheckpointError(f"{self.path}: dataset {name}: expected seconds")
        niters = self._tree.find(f"{self._layout.histories}loss_iters")
        if niters is not None and niters.ndim == 2 and len(niters) == len(seconds):
            seconds = seconds[last_pass(self._read(f"{self._layout.histories}loss_iters", CURVE)[:, 0])]
        return list(enumerate(seconds[-self.niter :].cumsum().tolist(), 1))

    def _live_percentiles(self) -> tuple[float, float] | None:
        name = self._layout.live_percentiles
        if not name or self._tree.find(name) is None:
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
        group = f"{self._layout.histories}{group}"
        names = self._names_of_curves(group) if wanted is None else wanted
        held = [name for name in names if name != "niter" and self._tree.find(f"{group}/{name}") is not None]
        if not held:
            return {}
        niters = self._read(f"{group}/niter", ITERATIONS)
        return {name: self._pairs(f"{group}/{name}", niters, self._read(f"{group}/{name}", VALUES)) for name in held}

    def _names_of_curves(self, group: str) -> list[str]:
        """Return the names in a group; raise CheckpointError where the curves are more than there is room for.

        All may be one curve, to which there are many links.
        """
        names = self._tree.children(group)
        found = [self._tree.find(f"{group}/{name}") for name in names]
        if sum(array.size * array.dtype.itemsize for array in found if array is not None) > most_bytes(self._tree.size):
            raise CheckpointError(f"{self.path}: group {group}: its curves are larger than what there can be of them")
        return names

    def _provenance(self) -> Origin:
        """Read the chain of files that the object came through; this file is the last of them.

        A provenance in an unexpected form counts as none: no result depends on it.
        """
        try:
            runs = [
                (str(entry["uid"]), str(entry["run_name"]))
                for entry in json.loads(self._tree.text("provenance_json", MOST_PROVENANCE) or "{}").get("obj", [])
                if usual_number(Path(str(entry.get("run_name")))) is not None
            ]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return Origin()
        # The engine adds the file's own name last, after all else, and may have been stopped before.
        identity = runs.pop()[0] if runs and usual_number(Path(runs[-1][1])) == self.niter else ""
        return Origin(identity, *(runs[-1] if runs else ("", "")))
