"""Many runs: each is analyzed, and where its results go."""

import shutil

import runs
from outputs import rows_of


def test_every_run_of_a_study_is_analyzed_past_one_that_fails(ptyconv, output_folder):
    result = ptyconv("analyze", output_folder, "--no-plot")
    assert result.exit_code == 1
    single = output_folder / "single"
    assert result.stderr == (
        f"\nError: {single}: holds 1 checkpoint; a change needs at least two, and the verdict one near half and one "
        "near a quarter of the last one's iterations. What the engine recorded itself can be drawn: "
        f"ptyconv plot {single}\n"
    )
    for name in ("b", "deeper/down/a"):
        assert (output_folder / name / "convergence_report.json").exists()
    assert not (output_folder / "single" / "convergence_report.json").exists()
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["b", "deeper/down/a", "single"]
    assert lines[3].endswith("failed: holds 1 checkpoint; a change needs at least…")
    rows = rows_of(output_folder / "convergence_study.csv")
    assert [row["run"] for row in rows] == ["b", "deeper/down/a", "single"]
    assert "a change needs at least two" in rows[2]["problem"]
    # Again: the results that lie there now are no runs.
    assert ptyconv("analyze", output_folder, "--no-plot").stdout == result.stdout


def test_results_go_below_another_folder(ptyconv, output_folder, tmp_path):
    before = sorted(output_folder.rglob("*"))
    assert ptyconv("analyze", output_folder, "--no-plot", "-o", tmp_path / "out", "-q").exit_code == 1
    assert sorted(output_folder.rglob("*")) == before
    assert (tmp_path / "out" / "deeper" / "down" / "a" / "convergence_iters.json").exists()
    assert (tmp_path / "out" / "convergence_study.csv").exists()


def test_a_folder_of_two_runs_gives_both(ptyconv, tmp_path):
    result = ptyconv("analyze", runs.DATA / "resume" / "mixed_in_one_folder", "-o", tmp_path, "--no-plot")
    assert result.exit_code == 0
    rows = rows_of(tmp_path / "convergence_study.csv")
    assert [(row["run"], row["checkpoints"]) for row in rows] == [
        ("mixed_in_one_folder/run1", "3"),
        ("mixed_in_one_folder/run2", "2"),
    ]
    assert (tmp_path / "run1" / "convergence_report.json").exists()
    joined = ptyconv("analyze", "--chain", "auto", runs.DATA / "resume", "-o", tmp_path / "joined", "--no-plot")
    assert joined.exit_code == 0
    counts = {row["run"]: row["checkpoints"] for row in rows_of(tmp_path / "joined" / "convergence_study.csv")}
    assert counts == {
        "first": "5",
        "mixed_in_one_folder/run1": "5",
        "mixed_in_one_folder/run2": "2",
        "resumed": "9",
        "resumed_with_optimizer": "9",
    }


def test_a_single_run_below_is_analyzed_as_if_it_was_named(ptyconv, tmp_path):
    shutil.copytree(runs.DATA / "resume" / "first", tmp_path / "above" / "run")
    result = ptyconv("analyze", tmp_path / "above", "--no-plot")
    assert result.exit_code == 0
    assert result.stdout.startswith("run: 5 checkpoints")
    assert (tmp_path / "above" / "run" / "convergence_iters.json").exists()


def test_a_folder_in_the_way_of_a_part_keeps_its_results(ptyconv, tmp_path):
    mixed = shutil.copytree(runs.DATA / "resume" / "mixed_in_one_folder", tmp_path / "study" / "mix")
    shutil.copytree(runs.DATA / "resume" / "first", mixed / "run1")
    assert ptyconv("analyze", tmp_path / "study", "-o", tmp_path / "out", "--no-plot").exit_code == 0
    rows = rows_of(tmp_path / "out" / "convergence_study.csv")
    counts = {row["run"]: row["checkpoints"] for row in rows}
    assert counts == {"mix/run1": "5", "mix/run_1": "3", "mix/run_2": "2"}
    assert len({row["results"] for row in rows}) == 3
