"""What the report holds."""

import math

import h5py
import numpy as np
import pytest
import runs
from outputs import strict_json
from ptyrad_names import SERIES
from toy import write_run

from ptyconv_cli.analysis.reading import read_results


def test_report_says_how_the_numbers_were_got(ptyconv, tmp_path):
    ptyconv(
        "analyze",
        runs.ALL["clipped"],
        "-o",
        tmp_path,
        "--percentiles",
        10,
        90,
        "--every",
        10,
        "--no-plot",
        "--device",
        "cpu",
    )
    report = strict_json(tmp_path / "convergence_report.json")
    assert report["ptyconv_version"] == "0.1.0"
    assert report["settings"] == {
        "tensors": ["obja", "objp", "probe", "probe_pos_shifts"],
        "percentile_range": [10, 90],
        "every": 10,
        "select": None,
        "device": "cpu",
    }
    assert report["region_px"] == {"y": [19, 34], "x": [20, 39]}
    assert report["dx_angstrom"] == pytest.approx(0.5163648)
    assert [checkpoint["niter"] for checkpoint in report["checkpoints"]] == [10, 20, 30, 40, 50, 60]
    assert report["checkpoints"][0]["file"] == "model_iter0010.hdf5"
    assert report["checkpoints"][0]["shapes"]["obja"] == [1, 2, 56, 60]
    assert report["series"]["probe_pos_shifts"]["unit"] == "Å"
    first = report["series"]["objp_bg"]["points"][0]
    assert first == {"niter": 20, "since": 10, "value": 0.0, "voxels": 0}
    assert report["warnings"][0].startswith("objp_bg is 0 throughout")
    assert report["live_record"]["percentile_range"] == [15, 85]
    assert report["live_record"]["agreement"]["probe"] == {"compared": 0, "max_relative_difference": None}


def test_the_report_has_the_aligned_changes_and_what_they_are_without(ptyconv, tmp_path):
    ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot", "--device", "cpu")
    analysis = runs.analysis_of(runs.SAMPLE)
    aligned = strict_json(tmp_path / "convergence_report.json")["aligned"]
    assert list(aligned["series"]) == [series.key for series in SERIES]
    points = aligned["series"]["objp_fg"]["points"]
    assert [(point["niter"], point["since"], point["voxels"]) for point in points] == [
        (niter, niter - 10, 86) for niter in range(20, 130, 10)
    ]
    values = [point["value"] for point in points]
    assert values == [point.value for point in analysis.aligned_points["objp_fg"]]
    assert values == sorted(values, reverse=True)  # it falls the whole way
    assert values[-1] == pytest.approx(1.9e-4, rel=0.05)
    for tensor, kinds in {
        "obja": ["niter", "share", "shift_angstrom", "scale", "total_scale"],
        "objp": ["niter", "share", "shift_angstrom", "offset_rad", "total_offset_rad", "ramp_rad_per_angstrom"],
        "probe": ["niter", "share", "shift_angstrom", "scale", "total_scale"],
        "probe_pos_shifts": ["niter", "share", "shift_angstrom"],
    }.items():
        assert [list(found) for found in aligned["removed"][tensor]] == [kinds] * 11
    last = aligned["removed"]["objp"][-1]
    assert last["niter"] == 120
    assert last["share"] == pytest.approx(0.96, abs=0.005)
    assert last["total_offset_rad"] == [pytest.approx(sum(last["offset_rad"][0]))]
    scaled = aligned["removed"]["obja"][-1]
    assert scaled["total_scale"] == [pytest.approx(sum(scaled["scale"][0]))]


def test_the_report_has_the_trajectories(ptyconv, tmp_path):
    ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot", "--device", "cpu")
    expected = runs.analysis_of(runs.SAMPLE).trajectories["objp"]
    found = strict_json(tmp_path / "convergence_report.json")["trajectories"]["objp"]
    assert found["unit"] == "rad"
    assert found["niters"] == list(range(10, 130, 10))
    assert (found["kept_voxels"], found["all_voxels"], found["drift_ratio_lag"]) == (570, 570, 6)
    for way, distances in (("raw", expected.raw), ("aligned", expected.aligned)):
        assert found[way]["to_last"] == [list(pair) for pair in expected.to_last(distances)]
        assert found[way]["drift_ratio"] == [list(pair) for pair in distances.drift_ratio]
        for of_one, expected_of_one in zip(found[way]["distances"], distances.between, strict=True):
            assert of_one == pytest.approx(expected_of_one, rel=1e-5)
    assert read_results(tmp_path).trajectories["objp"].niters == expected.niters


def test_not_finite_is_null(ptyconv, tmp_path):
    write_run(tmp_path, [2, 4, 6])
    with h5py.File(tmp_path / "model_iter0004.hdf5", "r+") as file:
        file["optimizable_tensors/probe"][0, 0, 0] = np.nan
    result = ptyconv("analyze", tmp_path, "--no-plot")
    assert result.exit_code == 0
    assert strict_json(tmp_path / "convergence_iters.json")["probe"] == [[4, None], [6, None]]
    assert "probe holds NaN or infinity in the scanned region at iteration 4:" in " ".join(result.stderr.split())
    assert strict_json(tmp_path / "convergence_report.json")["not_finite"] == {"probe": [4]}
    assert math.isnan(read_results(tmp_path).points["probe"][0].value)
