"""Files of fold_slice: synthetic ones, with the values of the series of ptychodus."""

import json
import math
import re
import shutil

import engines
import h5py
import numpy as np
import pytest
import runs
from outputs import runs_listed

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.analysis.maps import maps_of_run, shown_depths
from ptyconv_cli.checkpoints.chain import Selection

SERIES = engines.ENGINES / "fold_slice" / "GPU_MS"


def in_numbers(pairs):
    return np.swapaxes(pairs["real"] + 1j * pairs["imag"], -1, -2)


def snapshot(path):
    with h5py.File(path) as file:
        stored, probe = in_numbers(file["object"][()]), in_numbers(file["probe"][()])
        positions = file["outputs/probe_positions"][()][::-1].T
    room = np.ceil((np.array(stored.shape[-2:]) - probe.shape[-2:]) / 2) - 1
    return engines.of_transmission(int(path.stem[5:]), stored, probe, positions, positions + room)


def in_order(folder):
    return sorted((snapshot(path) for path in folder.iterdir()), key=lambda one: one.niter)


@pytest.fixture
def series(tmp_path):
    return shutil.copytree(SERIES, tmp_path / "run")


def test_all_values_are_those_of_the_formulas():
    analysis = runs.analysis_of(SERIES)
    engines.check(analysis, in_order(SERIES), 0.34937497895011737)
    assert [round(point.value, 6) for point in analysis.points["objp_fg"]][::8] == [0.031417, 0.002323]
    assert [niter for niter, _ in analysis.engine.loss] == list(range(1, 81))
    assert analysis.engine.slice_thickness == [(niter, pytest.approx(6.0)) for niter in range(8, 81, 8)]


def change(folder, name, to):
    """Replace a dataset in every file by what a function makes of it."""
    for path in folder.iterdir():
        with h5py.File(path, "r+") as file:
            array = to(file[name][()])
            del file[name]
            file[name] = array


def test_one_layer_and_one_probe_have_fewer_axes(series):
    change(series, "object", lambda array: array[0])
    change(series, "probe", lambda array: array[0])
    analysis = analyze_run(series, device="cpu")
    assert analysis.checkpoints[0].shapes["objp"] == (1, 1, 74, 76)
    assert analysis.checkpoints[0].shapes["probe"] == (1, 48, 48)
    same = runs.analysis_of(SERIES).region
    assert analysis.region == same


def test_of_variable_probes_the_first_is_followed(series):
    change(series, "probe", lambda array: np.stack([array, np.zeros_like(array)]))
    assert analyze_run(series, device="cpu").points == runs.analysis_of(SERIES).points


def test_pixels_of_x_rays_are_in_metres(series):
    change(series, "p/dx_spec", lambda array: np.full((2, 1), 12.5e-9))
    change(series, "p/multi_slice_param/z_distance", lambda array: np.array([[6e-6], [math.inf]]))
    analysis = analyze_run(series, device="cpu")
    assert analysis.dx == pytest.approx(125.0)
    assert analysis.engine.slice_thickness[0] == (8, pytest.approx(6e4))


def test_axes_are_in_their_order(series):
    """With an object that is not square, and a probe that is not, a swap would be seen."""
    change(series, "probe", lambda array: array[..., :40, :])
    engines.check(analyze_run(series, device="cpu"), in_order(series), 0.34937497895011737)


def test_without_a_number_in_the_name_the_errors_give_the_iteration(series):
    for place, path in enumerate(sorted(series.iterdir(), key=lambda path: int(path.stem[5:]))):
        path.rename(path.with_name("abcdefghij"[place] + ".mat"))
    assert [found.niter for found in analyze_run(series, device="cpu").checkpoints] == list(range(8, 81, 8))


def test_older_files_are_refused_with_the_remedy(series):
    for path in series.iterdir():
        path.write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(1000))
    for place in (series, series / "Niter8.mat"):
        with pytest.raises(PtyconvError, match=r"is a MATLAB file of version 7 or older.*save\(.*'-v7.3'\)"):
            analyze_run(place, device="cpu")
    (series / "Niter8.mat").rename(series.parent / "data.mat")
    with pytest.raises(PtyconvError, match=r"save\('data.mat', '-struct', 's', '-v7.3'\)"):
        analyze_run(series.parent / "data.mat", device="cpu")


def test_long_lengths_are_shown_in_nm(series, ptyconv, blank_pictures):
    change(series, "p/dx_spec", lambda array: np.full((2, 1), 62.5e-9))
    change(series, "p/multi_slice_param/z_distance", lambda array: np.array([[6e-6], [math.inf]]))
    in_angstrom = runs.analysis_of(SERIES)
    moved = [of_kind["probe_pos_shifts"] for of_kind in (in_angstrom.points, in_angstrom.aligned_points)]
    result = ptyconv("analyze", series, "-v")
    assert "scanned region 19 × 20 px (1188 × 1250 nm)" in result.stdout
    said = re.findall(r"^probe_pos_shifts  nm +(\S+) +(\S+) ", result.stdout, re.MULTILINE)
    for (first, last), points in zip(said, moved, strict=True):
        expected = [point.value * 62.5 / in_angstrom.dx for point in (points[0], points[-1])]
        assert [float(first), float(last)] == pytest.approx(expected, rel=5e-3)
    ((_, of_phase),) = in_angstrom.removed["objp"][-1:]
    (ramp,) = re.findall(r" ramp (\S+) rad/nm", result.stdout)
    assert float(ramp) == pytest.approx(math.hypot(*of_phase.ramp) * in_angstrom.dx / 62.5, rel=5e-2)
    assert "Å" not in result.stdout
    listed = ptyconv("ls", series).stdout
    assert "  dx (nm)\n" in listed
    assert runs_listed(listed)[0].endswith(" 62.500")
    reported = json.loads((series / "convergence_report.json").read_text())["series"]["probe_pos_shifts"]
    assert reported["unit"] == "Å"
    assert reported["points"][-1]["value"] == pytest.approx(moved[0][-1].value * 625 / in_angstrom.dx)
    assert "probe_pos_shifts,Å,80," in (series / "convergence.csv").read_text()
    maps = maps_of_run(series, Selection(None, None, None, False), percentile_range=(15, 85), device="cpu")
    assert shown_depths(maps.objects, maps.thickness)[1] == "depth of the slice's middle (nm)"


def test_several_engines_in_one_folder_are_told_apart(series, ptyconv):
    for folder in ("ptychodus", "pear/S0001/Ndp48_LSQML_c44_gaussian_p2_cp_mm_Ns2"):
        shutil.copytree(engines.ENGINES / folder, series, dirs_exist_ok=True)
    listed = ptyconv("ls", series).stdout
    assert [line.split()[:3] for line in runs_listed(listed)] == [
        ["run/run1", "fold_slice", "10"],
        ["run/run2", "ptychodus", "10"],
        ["run/run3", "PEAR", "10"],
    ]
    assert ptyconv("analyze", series, "--no-plot").exit_code == 0
    assert (series / "run2" / "convergence_report.json").exists()
    assert (
        "3: recon_Niter8.h5, …, recon_Niter80.h5 (10 files): it was written by PEAR" in ptyconv("check", series).stderr
    )
