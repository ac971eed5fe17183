"""What is written, where, and what is left where that fails."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest
import runs
from outputs import OUTPUTS, PICTURES, names, strict_json
from ptyrad_names import SERIES
from rarely import long_after
from toy import write_run


def test_analyze_writes_json_report_and_picture(drawn_sample):
    assert names(drawn_sample) == OUTPUTS
    changes = strict_json(drawn_sample / "convergence_iters.json")
    assert list(changes) == [series.key for series in SERIES]
    engine = runs.engine_values("sample")
    for key, curve in changes.items():
        assert [niter for niter, _ in curve] == list(range(20, 130, 10))
        for niter, value in curve:
            assert value == pytest.approx(engine[key][niter], rel=1e-6)
    picture = matplotlib.image.imread(drawn_sample / "convergence.png")
    assert picture.shape[0] > 800
    assert picture.std() > 0.05


def test_results_go_beside_the_checkpoints_by_default(ptyconv, tmp_path, blank_pictures):
    write_run(tmp_path, [2, 4])
    assert ptyconv("analyze", tmp_path, "--no-plot").exit_code == 0
    assert names(tmp_path) == {"model_iter0002.hdf5", "model_iter0004.hdf5"} | OUTPUTS - PICTURES
    assert ptyconv("analyze", tmp_path).exit_code == 0, "its own results are no checkpoints"


def test_files_have_the_users_permissions(ptyconv, tmp_path):
    before = os.umask(0o027)
    try:
        ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot")
    finally:
        os.umask(before)
    assert (tmp_path / "convergence_iters.json").stat().st_mode & 0o777 == 0o640


def test_an_output_folder_that_cannot_be_made_is_said_before_the_work(ptyconv, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("ptyconv_cli.analysis.run.analyze_run", lambda *_, **__: pytest.fail("work was spent"))
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "cannot write there; choose another folder with -o" in result.stderr


@pytest.fixture
def read_only(monkeypatch):
    """Nothing can be written any more."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    def begin():
        monkeypatch.setattr("os.access", lambda path, mode: mode == os.R_OK)
        monkeypatch.setattr("tempfile.mkstemp", refuse)
        monkeypatch.setattr("pathlib.Path.mkdir", refuse)

    return begin


@pytest.mark.parametrize("several", [False, True])
def test_where_nothing_is_new_nothing_need_be_written(ptyconv, tmp_path, blank_pictures, read_only, several):
    (tmp_path / "runs").mkdir()
    for name in ("a", "b")[: 1 + several]:
        write_run(tmp_path / "runs" / name, [2, 4, 6])
    run_dir = tmp_path / "runs" / ("" if several else "a")
    ptyconv("analyze", run_dir)
    expected = ptyconv("analyze", run_dir)
    read_only()
    result = ptyconv("analyze", run_dir)
    assert (result.exit_code, result.stdout, result.stderr) == (expected.exit_code, expected.stdout, expected.stderr)
    assert ptyconv("analyze", run_dir, "-o", tmp_path / "elsewhere").exit_code == 1


def test_what_is_new_cannot_be_written(ptyconv, tmp_path, blank_pictures, read_only):
    write_run(tmp_path / "all", [2, 4, 6])
    (tmp_path / "run").mkdir()
    for niter in (2, 4):
        shutil.copy2(tmp_path / "all" / f"model_iter{niter:04d}.hdf5", tmp_path / "run")
    ptyconv("analyze", tmp_path / "run")
    shutil.copy2(tmp_path / "all" / "model_iter0006.hdf5", tmp_path / "run")
    read_only()
    result = ptyconv("analyze", tmp_path / "run")
    assert result.exit_code == 1
    assert "cannot be written (Read-only file system); choose another place with -o" in " ".join(result.stderr.split())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such home")
def test_of_a_home_that_cannot_be_written_to_nothing_is_said(tmp_path):
    command = [sys.executable, "-m", "ptyconv_cli", "analyze", "-q", str(runs.SAMPLE), "-o", str(tmp_path)]
    home = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), "/dev/null/home")
    variables = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    done = subprocess.run(command, capture_output=True, text=True, env=variables | home)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "convergence.png").exists()


def test_a_failed_write_leaves_the_old_results(ptyconv, tmp_path, monkeypatch):
    ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*[a-z]") if path.is_file()}
    assert len(before) == 3
    calls = []

    def full_disk(_):
        calls.append(1)
        if len(calls) == 3:  # the first is what is kept for the next analysis
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--every", 20)
    assert result.exit_code == 1
    assert "cannot be written (No space left on device); choose another place with -o" in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_folder_in_the_way_of_an_output_leaves_the_old_results(ptyconv, tmp_path):
    (tmp_path / "convergence.png").mkdir()
    (tmp_path / "convergence_iters.json").write_text("old")
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"Error: {tmp_path}/convergence.png: cannot be written (a folder has that name); choose another place with -o"
    )
    assert names(tmp_path) == {"convergence.png", "convergence_iters.json"}
    assert (tmp_path / "convergence_iters.json").read_text() == "old"


LONG_NAME = "20261122_full_N16384_dp256_flipT100_random32_p8_6slr1e-3_1obj_20slice_dz10_plr1e-4_oalr5e-4_oplr5e-4_" * 2


@pytest.mark.parametrize("name", long_after(1, ["x_$\\frac$", LONG_NAME, "重构结果", os.fsdecode(b"bad\xffname")]))
def test_any_folder_name_will_do(ptyconv, tmp_path, name):
    run_dir = tmp_path / name
    write_run(run_dir, [2, 4])
    result = ptyconv("analyze", run_dir)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert max(map(len, result.stdout.split("wrote")[0].splitlines())) <= 80
    assert names(run_dir) >= OUTPUTS
    assert ptyconv("plot", run_dir).exit_code == 0


@pytest.fixture
def undrawable(monkeypatch):
    """Drawing fails, as it may for reasons that nobody thought of."""

    def fail(*_, **__):
        raise AttributeError("maximum\nrecursion")

    for where in ("dashboard.draw_dashboard", "trajectory.draw_trajectory", "maps.draw_maps"):
        monkeypatch.setattr(f"ptyconv_cli.pictures.{where}", fail)


@pytest.mark.parametrize("columns", [40, 200])
def test_a_picture_that_cannot_be_drawn_costs_a_warning(ptyconv, tmp_path, monkeypatch, undrawable, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    write_run(tmp_path / "run", [2, 4])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trajectory.png").write_text("old")
    result = ptyconv("analyze", tmp_path / "run", "-o", tmp_path / "out")
    assert result.exit_code == 0
    said = " ".join(result.stderr.split())
    assert "/out/convergence.png: cannot be drawn (AttributeError: maximum recursion). The numbers" in said
    assert "trajectory.png: cannot be drawn (AttributeError: maximum recursion); the one there is of an earlier" in said
    assert names(tmp_path / "out") == OUTPUTS - {"convergence.png"}
    assert "convergence.png" not in result.stdout
    assert (tmp_path / "out" / ".ptyconv").is_dir(), "the next analysis has the cache"


def test_it_costs_a_study_and_a_followed_run_no_more(ptyconv, output_folder, tmp_path, undrawable):
    study = ptyconv("analyze", output_folder)
    assert names(output_folder / "b") >= OUTPUTS - PICTURES
    assert study.stderr.count("\nError: ") == 1, "of the run that cannot be analyzed anyway"
    assert "convergence.png: cannot be drawn" in " ".join(study.stderr.split())
    run_dir = output_folder / "b"
    followed = ptyconv("analyze", run_dir, "--follow", "--idle", "0.001", "--poll", "0.05", "-o", tmp_path / "followed")
    assert followed.exit_code == 0
    assert names(tmp_path / "followed") == OUTPUTS - PICTURES
    assert "convergence.png: cannot be drawn" in " ".join(followed.stderr.split())


def test_a_picture_that_cannot_be_written_costs_a_warning(ptyconv, tmp_path, monkeypatch):
    write_run(tmp_path / "run", [2, 4])
    monkeypatch.setattr("ptyconv_cli.pictures.trajectory.draw_trajectory", lambda *_: Path("/no/such").stat())
    result = ptyconv("analyze", tmp_path / "run")
    assert result.exit_code == 0
    assert names(tmp_path / "run") >= OUTPUTS - {"trajectory.png"}


@pytest.mark.parametrize("command", [["plot"], ["plot", "--trajectory"], ["maps"]])
def test_commands_that_draw_say_why_they_cannot(ptyconv, tmp_path, undrawable, command):
    write_run(tmp_path, [2, 4])
    ptyconv("analyze", tmp_path, "--no-plot")
    result = ptyconv(*command, tmp_path)
    assert result.exit_code == 1
    assert ".png: cannot be drawn (AttributeError: maximum recursion)" in result.stderr
