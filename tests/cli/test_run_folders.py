"""What the commands may be given: a file, the folder of a run, or one above it."""

import itertools
import shutil
import time

import pytest
from engines import ENGINES
from outputs import runs_listed
from rarely import long_after

from ptyconv_cli.checkpoints.opening import TICK

pytestmark = pytest.mark.usefixtures("blank_pictures")

ONCE = ("--follow", "--idle", "0.003", "--poll", "0.05", "--no-plot")

QUICK = ("-t", "probe", "--device", "cpu")


@pytest.fixture
def run_dir(tmp_path):
    """A series of ptychodus, below a folder."""
    return shutil.copytree(ENGINES / "ptychodus", tmp_path / "root" / "deeper" / "run")


@pytest.mark.parametrize("given", long_after(1, ["root", "root/deeper/run/product.000040.h5", "root/deeper/run"]))
def test_the_commands_find_the_run(ptyconv, tmp_path, run_dir, given):
    result = ptyconv("analyze", tmp_path / given, *QUICK)
    assert result.exit_code == 0
    assert result.stdout.startswith("run: 10 checkpoints, iterations 8 to 80")
    assert "wrote" not in ptyconv("analyze", run_dir, *QUICK).stdout
    assert ptyconv("check", tmp_path / given, *QUICK).exit_code in (0, 3, 4)
    assert ptyconv("maps", tmp_path / given, *QUICK).exit_code == 0
    assert ptyconv("plot", tmp_path / given).stdout.split() == f"wrote {run_dir / 'convergence.png'}".split()
    assert {"convergence_report.json", "convergence.png", "maps.png"} <= {path.name for path in run_dir.iterdir()}
    (line,) = runs_listed(ptyconv("ls", tmp_path / given).stdout)
    assert line.split()[1:5] == ["ptychodus", "10", "8", "to"]


def test_a_check_of_what_is_below_opens_no_file_that_is_known(ptyconv, tmp_path, run_dir, opened):
    ptyconv("analyze", run_dir, "--no-plot", *QUICK)
    opened.clear()
    assert ptyconv("check", tmp_path / "root", *QUICK).exit_code in (0, 3, 4)
    assert opened == []


def test_of_several_runs_one_is_to_be_given(ptyconv, tmp_path, run_dir):
    shutil.copytree(run_dir, tmp_path / "root" / "other")
    for command in (["check"], ["maps"], ["analyze", *ONCE]):
        result = ptyconv(*command, tmp_path / "root")
        assert result.exit_code == 1
        said = "holds no checkpoint, but 2 runs below it, in deeper/run, other: give one of them"
        assert result.stderr == f"Error: {tmp_path / 'root'}: {said}\n"


@pytest.mark.parametrize("given", ["root", "root/deeper/run/product.000040.h5"])
def test_a_job_is_followed_by_a_file_or_the_folder_above(ptyconv, tmp_path, run_dir, given):
    result = ptyconv("analyze", tmp_path / given, *ONCE, *QUICK)
    assert result.exit_code == 0, result.stderr
    assert "10 checkpoints, iterations 8 to 80" in result.stdout
    assert (run_dir / "convergence_report.json").exists()


def test_a_run_that_comes_below_the_folder_is_followed(ptyconv, tmp_path, run_dir, monkeypatch):
    """Not before its first checkpoint is there."""
    aside = run_dir.rename(tmp_path / "aside")
    looks, really_sleep = itertools.count(), time.sleep

    def sleep(seconds):
        if seconds <= TICK:
            really_sleep(seconds)
        elif next(looks) == 2:
            shutil.copytree(aside, run_dir)

    monkeypatch.setattr("ptyconv_cli.analysis.follow.time.sleep", sleep)
    result = ptyconv("analyze", tmp_path / "root", "--follow", "--idle", "0.01", "--no-plot", *QUICK)
    assert result.exit_code == 0, result.stderr
    assert "10 checkpoints, iterations 8 to 80" in result.stdout
    assert (run_dir / "convergence_report.json").exists()


def test_a_file_that_is_to_come_is_waited_for(ptyconv, tmp_path):
    (tmp_path / "run").mkdir()
    result = ptyconv("analyze", tmp_path / "run" / "product.000008.h5", *ONCE)
    assert result.exit_code == 1
    assert result.stdout == "product.000008.h5: waiting for the file\n"
    assert result.stderr.endswith("there is no such file or folder\n")


def test_what_is_no_checkpoint_is_not_listed(ptyconv, tmp_path):
    (tmp_path / "notes.txt").write_text("it looks good")
    result = ptyconv("ls", tmp_path / "notes.txt")
    assert result.exit_code == 1
    assert "notes.txt: is no checkpoint of a known format" in result.stderr


def test_a_file_beside_a_run_is_listed_alone(ptyconv, run_dir):
    """One whose name is another than theirs."""
    shutil.copy(run_dir / "product.000008.h5", run_dir / "model_iter0008.h5")
    result = ptyconv("ls", run_dir / "product.000040.h5")
    assert "product.000040.h5 " in result.stdout
    assert "a change needs at least two checkpoints" in result.stdout


def test_several_results_below_are_named(ptyconv, tmp_path, run_dir):
    assert "make one with: ptyconv analyze FOLDER" in ptyconv("plot", tmp_path / "root").stderr
    shutil.copytree(run_dir, tmp_path / "root" / "other")
    assert ptyconv("analyze", tmp_path / "root", "--no-plot", *QUICK).exit_code == 0
    result = ptyconv("plot", tmp_path / "root")
    assert result.exit_code == 1
    assert "holds no convergence_report.json; its subfolders do: deeper/run, other" in result.stderr
