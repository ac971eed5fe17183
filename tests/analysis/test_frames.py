"""What there is to look at of a run, checkpoint by checkpoint."""

import shutil

import brute_force
import h5py
import numpy as np
import pytest
import runs
from frames import frames_in, seen_in
from maps import damaged, damaged_beyond, planted_run, two_modes_in_place
from toy import write_run

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.analysis.frames import (
    HALF,
    IMAGE,
    LAST,
    MOST,
    MOST_SLICES,
    Layer,
    displacements,
    doublings_before_the_last,
    frames_of_run,
    spread,
)
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.verdict.segments import Counting, counting_of


@pytest.fixture(scope="module")
def seen():
    return seen_in(frames_in(runs.SAMPLE))


def stored(niter):
    return runs.stored(runs.SAMPLE / f"model_iter{niter:04d}.hdf5")[0]


def without_plane(image):
    y, x = np.indices(image.shape)
    plane = np.stack([np.ones(image.size), y.ravel(), x.ravel()], 1)
    return image - (plane @ np.linalg.lstsq(plane, image.ravel(), rcond=None)[0]).reshape(image.shape)


@pytest.mark.parametrize("niter", [10, 60, 120])
def test_the_images_are_those_of_the_file(seen, niter):
    tensors, images = stored(niter), seen[niter][1][IMAGE]
    phase, amplitude = tensors["objp"], 1 - tensors["obja"]
    assert np.allclose(images[Layer("objp")], without_plane(phase.sum(1).mean(0)), atol=1e-6)
    assert np.allclose(images[Layer("obja")], amplitude.mean(1).mean(0), atol=1e-6)
    for number in (1, 2):
        assert np.allclose(images[Layer("objp", number)], without_plane(phase[0, number - 1]), atol=1e-6)
        assert np.allclose(images[Layer("obja", number)], amplitude[0, number - 1], atol=1e-6)
    assert np.allclose(images[Layer("probe")], tensors["probe"], rtol=1e-5)
    modes = images[Layer("probe", 1)] + images[Layer("probe", 2)]
    assert np.allclose(modes, tensors["probe"], rtol=1e-5)
    assert seen[niter][0].shares == pytest.approx([images[Layer("probe", k)].sum() / modes.sum() for k in (1, 2)])


@pytest.mark.parametrize(
    ("niter", "kind", "other"), [(10, LAST, 120), (60, LAST, 120), (120, HALF, 60), (80, HALF, 40)]
)
def test_the_differences_are_those_of_brute_force(seen, niter, kind, other):
    now, before, last, images = stored(niter), stored(other), stored(120), seen[niter][1][kind]
    means = [(1 - one["obja"]).mean((2, 3), keepdims=True) for one in (now, before, last)]
    for one, mean in zip((now, before), means, strict=False):  # as if the means of the slices were those of the last
        one["obja"] = 1 - (1 - one["obja"]) / mean
    left = {name: brute_force.residual(*brute_force.difference(name, now[name], before[name])) for name in now}
    left["obja"] *= means[-1]
    assert np.allclose(images[Layer("objp")], left["objp"].sum(1).mean(0), atol=2e-6)
    assert np.allclose(images[Layer("obja")], -left["obja"].mean((0, 1)), atol=2e-6)
    assert np.allclose(images[Layer("objp", 2)], left["objp"][0, 1], atol=2e-6)
    assert np.allclose(images[Layer("obja", 1)], -left["obja"][0, 0], atol=2e-6)
    peak = before["probe"].max() / before["probe"].sum()
    assert np.allclose(images[Layer("probe")], left["probe"] / peak, atol=1e-6)
    assert np.abs(images[Layer("objp")]).max() > 1e-4


def test_the_last_one_does_not_differ_from_itself(seen):
    assert seen[120][1][LAST]
    for image in seen[120][1][LAST].values():
        assert not image.any()


def test_half_is_the_checkpoint_nearest_to_half_of_the_iterations(seen):
    """As a ratio: 20 is nearer to 15 than 10, and 60 to 55 than 50."""
    assert {niter: frame.half for niter, (frame, _) in seen.items()} == {
        **{10: None, 20: 10, 30: 20, 40: 20, 50: 30, 60: 30, 70: 40, 80: 40, 90: 50, 100: 50, 110: 60, 120: 60}
    }
    assert not seen[10][1][HALF]


def test_they_come_from_the_last_to_the_first(seen):
    assert list(seen) == list(range(120, 0, -10))


def test_object_modes_are_averaged(tmp_path):
    frames = frames_in(two_modes_in_place(tmp_path))
    images = seen_in(frames)[40][1][IMAGE]
    phase = runs.stored(tmp_path / "model_iter0040.hdf5")[0]["objp"]
    assert np.allclose(images[Layer("objp")], without_plane(phase.sum(1).mean(0)), atol=1e-5)
    assert np.allclose(images[Layer("objp", 3)], without_plane(phase[:, 2].mean(0)), atol=1e-5)


@pytest.mark.parametrize("last", [45, 80, 200, 1000, 5000])
def test_checkpoints_are_spread_evenly_in_log_iteration(last):
    niters = list(range(1, last + 1))
    found = spread(niters)
    assert len(found) <= MOST
    assert found[0] == 1
    assert found[-1] == last
    assert found == sorted(set(found))
    assert len(found) > 0.9 * MOST
    late = np.diff(np.log([niter for niter in found if niter >= last / 4]))
    assert late.max() < 1.5 * late.min() + 1 / (last / 4)


@pytest.mark.parametrize("niters", [range(1, 1001), range(1, 401), range(10, 1001, 10), [*range(1, 100), 512]])
def test_the_doublings_up_to_the_last_are_among_them(niters):
    """Those that the verdict goes by, which are compared."""
    niters = list(niters)
    wanted = doublings_before_the_last(niters, Counting())
    assert wanted[:2] == ([niters[-1] // 2, niters[-1] // 4] if 512 not in niters[-1:] else [])
    found = spread(niters, also=wanted)
    assert {*wanted, niters[0], niters[-1]} <= set(found)
    assert 0.75 * MOST < len(found) <= MOST


def test_the_doubling_is_that_of_the_verdict_also_after_a_run_was_resumed():
    run = runs.DATA / "resume" / "resumed"
    analysis = analyze_run(run, chain="auto", device="cpu")
    counting = counting_of("objp", analysis.engine, analysis.boundaries)
    frames = frames_of_run(run, Selection(None, None, None, False), "auto", counting)
    frame = next(iter(frames.read("cpu")))
    last = analysis.verdict.doublings["objp"].points[-1]
    assert (frame.header.niter, frame.half) == (last.niter, last.since) == (18, 14)


@pytest.mark.parametrize("niters", [[5], [5, 10], list(range(0, 40)), [0, *range(1000, 1100)]])
def test_few_checkpoints_and_odd_ones(niters):
    found = spread(niters)
    assert found[0] == niters[0]
    assert found[-1] == niters[-1]
    assert len(found) <= MOST
    assert len(niters) > MOST or found == niters


def test_of_many_checkpoints_forty_are_read(tmp_path, opened):
    for niter in range(1, 61):
        path = shutil.copy(runs.SAMPLE / "model_iter0010.hdf5", tmp_path / f"model_iter{niter:04d}.hdf5")
        with h5py.File(path, "r+") as file:
            file["niter"][...] = niter
    frames = frames_in(tmp_path)
    opened.clear()
    assert len(seen_in(frames)) == len(frames.niters) <= MOST
    assert len(opened) <= 2 * MOST + 2  # of the first one it is known where it is, and what it lit


def test_many_slices_are_shown_in_part(tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    for path in run_dir.glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            for name in ("obja", "objp"):
                tensor = file[f"optimizable_tensors/{name}"][()]
                del file[f"optimizable_tensors/{name}"]
                file[f"optimizable_tensors/{name}"] = np.repeat(tensor, 15, axis=1)
    found = frames_in(run_dir).slices()
    assert len(found) == MOST_SLICES
    assert (found[0], found[-1]) == (1, 30)


def test_one_slice_and_one_mode_have_no_parts(tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    for path in run_dir.glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            for name in ("obja", "objp", "probe"):
                tensor = file[f"optimizable_tensors/{name}"][()]
                del file[f"optimizable_tensors/{name}"]
                file[f"optimizable_tensors/{name}"] = tensor[:1] if name == "probe" else tensor[:, :1]
    frames = frames_in(run_dir)
    assert (frames.slices(), frames.modes()) == ([], [])
    assert set(seen_in(frames)[120][1][IMAGE]) == {Layer("objp"), Layer("obja"), Layer("probe")}


def test_only_what_is_asked_for(tmp_path):
    found = seen_in(frames_in(runs.SAMPLE, ("probe_pos_shifts",)))
    frame, images = found[120]
    assert not any(images.values())
    assert frame.positions.shape == (120, 2)
    assert frame.shares == []


def test_a_checkpoint_that_cannot_be_read_is_left_out(tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    damaged(run_dir, 60)
    damaged(run_dir, 120)
    frames = frames_in(run_dir)
    found = seen_in(frames)
    assert list(found) == [110, 100, 90, 80, 70, 50, 40, 30, 20, 10]
    assert not found[110][1][LAST][Layer("objp")].any()  # it is the last one now
    assert [file.niter for file in frames.run.left_out] == [120, 60]
    assert len([text for text in frames.run.notices() if "was left out" in text]) == 2
    with pytest.raises(CheckpointError, match="model_iter0120"):
        seen_in(frames_in(run_dir, strict=True))


@pytest.mark.parametrize("niter", [200, 400])
def test_one_that_cannot_be_read_where_the_object_went_is_left_out(niter):
    run_dir, tensors = runs.DATA / "walks" / "ptypy_dm_hi", ("obja", "objp", "probe")
    with damaged_beyond(niter):
        frames = frames_in(run_dir, tensors)
        found = seen_in(frames)
        with pytest.raises(CheckpointError, match="ends too early"):
            seen_in(frames_in(run_dir, tensors, strict=True))
    assert [file.niter for file in frames.run.left_out] == [niter]
    without = seen_in(frames_in(run_dir, tensors, select=f"*_0[!{niter // 100}]*"))
    assert list(found) == list(without)
    for one, (_, images) in found.items():
        for kind in (IMAGE, LAST):
            for layer, image in images[kind].items():
                assert np.array_equal(image, without[one][1][kind][layer]), (one, kind, layer)


def test_nothing_is_compared_across_the_boundary_of_a_part():
    frames = frames_in(runs.DATA / "phaser" / "epie_resize")
    found = seen_in(frames)
    assert [[header.niter for header in part] for part in frames.chosen] == [[2, 4], [6, 8], [10, 12, 14]]
    assert {niter for niter, (_, images) in found.items() if images[LAST]} == {10, 12, 14}
    assert {niter: frame.half for niter, (frame, _) in found.items() if frame.half} == {4: 2, 14: 10}
    shapes = {images[IMAGE][Layer("objp")].shape for _, images in found.values()}
    assert len(shapes) == 2


def test_a_phase_that_wraps_is_continuous(tmp_path):
    """Between two checkpoints of phaser the phase of the whole turns half around, which is no difference."""
    run_dir = shutil.copytree(runs.DATA / "phaser" / "gradient", tmp_path / "run")
    expected = seen_in(frames_in(run_dir))
    with h5py.File(run_dir / "iter010.h5", "r+") as file:
        file["object/data"][...] *= np.exp(3.0j)
    found = seen_in(frames_in(run_dir))
    for kind in (IMAGE, LAST):
        phase = found[10][1][kind][Layer("objp")]
        assert np.allclose(phase, expected[10][1][kind][Layer("objp")], atol=1e-3)
        assert np.abs(phase).max() < 2
    assert np.allclose(found[20][1][HALF][Layer("objp")], expected[20][1][HALF][Layer("objp")], atol=1e-3)


def test_what_is_not_finite_stays_so_and_spoils_nothing_else(tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    with h5py.File(run_dir / "model_iter0080.hdf5", "r+") as file:
        file["optimizable_tensors/objp"][...] = np.nan
    with h5py.File(run_dir / "model_iter0060.hdf5", "r+") as file:
        file["optimizable_tensors/obja"][0, 0, 28, 30] = np.inf
    found = seen_in(frames_in(run_dir))
    assert np.isnan(found[80][1][IMAGE][Layer("objp")]).all()
    assert np.isfinite(found[80][1][IMAGE][Layer("obja")]).all()
    assert np.count_nonzero(~np.isfinite(found[60][1][IMAGE][Layer("obja")])) == 1
    assert np.isfinite(found[60][1][IMAGE][Layer("objp")]).all()
    assert np.isnan(found[60][1][LAST][Layer("obja")]).all()


def test_displacements_leave_out_what_all_did(tmp_path):
    def plant(tensors):
        tensors["probe_pos_shifts"] += (3, -2)
        tensors["probe_pos_shifts"][7] += (1, 0.5)

    found = seen_in(frames_in(planted_run(tmp_path / "run", plant)))
    moved = displacements(found[20][0].positions, found[10][0].positions, 0.25)
    assert moved[7] == pytest.approx(np.array([0.25, 0.125]) * (1 - 1 / len(moved)))
    assert np.allclose(np.delete(moved, 7, 0), moved[0])


def test_too_few_checkpoints_are_an_error(tmp_path):
    write_run(tmp_path, [3])
    with pytest.raises(PtyconvError, match="at least two"):
        frames_in(tmp_path)


def test_samples_are_of_the_last_doublings(opened):
    frames = frames_in(runs.SAMPLE)
    opened.clear()
    images = [images for _, images in frames.samples("cpu")]
    read = (10, 10, 120, 60, 30)  # of the first one what it lit, and where it is
    assert [path.name for path in opened] == [f"model_iter{niter:04d}.hdf5" for niter in read]
    assert len(images) == 9
