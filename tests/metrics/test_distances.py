"""Distances of a snapshot from earlier ones against answers got another way."""

import math

import numpy as np
import pytest
import runs
import torch
from both import array
from brute_force import difference, residual
from phantoms import atoms, two_mode_run
from ptyrad_names import TENSORS
from rarely import long_after

from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.metrics import sketch
from ptyconv_cli.metrics.sketch import Places, Values
from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results import history

DX = 0.2

pytestmark = pytest.mark.usefixtures("library")


def distances_of(name, snapshots):
    """Between all arrays, raw and aligned: of 1 - amplitude, phase, intensities (as they are) or positions."""
    tensors = [array(values) for values in snapshots]
    quantity = quantity_of(name)
    places = quantity.places(tensors[0].shape)
    sketches = [places.sketch(tensor, quantity.framed(tensor)) for tensor in tensors]
    earlier = [Values.of(one) for one in sketches]
    found = [quantity.distances(places, one, earlier[:k], DX) for k, one in enumerate(sketches)]
    return [of_one.raw for of_one in found], [of_one.aligned for of_one in found]


def rms(name, change, dx=DX):
    if name == "probe_pos_shifts":
        return dx * np.sqrt((change**2).sum(-1).mean())
    return np.sqrt((change**2).mean())


def brute_force(name, snapshots, dx=DX) -> tuple[list[list[float]], list[list[float]]]:
    raw, aligned = [], []
    for k, current in enumerate(snapshots):
        raw.append([rms(name, current - previous, dx) for previous in snapshots[:k]])
        # Intensities are divided by their totals there, and by their means here.
        unit = 1 / current.size if name == "probe" else 1
        left = [residual(*difference(name, current, previous)) / unit for previous in snapshots[:k]]
        aligned.append([rms(name, change, dx) for change in left])
    return raw, aligned


def assert_same(found, expected, rel):
    assert [len(of_one) for of_one in found] == list(range(len(expected)))
    for of_one, expected_of_one in zip(found, expected, strict=True):
        assert of_one == pytest.approx(expected_of_one, rel=rel)


@pytest.mark.parametrize("run", long_after(1, ["sample", "two modes", "constant_lr"]))
def test_with_all_voxels_the_distances_are_the_full_ones(run, tmp_path):
    run_dir = two_mode_run(tmp_path) if run == "two modes" else runs.ALL[run]
    analysis = analyze_run(run_dir, device="cpu")
    paths = sorted(run_dir.glob("*.hdf5"))[-6:]
    snapshots = [runs.stored(path)[0] for path in paths]
    assert list(analysis.trajectories) == list(TENSORS)
    for name, found in analysis.trajectories.items():
        assert found.niters == [checkpoint.niter for checkpoint in analysis.checkpoints]
        assert found.kept == found.all_voxels
        raw, aligned = brute_force(name, [snapshot[name] for snapshot in snapshots], runs.stored(paths[0])[1])
        if name == "probe":
            raw = [[distance / snapshots[-1][name].mean() for distance in of_one] for of_one in raw]
        first = len(found.niters) - len(paths)
        rel = 1e-4 if name == "probe" else 1e-5  # the engine's rounding of intensities is in it
        assert_same([of_one[first:] for of_one in found.raw.between[first:]], raw, rel)
        assert_same([of_one[first:] for of_one in found.aligned.between[first:]], aligned, rel)


@pytest.mark.parametrize("name", long_after(1, ["obja", "objp"]))
def test_a_sketch_of_constant_lr_comes_close_to_the_full_distances(name, monkeypatch):
    expected = runs.analysis_of(runs.ALL["constant_lr"]).trajectories[name]
    monkeypatch.setattr(history, "MOST_SKETCHED", expected.all_voxels * 3 // 4)
    found = analyze_run(runs.ALL["constant_lr"], device="cpu").trajectories[name]
    assert found.kept < found.all_voxels == expected.kept
    for of_one, expected_of_one in zip(
        found.raw.between + found.aligned.between, expected.raw.between + expected.aligned.between, strict=True
    ):
        assert of_one == pytest.approx(expected_of_one, rel=0.03)


def test_the_sketch_of_a_large_object_is_within_a_percent():
    shape = (2, 3, 200, 300)
    random = np.random.default_rng(0)
    snapshots = [0.2 * atoms(shape, shift=(0.01 * k, 0)) + 0.01 * random.normal(size=shape) / k for k in range(1, 4)]
    found = distances_of("objp", snapshots)
    assert len(Places(shape, gradients=True).at) == 65_536
    for of_way, expected in zip(found, brute_force("objp", snapshots), strict=True):
        assert_same(of_way, expected, rel=0.01)


def test_voxels_at_a_time_do_not_matter(monkeypatch):
    random = np.random.default_rng(0)
    snapshots = [0.2 * atoms((2, 2, 20, 24)) + random.normal(0, 0.01, (2, 2, 20, 24)) for _ in range(7)]
    expected = {name: distances_of(name, snapshots) for name in ("obja", "objp")}
    monkeypatch.setattr(sketch, "VOXELS", 17)
    for name in expected:
        for found, of_way in zip(distances_of(name, snapshots), expected[name], strict=True):
            assert_same(found, of_way, rel=1e-9)


def test_the_same_places_every_time_and_the_random_state_stays():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    places = [Places((1, 2, 300, 400), gradients=True).at for _ in range(2)]
    assert np.array_equal(*places)
    assert len(set(places[0].tolist())) == 65_536
    assert torch.equal(torch.get_rng_state(), state)


def test_what_does_not_move_has_no_distance():
    assert distances_of("objp", [atoms((1, 1, 20, 20))] * 5) == ([[0.0] * k for k in range(5)],) * 2


def test_small_differences_of_large_values():
    random = np.random.default_rng(0)
    start = 1000 + random.normal(size=(1, 2, 20, 24))
    snapshots = [(start + 1e-2 * random.normal(size=start.shape)).astype(np.float32) for _ in range(4)]
    found_raw, found_aligned = distances_of("objp", snapshots)
    raw, aligned = brute_force("objp", [snapshot.astype(float) for snapshot in snapshots])
    assert_same(found_raw, raw, rel=1e-9)
    assert_same(found_aligned, aligned, rel=1e-4)  # the gradients are kept in float32


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("broken", [0, 2, 3])
@pytest.mark.parametrize("name", ["objp", "obja", "probe"])
def test_one_broken_snapshot_leaves_the_others_distances(name, broken, bad):
    shape = (20, 22) if name == "probe" else (1, 2, 20, 22)
    snapshots = [1 + atoms(shape, seed) for seed in range(4)]
    expected_raw, expected_aligned = distances_of(name, snapshots)
    snapshots[broken] = snapshots[broken].copy()
    snapshots[broken].flat[5] = bad
    raw, aligned = distances_of(name, snapshots)
    for k in range(4):
        for j in range(k):
            if broken in (j, k):
                assert not math.isfinite(raw[k][j])
                assert not math.isfinite(aligned[k][j])
            else:
                assert raw[k][j] == pytest.approx(expected_raw[k][j], rel=1e-6)
                assert aligned[k][j] == pytest.approx(expected_aligned[k][j], rel=1e-6)


def test_a_probe_of_zeros_has_no_aligned_distance():
    raw, aligned = distances_of("probe", [np.zeros((4, 5))] * 3)
    assert raw == [[], [0.0], [0.0, 0.0]]
    assert all(math.isnan(distance) for of_one in aligned for distance in of_one)
