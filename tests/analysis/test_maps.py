"""Where a run still changes: the numbers of the maps."""

import shutil
from itertools import pairwise

import brute_force
import h5py
import numpy as np
import pytest
import runs
from maps import damaged, damaged_beyond, maps_in, planted_run, two_modes_in_place
from ptyrad_names import TENSORS

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.analysis.maps import MOST_SMALL, shown_depths


def without_ambiguities(name, part):
    """Of 1 - amplitude, in units of the slices' means; of a phase, less these, and a ramp on the first slice."""
    if name == "obja":
        return 1 - (1 - part) / (1 - part).mean((2, 3), keepdims=True)
    found = part - part.mean((2, 3), keepdims=True)
    found[:, 0] = without_plane(found[:, 0].mean(0))
    return found


def without_plane(image):
    y, x = np.indices(image.shape)
    plane = np.stack([np.ones(image.size), y.ravel(), x.ravel()], 1)
    return image - (plane @ np.linalg.lstsq(plane, image.ravel(), rcond=None)[0]).reshape(image.shape)


@pytest.mark.parametrize(("begin", "at"), [(110, 120), (10, 20), (40, 100)])
def test_all_maps_are_those_of_brute_force(begin, at):
    found = maps_in(runs.SAMPLE, begin=begin, at=at)
    (before, dx), (now, _) = (runs.stored(runs.SAMPLE / f"model_iter{niter:04d}.hdf5") for niter in (begin, at))
    before["obja"], now["obja"] = (without_ambiguities("obja", one["obja"]) for one in (before, now))
    left = {name: brute_force.residual(*brute_force.difference(name, now[name], before[name])) for name in TENSORS}
    contrast = np.sqrt(sum((without_ambiguities(name, now[name]) ** 2).mean() for name in ("obja", "objp")))
    for name in ("obja", "objp"):
        expected = np.abs(left[name])
        assert np.allclose(found.objects[name].change, expected.sum(1).mean(0), rtol=1e-3, atol=1e-7)
        assert np.allclose(found.objects[name].by_slice, expected.mean((0, 2, 3)), rtol=1e-4)
        values = without_ambiguities(name, now[name])
        low, high = np.percentile(values, (15, 85))
        assert np.allclose(found.objects[name].foreground, (values > high).mean((0, 1)), atol=0.51)
        assert np.mean(found.objects[name].background) == pytest.approx((values < low).mean(), abs=0.005)
        assert found.objects[name].relative == pytest.approx(np.sqrt((expected**2).mean()) / contrast, rel=1e-4)
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
    found = maps_in(two_modes_in_place(tmp_path))
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


def test_of_two_in_a_row_that_cannot_be_read_both_are_left_out(tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    for niter in (110, 120):
        damaged(run_dir, niter)
    assert interval(run_dir) == (90, 100)


def test_what_cannot_be_read_where_the_object_went_is_left_out():
    run_dir = runs.DATA / "walks" / "ptypy_dm_hi"
    with damaged_beyond(400):
        found = maps_in(run_dir, None)
        assert (found.since, found.niter) == (100, 200)
        with pytest.raises(PtyconvError, match=r"400.*ends too early"):
            maps_in(run_dir, None, at=400)


def test_ambiguities_are_not_shown(tmp_path):
    def plant(tensors):
        tensors["objp"] += 0.2 + 0.01 * np.arange(3)[:, None, None]
        tensors["objp"][:, 0] += 0.001 * np.arange(46)
        tensors["obja"] *= 1.02
        tensors["probe"] *= 1.5
        for name in ("obja", "objp"):
            tensors[name][:] = np.roll(tensors[name], (1, -2), (2, 3))
        tensors["probe_pos_shifts"] += [1, -2]

    found = maps_in(planted_run(tmp_path / "run", plant))
    assert found.objects["objp"].change.max() < 1e-6
    assert found.objects["obja"].change.max() < 1e-5
    assert np.abs(found.probe).max() < 1e-6
    assert np.abs(found.displacements).max() < 1e-6


def test_the_image_is_that_of_the_later_checkpoint_without_its_plane():
    found = maps_in(runs.SAMPLE).objects
    now, _ = runs.stored(runs.SAMPLE / "model_iter0120.hdf5")
    for name, of_object in found.items():
        expected = without_plane(without_ambiguities(name, now[name]).sum(1).mean(0))
        assert np.allclose(of_object.image, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["sample", "walks/ptypy_dm_hi", "walks/py4d_gd_hi_pos"])
def test_a_map_measures_as_the_verdict_does(name):
    """Over the same interval, but for the logarithm of its ends' ratio; and by all voxels, not by some."""
    run_dir = runs.ALL.get(name, runs.DATA / name)
    analysis = runs.analysis_of(run_dir)
    for key in ("objp", "obja"):
        doublings = analysis.verdict.doublings[key]
        last = doublings.points[-1]
        found = maps_in(run_dir, None, begin=last.since, at=last.niter).objects[key]
        expected = last.relative / 100 * np.log2(last.niter / last.since)
        assert found.relative == pytest.approx(expected, rel=0.01)
        assert found.contrast == pytest.approx(doublings.contrast, rel=2e-3)


def test_a_part_of_the_object_alone_is_measured_by_the_whole_objects_contrast():
    whole, alone = maps_in(runs.SAMPLE).objects["objp"], maps_in(runs.SAMPLE, ("objp",)).objects["objp"]
    assert alone.relative == pytest.approx(whole.relative, rel=1e-5)


def test_what_the_scan_hardly_lit_is_not_known():
    """Where a third of the region was never scanned, because some positions ran away."""
    found = maps_in(runs.DATA / "walks" / "py4d_gd_hi_pos", None)
    for of_object in found.objects.values():
        unknown = np.isnan(of_object.change)
        assert 0.25 < unknown.mean() < 0.35
        assert (np.isnan(of_object.image) == unknown).all()
        assert not of_object.foreground[unknown].any()
        assert not of_object.background[unknown].any()
        assert of_object.by_slice[0] == pytest.approx(np.nanmean(of_object.change), rel=1e-5)
    assert {int(np.isnan(small.change).sum()) for small in found.small} == {int(unknown.sum())}
