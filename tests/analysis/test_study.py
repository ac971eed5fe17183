"""Many runs: what is found below a path, each analyzed, and all side by side."""

import csv
import json
import os
import re
import shutil
import time
from pathlib import Path

import h5py
import pytest
import runs
from toy import write_run

from ptyconv_cli.analysis.study import Row, sorted_rows
from ptyconv_cli.checkpoints.discovery import find_runs
from ptyconv_cli.cli.study_table import table
from ptyconv_cli.results.text import told_apart

STUDY = runs.DATA / "hypertune" / "collated_and_trials" / "hypertune_TPESampler_loss"


@pytest.fixture
def output_folder(tmp_path):
    """Three runs below a folder, of which one cannot be analyzed, beside what is no run."""
    root = tmp_path / "output"
    for name in ("b", "deeper/down/a"):
        (root / name).mkdir(parents=True)
        write_run(root / name, [2, 4, 6])
    (root / "single").mkdir()
    write_run(root / "single", [2])
    (root / "pictures").mkdir()
    (root / ".hidden").mkdir()
    write_run(root / ".hidden", [2, 4])
    (root / "circle").symlink_to(root)
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_runs_are_found_at_any_depth_each_once(output_folder):
    found = find_runs(output_folder)
    assert [str(run.relative_to(output_folder)) for run in found.runs] == ["b", "deeper/down/a", "single"]
    assert not found.collated


def test_links_to_runs_are_followed(output_folder, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "of_b").symlink_to(output_folder / "b")
    assert [run.name for run in find_runs(tmp_path / "links").runs] == ["of_b"]


def test_every_run_of_a_study_is_analyzed_past_one_that_fails(ptyconv, output_folder):
    result = ptyconv("analyze", output_folder, "--no-plot")
    assert result.exit_code == 1
    assert result.stderr == f"\nError: {output_folder / 'single'}: holds 1 checkpoint; a change needs at least two\n"
    for name in ("b", "deeper/down/a"):
        assert (output_folder / name / "convergence_report.json").exists()
    assert not (output_folder / "single" / "convergence_report.json").exists()
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["b", "deeper/down/a", "single"]
    assert lines[3].endswith("failed: holds 1 checkpoint; a change needs at least…")
    rows = rows_of(output_folder / "convergence_study.csv")
    assert [row["run"] for row in rows] == ["b", "deeper/down/a", "single"]
    assert rows[2]["problem"].endswith("a change needs at least two")
    # Again: the results that lie there now are no runs.
    assert ptyconv("analyze", output_folder, "--no-plot").stdout == result.stdout


def test_results_go_below_another_folder(ptyconv, output_folder, tmp_path):
    before = sorted(output_folder.rglob("*"))
    assert ptyconv("analyze", output_folder, "--no-plot", "-o", tmp_path / "out", "-q").exit_code == 1
    assert sorted(output_folder.rglob("*")) == before
    assert (tmp_path / "out" / "deeper" / "down" / "a" / "convergence_iters.json").exists()
    assert (tmp_path / "out" / "convergence_study.csv").exists()


@pytest.mark.parametrize("sort", ["loss", "objp_fg", "probe", "name"])
def test_a_hypertune_study_is_sorted(ptyconv, tmp_path, sort):
    result = ptyconv("analyze", STUDY, "--no-plot", "-o", tmp_path, "--sort", sort)
    assert result.exit_code == 0, result.output
    assert "4 collated files were not used: each is the end of a different trial." in result.stdout
    rows = rows_of(tmp_path / "convergence_study.csv")
    key = {"loss": "loss", "name": "run"}.get(sort, f"{sort}_per_iteration")
    found = [row[key] if sort == "name" else float(row[key]) for row in rows]
    assert found == sorted(found)
    assert len(set(found)) == 4
    # A collated file's name has the loss of its trial.
    losses = {row["run"][:5]: f"{float(row['loss']):.5f}" for row in rows}
    named = [re.search(r"error_([\d.]+)_(t\d+)", path.name) for path in STUDY.iterdir()]
    assert losses == {name[2]: name[1] for name in named if name}
    assert max(map(len, result.stdout.splitlines()[:7])) <= 80


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


def test_usage_that_makes_no_sense_of_a_study(ptyconv, tmp_path):
    result = ptyconv("analyze", "--chain", runs.DATA / "resume" / "first", STUDY, "-o", tmp_path)
    assert result.exit_code == 2
    assert "--chain FIRST is for one run" in result.stderr
    collated = ptyconv("analyze", runs.DATA / "hypertune" / "collated_only", "-o", tmp_path)
    assert collated.exit_code == 1
    assert "4 collated files (model_error_…)" in collated.stderr


def test_rows_without_a_value_come_last():
    rows = [
        Row("failed", Path(), problem="no"),
        Row("unknown", Path(), niter=1, checkpoints=2),
        Row("b", Path(), niter=1, loss=2.0, changes={"probe": 1.0}),
        Row("a", Path(), niter=1, loss=3.0, changes={"probe": 0.5}),
    ]
    assert [row.name for row in sorted_rows(rows, "loss")] == ["b", "a", "unknown", "failed"]
    assert [row.name for row in sorted_rows(rows, "probe")] == ["a", "b", "unknown", "failed"]
    assert [row.name for row in sorted_rows(rows, "name")] == ["a", "b", "failed", "unknown"]
    assert "probe" in table(rows, "name")[0][0]


def test_names_stay_different_when_they_are_shortened():
    names = [f"hypertune_TPESampler_loss/t{n:04d}_full_N144_dp32_random16_p2_1obj_2slice_dz4" for n in range(30)]
    short = told_apart([*names, "short"], 26)
    assert len(set(short)) == 31
    assert max(map(len, short)) <= 26
    assert short[-1] == "short"
    assert told_apart(["a" * 40, "a" * 40], 10)[0] == told_apart(["a" * 40, "a" * 40], 10)[1]


def test_ls_says_what_is_there(ptyconv, output_folder):
    (output_folder / "b" / "model_iter0008.hdf5").write_bytes(b"")
    (output_folder / "b" / "model_iter0004_copy.hdf5").write_bytes(b"")
    result = ptyconv("ls", output_folder)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{output_folder}: 3 runs",
        "run                      format          files  iterations  object (px)   dx (Å)",
        "b                        PtyRAD 1.0.0        3      2 to 6  2×3×22×26     0.2500",
        "  not named like a checkpoint, so not used: model_iter0004_copy.hdf5",
        "  model_iter0008.hdf5: is empty (0 bytes)",
        "deeper/down/a            PtyRAD 1.0.0        3      2 to 6  2×3×22×26     0.2500",
        "single                   PtyRAD 1.0.0        1      2 to 2  2×3×22×26     0.2500",
        "  a change needs at least two checkpoints",
    ]


def test_ls_of_a_run_with_one_file_that_can_be_read(ptyconv, tmp_path):
    write_run(tmp_path / "run", [2, 4, 6])
    for niter in (2, 6):
        os.truncate(tmp_path / "run" / f"model_iter{niter:04d}.hdf5", 100)
    lines = ptyconv("ls", tmp_path).stdout.splitlines()
    assert lines[2].startswith("run                      PtyRAD 1.0.0        1      4 to 4")
    problems = " ".join(line.strip() for line in lines[3:])
    assert problems.count("model_iter0002.hdf5: HDF5 cannot read") == 1
    assert problems.count("model_iter0006.hdf5: HDF5 cannot read") == 1
    assert problems.endswith("a change needs at least two checkpoints")


def test_ls_reads_no_tensor(ptyconv, monkeypatch):
    monkeypatch.setattr(
        "ptyconv_cli.checkpoints.formats.hdf5.Hdf5Tree.read_into", lambda *_: pytest.fail("read a tensor")
    )
    result = ptyconv("ls", runs.DATA / "resume")
    assert result.exit_code == 0
    assert "mixed_in_one_folder/run1 PtyRAD 1.0.0        3      2 to 6" in result.stdout
    assert "mixed_in_one_folder/run2 PtyRAD 1.0.0        2     8 to 10" in result.stdout
    assert "  resumed from full_N144_dp48_random16_p2_1obj_2slice_dz4/model_iter0010.hdf5\n" in result.stdout


def test_ls_of_collated_files_and_of_nothing(ptyconv, tmp_path):
    collated = ptyconv("ls", runs.DATA / "hypertune" / "collated_only")
    assert collated.exit_code == 0
    assert collated.stdout.endswith("0 runs, 4 collated files (the ends of different trials)\n")
    nothing = ptyconv("ls", tmp_path)
    assert nothing.exit_code == 1
    assert nothing.stderr.startswith(f"Error: {tmp_path}: holds no checkpoint (model_iterNNNN.hdf5")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_that_may_not_be_read_are_said(ptyconv, output_folder):
    (output_folder / "b").chmod(0)
    result = ptyconv("ls", output_folder)
    (output_folder / "b").chmod(0o700)
    assert f"{output_folder / 'b'}: cannot be listed (Permission denied)" in result.stdout


def test_ls_of_200_runs_is_quick(ptyconv, tmp_path):
    """With 20 checkpoints each: what is asked is 5 s, on a machine that may be busy."""
    files = sorted((runs.DATA / "ptyrad-1.0" / "constant_lr").iterdir())
    assert len(files) == 20
    for run in range(200):
        folder = tmp_path / f"run{run:03d}"
        folder.mkdir()
        for file in files:
            (folder / file.name).symlink_to(file)
    seconds = []
    while len(seconds) < 3 and min(seconds, default=5) >= 5:
        started = time.perf_counter()
        result = ptyconv("ls", tmp_path)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 5
    assert len(result.stdout.splitlines()) == 202


def test_a_folder_in_the_way_of_a_part_keeps_its_results(ptyconv, tmp_path):
    mixed = shutil.copytree(runs.DATA / "resume" / "mixed_in_one_folder", tmp_path / "study" / "mix")
    shutil.copytree(runs.DATA / "resume" / "first", mixed / "run1")
    assert ptyconv("analyze", tmp_path / "study", "-o", tmp_path / "out", "--no-plot").exit_code == 0
    rows = rows_of(tmp_path / "out" / "convergence_study.csv")
    counts = {row["run"]: row["checkpoints"] for row in rows}
    assert counts == {"mix/run1": "5", "mix/run_1": "3", "mix/run_2": "2"}
    assert len({row["results"] for row in rows}) == 3


def test_links_in_a_circle_are_said(ptyconv, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    result = ptyconv("ls", tmp_path / "loop")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")


def test_a_change_in_the_table_is_per_iteration(ptyconv, tmp_path):
    write_run(tmp_path / "a", [2, 4, 9])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert ptyconv("analyze", tmp_path, "--no-plot").exit_code == 0
    report = json.loads((tmp_path / "a" / "convergence_report.json").read_text())
    last = report["aligned"]["series"]["objp_fg"]["points"][-1]
    (value, _) = (float(row["objp_fg_per_iteration"]) for row in rows_of(tmp_path / "convergence_study.csv"))
    assert value == pytest.approx(last["value"] / 5)


def test_a_broken_run_is_listed_with_what_is_wrong(ptyconv, tmp_path):
    write_run(tmp_path, [2, 4, 6])
    for path in tmp_path.iterdir():
        with h5py.File(path, "r+") as file:
            del file["niter"]
    lines = ptyconv("ls", tmp_path).stdout.splitlines()
    assert lines[2].split()[-5:] == ["-", "0", "-", "-", "-"]
    assert "has no dataset niter" in lines[3]
