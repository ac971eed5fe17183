"""`ptyconv plot`: from results alone."""

import io
import shutil

import h5py
import matplotlib.figure
import matplotlib.image
import pytest
import runs
from rarely import long_after

STARTS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.mark.parametrize("suffix", long_after(1, STARTS))
def test_the_suffix_chooses_the_format(ptyconv, analyzed, tmp_path, suffix):
    result = ptyconv("plot", analyzed, "-o", tmp_path / f"picture.{suffix}")
    assert result.exit_code == 0
    assert " ".join(result.output.split()) == f"wrote {tmp_path}/picture.{suffix}"
    assert (tmp_path / f"picture.{suffix}").read_bytes().startswith(STARTS[suffix])


def test_another_suffix_is_a_usage_error(ptyconv, analyzed, tmp_path):
    result = ptyconv("plot", analyzed, "-o", tmp_path / "picture.bmp")
    assert result.exit_code == 2
    assert "the name must end in .png, .pdf or .svg" in " ".join(result.stderr.split())


def test_the_current_folder_is_drawn_by_default(ptyconv, analyzed, tmp_path, monkeypatch):
    shutil.copy(analyzed / "convergence_report.json", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert ptyconv("plot").output == "wrote convergence.png\n"
    assert (tmp_path / "convergence.png").exists()


@pytest.mark.parametrize("name", long_after(1, ["loss_iters", "convergence_iters/probe"]))
def test_whatever_analyze_writes_plot_can_draw(ptyconv, tmp_path, name):
    """Also where a history repeats an iteration: it is left out, with a warning, before the report is written."""
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    with h5py.File(run_dir / "model_iter0120.hdf5", "r+") as file:
        file[name][3, 0] = file[name][2, 0]
    result = ptyconv("analyze", run_dir, "--no-plot")
    assert f"dataset {name}: expected one value for each iteration, in increasing order" in " ".join(
        result.stderr.split()
    )
    assert ptyconv("plot", run_dir).exit_code == 0


def test_a_picture_of_results_is_the_picture_of_the_analysis(ptyconv, drawn_sample, tmp_path):
    drawn = (drawn_sample / "convergence.png").read_bytes()
    ptyconv("plot", drawn_sample, "-o", tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == drawn


def test_the_trajectory_is_drawn_again_too(ptyconv, drawn_sample):
    drawn = (drawn_sample / "trajectory.png").read_bytes()
    (drawn_sample / "trajectory.png").unlink()
    result = ptyconv("plot", drawn_sample, "--trajectory")
    assert " ".join(result.output.split()) == f"wrote {drawn_sample}/trajectory.png"
    picture = matplotlib.image.imread(drawn_sample / "trajectory.png")
    again = matplotlib.image.imread(io.BytesIO(drawn))  # of distances that JSON rounds
    assert picture.shape == again.shape
    assert abs(picture - again).mean() < 1e-3


@pytest.mark.parametrize("option", ["--zoom", "--per-iteration"])
def test_a_trajectory_takes_no_options_of_changes(ptyconv, analyzed, option):
    result = ptyconv("plot", analyzed, "--trajectory", option)
    assert result.exit_code == 2
    assert "not together with --trajectory" in " ".join(result.stderr.split())


def test_a_trajectory_from_bare_changes_is_refused(ptyconv, analyzed):
    result = ptyconv("plot", analyzed / "convergence_iters.json", "--trajectory", "-o", analyzed / "x.png")
    assert result.exit_code == 1
    assert "holds no trajectory" in result.stderr
