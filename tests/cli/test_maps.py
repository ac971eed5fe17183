"""`ptyconv maps`."""

import shutil

import h5py
import runs
from maps import damaged
from PIL import Image


def test_the_command(ptyconv, tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    result = ptyconv("maps", run_dir, "--device", "cpu")
    assert (result.exit_code, result.output.split()) == (0, f"wrote {run_dir / 'maps.png'}".split())
    with Image.open(run_dir / "maps.png") as picture:
        assert picture.size == (2016, 1050)
    assert ptyconv("maps", run_dir, "--at", "50", "--from", "20", "-o", tmp_path / "maps.pdf").exit_code == 0
    assert (tmp_path / "maps.pdf").read_bytes().startswith(b"%PDF")
    assert ptyconv("maps", run_dir, "-o", tmp_path / "maps.jpg").exit_code == 2


def test_the_command_says_what_is_wrong(ptyconv, tmp_path, blank_pictures):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    (run_dir / "model_iter0050.hdf5").write_bytes(b"x" * 100)
    result = ptyconv("maps", run_dir, "-o", tmp_path / "maps.png")
    assert result.exit_code == 0
    assert "model_iter0050.hdf5 was left out" in result.stderr
    result = ptyconv("maps", run_dir, "--at", "50", "-o", tmp_path / "other.png")
    assert result.exit_code == 1
    assert "has no checkpoint at iteration 50; there are 10, 20, 30, 40, 60" in result.stderr
    assert not (tmp_path / "other.png").exists()
    with h5py.File(run_dir / "model_iter0120.hdf5", "r+") as file:
        del file["optimizable_tensors/probe"]
    assert ptyconv("maps", tmp_path / "gone").stderr == f"Error: {tmp_path / 'gone'}: there is no such file or folder\n"


def test_strict_stops_at_what_cannot_be_read(tmp_path, ptyconv, blank_pictures):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    damaged(run_dir, 120)
    assert ptyconv("maps", run_dir).exit_code == 0
    result = ptyconv("maps", run_dir, "--strict")
    assert result.exit_code == 1
    assert "model_iter0120.hdf5" in result.stderr


def test_too_little_memory_is_said(ptyconv, tmp_path, monkeypatch):
    def too_large(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("ptyconv_cli.analysis.maps._object_map", too_large)
    result = ptyconv("maps", runs.SAMPLE, "-o", tmp_path / "maps.png", "--device", "cpu")
    assert result.exit_code == 1
    assert "not enough memory" in result.stderr
