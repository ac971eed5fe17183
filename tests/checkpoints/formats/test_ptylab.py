"""Files of PtyLab: a real series, and small changes to it for what it does not have."""

import re
import shutil
from contextlib import nullcontext

import engines
import h5py
import numpy as np
import pytest
import runs
from blank import blank_pictures
from damage import spoil
from rarely import long_after

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.checkpoints.opening import open_checkpoint
from ptyconv_cli.errors import SeveralRuns

SERIES = engines.ENGINES / "ptylab"
RECORDED = SERIES / "recorded.npz"
DX = 68663.2
NITERS = [5, 10, 20, 40, 80]


def snapshot(path):
    """The first wavelength of a file, of the probe what lights the first slice."""
    with h5py.File(path) as file:
        stored, probe, niter = file["object"][0, :, 0].astype(complex), file["probe"][0, 0, :, 0], len(file["error"])
        positions = file["encoder_corrected"][()] / float(file["dxp"][()])
    corners = np.round(positions) + stored.shape[-1] // 2 - probe.shape[-1] // 2
    return engines.Snapshot(niter, np.angle(stored), np.abs(stored), probe, positions, corners)


def in_order(folder):
    return sorted((snapshot(path) for path in folder.glob("*.hdf5")), key=lambda one: one.niter)


def change(folder, name, to):
    for path in folder.glob("*.hdf5"):
        with h5py.File(path) as file:
            array = to(file[name][()])
        spoil(path, name, array)


def last_bit(value):
    return np.nextafter(value, np.float32(np.inf))


@pytest.fixture
def series(tmp_path):
    return shutil.copytree(SERIES, tmp_path / "ptylab", ignore=shutil.ignore_patterns("*.npz"))


def test_all_values_are_those_of_the_formulas():
    analysis = runs.analysis_of(SERIES)
    engines.check(analysis, in_order(SERIES), DX)
    assert [round(point.value, 6) for point in analysis.points["objp_fg"]] == [0.043768, 0.030573, 0.020519, 0.018194]
    assert [found.niter for found in analysis.checkpoints] == NITERS
    with h5py.File(SERIES / "recon_0080.hdf5") as file:
        assert analysis.engine.loss == list(enumerate(file["error"][()].tolist(), 1))
    assert analysis.warnings == []


def test_windows_are_those_that_ptylab_recorded():
    with np.load(RECORDED) as recorded:
        for niter, corners in zip(recorded["niters"], recorded["corners"], strict=True):
            with open_checkpoint(SERIES / f"recon_{niter:04d}.hdf5") as checkpoint:
                np.testing.assert_array_equal(checkpoint.crop_pos(), corners)


def test_what_is_read_gives_the_patterns():
    """Of all windows those fit best: a pixel off in any direction, or with axes swapped, patterns differ by more."""
    with np.load(RECORDED) as recorded:
        frames, patterns = recorded["frames"], recorded["patterns"].astype(float)
    for niter in NITERS:
        with open_checkpoint(SERIES / f"recon_{niter:04d}.hdf5") as checkpoint:
            (transmission,), probe = checkpoint.object_data()[...][0], checkpoint.probe_data()[...]
            corners = checkpoint.crop_pos()[frames]
        windows = {off: corners + np.array(off) for off in [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]}
        windows["swapped"] = corners[:, ::-1]
        misfits = {name: misfit(transmission, probe, of_name, patterns) for name, of_name in windows.items()}
        assert min(misfits, key=misfits.get) == (0, 0)
        assert misfits[0, 0] < 0.1


def misfit(transmission, probe, corners, patterns):
    """The mean difference of patterns from those measured, in units of their intensity."""
    height, width = probe.shape[-2:]
    found = []
    for (y, x), pattern in zip(corners, patterns, strict=True):
        waves = np.fft.fft2(probe * transmission[y : y + height, x : x + width], norm="ortho")
        made = np.fft.fftshift((np.abs(waves) ** 2).sum(0))
        found.append(np.abs(made - pattern).sum() / pattern.sum())
    return np.mean(found)


def test_halves_are_rounded_as_ptylab_does(series):
    """To even numbers: a scan on a grid of half pixels."""
    path = series / "recon_0005.hdf5"
    spoil(path, "dxp", np.float32(0.5))
    spoil(path, "encoder_corrected", np.array([[0.25, 0.75], [-0.25, 1.25]]))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.crop_pos().tolist() == [[80, 82], [80, 82]]


def test_names_are_the_users_own(series, ptyconv):
    for path in series.iterdir():
        path.rename(path.with_name(f"siemens_{int(path.stem[-4:])}_scan2.h5"))
    assert analyze_run(series, device="cpu").points == runs.analysis_of(SERIES).points
    assert analyze_run(series / "siemens_10_scan2.h5", device="cpu").points == runs.analysis_of(SERIES).points
    for path in series.iterdir():
        path.rename(path.with_suffix(""))
    result = ptyconv("check", series, "--names", "siemens_*_scan2")
    assert result.stdout.startswith("converged since iteration 40")


def test_the_last_state_may_be_saved_again(series):
    shutil.copy(series / "recon_0080.hdf5", series / "final.hdf5")
    analysis = analyze_run(series, device="cpu")
    assert analysis.points == runs.analysis_of(SERIES).points
    assert analysis.warnings == []


def test_positions_that_are_not_corrected_are_no_series(series):
    with h5py.File(series / "recon_0005.hdf5") as file:
        given = file["encoder_corrected"][()]
    change(series, "encoder_corrected", lambda _: given)
    analysis = analyze_run(series, device="cpu")
    assert set(analysis.points) == {"obja_bg", "obja_fg", "objp_bg", "objp_fg", "probe"}
    assert "probe_pos_shifts is not analyzed: the scan positions are the same in all checkpoints." in analysis.warnings


def stacked(array, axis):
    """An array with two further ones behind it along an axis."""
    return np.concatenate([array, np.conj(array), array**2], axis)


def test_objects_of_several_slices(series):
    """The probe that is followed lights the first one."""
    change(series, "object", lambda array: stacked(array, 3))
    change(series, "probe", lambda array: stacked(array, 3))
    analysis = analyze_run(series, device="cpu")
    assert analysis.checkpoints[0].shapes["objp"] == (1, 3, 224, 224)
    engines.check(analysis, in_order(series), DX)


def test_objects_and_probes_of_several_modes(series):
    change(series, "object", lambda array: stacked(array, 1))
    change(series, "probe", lambda array: stacked(array, 2))
    analysis = analyze_run(series, device="cpu")
    assert analysis.checkpoints[0].shapes["objp"] == (3, 1, 224, 224)
    assert analysis.checkpoints[0].shapes["probe"] == (3, 64, 64)
    engines.check(analysis, in_order(series), DX)


def test_of_several_wavelengths_the_first_is_followed(series):
    for name in ("object", "probe"):
        change(series, name, lambda array: stacked(array, 0))
    analysis = analyze_run(series, device="cpu")
    assert analysis.points == runs.analysis_of(SERIES).points
    assert analysis.warnings == [
        "The files hold an object and a probe for each of 3 wavelengths: those of the first are followed."
    ]


def test_a_run_that_goes_on_after_load_is_one(series):
    """The pixel size, in single precision, then has another last digit."""
    for niter in (40, 80):
        path = series / f"recon_{niter:04d}.hdf5"
        with h5py.File(path) as file:
            size = file["dxp"][()]
        spoil(path, "dxp", last_bit(size))
    engines.check(analyze_run(series, device="cpu"), in_order(series), DX)


def test_a_run_that_began_from_recon_counts_anew(series):
    for niter in (40, 80):
        path = series / f"recon_{niter:04d}.hdf5"
        with h5py.File(path) as file:
            errors = file["error"][20:]
        spoil(path, "error", errors)
    with pytest.raises(SeveralRuns, match="belong to 2 runs") as error:
        analyze_run(series, device="cpu")
    assert "the loss history differs" in str(error.value)


def test_a_distance_that_is_refined_divides_the_run(series):
    """As zPIE does: with the distance the pixel size changes."""
    spoil(series / "recon_0080.hdf5", "dxp", np.float32(6.8652298e-06))
    with pytest.raises(SeveralRuns, match=r"the pixel size dx is 6865\.23 nm, not 6866\.32 nm"):
        analyze_run(series, device="cpu")


@pytest.mark.parametrize(
    "lost",
    [
        ("zo", "encoder_corrected", "purityProbe", "purityObject"),  # a file of Fourier ptychography
        ("zo", "encoder_corrected", "purityProbe", "purityObject", "error", "dxp", "wavelength"),  # saved too early
    ],
)
def test_files_without_scan_positions_are_none(series, lost):
    for path in series.iterdir():
        for name in lost:
            spoil(path, name, None)
    with pytest.raises(PtyconvError, match="holds no checkpoint"):
        analyze_run(series, device="cpu")
    with pytest.raises(PtyconvError, match="is no checkpoint of a known format"):
        analyze_run(series / "recon_0005.hdf5", device="cpu")


@pytest.mark.parametrize("drawn", long_after(1, [False, True]))
@pytest.mark.parametrize("command", ["analyze", "check", "maps", "ls"])
def test_the_commands(series, ptyconv, command, drawn):
    with nullcontext() if drawn else blank_pictures():
        result = ptyconv(command, series)
        assert result.exit_code == 0, result.stderr
        if command == "analyze":
            assert ptyconv("plot", series).exit_code == 0
        if command == "ls":
            assert re.findall(r"^ptylab +PtyLab +5 +5 to 80 +1×1×224×224 +6.8663$", result.stdout, re.M)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    long_after(
        5,
        [
            ("dxp", np.float32(np.nan), "the pixel size is nan × nan Å"),
            (
                "object",
                np.zeros((1, 1, 2, 1, 224, 224), complex),
                "expected complex (wavelength, omode, 1, slice, y, x), found complex128 (1, 1, 2, 1, 224, 224)",
            ),
            ("encoder_corrected", np.zeros((100, 3)), "expected real (N, 2), found float64 (100, 3)"),
            ("error", np.zeros(0, np.float32), "dataset error: expected real (n)"),
            ("error", "none", "dataset error: expected real (n)"),
            ("dxp", np.float32(0), "the pixel size is 0 × 0 Å"),
            ("dxp", np.float32(-1), "the pixel size is -1e+10 × -1e+10 Å"),
            ("dxp", np.ones(2, np.float32), "expected one real number, found float32 (2,)"),
            ("object", np.zeros((224, 224), complex), "found complex128 (224, 224)"),
            ("object", np.zeros((1, 1, 1, 1, 0, 0), complex), "found complex128 (1, 1, 1, 1, 0, 0)"),
            ("object", np.zeros((1, 1, 1, 1, 224, 224)), "found float64 (1, 1, 1, 1, 224, 224)"),
            ("probe", np.zeros((1, 2, 1, 1, 64, 64), complex), "expected complex (wavelength, 1, mode, slice, y, x)"),
            ("encoder_corrected", np.zeros((0, 2)), "expected real (N, 2), found float64 (0, 2)"),
            ("encoder_corrected", np.full((100, 2), 1e9), "scan positions lie outside any object"),
        ],
    ),
)
def test_a_damaged_file_is_left_out_with_the_reason(series, name, values, said):
    spoil(series / "recon_0020.hdf5", name, values)
    analysis = analyze_run(series, device="cpu")
    assert [found.niter for found in analysis.checkpoints] == [5, 10, 40, 80]
    assert said in analysis.left_out[0].reason
