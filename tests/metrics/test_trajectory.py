"""Distances between all snapshots of a run, and the drift ratio, against answers got another way."""

import math

import numpy as np
import pytest
import runs
import torch
from brute_force import difference, residual
from phantoms import atoms, two_mode_run

from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.metrics import sketch, trajectory
from ptyconv_cli.metrics.sketch import Places
from ptyconv_cli.results.series import TENSORS
from ptyconv_cli.results.trajectory import Trajectory

DX = 0.2


def trajectory_of(name, snapshots, niters=None) -> Trajectory:
    """Of arrays: 1 - amplitude, phase, intensities or positions."""
    tensors = [torch.from_numpy(np.asarray(values, np.float32)) for values in snapshots]
    places = Places(name, tuple(tensors[0].shape), torch.device("cpu"))
    niters = niters or list(range(10, 10 * len(tensors) + 1, 10))
    return trajectory.trajectory(places, [places.sketch(tensor) for tensor in tensors], niters, DX)


def rms(name, change, dx=DX):
    if name == "probe_pos_shifts":
        return dx * np.sqrt((change**2).sum(-1).mean())
    return np.sqrt((change**2).mean())


def brute_force(name, snapshots, dx=DX) -> tuple[list[list[float]], list[list[float]]]:
    raw, aligned = [], []
    for k, current in enumerate(snapshots):
        unit = snapshots[-1].mean() if name == "probe" else 1
        raw.append([rms(name, (current - previous) / unit, dx) for previous in snapshots[:k]])
        # Intensities are divided by their totals there, and by their means here.
        unit = 1 / current.size if name == "probe" else 1
        left = [residual(*difference(name, current, previous)) / unit for previous in snapshots[:k]]
        aligned.append([rms(name, change, dx) for change in left])
    return raw, aligned


def assert_same(found, expected, rel):
    assert [len(of_one) for of_one in found] == list(range(len(expected)))
    for of_one, expected_of_one in zip(found, expected, strict=True):
        assert of_one == pytest.approx(expected_of_one, rel=rel)


@pytest.mark.parametrize("run", ["constant_lr", "sample", "two modes"])
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
        first = len(found.niters) - len(paths)
        rel = 1e-4 if name == "probe" else 1e-5  # the engine's rounding of intensities is in it
        assert_same([of_one[first:] for of_one in found.raw[first:]], raw, rel)
        assert_same([of_one[first:] for of_one in found.aligned[first:]], aligned, rel)


@pytest.mark.parametrize("name", ["obja", "objp"])
def test_a_sketch_of_constant_lr_comes_close_to_the_full_distances(name, monkeypatch):
    expected = analyze_run(runs.ALL["constant_lr"], device="cpu").trajectories[name]
    monkeypatch.setattr(sketch, "MOST", expected.all_voxels * 3 // 4)
    found = analyze_run(runs.ALL["constant_lr"], device="cpu").trajectories[name]
    assert found.kept < found.all_voxels == expected.kept
    for of_one, expected_of_one in zip(found.raw + found.aligned, expected.raw + expected.aligned, strict=True):
        assert of_one == pytest.approx(expected_of_one, rel=0.03)


def test_the_sketch_of_a_large_object_is_within_a_percent():
    shape = (2, 3, 200, 300)
    random = np.random.default_rng(0)
    snapshots = [0.2 * atoms(shape, shift=(0.01 * k, 0)) + 0.01 * random.normal(size=shape) / k for k in range(1, 4)]
    found = trajectory_of("objp", snapshots)
    assert (found.kept, found.all_voxels) == (65_536, 360_000)
    raw, aligned = brute_force("objp", snapshots)
    assert_same(found.raw, raw, rel=0.01)
    assert_same(found.aligned, aligned, rel=0.01)


def test_neither_voxels_nor_snapshots_at_a_time_matter(monkeypatch):
    random = np.random.default_rng(0)
    snapshots = [0.2 * atoms((2, 2, 20, 24)) + random.normal(0, 0.01, (2, 2, 20, 24)) for _ in range(7)]
    expected = {name: trajectory_of(name, snapshots) for name in ("obja", "objp")}
    monkeypatch.setattr(trajectory, "VOXELS", 17)
    monkeypatch.setattr(trajectory, "SNAPSHOTS", 3)
    for name in expected:
        found = trajectory_of(name, snapshots)
        assert_same(found.raw, expected[name].raw, rel=1e-9)
        assert_same(found.aligned, expected[name].aligned, rel=1e-9)


def test_the_same_places_every_time_and_the_random_state_stays():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    places = [Places("objp", (1, 2, 300, 400), torch.device("cpu")).at for _ in range(2)]
    assert np.array_equal(*places)
    assert len(set(places[0].tolist())) == 65_536
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["objp", "obja", "probe", "probe_pos_shifts"])
def test_straight_travel_jitter_and_a_random_walk_have_their_drift_ratios(name):
    shape = {"probe": (30, 40), "probe_pos_shifts": (1200, 2)}.get(name, (1, 1, 30, 40))
    random = np.random.default_rng(0)
    steps = random.normal(0, 0.001, (40, *shape))
    start = 1 + np.abs(random.normal(size=shape))
    ways = {"travel": start + np.arange(40).reshape(-1, *[1] * len(shape)) * steps[0], "jitter": start + steps}
    ways["walk"] = start + steps.cumsum(0)
    for way, expected in (("travel", 8), ("jitter", 1), ("walk", math.sqrt(8))):
        found = trajectory_of(name, ways[way])
        assert found.lag == 8
        for distances in (found.raw, found.aligned):
            curve = found.drift_ratio(distances)
            assert [niter for niter, _ in curve] == list(range(90, 401, 10))
            assert np.mean([ratio for _, ratio in curve]) == pytest.approx(expected, rel=0.1), way


@pytest.mark.parametrize(("count", "lag"), [(2, 1), (3, 1), (4, 2), (7, 3), (15, 7), (16, 8), (40, 8)])
def test_the_lag_is_half_of_few_snapshots(count, lag):
    found = trajectory_of("probe_pos_shifts", [np.full((3, 2), [k, 0.0]) for k in range(count)])
    assert found.lag == lag
    assert found.drift_ratio(found.raw) == (
        [(niter, pytest.approx(lag)) for niter in found.niters[lag:]] if lag > 1 else []
    )
    assert found.to_last(found.raw) == [(10 * k, pytest.approx((count - k) * DX)) for k in range(1, count + 1)]
    assert found.unit == "Å"


def test_what_does_not_move_has_no_distance_and_no_drift_ratio():
    found = trajectory_of("objp", [atoms((1, 1, 20, 20))] * 5)
    assert found.raw == found.aligned == [[0.0] * k for k in range(5)]
    assert all(math.isnan(ratio) for _, ratio in found.drift_ratio(found.aligned))


def test_a_pause_is_no_distance():
    """Not the rounding of float32 numbers far from the end, by which a drift ratio would be huge."""
    first = 1 + atoms((1, 2, 20, 20))
    paused = np.nextafter(first.astype(np.float32), np.float32(9))
    found = trajectory_of("objp", [first, paused, first - 3, first - 2 * atoms((1, 2, 20, 20), seed=1)])
    assert found.raw[1] == found.aligned[1] == [0.0]


def test_small_differences_of_large_values():
    random = np.random.default_rng(0)
    start = 1000 + random.normal(size=(1, 2, 20, 24))
    snapshots = [(start + 1e-2 * random.normal(size=start.shape)).astype(np.float32) for _ in range(4)]
    found = trajectory_of("objp", snapshots)
    raw, aligned = brute_force("objp", [snapshot.astype(float) for snapshot in snapshots])
    assert_same(found.raw, raw, rel=1e-9)
    assert_same(found.aligned, aligned, rel=1e-4)  # the gradients are kept in float32


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("broken", [0, 2, 3])
@pytest.mark.parametrize("name", ["objp", "obja", "probe"])
def test_one_broken_snapshot_leaves_the_others_distances(name, broken, bad):
    shape = (20, 22) if name == "probe" else (1, 2, 20, 22)
    snapshots = [1 + atoms(shape, seed) for seed in range(4)]
    expected = trajectory_of(name, snapshots)
    snapshots[broken] = snapshots[broken].copy()
    snapshots[broken].flat[5] = bad
    found = trajectory_of(name, snapshots)
    whole = name != "probe" or broken != 3  # the last one's mean is the unit of raw intensities
    for k in range(4):
        for j in range(k):
            if broken in (j, k):
                assert not math.isfinite(found.raw[k][j])
                assert not math.isfinite(found.aligned[k][j])
            else:
                assert found.aligned[k][j] == pytest.approx(expected.aligned[k][j], rel=1e-6)
                assert not whole or found.raw[k][j] == pytest.approx(expected.raw[k][j], rel=1e-6)


def test_a_probe_of_zeros_has_no_distance():
    assert trajectory_of("probe", [np.zeros((4, 5))] * 3).raw == [[], [0.0], [0.0, 0.0]]
