"""What is said of numbers that mean less than they seem to."""

import h5py
import numpy as np
import runs
from damage import OBJP
from toy import ToyModel, write_hdf5, write_run

from ptyconv_cli import analyze_run


def test_an_empty_mask_is_explained():
    (warning,) = analyze_run(runs.ALL["clipped"], device="cpu").warnings
    assert warning.startswith(
        "objp_bg is 0 throughout because its mask is empty: no voxel lies strictly below percentile 15."
    )


def test_percentiles_0_and_100_leave_nothing_beyond_them():
    warnings = analyze_run(runs.SAMPLE, device="cpu", tensors=["objp"], percentile_range=(0, 100)).warnings
    assert warnings == [
        "objp_bg is 0 throughout because no voxel can lie below percentile 0.",
        "objp_fg is 0 throughout because no voxel can lie above percentile 100.",
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
