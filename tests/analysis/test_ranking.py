"""Runs are ranked by their losses only where these can be compared; else it is said why not."""

import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import runs
from outputs import rows_of

from ptyconv_cli.analysis.ranking import advice_on, sorted_rows, why_not_by_loss
from ptyconv_cli.analysis.study_rows import Row
from ptyconv_cli.checkpoints.opening import open_checkpoint

PTYRAD = {"engine": "PtyRAD", "loss function": "loss_single (dp_pow 0.5, weight 1)", "slices": "2"}


def row(name, loss, moved=5.0, state="converged", **facts):
    return Row(name, Path(), niter=100, checkpoints=9, loss=loss, moved=moved, state=state, facts={**PTYRAD, **facts})


def test_of_comparable_runs_the_lowest_loss_is_kept():
    rows = [row("a", 0.2, **{"probe modes": "2"}), row("b", 0.1, **{"probe modes": "4"})]
    assert why_not_by_loss(rows) == ""
    assert advice_on(rows) == "keep: b, the lowest loss of those that have converged"
    assert [one.name for one in sorted_rows(rows, "loss")] == ["b", "a"]


@pytest.mark.parametrize(
    ("fact", "value", "said"),
    [
        ("engine", "phaser", "engine (PtyRAD, phaser)"),
        ("loss function", "loss_poissn", "loss function (loss_single (dp_pow 0.5, weight 1), loss_poissn)"),
        ("slices", "3", "slices (2, 3)"),
    ],
)
def test_of_others_none_is(fact, value, said):
    rows = [row("a", 0.2, 3.0), row("b", 0.1, 4.0, **{fact: value}), row("c", 0.3, 1.0, "broken")]
    assert advice_on(rows) == (
        "converged: a, b; by change per doubling: a (3 %), b (4 %). Losses cannot be compared: the runs differ in "
        f"{said}"
    )
    assert "lowest" not in advice_on(rows)
    assert [one.name for one in sorted_rows(rows, "loss")] == ["a", "b", "c"]
    assert [one.name for one in sorted_rows(rows, "moved")] == ["c", "a", "b"]


def test_what_is_not_known_of_a_run_is_no_difference():
    known = row("a", 0.2, **{"data file": "monday.h5"})
    assert why_not_by_loss([known, row("b", 0.1)]) == ""
    assert why_not_by_loss([known, row("b", 0.1, **{"data file": "tuesday.h5"})])
    intensities = [row(str(value), 0.1, **{"pattern intensity": str(value)}) for value in (245.86, 245.87, 246.9)]
    assert why_not_by_loss(intensities[:2]) == ""
    assert why_not_by_loss(intensities) == "the runs differ in pattern intensity (245.86, 246.9)"
    failed = Row("c", Path(), problem="no", facts={"engine": "phaser"})
    assert why_not_by_loss([known, failed]) == ""
    assert why_not_by_loss([known, row("without", math.nan, engine="phaser")]) == ""
    assert why_not_by_loss([row(name, 0.1, **{"data file": name}) for name in ("20240101", "20240102")])
    assert why_not_by_loss([row(count, 0.1, **{"scan positions": count}) for count in ("65536", "65500")])


def test_what_is_too_short_or_failed_is_said_of_incomparable_runs_too():
    rows = [row("a", 0.2, state="insufficient"), row("b", 0.1, state="insufficient", engine="phaser")]
    assert advice_on(rows).startswith("too short to rank by convergence. Losses cannot be compared: ")
    assert advice_on([Row("c", Path(), problem="no")]) == "none of the runs could be analyzed"


def test_engines_of_ptypy_measure_different_things():
    found = set()
    for name in ("ptypy_dm_hi", "ptypy_epie_lo"):
        with open_checkpoint(sorted((runs.DATA / "truth" / name).glob("**/*.ptyr"))[-1]) as checkpoint:
            found.add(checkpoint.loss_of()["loss function"])
    assert found == {"error of DM", "error of EPIE"}


@pytest.mark.parametrize("value", ["x" * 3_000_000, "/a" * 100_000 + "/" + "y" * 200])
def test_a_huge_name_of_the_data_file_is_cut(tmp_path, value):
    run = with_settings(runs.SAMPLE, tmp_path / "run", data=value)
    with open_checkpoint(run / "model_iter0120.hdf5") as checkpoint:
        assert len(checkpoint.loss_of()["data file"]) <= 60


def with_settings(source, target, **values):
    """A copy of a run of PtyRAD with other settings in its files."""
    shutil.copytree(source, target)
    for path in target.glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            for name, value in values.items():
                at = {
                    "dose": "model_attributes/probe_int_sum",
                    "data": "params/init_params/meas_params/path",
                    "poisson": "params/loss_params/loss_poissn/state",
                }[name]
                if at in file:
                    del file[at]
                file[at] = value
    return target


def test_what_the_loss_is_of_is_read_from_the_files():
    last = runs.SAMPLE / "model_iter0120.hdf5"
    with open_checkpoint(last) as checkpoint:
        assert checkpoint.loss_of() == {
            "engine": "PtyRAD",
            "loss function": "loss_single (dp_pow 0.5, weight 1)",
            "data file": "dp.h5",
            "pattern intensity": "245.485",
        }
    for folder, expected in (
        ("engines/cdtools", {"engine": "cdtools", "loss function": "amplitude_mse"}),
        ("phaser/gradient", {"engine": "phaser", "loss function": "detector_loss + obj_l1"}),
        ("phaser/lsqml", {"engine": "phaser", "loss function": "detector_loss"}),
    ):
        path = sorted((runs.DATA / folder).iterdir())[-1]
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.loss_of() == expected


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dose": np.float32(24.5)}, "pattern intensity (245.485, 24.5)"),
        ({"data": "/elsewhere/other.h5"}, "data file (dp.h5, other.h5)"),
        ({"poisson": True}, "loss function (loss_single (dp_pow 0.5, weight 1), loss_poissn"),
    ],
)
def test_another_dose_data_set_or_loss_function_is_noticed(ptyconv, tmp_path, values, said):
    shutil.copytree(runs.SAMPLE, tmp_path / "study" / "a")
    with_settings(runs.SAMPLE, tmp_path / "study" / "b", **values)
    result = ptyconv("analyze", tmp_path / "study", "--no-plot", "-o", tmp_path / "out", "--sort", "loss")
    text = " ".join(result.stdout.split())
    assert f"Losses cannot be compared: the runs differ in {said}" in text
    assert f"Not sorted by loss: the runs differ in {said}" in text
    assert "lowest loss" not in text
    assert [one["run"] for one in rows_of(tmp_path / "out" / "convergence_study.csv")] == ["a", "b"]


def test_data_that_were_copied_are_the_same(ptyconv, tmp_path):
    shutil.copytree(runs.SAMPLE, tmp_path / "study" / "a")
    with_settings(runs.SAMPLE, tmp_path / "study" / "b", data="C:\\scratch\\dp.h5", dose=np.float32(245.4853))
    result = ptyconv("analyze", tmp_path / "study", "--no-plot", "-o", tmp_path / "out")
    assert "lowest loss: a" in result.stdout
