"""A quantity that only this test knows is followed from the file to the page: one class, one line in the registry."""

import json
import shutil

import blank
import h5py
import numpy as np
import pytest
import runs

from ptyconv_cli.analysis.reading import read_results
from ptyconv_cli.pictures.panels import PlotOptions, panels
from ptyconv_cli.quantities import QUANTITIES
from ptyconv_cli.quantities.quantity import Quantity


class Defocus(Quantity):
    """A number for each scan position."""

    key = "defocus_map"
    label = "local defocus"
    short_names = ("defocus",)
    axes = ("N",)
    series_unit = "Å"
    tolerance = 3.0


@pytest.fixture
def defocus():
    quantity = Defocus()
    QUANTITIES.append(quantity)
    yield quantity
    QUANTITIES.remove(quantity)


def values_at(niter, count):
    start = np.random.default_rng(3).normal(100, 10, count)
    return start + 20 / niter * np.random.default_rng(4).normal(size=count)


@pytest.fixture
def run_dir(tmp_path):
    folder = shutil.copytree(runs.SAMPLE, tmp_path / "sample")
    for path in folder.glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            count = len(file["optimizable_tensors/probe_pos_shifts"])
            values = values_at(int(file["niter"][()]), count).astype(np.float32)
            file["optimizable_tensors/defocus_map"] = values
    return folder


def test_it_is_in_report_table_verdict_dashboard_and_page(defocus, run_dir, tmp_path, ptyconv, monkeypatch):
    blank.patch(monkeypatch)
    result = ptyconv("analyze", run_dir, "-o", tmp_path / "out", "--tol", "defocus=2%", "-v")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "out" / "convergence_report.json").read_text())
    count = report["checkpoints"][0]["shapes"]["defocus_map"][0]
    niters = [checkpoint["niter"] for checkpoint in report["checkpoints"]]

    points = report["series"]["defocus_map"]["points"]
    expected = values_at(niters[-1], count) - values_at(niters[-2], count)
    assert points[-1]["value"] == pytest.approx(np.sqrt((expected**2).mean()), rel=1e-4)
    assert report["series"]["defocus_map"]["label"] == "local defocus"
    assert report["aligned"]["series"]["defocus_map"]["points"] == points
    assert report["trajectories"]["defocus_map"]["unit"] == "Å"

    found = report["doublings"]["defocus_map"]
    assert (found["unit"], found["tolerance"]) == ("%", 2.0)
    last = found["points"][-1]
    change = values_at(last["niter"], count) - values_at(last["since"], count)
    size = np.sqrt((values_at(niters[-1], count) ** 2).mean())
    per_doubling = 100 * np.sqrt((change**2).mean()) / size / np.log2(last["niter"] / last["since"])
    assert last["relative"] == pytest.approx(per_doubling, rel=1e-3)

    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["defocus_map", "Å"] in [row[:2] for row in rows]
    assert ["local", "defocus"] in [row[:2] for row in rows]
    assert "defocus_map,Å," in (tmp_path / "out" / "convergence.csv").read_text()

    titles = [
        panel.title for panel in panels(read_results(tmp_path / "out" / "convergence_report.json"), PlotOptions())
    ]
    assert "Local defocus" in titles

    page = ptyconv("report", run_dir, "-o", tmp_path / "page.html")
    assert page.exit_code == 0, page.stderr
    assert "local defocus" in (tmp_path / "page.html").read_text()


def test_users_may_name_it_in_short(defocus, run_dir, tmp_path, ptyconv):
    assert ptyconv("analyze", run_dir, "-t", "defocus,phase", "-o", tmp_path / "out").exit_code == 0
    report = json.loads((tmp_path / "out" / "convergence_report.json").read_text())
    assert report["settings"]["tensors"] == ["defocus_map", "objp"]


def test_without_it_a_file_that_holds_it_is_read_as_before(run_dir, tmp_path, ptyconv):
    assert ptyconv("analyze", run_dir, "-o", tmp_path / "out").exit_code == 0
    assert "defocus" not in (tmp_path / "out" / "convergence_report.json").read_text()
