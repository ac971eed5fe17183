"""PtyRAD's own values are the truth: recomputed from the checkpoints they must come out the same."""

import h5py
import pytest
import runs
from damage import spoil
from ptyrad_names import SERIES
from rarely import long_but

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis.notices import intervals_words
from ptyconv_cli.results.history import Point, points_since


@pytest.mark.parametrize("name", long_but(runs.ALL, "sample", "clipped", "pt_numpy1", "0.1.0b10"))
def test_values_are_the_engines(name):
    expected = runs.engine_values(name)
    analysis = runs.analysis_of(runs.ALL[name])
    niters = [checkpoint.niter for checkpoint in analysis.checkpoints]
    assert list(analysis.convergence_iters) == [series.key for series in SERIES]
    for key, curve in analysis.convergence_iters.items():
        assert [niter for niter, _ in curve] == niters[1:]
        for niter, value in curve:
            assert value == pytest.approx(expected[key][niter], rel=1e-6, abs=1e-12), (key, niter)


@pytest.mark.parametrize("name", long_but(runs.WITH_LIVE_RECORD, "sample", "clipped"))
def test_agreement_with_live_record_is_reported(name):
    analysis = runs.analysis_of(runs.ALL[name])
    assert list(analysis.live_agreement) == [series.key for series in SERIES]
    for agreement in analysis.live_agreement.values():
        assert agreement.compared == len(analysis.checkpoints) - 1
        assert 0 <= agreement.max_relative_difference < 1e-6


def test_checkpoints_saved_on_a_gpu_are_read_without_one():
    run_dir = runs.DATA / "ptyrad-0.1.0b6-pt" / "saved_on_cuda"
    expected = runs.engine_values("pt_numpy2")
    for key, curve in analyze_run(run_dir, device="cpu").convergence_iters.items():
        assert [niter for niter, _ in curve] == [4, 6]
        assert [value for _, value in curve] == pytest.approx([expected[key][4], expected[key][6]], rel=1e-6, abs=1e-12)


def test_mask_sizes_tell_an_empty_mask_from_no_change():
    points = runs.analysis_of(runs.ALL["clipped"]).points
    assert {point.voxels for point in points["objp_bg"]} == {0}
    region_voxels = 2 * 15 * 19
    for point in points["obja_bg"] + points["obja_fg"] + points["objp_fg"]:
        assert point.voxels == pytest.approx(0.15 * region_voxels, abs=1.5)
    assert {point.voxels for point in points["probe"]} == {None}


def test_a_widened_interval_is_not_compared_with_the_live_record(sample):
    (sample / "model_iter0050.hdf5").unlink()
    analysis = analyze_run(sample, device="cpu")
    assert analysis.points["probe"][3].since == 40
    assert analysis.points["probe"][3].niter == 60
    assert {agreement.compared for agreement in analysis.live_agreement.values()} == {9}
    assert max(a.max_relative_difference for a in analysis.live_agreement.values()) < 1e-6
    assert intervals_words(analysis.points).startswith("The checkpoints are 10 to 20 iterations apart, and")


def test_a_live_record_begins_at_iteration_0():
    assert points_since(0, [(10, 0.5), (25, 0.25)]) == [Point(10, 0, 0.5), Point(25, 10, 0.25)]
    assert points_since(0, []) == []


def test_a_record_that_does_not_name_its_percentiles_has_the_default_ones(sample):
    spoil(sample / "model_iter0120.hdf5", "params/recon_params/convergence_monitor/percentile_range", None)
    assert analyze_run(sample, device="cpu").live_agreement["objp_fg"].compared == 11
    analysis = analyze_run(sample, device="cpu", percentile_range=(10, 90))
    assert analysis.live_agreement["objp_fg"].compared == 0
    assert analysis.warnings == []


def test_other_percentiles_are_not_compared_with_the_live_record():
    agreement = analyze_run(runs.SAMPLE, device="cpu", percentile_range=(10, 90)).live_agreement
    assert {key: found.compared for key, found in agreement.items()} == {
        "obja_bg": 0,
        "obja_fg": 0,
        "objp_bg": 0,
        "objp_fg": 0,
        "probe": 11,
        "probe_pos_shifts": 11,
    }
    assert agreement["objp_bg"].max_relative_difference is None


def test_a_live_record_of_other_tensors_is_noticed(sample):
    with h5py.File(sample / "model_iter0120.hdf5", "r+") as file:
        file["convergence_iters/probe"][5, 1] *= 2
    analysis = analyze_run(sample, device="cpu")
    assert analysis.live_agreement["probe"].max_relative_difference == pytest.approx(0.5)
    assert analysis.warnings == [
        "The engine's own record differs (probe by up to 50.0%): were the checkpoints changed or mixed with others?"
    ]
