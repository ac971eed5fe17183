"""`ptyconv ls`."""

import os
import shutil

import h5py
import pytest
import runs
from outputs import runs_listed
from toy import write_run

from ptyconv_cli.cli import listing


def test_ls_says_what_is_there(ptyconv, output_folder, monkeypatch):
    (output_folder / "b" / "model_iter0008.hdf5").write_bytes(b"")
    (output_folder / "b" / "model_iter0004_copy.hdf5").write_bytes(b"")
    monkeypatch.chdir(output_folder.parent)
    result = ptyconv("ls", output_folder.name)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "output: 3 runs",
        "run                      format          saved  iterations  object (px)   dx (Å)",
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
    lines = runs_listed(ptyconv("ls", tmp_path).stdout)
    assert lines[0].startswith("run                      PtyRAD 1.0.0        1      4 to 4")
    problems = " ".join(line.strip() for line in lines[1:])
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
    assert " ".join(collated.stdout.split()).endswith("0 runs, 4 collated files (the ends of different trials)")
    nothing = ptyconv("ls", tmp_path)
    assert nothing.exit_code == 1
    assert nothing.stderr.startswith(f"Error: {tmp_path}: holds no checkpoint (model_iterNNNN.hdf5")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_that_may_not_be_read_are_said(ptyconv, output_folder):
    (output_folder / "b").chmod(0)
    result = ptyconv("ls", output_folder)
    (output_folder / "b").chmod(0o700)
    assert f"{output_folder / 'b'}: cannot be listed (Permission denied)" in " ".join(result.stdout.split())


def test_ls_opens_each_file_once(ptyconv, tmp_path, opened, monkeypatch):
    """And the last one once more, to see what the run was resumed from; more is read of the first and the last."""
    described, read = [], listing.read_header
    monkeypatch.setattr(listing, "read_header", lambda path, *_: [described.append(path), read(path, ())][1])
    files = sorted((runs.DATA / "ptyrad-1.0" / "constant_lr").iterdir())
    for run in range(10):
        folder = tmp_path / f"run{run:03d}"
        folder.mkdir()
        for file in files:
            (folder / file.name).symlink_to(file)
    result = ptyconv("ls", tmp_path)
    assert len(runs_listed(result.stdout)) == 10
    assert (len(opened), len(described)) == (10 * (len(files) + 1), 10 * 2)


def test_links_in_a_circle_are_said(ptyconv, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    result = ptyconv("ls", tmp_path / "loop")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")


def test_a_broken_run_is_listed_with_what_is_wrong(ptyconv, tmp_path):
    write_run(tmp_path, [2, 4, 6])
    for path in tmp_path.iterdir():
        with h5py.File(path, "r+") as file:
            del file["niter"]
    lines = runs_listed(ptyconv("ls", tmp_path).stdout)
    assert lines[0].split()[-5:] == ["-", "0", "-", "-", "-"]
    assert "has no dataset niter" in lines[1]


def test_ls_of_a_folder_with_a_copy(ptyconv, tmp_path):
    write_run(tmp_path / "run", [2, 4])
    shutil.copy(tmp_path / "run" / "model_iter0002.hdf5", tmp_path / "run" / "model_iter0006.hdf5")
    lines = runs_listed(ptyconv("ls", tmp_path).stdout)
    assert lines[0].split()[:7] == ["run", "PtyRAD", "1.0.0", "2", "2", "to", "4"]
    assert lines[1:] == [
        "  model_iter0006.hdf5: is a copy of model_iter0002.hdf5 (the same iteration 2 of",
        "    the same run)",
    ]


@pytest.mark.parametrize("columns", ["80", "40"])
def test_long_iterations_have_room(ptyconv, tmp_path, columns, monkeypatch):
    """As of fifty files, to 30,000."""
    monkeypatch.setenv("COLUMNS", columns)
    write_run(tmp_path / "run", [2])
    first = tmp_path / "run" / "model_iter0002.hdf5"
    for place in range(1, 51):
        path = shutil.copy(first, tmp_path / "run" / f"model_iter{600 * place:04d}.hdf5")
        with h5py.File(path, "r+") as file:
            file["niter"][...] = 600 * place
    first.unlink()
    (row,) = (
        line for line in ptyconv("ls", tmp_path).stdout.splitlines() if line.startswith("run") and "30000" in line
    )
    assert " 50 600 to 30000" in row
