"""PtyRAD's own values are the truth: recomputed from the checkpoints they must come out the same."""

import pytest
import runs

from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.results.series import SERIES


@pytest.mark.parametrize("name", runs.ALL)
def test_values_are_the_engines(name):
    expected = runs.engine_values(name)
    analysis = analyze_run(runs.ALL[name], device="cpu")
    niters = [checkpoint.niter for checkpoint in analysis.checkpoints]
    assert list(analysis.convergence_iters) == [series.key for series in SERIES]
    for key, curve in analysis.convergence_iters.items():
        assert [niter for niter, _ in curve] == niters[1:]
        for niter, value in curve:
            assert value == pytest.approx(expected[key][niter], rel=1e-6, abs=1e-12), (key, niter)


@pytest.mark.parametrize("name", runs.WITH_LIVE_RECORD)
def test_agreement_with_live_record_is_reported(name):
    analysis = analyze_run(runs.ALL[name], device="cpu")
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
    points = analyze_run(runs.ALL["clipped"], device="cpu").points
    assert {point.voxels for point in points["objp_bg"]} == {0}
    region_voxels = 2 * 15 * 19
    for point in points["obja_bg"] + points["obja_fg"] + points["objp_fg"]:
        assert point.voxels == pytest.approx(0.15 * region_voxels, abs=1.5)
    assert {point.voxels for point in points["probe"]} == {None}
