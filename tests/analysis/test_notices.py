"""What is said of numbers that mean less than they seem to."""

import json
import math
import shutil

import h5py
import numpy as np
import pytest
import runs
from damage import OBJP
from rarely import long_after
from toy import ToyModel, write_hdf5, write_run

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis.notices import notices_on_vanished
from ptyconv_cli.analysis.report import changes_json


def test_an_empty_mask_is_explained():
    (warning,) = runs.analysis_of(runs.ALL["clipped"]).warnings
    assert warning.startswith(
        "objp_bg is 0 throughout because its mask is empty: no voxel lies strictly below percentile 15."
    )


def test_percentiles_0_and_100_leave_nothing_beyond_them():
    warnings = analyze_run(runs.SAMPLE, device="cpu", tensors=["objp"], percentile_range=(0, 100)).warnings
    assert warnings == [
        "objp_bg is 0 throughout because no voxel can lie below percentile 0. "
        "objp_fg is 0 throughout because no voxel can lie above percentile 100."
    ]


def test_no_change_at_all_is_not_called_an_empty_mask(tmp_path):
    """A tensor that is not optimised keeps its values: 0 is then the truth."""
    for niter in (2, 4, 6):
        write_hdf5(tmp_path / f"model_iter{niter:04d}.hdf5", ToyModel(), niter)
    analysis = analyze_run(tmp_path, device="cpu")
    assert {value for curve in analysis.convergence_iters.values() for _, value in curve} == {0.0}
    assert analysis.warnings == []


def test_nan_is_reported_where_it_begins(tmp_path):
    write_run(tmp_path, [2, 4, 6, 8])
    with h5py.File(tmp_path / "model_iter0006.hdf5", "r+") as file:
        file["optimizable_tensors/objp"][0, 0, 10, 10] = np.nan
    analysis = analyze_run(tmp_path, device="cpu")
    values = dict(analysis.convergence_iters["objp_fg"])
    assert np.isfinite(values[4])
    assert np.isnan(values[6])
    assert np.isfinite(dict(analysis.convergence_iters["obja_fg"])[6])
    assert analysis.points["objp_bg"][1].voxels is None
    assert analysis.not_finite == {"objp": [6]}
    assert analysis.warnings == [
        "objp holds NaN or infinity in the scanned region at iteration 6: its changes there are not known (null in "
        "the JSON)."
    ]


def test_a_diverged_run_is_reported_from_where_it_diverges(tmp_path):
    write_run(tmp_path, [2, 4, 6, 8])
    for niter in (6, 8):
        with h5py.File(tmp_path / f"model_iter{niter:04d}.hdf5", "r+") as file:
            file["optimizable_tensors/probe"][0, 0, 0] = np.inf
    analysis = analyze_run(tmp_path, device="cpu")
    assert analysis.not_finite == {"probe": [6, 8]}
    assert "probe holds NaN or infinity in the scanned region from iteration 6 on:" in analysis.warnings[0]


def test_nan_in_the_first_checkpoint_is_reported(sample):
    with h5py.File(sample / "model_iter0010.hdf5", "r+") as file:
        file[OBJP][0, 0, 25, 25] = np.nan
    analysis = analyze_run(sample, device="cpu")
    assert analysis.not_finite == {"objp": [10]}
    assert "objp holds NaN or infinity in the scanned region at iteration 10:" in analysis.warnings[0]


def spoiled(tmp_path, name, spoil, since=70, run=runs.SAMPLE):
    """A copy of a run whose dataset is `spoil(values, niter)` from an iteration on."""
    for path in sorted(run.glob("*.h*5")):
        shutil.copy(path, tmp_path)
        with h5py.File(tmp_path / path.name, "r+") as file:
            niter = int((file["niter"] if "niter" in file else file["iter/total_iter"])[()])
            if niter >= since:
                file[name][...] = spoil(file[name][()], niter)
    return tmp_path


PROBE = "optimizable_tensors/probe"


@pytest.mark.parametrize("aligned", [True, False])
def test_a_probe_that_vanishes_is_said_and_its_changes_are_null(tmp_path, aligned):
    run_dir = spoiled(tmp_path, PROBE, lambda values, _: 0 * values)
    analysis = analyze_run(run_dir, device="cpu", aligned=aligned)
    warning, _ = analysis.warnings  # the other one: that the engine's own record differs
    assert warning.startswith("The probe has vanished: it holds no intensity from iteration 70 on.")
    (_, gone), *after = analysis.convergence_iters["probe"][5:]
    assert gone == pytest.approx(1)
    assert all(math.isnan(value) for _, value in after)
    assert json.loads(changes_json(analysis))["probe"][-1] == [120, None]
    if aligned:
        assert (analysis.verdict.state, analysis.verdict.since) == ("broken", 70)
        assert all(math.isnan(point.value) for point in analysis.aligned_points["probe"][5:])


def test_a_probe_that_fades_to_nothing_is_said(tmp_path):
    run_dir = spoiled(tmp_path, PROBE, lambda values, niter: values * 10 ** (-(niter - 60) / 10), since=60)
    analysis = analyze_run(run_dir, device="cpu")
    warning, _ = analysis.warnings  # the other one: that the engine's own record differs
    assert "holds no intensity from iteration 110 on" in warning  # 1e-10 of its intensity
    assert (analysis.verdict.state, analysis.verdict.since) == ("broken", 80), "1e-4 of it"


def test_a_probe_that_fades_is_said(tmp_path):
    """2^-8 of its intensity; its changes are relative to what is left."""
    run_dir = spoiled(tmp_path, PROBE, lambda values, niter: values * 2 ** (-(niter - 60) / 15), since=60)
    analysis = analyze_run(run_dir, device="cpu")
    warning, _ = analysis.warnings
    assert warning == (
        "The probe fades: at iteration 120 its intensity is 0.391 % of what it was at iteration 20. Its changes are "
        "relative to its intensity, and don't show that."
    )


def test_what_is_no_number_is_nothing_to_fade_from():
    said = [notices_on_vanished([2, 4, 6], [{"probe": value} for value in of_all]) for of_all in FADING]
    assert [text.split("intensity is ")[1].split(" Its")[0] for (text,) in said] == [
        "0.5 % of what it was at iteration 4.",
        "0.5 % of what it was at iteration 4.",
        "less than 0.01 % of what it was at iteration 4.",
    ]


FADING = [(math.nan, 1, 0.005), (math.inf, 1, 0.005), (0.5, 1, 2e-9)]


def test_a_probe_that_was_never_there_is_said(tmp_path):
    analysis = analyze_run(spoiled(tmp_path, PROBE, lambda values, _: 0 * values, since=0), device="cpu")
    assert "holds no intensity from iteration 10 on" in analysis.warnings[0]
    assert analysis.verdict.state == "broken"


@pytest.mark.parametrize("some", [True, False])
@pytest.mark.parametrize("bad", long_after(1, [math.nan, math.inf]))
@pytest.mark.parametrize(
    ("run", "name", "since"),
    [(runs.SAMPLE, "optimizable_tensors/probe_pos_shifts", 70), (runs.DATA / "phaser/gradient", "scan/data", 12)],
)
def test_positions_that_are_no_numbers_break_a_run(tmp_path, run, name, since, bad, some):
    def spoil(values, _):
        values.reshape(-1)[3 if some else ...] = bad
        return values

    analysis = analyze_run(spoiled(tmp_path, name, spoil, since, run), device="cpu")
    assert f"probe_pos_shifts holds NaN or infinity in the scanned region from iteration {since} on" in " ".join(
        analysis.warnings
    )
    assert (analysis.verdict.state, analysis.verdict.worst, analysis.verdict.since) == (
        "broken",
        "probe_pos_shifts",
        since,
    )


@pytest.mark.parametrize(
    ("last", "where", "judged"),
    [(120, "from iteration 70 on", ("broken", 69)), (71, "at iterations 70, 71", ("converging", None))],
)
def test_a_loss_that_is_no_number_is_said(tmp_path, last, where, judged):
    def spoil(values, _):
        values[69:last, 1] = math.nan
        return values

    analysis = analyze_run(spoiled(tmp_path, "loss_iters", spoil), device="cpu")
    assert f"The loss is NaN or infinity {where}: has the run diverged?" in analysis.warnings
    assert (analysis.verdict.state, analysis.verdict.since) == judged
