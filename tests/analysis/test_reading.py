"""Results that are read again, and what is no result."""

import json

import pytest
import runs
from rarely import long_after

from ptyconv_cli.analysis.reading import read_results
from ptyconv_cli.results.history import Point


@pytest.mark.parametrize(
    ("changed", "said"),
    long_after(
        3,
        [
            ({"niters": []}, "at least two iterations"),
            ({"niters": [10**400, 10**401]}, "digits is no iteration, a whole number from 0 to 2^53"),
            ({"niters": [False, True, 2]}, "False is no iteration, a whole number from 0 to 2^53"),
            ({"niters": [-5, 1, 2]}, "-5 is no iteration, a whole number from 0 to 2^53"),
            ({"niters": [20, 10, 30]}, "the iterations don't rise"),
            (
                {"raw": {"distances": [[], [1e308], [1, 1]], "drift_ratio": []}},
                "a distance is not a number of a size that can be drawn",
            ),
            (
                {"raw": {"distances": [[], [-1], [1, 1]], "drift_ratio": []}},
                "a distance is not a number of a size that can be drawn",
            ),
            ({"raw": {"distances": [[], [1]], "drift_ratio": []}}, "not those of each checkpoint"),
            ({"raw": {}}, "KeyError"),
        ],
    ),
)
def test_a_report_with_impossible_trajectories_is_refused(ptyconv, analyzed, tmp_path, changed, said):
    report = json.loads((analyzed / "convergence_report.json").read_text())
    found = {"distances": [[], [1.0], [1.0, 1.0]], "drift_ratio": []}
    whole = {"unit": "rad", "niters": [10, 20, 30], "kept_voxels": 9, "all_voxels": 9, "drift_ratio_lag": 1}
    whole |= {"raw": found, "aligned": found}
    for trajectory, exit_code in ((whole, 0), ({**whole, **changed}, 1)):
        report["trajectories"] = {"objp": trajectory}
        (tmp_path / "convergence_report.json").write_text(json.dumps(report))
        result = ptyconv("plot", tmp_path, "--trajectory")
        assert result.exit_code == exit_code
    assert "holds no results of ptyconv" in result.stderr
    assert said in result.stderr


def test_a_report_with_impossible_intervals_is_refused(ptyconv, analyzed, tmp_path):
    report = json.loads((analyzed / "convergence_report.json").read_text())
    for since in (10, 11, "5"):
        report["series"]["probe"]["points"][0]["since"] = since
        (tmp_path / "convergence_report.json").write_text(json.dumps(report))
        result = ptyconv("plot", tmp_path, "--per-iteration")
        assert result.exit_code == 1
        assert "holds no results of ptyconv (ValueError: " in result.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[1, 2]", "holds no results of ptyconv"),
        ("{}", "holds no results of ptyconv"),
        ('{"colour": [[1, 2]]}', "unknown keys colour"),
        ('{"probe": [[1]]}', "holds no results of ptyconv"),
        ('{"format": 6}', "holds no results of ptyconv"),
        ('{"probe": [[1e999, 1]]}', "inf is no iteration"),
        ('{"probe": [["1", 1]]}', "'1' is no iteration"),
        ('{"probe": [[2, 1], [2, 1]]}', "the iterations don't rise"),
        ("[" * 100000, "is not JSON"),
        ('{"format": 5}', "was written by another version of ptyconv; analyze the run again"),
        ('{"format": 99}', "was written by another version of ptyconv; analyze the run again"),
    ],
)
def test_what_is_no_result_is_said(ptyconv, tmp_path, content, said):
    (tmp_path / "convergence_report.json").write_text(content)
    result = ptyconv("plot", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path / 'convergence_report.json'}: ")
    assert said in result.stderr
    assert not (tmp_path / "convergence.png").exists()


def test_a_folder_without_results_says_how_to_make_them(ptyconv, tmp_path):
    result = ptyconv("plot", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {tmp_path}: holds no convergence_report.json; make one with: ptyconv analyze FOLDER\n"
    )
    assert "absent: cannot be read (No such file or directory)" in ptyconv("plot", tmp_path / "absent").stderr


def test_results_survive_json(analyzed):
    results = read_results(analyzed)
    assert results.name == "clipped"
    assert results.points["probe"][0] == Point(10, 5, pytest.approx(runs.engine_values("clipped")["probe"][10]), None)
    assert results.engine.live_percentiles == (15, 85)
    assert json.loads((analyzed / "convergence_report.json").read_text())["format"] == 6
