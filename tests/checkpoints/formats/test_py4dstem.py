"""Results of py4DSTEM: all snapshots of a run in one file."""

import shutil
from contextlib import nullcontext

import engines
import h5py
import numpy as np
import pytest
import runs
from blank import blank_pictures
from outputs import runs_listed
from rarely import long_after

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.checkpoints.discovery import find_runs

SERIES = engines.ENGINES / "py4DSTEM" / "single_complex"
ROOT = "ptychographic_reconstruction_root/ptychographic_reconstruction"
DX = 0.34937497895011727
ALL = {"obja_bg", "obja_fg", "objp_bg", "objp_fg", "probe"}


def snapshots(path, root=ROOT):
    """All that a file holds, by hand: the stored states, then the end, whose probe has its middle in the corner."""
    with h5py.File(path) as file:
        group = file[root]
        objects, probes = [], []
        niters = []
        if "_object_iterations_emd" in group:
            labels = group[f"_object_iterations_emd/dim{group['_object_iterations_emd/data'].ndim - 1}"].asstr()[()]
            niters = [int(label.split("_")[1]) + 1 for label in labels]
            objects, probes = (list(group[f"_{name}_iterations_emd/data"][()]) for name in ("object", "probe"))
        done = len(group["metadatabundle/reconstruction_metadata/reconstruction_error"])
        if not niters or done > niters[-1]:
            niters.append(done)
            objects.append(group["_object_emd/data"][()])
            probes.append(np.fft.fftshift(group["_probe_emd/data"][()], (-2, -1)))
        positions = group["metadatabundle/preprocess_metadata/positions_px"][()].astype(float)
    found = []
    for niter, stored, probe in zip(niters, objects, probes, strict=True):
        probe = probe.reshape(-1, *probe.shape[-2:])
        corners = positions - np.array(probe.shape[-2:]) // 2
        one = engines.of_transmission(niter, stored, probe, None, corners)
        if stored.dtype.kind == "f":
            one = one._replace(phase=stored.astype(float).reshape(one.phase.shape), amplitude=None)
        found.append(one)
    return found


def write(path, objects, probes, *, every=2, errors=None, stored=True, object_type="complex", seed=0):
    """A small file in py4DSTEM's layout: `objects` (iteration, …, y, x) and `probes`, one each `every` iterations."""
    rng = np.random.default_rng(seed)
    errors = every * (len(objects) - 1) + 1 if errors is None else errors
    with h5py.File(path, "w") as file:
        group = file.create_group("small_root/small")
        if stored:
            for name, stack in (("_object_iterations_emd", objects), ("_probe_iterations_emd", probes)):
                group[f"{name}/data"] = stack
                labels = [f"iteration_{every * place:03d}" for place in range(len(stack))]
                group[f"{name}/dim{stack.ndim - 1}"] = labels
        group["_object_emd/data"] = objects[-1] * 1.01
        group["_probe_emd/data"] = np.fft.ifftshift(probes[-1], (-2, -1)).astype("c16") * 1.1
        meta = group.create_group("metadatabundle")
        meta["preprocess_metadata/sampling"] = [0.25, 0.25]
        meta["preprocess_metadata/positions_px"] = rng.uniform(3, 12, (9, 2)).astype("f4")
        meta["reconstruction_metadata/reconstruction_error"] = 1 / np.arange(1, errors + 1)
        meta["instantiation_metadata/object_type"] = object_type
        meta["instantiation_metadata/slice_thicknesses"] = 10.0
    return path


def made_up(*shape, seed=1, real=False):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(4, *shape)) * np.array([1, 0.3, 0.1, 0.03]).reshape(-1, *[1] * len(shape))
    phase = np.broadcast_to(rng.normal(size=shape), noise.shape) * 0.2 + 0.1 * noise
    return phase.astype("f4") if real else ((1 - 0.1 * noise) * np.exp(1j * phase)).astype("c8")


def test_all_values_are_those_of_the_formulas():
    analysis = runs.analysis_of(SERIES)
    engines.check(analysis, snapshots(SERIES / "ptycho.h5"), DX)
    assert [found.niter for found in analysis.checkpoints] == [*range(1, 60, 5), 60]
    assert set(analysis.points) == ALL
    foreground = {point.niter: point.value for point in analysis.points["objp_fg"]}
    assert foreground[6] == pytest.approx(0.001451, abs=5e-7)
    assert foreground[56] == pytest.approx(0.000795, abs=5e-7)
    assert [niter for niter, _ in analysis.engine.loss] == list(range(1, 61))
    assert "probe_pos_shifts is not analyzed: py4DSTEM stores scan positions only at the end." in analysis.warnings


def test_the_end_has_its_probe_in_the_middle():
    """Not in the corner, where it is stored: or the change of the probe would be of order 1."""
    last = runs.analysis_of(SERIES).points["probe"][-1]
    assert last.niter == 60
    assert last.value < 0.002


def test_the_end_counts_only_where_it_is_later(tmp_path):
    path = write(tmp_path / "run.h5", made_up(16, 17), made_up(8, 8))
    engines.check(analyze_run(path, device="cpu"), snapshots(path, "small_root/small"), 0.25)
    assert [found.niter for found in analyze_run(path, device="cpu").checkpoints] == [1, 3, 5, 7]


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("slices", [(), (3,)], ids=["one slice", "slices"])
@pytest.mark.parametrize("modes", [(), (2,)], ids=["one mode", "modes"])
@pytest.mark.parametrize("errors", long_after(1, [7, 8]))
def test_slices_modes_and_potentials(tmp_path, real, slices, modes, errors):
    path = write(tmp_path / "run.h5", made_up(*slices, 16, 17, real=real), made_up(*modes, 7, 8), errors=errors)
    analysis = analyze_run(path, device="cpu")
    engines.check(analysis, snapshots(path, "small_root/small"), 0.25, wraps=not real)
    assert set(analysis.points) == (ALL - {"obja_bg", "obja_fg"} if real else ALL)
    assert len(analysis.checkpoints) == errors - 3
    assert analysis.checkpoints[0].shapes["objp"] == (1, slices[0] if slices else 1, 16, 17)
    assert analysis.engine.slice_thickness[0] == (1, 10.0)


def test_a_potential_has_no_amplitude_to_ask_for(tmp_path, ptyconv):
    path = write(tmp_path / "run.h5", made_up(16, 17, real=True), made_up(8, 8))
    result = ptyconv("analyze", path, "-t", "obja")
    assert result.exit_code == 1
    said = "has no tensor obja, because the object is a phase alone, and has no amplitude; it has objp, probe"
    assert said in " ".join(result.stderr.split())


def test_a_potential_may_exceed_a_full_turn(tmp_path):
    """A real phase jumps where it jumps; it isn't continued as an angle is."""
    objects = made_up(16, 17, real=True)
    objects[2:] += 7
    path = write(tmp_path / "run.h5", objects, made_up(8, 8))
    assert analyze_run(path, device="cpu").points["objp_fg"][1].value > 6


def test_files_without_stored_iterations_are_a_series(tmp_path):
    """Each with its end alone, and so with scan positions of its own."""
    objects, probes = made_up(16, 17), made_up(8, 8)
    expected = []
    for count in (1, 2, 3, 4):
        path = write(tmp_path / f"after_{count}.h5", objects[:count], probes[:count], stored=False, seed=7)
        with h5py.File(path, "r+") as file:
            positions = file["small_root/small/metadatabundle/preprocess_metadata/positions_px"]
            positions[...] += 0.1 * count**2
            (one,) = snapshots(path, "small_root/small")
            expected.append(one._replace(positions=positions[()].astype(float)))
    analysis = analyze_run(tmp_path, device="cpu")
    engines.check(analysis, expected, 0.25)
    assert [found.niter for found in analysis.checkpoints] == [1, 3, 5, 7]
    assert analysis.points["probe_pos_shifts"][0].value == pytest.approx(0.25 * 0.3 * 2**0.5, rel=1e-5)


def test_windows_beyond_the_object_clamp_the_region(tmp_path):
    path = write(tmp_path / "run.h5", made_up(16, 17), made_up(8, 8))
    with h5py.File(path, "r+") as file:
        file["small_root/small/metadatabundle/preprocess_metadata/positions_px"][0] = [-2, 20]
    analysis = analyze_run(path, device="cpu")
    engines.check(analysis, snapshots(path, "small_root/small"), 0.25)
    assert (analysis.region.y_start, analysis.region.x_stop) == (0, 17)
    assert any("1 of 9 scan positions lie beyond the object" in text for text in analysis.warnings)


def test_iterations_that_were_not_stored_are_said(tmp_path):
    path = write(tmp_path / "run.h5", made_up(16, 17), made_up(8, 8), errors=30)
    said = "The run made 30 iterations, but stored none from 8 to 29. Iterations are those of the labels"
    assert any(text.startswith(said) for text in analyze_run(path, device="cpu").warnings)
    assert not [text for text in runs.analysis_of(SERIES).warnings if "stored none" in text]


def test_each_file_is_a_run(tmp_path, ptyconv):
    for name in ("one.h5", "other.h5"):
        shutil.copy(SERIES / "ptycho.h5", tmp_path / name)
    assert find_runs(tmp_path).runs == [tmp_path]
    listed = runs_listed(ptyconv("ls", tmp_path).stdout)
    assert [line.split()[1:5] for line in listed] == 2 * [["py4DSTEM", "13", "1", "to"]]
    engines.check(analyze_run(tmp_path / "other.h5", device="cpu"), snapshots(SERIES / "ptycho.h5"), DX)


@pytest.mark.parametrize("place", long_after(1, ["run/ptycho.h5", "run"]))
@pytest.mark.parametrize("command", ["analyze", "check", "maps"])
def test_the_commands(place, ptyconv, tmp_path, command):
    shutil.copytree(SERIES, tmp_path / "run")
    with nullcontext() if place == "run" else blank_pictures():
        engines.check_command(ptyconv, command, tmp_path / place, "13 checkpoints, iterations 1 to 60")


def test_the_engine_is_listed(ptyconv):
    (line,) = runs_listed(ptyconv("ls", SERIES).stdout)
    assert line.split() == ["single_complex", "py4DSTEM", "13", "1", "to", "60", "1×1×48×48", "0.3494"]


def spoiled(path, name, to):
    with h5py.File(path, "r+") as file:
        found = file[f"{ROOT}/{name}"][()]
        del file[f"{ROOT}/{name}"]
        if to is not None:
            file[f"{ROOT}/{name}"] = to(found)


LABELS = "_object_iterations_emd/dim2"


@pytest.mark.parametrize(
    ("name", "to", "said"),
    [
        (LABELS, None, "dim2: expected labels like iteration_005, in increasing order"),
        (LABELS, lambda labels: ["step"] * 12, "dim2: expected labels like iteration_005, in increasing order"),
        (LABELS, lambda labels: labels[::-1], "dim2: expected labels like iteration_005, in increasing order"),
        (LABELS, lambda labels: [f"iteration_{n}" for n in range(14)], "holds fewer snapshots than have a label"),
        ("_probe_iterations_emd/data", None, "has no dataset ptychographic_reconstruction_root"),
        ("_probe_iterations_emd/data", lambda found: found[:5], "holds fewer snapshots than have a label"),
        ("_probe_iterations_emd/data", np.abs, r"expected complex \(iteration, y, x\), found float32"),
        ("_object_iterations_emd/data", lambda found: found[None, None], "expected labels like"),
        ("metadatabundle/preprocess_metadata/positions_px", None, "has no dataset .*positions_px"),
        ("metadatabundle/preprocess_metadata/positions_px", lambda _: np.zeros((3, 3)), r"expected real \(N, 2\)"),
        ("metadatabundle/preprocess_metadata/positions_px", lambda found: found * 1e30, "lie outside any object"),
        ("metadatabundle/preprocess_metadata/sampling", None, "has no dataset .*sampling"),
        ("metadatabundle/preprocess_metadata/sampling", np.zeros_like, "the pixel size is 0 × 0 Å"),
        ("_probe_emd/data", lambda found: found[0], r"expected complex \(mode, y, x\), found complex128 \(48,\)"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, name, to, said):
    path = shutil.copy(SERIES / "ptycho.h5", tmp_path / "ptycho.h5")
    spoiled(path, name, to)
    with pytest.raises(PtyconvError, match=said):
        analyze_run(path, device="cpu", strict=True)


def test_a_file_that_was_cut_off_is_said(tmp_path):
    content = (SERIES / "ptycho.h5").read_bytes()
    (tmp_path / "ptycho.h5").write_bytes(content[:300_000])
    with pytest.raises(
        PtyconvError, match=r"ptycho.h5: is no checkpoint of a known format \(HDF5 cannot read the file"
    ):
        analyze_run(tmp_path / "ptycho.h5", device="cpu")


def test_without_errors_the_stored_iterations_count(tmp_path):
    path = shutil.copy(SERIES / "ptycho.h5", tmp_path / "ptycho.h5")
    spoiled(path, "metadatabundle/reconstruction_metadata/reconstruction_error", None)
    analysis = analyze_run(path, device="cpu")
    assert [found.niter for found in analysis.checkpoints] == list(range(1, 57, 5))
    assert analysis.engine.loss == []


def test_a_damaged_name_of_a_group_is_left(tmp_path):
    path = shutil.copy(SERIES / "ptycho.h5", tmp_path / "ptycho.h5")
    with h5py.File(path, "r+") as file:
        file.create_group(b"\xff\xfe_root")
    assert analyze_run(path, device="cpu").points == runs.analysis_of(SERIES).points
