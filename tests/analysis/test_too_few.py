"""Of one scan position, or a region of one pixel, nothing is left once the ambiguities are removed."""

import json
import math

import blank
import h5py
import numpy as np
import pytest
import torch
from outputs import OUTPUTS, names
from ptyrad_names import TENSORS
from rarely import long_after
from toy import ToyModel, write_hdf5

from ptyconv_cli import analyze_run
from ptyconv_cli.convergence import ConvergenceMonitor
from ptyconv_cli.metrics.aligned import align_object, whole
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.quantities import quantity_of


def one_position(model: ToyModel) -> ToyModel:
    model.crop_pos = model.crop_pos[:1]
    shifts = model.optimizable_tensors["probe_pos_shifts"].data[:1]
    model.optimizable_tensors["probe_pos_shifts"] = torch.nn.Parameter(shifts.clone())
    return model


@pytest.fixture
def small_run(tmp_path):
    """A run of one scan position, whose region is one pixel: all its tensors move."""
    model, rng = one_position(ToyModel()), np.random.default_rng(0)
    for niter in range(1, 17):
        for tensor in model.optimizable_tensors.values():
            tensor.data += torch.from_numpy(rng.normal(size=tensor.shape).astype("f4"))
        write_hdf5(tmp_path / f"model_iter{niter:04d}.hdf5", model, niter)
    return tmp_path


def test_it_is_said_and_no_aligned_change_is_known(small_run):
    analysis = analyze_run(small_run, device="cpu")
    assert analysis.region.shape_in((1, 1, 22, 26)) == (1, 1, 1, 1)
    assert any(w.startswith("obja, objp, probe_pos_shifts: too few to align") for w in analysis.warnings)
    assert not any("more than a float can hold" in warning for warning in analysis.warnings)
    for key in ("objp_bg", "objp_fg", "obja_fg", "probe_pos_shifts"):
        assert all(math.isnan(point.value) for point in analysis.aligned_points[key])
    assert all(point.value > 0 for point in analysis.points["probe_pos_shifts"])
    assert all(math.isfinite(point.value) for point in analysis.aligned_points["probe"])
    states = {name: found.state for name, found in analysis.verdict.doublings.items()}
    assert {states[name] for name in ("obja", "objp", "probe_pos_shifts")} == {"insufficient"}
    assert states["probe"] not in ("insufficient", "converged")
    assert (analysis.verdict.state, analysis.verdict.worst) == ("insufficient", "objp"), "it is the object that counts"


def test_where_nothing_is_known_to_move_the_verdict_says_so(small_run):
    verdict = analyze_run(small_run, device="cpu", tensors=["objp", "probe_pos_shifts"]).verdict
    assert (verdict.state, verdict.sentence) == (
        "insufficient",
        "there is too little of the object phase to align: it cannot be said whether the run has converged.",
    )


def test_positions_that_rest_are_still_not_optimised(small_run):
    with h5py.File(small_run / "model_iter0001.hdf5") as file:
        rest = file["optimizable_tensors/probe_pos_shifts"][()]
    for path in small_run.iterdir():
        with h5py.File(path, "r+") as file:
            file["optimizable_tensors/probe_pos_shifts"][...] = rest
    found = analyze_run(small_run, device="cpu").verdict.doublings
    assert found["probe_pos_shifts"].state == "not optimised"


@pytest.mark.parametrize("drawn", long_after(1, [False, True]))
def test_files_table_and_pictures_show_the_raw_values(small_run, ptyconv, monkeypatch, drawn):
    if not drawn:
        blank.patch(monkeypatch)
    result = ptyconv("analyze", small_run, "-v")
    assert result.exit_code == 0
    assert names(small_run) >= OUTPUTS
    assert "scan positions   px     too few to align" in result.stdout
    assert "not optimised" not in result.stdout
    assert "not refined" not in result.stdout
    report = json.loads((small_run / "convergence_report.json").read_text())
    assert report["series"]["probe_pos_shifts"]["points"][-1]["value"] > 0
    assert report["aligned"]["series"]["probe_pos_shifts"]["points"][-1]["value"] is None
    assert ptyconv("plot", small_run).exit_code == 0
    assert ptyconv("maps", small_run).exit_code == 0


def test_a_live_monitor_says_the_same():
    model = one_position(ToyModel())
    monitor = ConvergenceMonitor({"aligned": True}, model)
    for niter in range(1, 9):
        model.update()
        model.optimizable_tensors["probe_pos_shifts"].data += niter
        monitor.step(model, niter)
    assert math.isnan(model.convergence_aligned_iters["probe_pos_shifts"][-1][1])
    assert monitor.verdict().doublings["probe_pos_shifts"].too_few


@pytest.mark.parametrize("name", ["objp", "obja"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 1, 3), (1, 1, 2, 2), (1, 2, 2, 3), (2, 1, 1, 2), (1, 1, 1, 5)])
def test_it_is_so_exactly_where_nothing_would_be_left(name, shape):
    now, before = (torch.from_numpy(np.random.default_rng(k).normal(size=shape)) for k in (1, 2))
    now, before = (Framed(quantity_of(name).own, values) for values in (now, before))
    left = float(whole(align_object(now, before, 1.0)[0]).abs().max())
    assert quantity_of(name).too_few_to_align(shape) == (left < 1e-9)


def test_of_ordinary_runs_it_is_not_so():
    assert not any(
        quantity_of(name).too_few_to_align((1, 6, 15, 19) if name.startswith("obj") else (32, 32)) for name in TENSORS
    )
