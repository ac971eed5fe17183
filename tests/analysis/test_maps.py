"""Where a run still changes: the numbers of the maps, and the picture of them."""

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import brute_force
import h5py
import numpy as np
import pytest
import runs
from matplotlib.figure import Figure
from phantoms import atoms, two_mode_run
from PIL import Image
from toy import write_run

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.analysis.maps import MOST_SMALL, maps_of_run, shown_depths
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.pictures.map_marks import round_length
from ptyconv_cli.pictures.map_panels import NOT_REFINED
from ptyconv_cli.pictures.maps import draw_maps
from ptyconv_cli.results.series import TENSORS


def maps_in(run_dir, tensors=TENSORS, *, every=None, select=None, **settings):
    settings = {"percentile_range": (15, 85), "device": "cpu", **settings}
    return maps_of_run(run_dir, Selection(tensors, every, select, strict=False), **settings)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn."""
    found, save = [], Figure.savefig

    def saving(figure, *arguments, **settings):
        found.append(figure)
        return save(figure, *arguments, **settings)

    monkeypatch.setattr(Figure, "savefig", saving)
    return found


def planted_run(folder: Path, plant) -> Path:
    """Two checkpoints of an object (1, 3, 40, 46), between which `plant` changes amplitude, phase, probe and positions.

    The scanned region is y 7:31, x 7:37.
    """
    corners = np.stack(np.meshgrid(range(0, 24, 3), range(0, 30, 3), indexing="ij"), -1).reshape(-1, 2)
    shape = (1, 3, 40, 46)
    tensors = {
        "obja": 1 - 0.1 * atoms(shape, 1),
        "objp": 0.3 * atoms(shape, 2),
        "probe": atoms((2, 16, 16), 3) + 0j,
        "probe_pos_shifts": np.zeros(corners.shape),
    }
    folder.mkdir()
    for niter in (10, 20):
        if niter == 20:
            plant(tensors)
        with h5py.File(folder / f"model_iter{niter:04d}.hdf5", "w") as file:
            file["niter"] = niter
            file["model_attributes/crop_pos"] = corners.astype(np.int32)
            file["model_attributes/dx"] = np.float32(0.25)
            file["optimizable_tensors/slice_thickness"] = np.float32(4)
            for name, tensor in tensors.items():
                file[f"optimizable_tensors/{name}"] = tensor.astype("c8" if name == "probe" else "f4")
    return folder


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("begin", "at"), [(110, 120), (10, 20), (40, 100)])
def test_all_maps_are_those_of_brute_force(begin, at):
    found = maps_in(runs.SAMPLE, begin=begin, at=at)
    (before, dx), (now, _) = (runs.stored(runs.SAMPLE / f"model_iter{niter:04d}.hdf5") for niter in (begin, at))
    left = {name: brute_force.residual(*brute_force.difference(name, now[name], before[name])) for name in TENSORS}
    for name in ("obja", "objp"):
        expected = np.abs(left[name])
        assert np.allclose(found.objects[name].change, expected.sum(1).mean(0), rtol=1e-3, atol=1e-7)
        assert np.allclose(found.objects[name].by_slice, expected.mean((0, 2, 3)), rtol=1e-4)
        low, high = np.percentile(now[name], (15, 85))
        assert np.allclose(found.objects[name].foreground, (now[name] > high).mean((0, 1)), atol=0.51)
        assert np.mean(found.objects[name].background) == pytest.approx((now[name] < low).mean(), abs=0.005)
    peak = now["probe"].max() / now["probe"].sum()
    # The engine's intensities are rounded to float32, and of those near the peak the change is a small difference.
    assert np.allclose(found.probe, left["probe"] / peak, atol=3e-7)
    assert np.abs(found.probe).max() > 1e-4
    assert np.allclose(found.displacements, dx * left["probe_pos_shifts"], atol=1e-7)
    assert (found.since, found.niter, found.dx) == (begin, at, dx)


def test_the_means_over_masks_are_the_series(tmp_path):
    """Of an object with one slice, whose masks the maps have whole."""
    with h5py.File(runs.SAMPLE / "model_iter0120.hdf5") as file:
        thickness = float(file["optimizable_tensors/slice_thickness"][()])
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for path in sorted(runs.SAMPLE.glob("*.hdf5"))[-2:]:
        shutil.copy(path, run_dir)
        with h5py.File(run_dir / path.name, "r+") as file:
            for name in ("obja", "objp"):
                first = file[f"optimizable_tensors/{name}"][:, :1]
                del file[f"optimizable_tensors/{name}"]
                file[f"optimizable_tensors/{name}"] = first
    found, analysis = maps_in(run_dir), analyze_run(run_dir, device="cpu")
    for name, of_object in found.objects.items():
        for mask, key in ((of_object.foreground, f"{name}_fg"), (of_object.background, f"{name}_bg")):
            assert set(np.unique(mask)) == {0, 1}
            point = analysis.aligned_points[key][-1]
            assert mask.sum() == point.voxels
            assert of_object.change[mask == 1].mean() == pytest.approx(point.value, rel=1e-5)
    assert found.thickness == thickness


def test_two_object_modes_give_their_mean(tmp_path):
    found = maps_in(two_mode_run(tmp_path))
    tensors = [runs.stored(tmp_path / f"model_iter{niter:04d}.hdf5")[0] for niter in (30, 40)]
    left = brute_force.residual(*brute_force.difference("objp", tensors[1]["objp"], tensors[0]["objp"]))
    assert np.allclose(found.objects["objp"].change, np.abs(left).sum(1).mean(0), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["obja", "objp"])
def test_a_change_in_one_place_is_seen_there_and_in_its_slice(tmp_path, name):
    def plant(tensors):
        tensors[name][0, 1, 20, 30] += 0.05

    found = maps_in(planted_run(tmp_path / "run", plant)).objects
    assert np.unravel_index(found[name].change.argmax(), found[name].change.shape) == (20 - 7, 30 - 7)
    assert found[name].change.max() == pytest.approx(0.05, rel=0.05)
    assert found[name].by_slice.argmax() == 1
    other = "objp" if name == "obja" else "obja"
    assert found[other].change.max() < 1e-6


def test_ambiguities_are_not_shown(tmp_path):
    def plant(tensors):
        tensors["objp"] += 0.2 + 0.01 * np.arange(3)[:, None, None]
        tensors["objp"][:, 0] += 0.001 * np.arange(46)
        tensors["obja"] *= 1.02
        tensors["probe"] *= 1.5
        tensors["probe_pos_shifts"] += [0.3, -0.2]

    found = maps_in(planted_run(tmp_path / "run", plant))
    assert found.objects["objp"].change.max() < 1e-6
    assert found.objects["obja"].change.max() < 1e-5
    assert np.abs(found.probe).max() < 1e-6
    assert np.abs(found.displacements).max() < 1e-6


def test_a_probe_that_moves_weight_and_a_position_that_moves(tmp_path):
    def plant(tensors):
        tensors["probe"][:, 8, 5] = 0
        tensors["probe_pos_shifts"][37] = [2.0, -1.0]

    found = maps_in(planted_run(tmp_path / "run", plant))
    assert np.unravel_index(np.abs(found.probe).argmax(), found.probe.shape) == (8, 5)
    assert found.probe[8, 5] < 0
    assert np.hypot(*found.displacements.T).argmax() == 37
    assert np.allclose(found.displacements[37], 0.25 * np.array([2.0, -1.0]) * 79 / 80)
    assert np.allclose(found.positions[0], [2, 2])  # the middle of the first window (16 px) in Å
    assert np.allclose(found.positions[37], 0.25 * np.array([9 + 8, 21 + 8]))


def test_a_phase_that_wraps_does_not_jump():
    run_dir = runs.DATA / "phaser" / "gradient"
    found = maps_in(run_dir)
    with h5py.File(run_dir / "iter018.h5") as before, h5py.File(run_dir / "iter020.h5") as now:
        ratio = now["object/data"][()].astype(complex) * np.conj(before["object/data"][()].astype(complex))
    largest = np.nanmax(np.abs(np.angle(ratio)))
    assert found.objects["objp"].change.max() < 2 * 2 * largest  # of both slices, and what the fit adds
    turned = maps_in(run_dir, begin=2, at=20).objects["objp"].change
    assert turned.max() < 2 * 2 * np.pi


def test_a_phase_that_passes_half_a_turn_changed_by_little(tmp_path):
    """From just below π to just above it, which is kept as just above -π."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    random = np.random.default_rng(2)
    for niter, more in ((2, 0.0), (4, 0.02)):
        shutil.copy2(runs.DATA / "phaser" / "gradient" / f"iter{niter:03d}.h5", run_dir)
        with h5py.File(run_dir / f"iter{niter:03d}.h5", "r+") as file:
            shape = file["object/data"].shape
            phase = np.pi - 0.01 + 0.1 * np.random.default_rng(1).normal(size=shape) + more * random.random(shape)
            file["object/data"][...] = np.exp(1j * phase)
    found = maps_in(run_dir)
    assert 0.005 < found.objects["objp"].change.max() < 0.05
    assert found.small[0].change.max() < 0.05


def test_small_maps_are_spread_over_the_run():
    found = maps_in(runs.SAMPLE)
    assert [(small.since, small.niter) for small in found.small][::7] == [(10, 20), (110, 120)]
    assert len(found.small) == MOST_SMALL
    assert np.allclose(found.small[-1].change, found.objects["objp"].change / 10)
    assert all(one.niter <= other.since for one, other in pairwise(found.small))
    assert found.small_of == "objp"
    assert maps_in(runs.SAMPLE, ("obja", "probe")).small_of == "obja"
    assert maps_in(runs.SAMPLE, ("probe",)).small == []
    assert len(maps_in(runs.SAMPLE, every=40).small) == 2


def test_thickness_and_depth():
    found = maps_in(runs.SAMPLE)
    depths, label = shown_depths(found.objects, 4.0)
    assert (depths.tolist(), label) == ([2.0, 6.0], "depth of the slice's middle (Å)")
    assert shown_depths(found.objects, None)[1] == "slice"


# --- which interval ---------------------------------------------------------------------------------------------------


def interval(run_dir, **settings):
    found = maps_in(run_dir, **settings)
    return found.since, found.niter


def test_the_interval():
    assert interval(runs.SAMPLE) == (110, 120)
    assert interval(runs.SAMPLE, at=50) == (40, 50)
    assert interval(runs.SAMPLE, begin=50) == (50, 120)
    assert interval(runs.SAMPLE, begin=20, at=50) == (20, 50)
    assert interval(runs.SAMPLE, every=50) == (50, 100)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"at": 55}, "has no checkpoint at iteration 55; there are 10, 20, 30, 40, 50, 60"),
        ({"begin": 120}, "--from 120 must be an iteration before 120"),
        ({"begin": 50, "at": 30}, "--from 50 must be an iteration before 30"),
        ({"at": 10}, "iteration 10 is the first"),
        ({"every": 120}, "holds 1 checkpoint at multiples of 120"),
    ],
)
def test_an_interval_that_is_not_there(settings, said):
    with pytest.raises(PtyconvError, match=said):
        maps_in(runs.SAMPLE, **settings)


def test_across_a_boundary():
    run_dir = runs.DATA / "phaser" / "epie_resize"
    assert interval(run_dir) == (12, 14)
    with pytest.raises(
        PtyconvError, match=r"between iterations 2 and 14 .* boundary, across which nothing can be compared"
    ):
        maps_in(run_dir, begin=2)
    with pytest.raises(PtyconvError, match=r"before iteration 6 .* boundary, across which nothing can be compared"):
        maps_in(run_dir, at=6)
    assert {small.change.shape for small in maps_in(run_dir).small} != {maps_in(run_dir).objects["objp"].change.shape}


def test_a_chain():
    found = maps_in(runs.DATA / "resume" / "resumed", chain="auto")
    assert (found.since, found.niter) == (16, 18)
    assert [small.niter for small in found.small] == [4, 6, 8, 10, 14, 16, 18]


# --- the picture ------------------------------------------------------------------------------------------------------


def test_the_command(ptyconv, tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    result = ptyconv("maps", run_dir, "--device", "cpu")
    assert (result.exit_code, result.output) == (0, f"wrote {run_dir / 'maps.png'}\n")
    with Image.open(run_dir / "maps.png") as picture:
        assert picture.size == (2016, 1050)
    assert ptyconv("maps", run_dir, "--at", "50", "--from", "20", "-o", tmp_path / "maps.pdf").exit_code == 0
    assert (tmp_path / "maps.pdf").read_bytes().startswith(b"%PDF")
    assert ptyconv("maps", run_dir, "-o", tmp_path / "maps.jpg").exit_code == 2


def test_the_command_says_what_is_wrong(ptyconv, tmp_path):
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
    assert ptyconv("maps", tmp_path / "gone").stderr == f"Error: {tmp_path / 'gone'}: there is no such folder\n"


def test_what_the_panels_show(drawn):
    found = maps_in(runs.SAMPLE)
    draw_maps(found, "png")
    panels = {axes.get_title(): axes for axes in drawn[0].axes if axes.get_title()}
    phase = "Phase change\n0.2 % of the object's contrast"
    assert list(panels)[:6] == [
        "Object phase at iteration 120",
        phase,
        "Amplitude change\n0.24 % of the object's contrast",
        "Change of the probe's intensity",
        "Displacement of the scan positions",
        "Change by slice",
    ]
    assert list(panels)[6:] == [f"{small.since} to {small.niter}" for small in found.small]
    image, change, amplitude = (panels[title].images[0].get_array() for title in list(panels)[:3])
    assert np.array_equal(image, found.objects["objp"].image)
    assert np.array_equal(change, found.objects["objp"].change)
    assert np.array_equal(amplitude, found.objects["obja"].change)
    axes = panels["Change of the probe's intensity"]
    probe = axes.images[0]
    (left, right), (bottom, top) = np.round(axes.get_xlim()).astype(int), np.round(axes.get_ylim()).astype(int)
    within = found.intensity[top:bottom, left:right]
    assert 0.8 * found.intensity.sum() < within.sum() < 0.999 * found.intensity.sum()
    assert np.allclose(probe.get_array(), 100 * found.probe)
    assert probe.norm.vmin == -probe.norm.vmax
    norms = {id(panels[f"{small.since} to {small.niter}"].images[0].norm) for small in found.small}
    assert len(norms) == 1, "small maps are on one scale"
    profile = panels["Change by slice"].lines[0].get_xydata()
    assert np.allclose(profile, np.column_stack([[2, 6], found.objects["obja"].by_slice]))
    bar = panels[phase].lines[0].get_xdata()
    assert (bar[1] - bar[0]) * found.dx == pytest.approx(2), "2 Å"
    assert [text.get_text() for text in panels[phase].texts] == ["2 Å"]


def test_arrows_point_where_positions_went(drawn, tmp_path):
    def plant(tensors):
        tensors["probe_pos_shifts"][37] = [2.0, -1.0]  # down and to the left

    draw_maps(maps_in(planted_run(tmp_path / "run", plant)), "png")
    axes = next(axes for axes in drawn[0].axes if axes.get_title() == "Displacement of the scan positions")
    (arrows,) = [found for found in axes.collections if type(found).__name__ == "Quiver"]
    largest = np.hypot(arrows.U, arrows.V).argmax()
    assert np.allclose([arrows.X[largest], arrows.Y[largest]], [0.25 * 29, 0.25 * 17])
    assert (arrows.U[largest], arrows.V[largest]) == (pytest.approx(-0.25, rel=0.02), pytest.approx(0.5, rel=0.02))
    farthest, apart = 0.25 * np.hypot(2, 1) * 79 / 80, np.sqrt(5.25 * 6.75 / 80)
    assert arrows.scale == pytest.approx(farthest / 5 / apart, rel=1e-3)  # Å of displacement per Å of the picture
    assert axes.yaxis_inverted(), "as in the images, y points down"


@pytest.mark.parametrize("name", ["0.1.0b13", "pt_numpy2", "clipped"])
def test_other_versions(name):
    assert draw_maps(maps_in(runs.ALL[name]), "png")[:4] == b"\x89PNG"


@pytest.mark.parametrize("tensors", [("objp",), ("obja",), ("probe",), ("probe_pos_shifts",)])
def test_single_tensors(tensors, drawn):
    found = maps_in(runs.SAMPLE, tensors)
    draw_maps(found, "svg")
    titles = {axes.get_title() for axes in drawn[0].axes}
    assert len([title for title in titles if title and " to " not in title]) == (3 if found.objects else 1)


def said_in(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_nothing_changed(tmp_path, drawn):
    run_dir = planted_run(tmp_path / "run", lambda tensors: None)
    found = maps_in(run_dir)
    assert found.objects["objp"].change.max() == 0
    draw_maps(found, "png")
    assert said_in(drawn[0]) == ["2 Å", *[NOT_REFINED] * 5]
    assert len(drawn[0].axes) == 6


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("rows", [slice(5, 10), slice(None)])
def test_nan(tmp_path, drawn, value, rows):
    def plant(tensors):
        for tensor in tensors.values():
            tensor[..., rows, :] = value

    found = maps_in(planted_run(tmp_path / "run", plant))
    assert found.warnings == [
        f"{name} holds NaN or infinity in the scanned region: where it changed is not known." for name in TENSORS
    ]
    draw_maps(found, "png")
    assert set(said_in(drawn[0])) <= {"no change is finite", "no value is finite", "2 Å"}
    assert said_in(drawn[0]).count("no change is finite") == 5


def test_a_probe_that_is_nan_leaves_the_object(tmp_path, drawn):
    def plant(tensors):
        tensors["probe"][0, 3, 3] = np.nan
        tensors["objp"][0, 1, 20, 30] += 0.05

    draw_maps(maps_in(planted_run(tmp_path / "run", plant)), "png")
    assert said_in(drawn[0]).count("no change is finite") == 1
    assert drawn[0].axes[0].images
    assert NOT_REFINED in said_in(drawn[0])  # the positions


@pytest.mark.parametrize("thickness", [np.nan, np.inf, 0, -4])
def test_a_thickness_that_is_none(tmp_path, drawn, thickness):
    run_dir = planted_run(tmp_path / "run", lambda tensors: tensors["objp"].__imul__(1.1))
    for path in run_dir.iterdir():
        with h5py.File(path, "r+") as file:
            file["optimizable_tensors/slice_thickness"][...] = thickness
    found = maps_in(run_dir)
    assert found.thickness is None
    draw_maps(found, "png")
    assert "slice" in [axes.get_xlabel() for axes in drawn[0].axes]


def test_a_region_that_is_one_pixel_wide(tmp_path, drawn):
    def plant(tensors):
        for tensor in (tensors["objp"], tensors["obja"]):
            tensor += np.random.default_rng(1).normal(size=tensor.shape)

    run_dir = planted_run(tmp_path / "run", plant)
    for path in run_dir.iterdir():
        with h5py.File(path, "r+") as file:
            file["model_attributes/crop_pos"][:, 1] = 0
    found = maps_in(run_dir)
    assert found.objects["objp"].change.shape == (22, 1)
    draw_maps(found, "png")
    bars = [axes.get_window_extent().width for axes in drawn[0].axes]
    assert min(bars) > 5


def damaged(run_dir: Path, niter: int) -> None:
    """Make the phase of a checkpoint unreadable, though everything about it can be read."""
    path = run_dir / f"model_iter{niter:04d}.hdf5"
    with h5py.File(path, "r+") as file:
        phase = file["optimizable_tensors/objp"][()]
        del file["optimizable_tensors/objp"]
        name = "optimizable_tensors/objp"
        file.create_dataset(name, data=phase, chunks=phase.shape, compression="gzip")
        chunk = file[name].id.get_chunk_info(0)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)


def test_what_cannot_be_read_is_left_out(tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    damaged(run_dir, 10)
    found = maps_in(run_dir)
    assert (found.since, found.niter) == (110, 120)
    assert [small.since for small in found.small][:2] == [20, 40]
    (warning,) = found.warnings
    assert warning.startswith("model_iter0010.hdf5 was left out: ")
    damaged(run_dir, 120)
    found = maps_in(run_dir)
    assert (found.since, found.niter) == (100, 110)
    assert len(found.warnings) == 2
    damaged(run_dir, 100)
    assert interval(run_dir) == (90, 110)
    for settings in ({"at": 120}, {"begin": 10}, {"begin": 100, "at": 110}):
        with pytest.raises(PtyconvError, match=r"model_iter0\d\d0.hdf5: .*objp"):
            maps_in(run_dir, **settings)


def test_strict_stops_at_what_cannot_be_read(tmp_path, ptyconv):
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


def test_many_positions_and_slices(tmp_path):
    """So many arrows would be a blot: only some are drawn."""
    write_run(tmp_path, [2, 4])
    corners = np.stack(np.meshgrid(np.arange(0, 15, 0.15), np.arange(1, 17, 0.16), indexing="ij"), -1).reshape(-1, 2)
    for k, path in enumerate(sorted(tmp_path.iterdir())):
        with h5py.File(path, "r+") as file:
            for name in ("model_attributes/crop_pos", "optimizable_tensors/probe_pos_shifts"):
                del file[name]
            file["model_attributes/crop_pos"] = corners.astype(np.int32)
            file["optimizable_tensors/probe_pos_shifts"] = np.random.default_rng(k).random(corners.shape, np.float32)
    draw_maps(maps_in(tmp_path), "png")


def test_the_image_is_that_of_the_later_checkpoint_without_its_plane():
    found = maps_in(runs.SAMPLE).objects
    now, _ = runs.stored(runs.SAMPLE / "model_iter0120.hdf5")
    y, x = np.indices(found["objp"].image.shape)
    plane = np.stack([np.ones(y.size), y.ravel(), x.ravel()], 1)
    for name, of_object in found.items():
        expected = now[name].sum(1).mean(0).ravel()
        expected = expected - plane @ np.linalg.lstsq(plane, expected, rcond=None)[0]
        assert np.allclose(of_object.image.ravel(), expected, atol=1e-6)
        assert of_object.contrast == pytest.approx(np.ptp(np.percentile(expected, (1, 99))), rel=1e-5)
        assert of_object.relative == pytest.approx(of_object.change.mean() / of_object.contrast)


def test_a_run_of_one_slice_has_no_profile(drawn):
    found = maps_in(runs.SAMPLE)
    one = {name: replace(of_one, by_slice=of_one.by_slice[:1]) for name, of_one in found.objects.items()}
    draw_maps(replace(found, objects=one), "png")
    assert "Change by slice" not in {axes.get_title() for axes in drawn[0].axes}


def test_fixed_positions_have_no_panel_of_noise(drawn, tmp_path):
    def plant(tensors):
        tensors["probe_pos_shifts"] += np.random.default_rng(0).normal(0, 1e-9, tensors["probe_pos_shifts"].shape)
        tensors["objp"] *= 1.1

    draw_maps(maps_in(planted_run(tmp_path / "run", plant)), "png")
    axes = next(axes for axes in drawn[0].axes if axes.get_title() == "Displacement of the scan positions")
    assert [text.get_text() for text in axes.texts] == [NOT_REFINED]


def test_round_lengths():
    assert [round_length(length) for length in (0.3, 1, 1.99, 2, 4.9, 5, 9.99, 10, 0.07)] == pytest.approx(
        [0.2, 1, 1, 2, 2, 5, 5, 10, 0.05]
    )
