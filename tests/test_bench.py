"""The benchmark runs: on something tiny, for its figures are not of interest here."""

import subprocess
import sys

import pytest
import runs

BENCH = runs.ROOT / "tests" / "support" / "bench.py"


@pytest.mark.long
def test_all_that_the_benchmark_measures_is_there():
    """It names functions all over the package, which move."""
    ended = subprocess.run([sys.executable, BENCH, "--help"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.long
def test_the_benchmark_runs_from_start_to_end(tmp_path):
    tiny = "--slices", "1", "--size", "160", "--checkpoints", "3"
    command = [sys.executable, BENCH, *tiny, "--rounds", "1", "--scaling", "4", "8", "--runs", "8"]
    command += ["--json", tmp_path / "bench.json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "\nwith nothing new, cold: " in ended.stdout
    assert "\ncheck of an analyzed run, cold: " in ended.stdout
    assert "\none more in --follow: analyze (s)" in ended.stdout
    assert "\none after the other " in ended.stdout
    assert (tmp_path / "bench.json").exists()
