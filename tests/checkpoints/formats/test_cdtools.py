"""Files of cdtools: a real series, and small changes to it for what it does not have."""

import itertools
import re
import shutil
from contextlib import nullcontext

import engines
import h5py
import numpy as np
import pytest
import runs
import torch
from blank import blank_pictures
from damage import spoil
from rarely import long_after

from ptyconv_cli import PtyconvError, analyze_run

SERIES = engines.ENGINES / "cdtools"
DX = 0.3493749733962659


def snapshot(path):
    """A file as it is, with the shifts in px by solving for them."""
    with h5py.File(path) as file:
        stored, probe, niter = file["obj"][()].astype(complex), file["probe"][()], int(file["epoch"][()])
        basis, translations = file["obj_basis"][()].astype(float), file["translations"][()].astype(float)
        least = file["state_dict/min_translation"][()].astype(float)
        if file["state_dict/exponentiate_obj"][()]:
            stored = np.exp(-stored.imag) * (np.cos(stored.real) + 1j * np.sin(stored.real))
    positions = np.linalg.lstsq(basis, translations.T, rcond=None)[0].T
    return engines.of_transmission(niter, stored, probe, positions, positions - least)


def in_order(folder):
    return sorted((snapshot(path) for path in folder.glob("*.h5")), key=lambda one: one.niter)


def change(folder, name, to):
    for path in folder.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            array = to(file[name][()])
            del file[name]
            file[name] = array


@pytest.fixture
def series(tmp_path):
    return shutil.copytree(SERIES, tmp_path / "cdtools")


def test_all_values_are_those_of_the_formulas():
    analysis = runs.analysis_of(SERIES)
    engines.check(analysis, in_order(SERIES), DX)
    assert [round(point.value, 6) for point in analysis.points["objp_fg"]][::6] == [0.038215, 0.007023]
    assert analysis.dx == pytest.approx(0.349375, abs=1e-6)
    assert [found.niter for found in analysis.checkpoints] == list(range(6, 49, 6))
    with h5py.File(SERIES / "recon_0048.h5") as file:
        assert analysis.engine.loss == list(enumerate(file["loss_history"][()].tolist(), 1))
    assert analysis.warnings == []


def told(*calls, epochs=48):
    """What cdtools tells of calls (epochs planned, rate, other words), each with the epochs that it planned."""
    lines, done = [], itertools.count(1)
    for planned, rate, others in calls:
        lines.append(f"Planning {planned} epochs of Adam, with a learning rate = {rate}, batch size = 30{others}")
        lines += [f"Epoch {next(done):3d} completed in 0.1 s with loss 1e-01" for _ in range(planned)]
    return "\n".join(lines[: epochs + len(calls)]) + "\n"


FACTORS = "\nThe learning rate factors are {'probe': 0.5, 'translation_offsets': 2}, default = 1."


def rates_told(folder, text):
    """The learning rates of an analysis whose last file tells this, and the warnings."""
    spoil(folder / "recon_0048.h5", "training_history", text)
    analysis = analyze_run(folder, device="cpu")
    return analysis.engine.learning_rates, analysis.warnings


def test_learning_rates_are_read_from_the_words():
    found = runs.analysis_of(SERIES).engine.learning_rates
    expected = [(epoch, 0.02) for epoch in range(1, 49)]
    assert found == dict.fromkeys(("obja", "objp", "probe", "probe_pos_shifts"), expected)


def test_each_call_has_its_rate_and_parameters_have_factors(series):
    found, warnings = rates_told(series, told((40, 0.04, "."), (8, "5e-03", FACTORS)))
    assert found["obja"] == found["objp"] == [(epoch, 0.04 if epoch <= 40 else 0.005) for epoch in range(1, 49)]
    assert found["probe"] == [(epoch, 0.04 if epoch <= 40 else 0.0025) for epoch in range(1, 49)]
    assert found["probe_pos_shifts"] == [(epoch, 0.04 if epoch <= 40 else 0.01) for epoch in range(1, 49)]
    assert warnings == []


def test_positions_that_are_not_refined_have_no_rate(series):
    with h5py.File(series / "recon_0048.h5") as file:
        given = file["original_translations"][()]
    change(series, "translations", lambda _: given)
    assert set(analyze_run(series, device="cpu").engine.learning_rates) == {"obja", "objp", "probe"}


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        b"\xff\xfe",
        0.02,
        np.arange(3.0),
        told((48, 0.02, ", and schedule = True.")),
        told((40, 0.02, ".")),
        told((48, 0.02, "."), epochs=40) + told((8, 0.02, ".")),
        told((48, "nan", ".")),
        told((48, "1e999", ".")),
        told((48, "-0.1", ".")),
        told((48, "tiny", ".")),
        told((48, 0.02, FACTORS.replace("0.5", "__import__('os')"))),
        told((48, 0.02, FACTORS.replace("}", ""))),
        told((48, 0.02, ".")).replace("Planning 48", "Planning 40"),
        told((48, 0.02, ".")).replace("Epoch  17", "Epoch  71"),
        told((48, 0.02, ".")).replace("Epoch  17", "Epoch  " + "9" * 5000),
        told((48, 0.02, ".")).replace("Planning", "Planned"),
        "{" * 100_000,
    ],
    ids=range(19),
)
def test_words_that_do_not_tell_all_rates_tell_none(series, text):
    """Scheduled to fall, epochs that are missing, not planned, not numbered, and what is no such text."""
    assert rates_told(series, text) == ({}, [])


def test_names_are_the_users_own(series):
    for path in series.iterdir():
        path.rename(path.with_name(f"gold_{int(path.stem[-4:])}_scan2.h5"))
    assert analyze_run(series, device="cpu").points == runs.analysis_of(SERIES).points
    assert analyze_run(series / "gold_12_scan2.h5", device="cpu").points == runs.analysis_of(SERIES).points


def test_the_last_state_may_be_saved_again(series):
    shutil.copy(series / "recon_0048.h5", series / "final.h5")
    analysis = analyze_run(series, device="cpu")
    assert analysis.points == runs.analysis_of(SERIES).points
    assert analysis.warnings == []


def several_planes(series, model):
    change(series, "obj", lambda array: np.stack([array, array**2, np.conj(array)]))
    change(series, "model_class", lambda _: model)
    return analyze_run(series, device="cpu")


def test_objects_of_several_slices(series):
    analysis = several_planes(series, "MultislicePtycho")
    assert analysis.checkpoints[0].shapes["objp"] == (1, 3, 74, 75)
    engines.check(analysis, in_order(series), DX)


def test_objects_of_several_modes(series):
    """As `n_obj_modes` makes them."""
    analysis = several_planes(series, "FancyPtycho")
    assert analysis.checkpoints[0].shapes["objp"] == (3, 1, 74, 75)
    expected = [
        one._replace(**{key: getattr(one, key).swapaxes(0, 1) for key in ("phase", "amplitude")})
        for one in in_order(series)
    ]
    engines.check(analysis, expected, DX)


@pytest.mark.parametrize("model", ["NewPtycho", ""])
def test_several_planes_of_another_model_are_refused(series, model):
    with pytest.raises(PtyconvError, match="has an object of several planes: what they are is not known"):
        several_planes(series, model)


def in_fourier_space(probe):
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe, (-2, -1)), norm="ortho"), (-2, -1)).astype(np.complex64)


def test_a_probe_that_is_stored_in_fourier_space(series):
    """The same probe, and so the same numbers; but for rounding, which is some of a change as small as these."""
    expected = analyze_run(series, device="cpu").points
    change(series, "probe", in_fourier_space)
    change(series, "state_dict/fourier_probe", lambda _: True)
    for key, points in analyze_run(series, device="cpu").points.items():
        np.testing.assert_allclose([one.value for one in points], [one.value for one in expected[key]], rtol=1e-4)


@pytest.mark.parametrize("also_stored_there", [False, True])
def test_a_probe_that_is_cut_in_fourier_space(series, also_stored_there):
    """The object's region, and the probe's intensity, are those of the probe with zeros around its spectrum."""
    cut, size = 7, 48
    whole = in_order(series)

    def smaller(probe):
        spectrum = in_fourier_space(probe)[:, cut:-cut, cut:-cut]
        if also_stored_there:
            return spectrum
        return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum, (-2, -1)), norm="ortho"), (-2, -1)).astype("c8")

    def limited(probe):  # by a sum over all frequencies that are left
        frequencies = np.arange(size) - size // 2
        kept = (frequencies >= cut - size // 2) & (frequencies < size - cut - size // 2)
        waves = np.exp(2j * np.pi * np.outer(frequencies, frequencies) / size) / np.sqrt(size)
        project = (waves * kept) @ waves.conj().T
        return project @ probe @ project.T

    expected = [one._replace(probe=limited(one.probe.astype(complex))) for one in whole]
    change(series, "probe", smaller)
    change(series, "state_dict/fourier_probe", lambda _: also_stored_there)
    analysis = analyze_run(series, device="cpu")
    assert tuple(analysis.region) == tuple(runs.analysis_of(SERIES).region)
    found = engines.series(expected, DX)["probe"]
    np.testing.assert_allclose(
        [one.value for one in analysis.points["probe"]], [value for _, value in found], rtol=1e-4
    )


def test_an_object_that_is_smaller_than_the_scan_is_refused(series):
    change(series, "obj", lambda array: array[10:-10, 10:-10])
    with pytest.raises(PtyconvError, match="the scan is larger than the object: its model has options"):
        analyze_run(series, device="cpu")


def test_of_phases_alone_the_exponent_is_real(series):
    change(series, "obj", lambda array: np.angle(array) + 0.3j)
    for flag in ("exponentiate_obj", "phase_only"):
        change(series, f"state_dict/{flag}", lambda _: True)
    expected = runs.analysis_of(SERIES).points
    for key, points in analyze_run(series, device="cpu").points.items():
        if key.startswith("obja"):
            assert max(point.value for point in points) < 1e-12
        else:
            np.testing.assert_allclose([one.value for one in points], [one.value for one in expected[key]], rtol=1e-4)


def test_of_an_exponentiated_object_the_exponent_is_stored(series):
    """T of exp(iT): the same transmissions, and an amplitude that is not that of T."""
    change(series, "obj", lambda array: -1j * np.log(array.astype(complex)))
    change(series, "state_dict/exponentiate_obj", lambda _: True)
    analysis = analyze_run(series, device="cpu")
    engines.check(analysis, in_order(series), DX)
    for key, points in runs.analysis_of(SERIES).points.items():
        values = [point.value for point in analysis.points[key]]
        np.testing.assert_allclose(values, [point.value for point in points], rtol=1e-5)


def test_pixels_may_be_oblique_and_not_square(series):
    """Seen at an angle, the steps of a pixel lie in any plane."""
    turned = np.array([[0.1, -1.2, 0.3], [-0.9, 0.2, 0.1], [0.2, 0.1, 1.0]])
    for name in ("obj_basis", "translations", "original_translations"):
        change(series, name, lambda array, name=name: turned @ (array if "basis" in name else array.T))
    for name in ("translations", "original_translations"):
        change(series, name, np.transpose)
    with h5py.File(series / "recon_0006.h5") as file:
        steps = np.linalg.norm(file["obj_basis"][()].astype(float), axis=0)
    analysis = analyze_run(series, device="cpu")
    engines.check(analysis, in_order(series), 1e10 * np.sqrt(np.prod(steps)))
    assert analysis.region == runs.analysis_of(SERIES).region
    assert any("pixels are not square" in text for text in analysis.warnings)


def test_positions_that_never_move_are_no_series(series):
    with h5py.File(series / "recon_0006.h5") as file:
        first = file["translations"][()]
    change(series, "translations", lambda _: first)
    analysis = analyze_run(series, device="cpu")
    assert set(analysis.points) == {"obja_bg", "obja_fg", "objp_bg", "objp_fg", "probe"}
    assert "probe_pos_shifts is not analyzed: the scan positions are the same in all checkpoints." in analysis.warnings


def test_another_scan_is_another_run(series):
    for path in [series / "recon_0012.h5", series / "recon_0030.h5"]:
        with h5py.File(path, "r+") as file:
            file["original_translations"][0, 0] += 1e-10
    with pytest.raises(PtyconvError, match="belong to 2 runs"):
        analyze_run(series, device="cpu")


def test_without_the_positions_that_were_given(series):
    for path in series.iterdir():
        spoil(path, "original_translations", None)
    assert analyze_run(series, device="cpu").points == runs.analysis_of(SERIES).points


def test_runs_are_chained(series, tmp_path):
    second = shutil.copytree(series, tmp_path / "second")
    analysis = analyze_run(second, chain=[series], device="cpu")
    assert [found.niter for found in analysis.checkpoints] == [*range(6, 49, 6), *range(54, 97, 6)]
    assert [boundary.difference for boundary in analysis.boundaries] == [""]


@pytest.mark.parametrize("drawn", long_after(1, [False, True]))
@pytest.mark.parametrize("command", ["analyze", "check", "maps", "ls"])
def test_the_commands(series, ptyconv, command, drawn):
    with nullcontext() if drawn else blank_pictures():
        result = ptyconv(command, series)
        assert result.exit_code == (3 if command == "check" else 0), result.stderr
        if command == "analyze":
            assert ptyconv("plot", series).exit_code == 0
        if command == "ls":
            assert re.findall(r"^cdtools +cdtools 0.3.2 +8 +6 to 48 +1×1×74×75 +0.3494$", result.stdout, re.M)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    long_after(
        4,
        [
            (
                "obj",
                np.zeros((2, 1, 74, 75), complex),
                "expected complex (slice, y, x), found complex128 (2, 1, 74, 75)",
            ),
            ("probe", np.zeros((48, 48), complex), "expected complex (mode, y, x), found complex128 (48, 48)"),
            ("obj_basis", np.zeros((3, 2)), "the pixel size is 0 × 0 Å"),
            ("obj_basis", np.full((3, 2), np.nan), "the pixel size is nan × nan Å"),
            ("obj_basis", np.ones((3, 2)) * 1e-10, "obj_basis: the steps of a pixel lie in one line"),
            ("obj_basis", np.ones((2, 2)), "expected real (3, 2), found float64 (2, 2)"),
            ("translations", np.zeros((132, 2)), "expected real (N, 3), found float64 (132, 2)"),
            ("state_dict/min_translation", None, "has no dataset state_dict/min_translation (expected real (2))"),
            ("state_dict/exponentiate_obj", 0.5, "expected one yes-or-no number, found float64 ()"),
            ("loss_history", None, "is no checkpoint of a known format"),
        ],
    ),
)
def test_a_damaged_file_is_left_out_with_the_reason(series, name, values, said):
    spoil(series / "recon_0024.h5", name, values)
    analysis = analyze_run(series, device="cpu")
    assert [file.file for file in analysis.left_out] == ["recon_0024.h5"]
    assert said in analysis.left_out[0].reason


def job_state(path):
    """What `checkpoint()` saves: arrays in a torch.save."""
    with h5py.File(SERIES / "recon_0048.h5") as file:
        results = {name: file[name][()] for name in ("obj", "probe", "obj_basis", "translations", "epoch")}
    torch.save({**results, "state_dict": {}, "optimizer_state_dict": {"state": {0: torch.zeros(3)}}}, path)


@pytest.mark.parametrize("command", ["analyze", "check", "ls", "maps"])
def test_files_to_resume_a_job_from_are_refused(tmp_path, ptyconv, command):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for number in (1, 2):
        job_state(run_dir / f"job_{number}.pt")
    said = "is what cdtools resumes a job from, not one of a series: save snapshots with model.save_to_h5("
    for place in (run_dir,) if command == "ls" else (run_dir, run_dir / "job_1.pt"):
        result = ptyconv(command, place)
        assert said in re.sub(r"\s+", " ", result.stdout + result.stderr)
        assert result.exit_code == (0 if command == "ls" else 1)


def test_beside_a_series_a_file_to_resume_from_is_left_out(series):
    job_state(series / "job_3.pt")
    analysis = analyze_run(series, device="cpu")
    assert analysis.points == runs.analysis_of(SERIES).points
    assert [file.file for file in analysis.left_out] == ["job_3.pt"]
    assert "is what cdtools resumes a job from" in analysis.left_out[0].reason
    assert len(analysis.warnings) == 1
