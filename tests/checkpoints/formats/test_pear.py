"""Files of PEAR: synthetic ones, with the values of the series of ptychodus."""

import shutil

import engines
import h5py
import numpy as np
import pytest
import runs
from outputs import runs_listed

from ptyconv_cli import analyze_run

SERIES = engines.ENGINES / "pear" / "S0001" / "Ndp48_LSQML_c44_gaussian_p2_cp_mm_Ns2"


def snapshot(path):
    with h5py.File(path) as file:
        stored, probe, positions = file["object"][()], file["probe"][0], file["positions_px"][()].astype(float)
        niter = len(file["loss"])
    corners = positions + (np.array(stored.shape[-2:]) - probe.shape[-2:]) / 2
    return engines.of_transmission(niter, stored, probe, positions, corners)


def in_order(folder):
    return sorted((snapshot(path) for path in folder.iterdir()), key=lambda one: one.niter)


def test_all_values_are_those_of_the_formulas():
    analysis = runs.analysis_of(SERIES)
    engines.check(analysis, in_order(SERIES), 0.34937497895011737)
    assert [round(point.value, 6) for point in analysis.points["objp_fg"]][::8] == [0.031417, 0.002323]
    assert [niter for niter, _ in analysis.engine.loss] == list(range(1, 81))
    assert analysis.engine.slice_thickness == [(niter, pytest.approx(6.0)) for niter in range(8, 81, 8)]


def test_names_do_not_matter(tmp_path):
    run_dir = shutil.copytree(SERIES, tmp_path / "run")
    for path in run_dir.iterdir():
        path.rename(path.with_name(path.name.replace("recon_Niter", "other-")))
    assert analyze_run(run_dir, device="cpu").points == runs.analysis_of(SERIES).points


def test_series_that_begin_elsewhere_are_told_apart(tmp_path, ptyconv):
    run_dir = shutil.copytree(SERIES, tmp_path / "run")
    for path in list(run_dir.iterdir()):
        other = shutil.copy(path, path.with_name(f"again_{path.name}"))
        with h5py.File(other, "r+") as file:
            file["init_positions_px"][0, 0] += 1
    listed = ptyconv("ls", run_dir).stdout
    assert [line.split()[0] for line in runs_listed(listed)] == ["run/run1", "run/run2"]
    engines.check(analyze_run(run_dir, select="2", device="cpu"), in_order(SERIES), 0.34937497895011737)


def test_a_file_without_a_loss_has_the_iteration_of_its_name(tmp_path):
    run_dir = shutil.copytree(SERIES, tmp_path / "run")
    for path in run_dir.iterdir():
        with h5py.File(path, "r+") as file:
            del file["loss"]
    assert [found.niter for found in analyze_run(run_dir, device="cpu").checkpoints] == list(range(8, 81, 8))
