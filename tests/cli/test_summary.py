"""What `ptyconv analyze` says of a run."""

import math
import shutil

import h5py
import numpy as np
import pytest
import runs
from ptyrad_names import SERIES
from rarely import long_after
from toy import write_run

from ptyconv_cli import analyze_run
from ptyconv_cli.cli.console import sparkline

pytestmark = pytest.mark.usefixtures("blank_pictures")


def test_summary_fits_80_columns(ptyconv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = ptyconv("analyze", runs.ALL["constant_lr"], "-o", "out", "--no-plot", "-v")
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "constant_lr: 20 checkpoints, iterations 6 to 120"
    table = lines[lines.index("") + 1 :][:7]
    assert table[0].split() == ["change", "unit", "at", "12", "at", "120", "last/first", "over", "iterations", "(log)"]
    assert [line.split()[0] for line in table[1:]] == [series.key for series in SERIES]
    assert [line.split()[1] for line in table[1:]] == ["-", "-", "rad", "rad", "-", "Å"]
    engine = runs.engine_values("constant_lr")["objp_fg"]
    first, last, ratio = map(float, table[4].split()[2:5])
    assert (first, last) == pytest.approx((engine[12], engine[120]), rel=5e-3)
    assert ratio == pytest.approx(engine[120] / engine[12], rel=5e-3)
    assert "Matches the engine's own record (largest relative difference" in result.output
    assert "wrote out/convergence_iters.json" in result.output


def test_quiet_prints_warnings_only(ptyconv, tmp_path):
    result = ptyconv("analyze", runs.ALL["clipped"], "-o", tmp_path, "-q", "--no-plot")
    assert result.stdout == ""
    assert result.stderr.startswith("warning: objp_bg is 0 throughout")
    assert max(map(len, result.stderr.splitlines())) <= 80
    assert ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "-q", "--no-plot").output == ""


@pytest.mark.parametrize(("every", "words"), [(10, "10 iterations"), (1, "iteration")])
def test_a_record_at_other_intervals_is_not_compared(ptyconv, tmp_path, every, words):
    run_dir = shutil.copytree(runs.ATOMS, tmp_path / "run")
    with h5py.File(run_dir / "model_iter0200.hdf5", "r+") as file:
        for curve in file["convergence_iters"].values():
            curve[:, 0] = 1 + np.arange(len(curve)) if every == 1 else curve[:, 0]
    said = " ".join(ptyconv("analyze", run_dir, "--no-plot").stdout.split())
    assert f"own record, which has a value every {words}: these checkpoints are 20 apart." in said


def test_a_disagreeing_live_record_is_not_said_to_agree(ptyconv, tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    with h5py.File(run_dir / "model_iter0120.hdf5", "r+") as file:
        file["convergence_iters/probe"][5, 1] *= 2
    said = "\nDoes not match the engine's own record (largest relative difference 5.0e-01).\n"
    assert said in ptyconv("analyze", run_dir, "--no-plot").stdout
    result = ptyconv("analyze", run_dir, "--no-plot", "--every", 30)
    assert (
        "Not compared with the engine's own record, which has a value every 10\n"
        "  iterations: these checkpoints are 30 apart.\n" in result.stdout
    )


def test_two_checkpoints_have_one_change_and_no_ratio(ptyconv, tmp_path):
    write_run(tmp_path, [2, 4])
    lines = ptyconv("analyze", tmp_path, "--no-plot", "-v").stdout.splitlines()
    lines = lines[lines.index("") - 2 :]
    assert lines[3].split() == ["change", "unit", "at", "4", "last/first", "over", "iterations", "(log)"]
    assert all(line.split()[-1] == "-" for line in lines[4:10])


def test_sparkline_is_logarithmic_and_bounded():
    assert sparkline([1, 10, 100, 1000, 10**4, 10**5, 10**6, 10**7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.5, 0.5, 0.5]) == "▅▅▅"
    assert sparkline([1.0, 1.05, 1.1]) == "▄▅▅", "small changes look small"
    assert sparkline([0.0, math.nan, 2, 4]) == "  ▁█"
    assert len(sparkline(list(range(1, 1000)))) == 23
    assert sparkline(list(range(1, 1000)))[0] == "▁"
    assert sparkline(list(range(1, 1000)))[-1] == "█"


def test_the_summary_says_what_was_removed(ptyconv, tmp_path):
    lines = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot", "-v").stdout.splitlines()
    assert max(len(line) for line in lines if "/" not in line or "rad" in line) <= 80
    aligned = lines[next(k for k, line in enumerate(lines) if line.startswith("aligned change")) :]
    assert [line.split()[0] for line in aligned[1:7]] == [series.key for series in SERIES]
    assert float(aligned[4].split()[3]) == pytest.approx(1.91e-4, rel=5e-3)
    removed = aligned[8:13]
    said = "removed at 120 fraction ambiguities that the data cannot constrain"
    assert " ".join(removed[0].split()) == said
    assert removed[2].split()[:6] == ["objp", "96", "%", "offset", "-0.011", "rad,"]


@pytest.mark.parametrize("name", long_after(1, ["sample", "cosine_lr", "clipped"]))
def test_it_ends_with_the_answer_in_at_most_25_lines(ptyconv, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    result = ptyconv("analyze", runs.ALL[name], "-o", "out", "--no-plot")
    lines = result.stdout.splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80
    verdict = analyze_run(runs.ALL[name], device="cpu").verdict
    assert " ".join(result.stdout.split()).endswith(verdict.advice)
    assert f"{verdict.state}: {verdict.sentence}" in " ".join(result.stdout.split())
    assert "aligned change" not in result.stdout, "the tables come with -v"
