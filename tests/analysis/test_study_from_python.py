"""Studies and runs from Python: what the table shows, also for pandas, and in a few lines."""

import shutil
import sys

import pandas as pd
import pytest
import runs
from pandas.testing import assert_frame_equal

from ptyconv_cli import PtyconvError, analyze_run, analyze_study
from ptyconv_cli.analysis.report import changes_csv

STUDY = runs.DATA / "hypertune" / "collated_and_trials" / "hypertune_TPESampler_loss"


@pytest.fixture(scope="module")
def study():
    return analyze_study(STUDY, sort="loss", device="cpu")


def test_a_study_is_what_the_table_shows(study, ptyconv, tmp_path):
    result = ptyconv("analyze", STUDY, "--no-plot", "-o", tmp_path, "--sort", "loss")
    written = pd.read_csv(tmp_path / "convergence_study.csv", dtype={"oplr": str, "C10": str})
    frame = study.to_frame()
    assert list(frame.columns) == list(written.columns)
    assert list(frame["run"]) == list(written["run"])
    for name in written.columns.difference(["results", "problem", "since"]):
        kind = str if name in ("run", "verdict", "oplr", "C10") else float
        assert_frame_equal(frame[[name]].astype(kind), written[[name]].astype(kind))
    assert study.advice in " ".join(result.stdout.split())
    assert study.warnings == ["4 collated files were not used: each is the end of a different trial."]
    assert not list(STUDY.rglob("convergence*"))


def test_its_analyses_are_those_of_the_runs(study):
    (name, analysis), *_ = study.analyses.items()
    alone = analyze_run(STUDY / name, device="cpu")
    assert analysis.points == alone.points
    assert {row.name: row.keep for row in study.rows} == {
        name: one.verdict.keep for name, one in study.analyses.items()
    }


def test_in_a_few_lines(study):
    lines = repr(study).splitlines()
    assert lines[0] == f"<StudyAnalysis of {STUDY}: 4 runs"
    assert lines[1].strip().startswith("t0003_")
    assert lines[1].endswith(": converging at iteration 6, keep 6")
    assert lines[-1] == "none has converged; t0001 moved least; lowest loss: t0003>"
    assert len(lines) == 6
    analysis = analyze_run(runs.SAMPLE, device="cpu")
    lines = repr(analysis).splitlines()
    assert lines[0] == f"<RunAnalysis of {runs.SAMPLE}: 12 checkpoints, iterations 10 to 120"
    assert lines[1] == "  converging; keep 120"
    assert len(lines) == 3
    raw = repr(analyze_run(runs.SAMPLE, device="cpu", aligned=False))
    assert raw.splitlines()[1:] in ([], ["  warnings: 1>"])


def test_the_changes_of_a_run_are_those_of_its_table(tmp_path):
    analysis = analyze_run(runs.SAMPLE, device="cpu")
    (tmp_path / "changes.csv").write_bytes(changes_csv(analysis))
    written = pd.read_csv(tmp_path / "changes.csv", keep_default_na=False, na_values={"voxels": ""})
    assert_frame_equal(analysis.to_frame(), written, check_dtype=False)


def test_runs_that_fail_and_several_in_one_folder(tmp_path):
    shutil.copytree(runs.SAMPLE, tmp_path / "good")
    shutil.copytree(runs.DATA / "resume" / "mixed_in_one_folder", tmp_path / "mixed")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model_iter0010.hdf5").write_bytes(b"no HDF5")
    seen = []
    study = analyze_study(tmp_path, device="cpu", progress=lambda done, total: seen.append((done, total)))
    assert [row.name for row in study.rows] == ["bad", "good", "mixed/run1", "mixed/run2"]
    assert study.rows[0].problem
    assert "bad: failed (" in repr(study)
    assert list(study.analyses) == ["good", "mixed/run1", "mixed/run2"]
    assert seen[-1] == (3, 3)
    assert study.to_frame()["keep"].isna().tolist()[0]


def test_what_is_wrong_is_said(tmp_path, monkeypatch, study):
    with pytest.raises(PtyconvError, match="holds no checkpoint"):
        analyze_study(tmp_path)
    with pytest.raises(ValueError, match="sort must be name, loss, moved, or one of "):
        analyze_study(STUDY, sort="best")
    with pytest.raises(ValueError, match="device"):
        analyze_study(STUDY, device="quantum")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(PtyconvError, match="a DataFrame needs pandas, which is not installed: pip install pandas"):
        study.to_frame()
