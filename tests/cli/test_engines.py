"""Runs of other engines: joined, compared, selected."""

import csv
import json
import shutil
from pathlib import Path

import h5py
import pytest
import runs
from engines import ENGINES
from rarely import long_after

from ptyconv_cli import analyze_run

pytestmark = pytest.mark.usefixtures("blank_pictures")

SERIES = {
    "ptychodus": ENGINES / "ptychodus",
    "pear": ENGINES / "pear" / "S0001" / "Ndp48_LSQML_c44_gaussian_p2_cp_mm_Ns2",
    "fold_slice": ENGINES / "fold_slice" / "GPU_MS",
}
"""All have the same tensors at iterations 8, 16 … 80."""

CPU = ("--device", "cpu", "--no-plot")


def split(name: str, folder: Path) -> tuple[Path, Path]:
    """A run up to iteration 40, and one that went on from there and counts from 1 again."""
    first, second = folder / "first", folder / "second"
    for run in (first, second):
        run.mkdir()
    for niter in range(8, 81, 8):
        file = {"ptychodus": "product.{:06d}.h5", "pear": "recon_Niter{}.h5", "fold_slice": "Niter{}.mat"}[name]
        done = niter if niter <= 40 else niter - 40
        copy = (first if niter <= 40 else second) / file.format(done)
        shutil.copy(SERIES[name] / file.format(niter), copy)
        if niter > 40:
            with h5py.File(copy, "r+") as opened:
                for dataset in {"ptychodus": ["loss_values", "loss_epochs"], "pear": ["loss"]}.get(name, []):
                    shorter = opened[dataset][40:] - (40 if dataset == "loss_epochs" else 0)
                    del opened[dataset]
                    opened[dataset] = shorter
    return first, second


def report(folder: Path) -> dict:
    return json.loads((folder / "convergence_report.json").read_text())


@pytest.mark.parametrize("name", SERIES)
def test_two_runs_are_joined(ptyconv, tmp_path, name):
    """The values are those of the run that was not interrupted, also across the boundary."""
    first, second = split(name, tmp_path)
    result = ptyconv("analyze", "--chain", first, second, *CPU)
    assert result.exit_code == 0, result.stderr
    assert "second: 10 checkpoints, iterations 8 to 80" in result.stdout
    assert "run boundary after 40: run second continues first\n" in result.stdout
    joined, whole = report(second)["series"], analyze_run(SERIES[name], device="cpu").points
    assert joined.keys() == whole.keys()
    for key, points in whole.items():
        found = [(point["niter"], point["value"]) for point in joined[key]["points"]]
        assert found == [(point.niter, pytest.approx(point.value, rel=1e-9)) for point in points]


def test_the_loss_goes_on_over_a_boundary(tmp_path):
    first, second = split("ptychodus", tmp_path)
    joined = analyze_run(second, chain=[first], device="cpu").engine.loss
    assert joined == runs.analysis_of(SERIES["ptychodus"]).engine.loss


def test_where_no_parent_is_recorded_none_is_found(ptyconv, tmp_path):
    _, second = split("ptychodus", tmp_path)
    result = ptyconv("check", "--chain", "auto", second)
    assert result.exit_code in (3, 4)
    assert result.stdout == ptyconv("check", second).stdout


@pytest.fixture
def mixed(tmp_path):
    """A run of each engine in one folder."""
    for series in SERIES.values():
        shutil.copytree(series, tmp_path / "mixed", dirs_exist_ok=True)
    return tmp_path / "mixed"


@pytest.mark.parametrize("select", long_after(1, ["2", "product.0*"]))
def test_one_of_several_engines_is_selected(ptyconv, mixed, tmp_path, select):
    place = tmp_path / "out"
    result = ptyconv("analyze", mixed, "--select", select, "-o", place, *CPU)
    assert result.exit_code == 0, result.stderr
    assert {Path(found["file"]).name[:8] for found in report(place)["checkpoints"]} == {"product."}
    assert ptyconv("maps", mixed, "--select", select, "-t", "probe", "-o", tmp_path / "maps.png").exit_code == 0
    expected = ptyconv("check", SERIES["ptychodus"], "--results", place).stdout
    assert ptyconv("check", mixed, "--select", select).stdout == expected


def test_a_file_among_several_engines_is_its_run(ptyconv, mixed, tmp_path):
    result = ptyconv("analyze", mixed / "Niter40.mat", "-o", tmp_path / "out", *CPU)
    assert result.exit_code == 0, result.stderr
    files = {Path(found["file"]).suffix for found in report(tmp_path / "out")["checkpoints"]}
    assert files == {".mat"}


def test_a_study_of_several_engines_and_its_picture(ptyconv, tmp_path):
    for name, series in SERIES.items():
        shutil.copytree(series, tmp_path / "root" / name)
    result = ptyconv("analyze", tmp_path / "root", "--sort", "objp_fg", *CPU)
    assert result.exit_code == 0, result.stderr
    with (tmp_path / "root" / "convergence_study.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["run"] for row in rows) == sorted(SERIES)
    assert len({f"{float(row['objp_fg_per_iteration']):.6g}" for row in rows}) == 1
    folders = [tmp_path / "root" / name for name in SERIES]
    picture = tmp_path / "both.png"
    assert ptyconv("plot", *folders, "--series", "loss,objp,doubling", "-o", picture).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    timed = ptyconv("plot", *folders, "--x", "time", "-o", tmp_path / "timed.png")
    assert timed.exit_code == 1
    assert "the checkpoints hold no times (--x time needs them)" in timed.stderr
