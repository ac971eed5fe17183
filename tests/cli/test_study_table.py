"""The table of many runs, side by side."""

import json
import re
import shutil
from pathlib import Path

import pytest
import runs
from outputs import rows_of
from rarely import long_after
from toy import write_run

from ptyconv_cli.analysis.ranking import sorted_rows
from ptyconv_cli.analysis.study_rows import Row
from ptyconv_cli.cli.study import table

pytestmark = pytest.mark.usefixtures("blank_pictures")

STUDY = runs.DATA / "hypertune" / "collated_and_trials" / "hypertune_TPESampler_loss"


@pytest.mark.parametrize("sort", long_after(2, ["loss", "objp_fg", "probe", "name"]))
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


def test_which_checkpoint_to_keep_is_in_the_table_and_its_file(ptyconv, tmp_path):
    """Of a run whose object drifts after it was calm another one than the last."""
    for name in ("constant_lr", "cosine_lr"):
        shutil.copytree(runs.ALL[name], tmp_path / "runs" / name)
    result = ptyconv("analyze", tmp_path / "runs", "--no-plot", "-o", tmp_path / "out")
    assert {row["run"]: row["keep"] for row in rows_of(tmp_path / "out" / "convergence_study.csv")} == {
        "constant_lr": "120",
        "cosine_lr": "54",
    }
    head, *lines = (line.split() for line in result.stdout.splitlines())
    shown = {
        line[0]: line[head.index("keep") - len(head)] for line in lines if line[:1] in (["constant_lr"], ["cosine_lr"])
    }
    assert (head[-1], len(shown)) == ("verdict", 2)
    assert "keep: the iteration of the checkpoint to keep" in " ".join(result.stdout.split())


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
    assert "probe" not in table(rows, "name", {})[0][0]
    assert "probe" in table(rows, "probe", {})[0][0]


def test_a_change_in_the_table_is_per_iteration(ptyconv, tmp_path):
    write_run(tmp_path / "a", [2, 4, 9])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert ptyconv("analyze", tmp_path, "--no-plot").exit_code == 0
    report = json.loads((tmp_path / "a" / "convergence_report.json").read_text())
    last = report["aligned"]["series"]["objp_fg"]["points"][-1]
    (value, _) = (float(row["objp_fg_per_iteration"]) for row in rows_of(tmp_path / "convergence_study.csv"))
    assert value == pytest.approx(last["value"] / 5)


def test_usage_that_makes_no_sense_of_a_study(ptyconv, tmp_path):
    result = ptyconv("analyze", "--chain", runs.DATA / "resume" / "first", STUDY, "-o", tmp_path)
    assert result.exit_code == 2
    assert f"{STUDY}: holds several runs, and --chain FIRST is for one" in result.stderr
    collated = ptyconv("analyze", runs.DATA / "hypertune" / "collated_only", "-o", tmp_path)
    assert collated.exit_code == 1
    assert "4 collated files (model_error_…)" in collated.stderr


def test_long_moves_are_in_nm():
    def said(*moves):
        rows = [Row(f"r{k}", Path(), niter=1, changes={"probe_pos_shifts": move}) for k, move in enumerate(moves)]
        lines = [line for line, _ in table(rows, "probe_pos_shifts", {})]
        return [line.split()[3] for line in lines[1 : 1 + len(moves)]], lines[-1].split()[-1]

    assert said(2.5, 1200.0) == (["2.5", "1200"], "Å")
    assert said(25.0, 12000.0) == (["2.5", "1200"], "nm")


def test_a_large_loss_stays_apart_from_the_iteration():
    rows = [Row("diverged", Path(), niter=60, loss=1.789e11, state="broken"), Row("other", Path(), niter=60, loss=0.5)]
    cells = {line.split()[0]: line.split()[1:3] for line, _ in table(rows, "name", {})[1:3]}
    assert cells == {"diverged": ["60", "1.789e+11"], "other": ["60", "0.5"]}
