"""`ptyconv analyze`: its options, and what cannot be analyzed."""

import os
import shutil
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
import runs
from damage import NEWEST
from outputs import OUTPUTS, names, strict_json
from processes import started
from toy import write_run

pytestmark = pytest.mark.usefixtures("blank_pictures")


def test_only_what_ptyrad_records(ptyconv, tmp_path):
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-aligned")
    assert names(tmp_path) == OUTPUTS - {"trajectory.png"}
    assert "aligned" not in result.output
    assert "removed" not in result.output
    assert "doubling" not in result.output
    report = strict_json(tmp_path / "convergence_report.json")
    assert report["aligned"] == {"series": {}, "removed": {}}
    assert (report["trajectories"], report["doublings"], report["verdict"]) == ({}, {}, None)
    with_it = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path / "with", "--no-plot", "-v").output
    assert result.output.split("\nwrote")[0] in with_it, "without a verdict, the changes are all there is to show"
    changes = (tmp_path / "convergence_iters.json").read_bytes()
    assert (tmp_path / "with" / "convergence_iters.json").read_bytes() == changes
    assert ptyconv("plot", tmp_path).exit_code == 0
    again = ptyconv("plot", tmp_path, "--trajectory")
    assert again.exit_code == 1
    said = "that needs two checkpoints after the last boundary, and no --no-aligned"
    assert again.stderr == f"Error: {tmp_path}: holds no trajectory; {said}\n"


def test_chosen_tensors_only(ptyconv, tmp_path):
    assert ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "-t", "probe, objp", "--no-plot").exit_code == 0
    assert list(strict_json(tmp_path / "convergence_iters.json")) == ["objp_bg", "objp_fg", "probe"]


@pytest.fixture
def broken(tmp_path):
    """Runs that cannot be analyzed, by what is wrong with them."""
    write_run(tmp_path / "one", [2])
    write_run(tmp_path / "two", [2, 4])
    write_run(tmp_path / "shape", [2, 4])
    with h5py.File(tmp_path / "shape" / "model_iter0004.hdf5", "r+") as file:
        del file["optimizable_tensors/obja"]
        file["optimizable_tensors/obja"] = np.zeros((2, 3, 5, 5), np.float32)
    write_run(tmp_path / "tensor", [2, 4])
    for path in (tmp_path / "tensor").iterdir():
        with h5py.File(path, "r+") as file:
            del file["optimizable_tensors/objp"]
    write_run(tmp_path / "truncated", [2, 4])
    whole = (tmp_path / "truncated" / "model_iter0004.hdf5").read_bytes()
    (tmp_path / "truncated" / "model_iter0004.hdf5").write_bytes(whole[: len(whole) // 2])
    write_run(tmp_path / "text", [2, 4])
    (tmp_path / "text" / "model_iter0004.hdf5").write_text("not HDF5")
    (tmp_path / "empty").mkdir()
    (tmp_path / "above" / "run_a").mkdir(parents=True)
    shutil.copy(tmp_path / "one" / "model_iter0002.hdf5", tmp_path / "above" / "run_a")
    (tmp_path / "file").write_text("a file")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("absent", [], "{}: there is no such file or folder"),
        ("file", [], "{}: is no checkpoint of a known format (HDF5 cannot read the file ("),
        ("empty", [], "{}: holds no checkpoint (model_iterNNNN.hdf5, model_iterNNNN.h5"),
        ("above", [], "{}/run_a: holds 1 checkpoint; a change needs at least two"),
        ("one", [], "{}: holds 1 checkpoint; a change needs at least two"),
        ("shape", [], "{}: its checkpoints belong to 2 runs:\n  1: model_iter0002.hdf5\n  2: model_iter0004.hdf5: the"),
        (
            "shape",
            ["--select", "1"],
            "{}: holds 1 checkpoint that can be used (model_iter0004.hdf5: belongs to run 2, not 1); a change needs",
        ),
        ("two", ["--every", 4], "{}: holds 1 checkpoint at multiples of 4 iterations; a change needs"),
        (
            "tensor",
            [],
            "{}/model_iter0002.hdf5: has no tensor objp; it has obja, probe, probe_pos_shifts (choose with -t)",
        ),
        ("tensor", ["-t", "objp"], "{}/model_iter0002.hdf5: has no tensor objp"),
        (
            "truncated",
            [],
            "{}: holds 1 checkpoint that can be used (model_iter0004.hdf5: HDF5 cannot read the file (",
        ),
        (
            "text",
            ["--strict"],
            "{}/model_iter0004.hdf5: HDF5 cannot read the file (",
        ),
    ],
)
def test_what_cannot_be_analyzed_is_said_and_nothing_written(ptyconv, broken, name, options, said):
    before = {path: path.stat().st_mtime_ns for path in broken.rglob("*")}
    result = ptyconv("analyze", broken / name, "-o", broken / "out", *options)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: " + said.format(broken / name))
    assert result.stdout == ""
    assert {path: path.stat().st_mtime_ns for path in broken.rglob("*")} == before


@pytest.mark.parametrize("name", ["", "model_iter0010.hdf5"])
def test_a_file_whose_iteration_is_not_asked_for(ptyconv, name):
    result = ptyconv("check", runs.SAMPLE / name, "--every", 1000)
    assert result.exit_code == 1
    assert f"{runs.SAMPLE / name}: holds 0 checkpoints at multiples of 1000 iterations" in result.stderr


def test_a_run_without_a_tensor_is_analyzed_for_the_others(ptyconv, broken):
    assert ptyconv("analyze", broken / "tensor", "-t", "obja,probe,probe_pos_shifts", "--no-plot").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-t", "obja,objq"], "unknown tensor objq: choose from obja, objp, probe, probe_pos_shifts"),
        (["-t", ","], "no tensor to track: choose at least one of"),
        (["--percentiles", "85", "15"], "0 <= low <= high <= 100; got 85 and 15"),
        (["--percentiles", "15"], "requires 2 arguments"),
        (["--every", "0"], "0 is not in the range x>=1"),
        (["--device", "tpu"], "unknown device 'tpu': choose auto, cpu, cuda, cuda:N or mps"),
        (["--fast"], "No such option"),
    ],
)
def test_usage_errors(ptyconv, tmp_path, arguments, said):
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_folders_that_may_not_be_read(ptyconv, tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    for command in ("analyze", "plot"):
        for path in (tmp_path / "locked", tmp_path / "locked" / "below"):
            result = ptyconv(command, path)
            assert result.exit_code == 1
            assert "ermission denied" in result.stderr


@pytest.mark.parametrize("command", ["analyze", "plot"])
def test_a_name_that_the_system_refuses(ptyconv, command):
    result = ptyconv(command, "x" * 5000)
    assert result.exit_code == 1
    assert "File name too long" in result.stderr


def test_names_do_not_steer_the_terminal(ptyconv, sample, tmp_path):
    (sample / "model_iter0010\x1b[31m\x07.hdf5").write_text("")
    with h5py.File(sample / NEWEST, "r+") as file:
        file["lr_iters/\x1b]0;title\x07"] = np.zeros(3)
    evil = sample.rename(tmp_path / "run\x1b[2J\n")
    result = ptyconv("analyze", evil, "--no-plot")
    assert result.exit_code == 0
    assert "so not used: model_iter0010?[31m?.hdf5." in " ".join(result.stderr.split())
    refused = ptyconv("analyze", evil, "--select", "x\x1b[2J")
    for text in (result.stdout, result.stderr, refused.stderr):
        assert text
        assert "\x1b" not in text
        assert "\x07" not in text


def test_ctrl_c_leaves_nothing_and_exits_130(tmp_path):
    write_run(tmp_path / "run", list(range(2, 42, 2)))
    code = (
        "import sys, time, ptyconv_cli.analysis.compare as walk\n"
        "from ptyconv_cli.cli.main import main\n"
        "compare = walk.tensor_changes\n"
        "def slowly(*arguments):\n    print('ready', flush=True); time.sleep(0.3); return compare(*arguments)\n"
        "walk.tensor_changes = slowly\n"
        "main(sys.argv[1:])"
    )
    arguments = ["analyze", tmp_path / "run", "-o", tmp_path / "out"]
    with started([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 130
    assert said.strip() == "interrupted"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options", [["--select", "9" * 5000], ["--select", "["], ["--select", "²"], ["--select", ""], ["--select", "0"]]
)
def test_odd_selections_are_clean_errors(ptyconv, options):
    result = ptyconv("analyze", runs.SAMPLE, *options)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")


def test_an_impossible_device_number_is_wrong_usage(ptyconv):
    assert ptyconv("analyze", runs.SAMPLE, "--device", "cuda:99999999999").exit_code == 2
