"""The metrics against float64 brute force and against answers known beforehand."""

import math

import numpy as np
import pytest
import torch
from both import array
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rarely import long_but

from ptyconv_cli.metrics import percentiles, percentiles_gpu
from ptyconv_cli.metrics.aligned import rms_displacement
from ptyconv_cli.metrics.percentiles import mean_change_outside
from ptyconv_cli.metrics.snapshot import Pair
from ptyconv_cli.quantities import quantity_of

percentile_ranges = st.sampled_from(
    [(15.0, 85.0), (0.0, 100.0), (0.0, 0.0), (100.0, 100.0), (49.9, 50.1), (50.0, 50.0), (29.0, 57.0), (1e-3, 99.999)]
)
KINDS = ["normal", "uniform", "clipped", "constant", "two-valued", "steps", "sorted", "reversed", "tiny steps"]
kinds = st.sampled_from(KINDS)


def draw_values(kind: str, count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.standard_normal(count).astype(np.float32)
    return {
        "normal": values,
        "uniform": random.random(count, dtype=np.float32),
        "clipped": np.clip(values, -0.5, 0.5),
        "constant": np.full_like(values, 0.1),
        "two-valued": np.where(values > 1, np.float32(2), np.float32(-1)),
        "steps": np.round(3 * values),
        "sorted": np.sort(values),
        "reversed": np.sort(values)[::-1].copy(),
        "tiny steps": np.nextafter(np.float32(1), np.float32(1) + (values > 0)).astype(np.float32),
    }[kind]


def brute_force(current: np.ndarray, previous: np.ndarray, percentile_range: tuple[float, float]):
    exact = current.astype(np.float64)
    low, high = np.percentile(exact, percentile_range)
    with np.errstate(invalid="ignore"):
        change = np.abs(current - previous).astype(np.float64)
    for mask in (exact < low, exact > high):
        yield (change[mask].mean() if mask.any() else 0.0), mask.sum()


def assert_exact(found, current, previous, percentile_range, rel=1e-7, residual=None):
    expected = brute_force(current, previous, percentile_range)
    of_residual = [] if residual is None else brute_force(current, current - residual, percentile_range)
    for (mean, voxels, aligned), (expected_mean, expected_voxels) in zip(found, expected, strict=True):
        assert voxels == expected_voxels
        assert mean == pytest.approx(expected_mean, rel=rel, abs=0)
        assert (aligned is None) == (residual is None)
    for (_, _, aligned), (expected_aligned, _) in zip(found, of_residual, strict=False):
        assert aligned == pytest.approx(expected_aligned, rel=rel, abs=0)


class WithLeft(percentiles.Raw):
    """Changes with a residual that is given, not fitted."""

    kinds = 2

    def __init__(self, current, previous, residual):
        super().__init__(current, previous)
        self._residual = residual

    def parts(self, chunk):
        start = 0
        for now, changes in super().parts(chunk):
            stop = start + len(now)
            yield now, np.concatenate([changes, self._residual[None, start:stop]])
            start = stop


def on_cpu(current, previous, percentile_range, residual=None, chunk=None):
    changing = percentiles.Raw(current, previous) if residual is None else WithLeft(current, previous, residual)
    return percentiles.mean_change_on_cpu(changing, percentile_range, chunk)


class WithResidual(percentiles_gpu.RawChanges):
    """Changes with a residual that is given, not fitted."""

    kinds = 2

    def __init__(self, current, previous, residual):
        super().__init__(current, previous)
        self._residual = residual

    def pieces(self, voxels, memory):
        for start, size in zip(range(0, len(self._residual), voxels), super().pieces(voxels, memory), strict=True):
            memory[1, :size] = self._residual[start : start + size]
            yield size

    def at(self, places):
        return torch.cat([super().at(places), self._residual[places][None]])


def on_gpu(current, previous, percentile_range, residual=None, chunk=None):
    """The way of a GPU, here on the CPU: nothing in it knows where it is."""
    current, previous = torch.from_numpy(current), torch.from_numpy(previous)
    changes = percentiles_gpu.RawChanges(current, previous)
    if residual is not None:
        changes = WithResidual(current, previous, torch.from_numpy(residual))
    return percentiles_gpu.mean_change_outside(current, changes, percentile_range, chunk=chunk)


WAYS = pytest.mark.parametrize("way", [on_cpu, on_gpu])


@pytest.fixture(params=[False, True], ids=["", "bad sample"])
def _sample(request, monkeypatch):
    """Let brackets miss often, and shared values be seen in small objects."""
    if request.param:
        monkeypatch.setattr(percentiles, "SAMPLE", 64)
        monkeypatch.setattr(percentiles, "SHARED", 8)


@pytest.mark.usefixtures("_sample")
@WAYS
# 0.29 * 100 and 0.57 * 100 come out just below 29 and 57, so a percentile rounds onto the neighbour above it, or not.
@example("normal", 101, 0, (29.0, 57.0))
@example("normal", 101, 1, (29.0, 57.0))
@example("uniform", 101, 2, (29.0, 57.0))
@example("tiny steps", 101, 3, (29.0, 57.0))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds, st.integers(1, 400), st.integers(0, 2**32 - 1), percentile_ranges)
def test_masked_means_are_the_brute_force_ones(way, kind, count, seed, percentile_range):
    current, previous = draw_values(kind, count, seed), draw_values("normal", count, seed + 1)
    found = way(current, previous, percentile_range, chunk=37)
    assert_exact(found, current, previous, percentile_range, rel=3e-7)  # a GPU adds up to 256 of them in float32
    # Whole numbers, so that the brute force's own subtractions don't round.
    current, residual = np.round(4 * current), np.round(draw_values("normal", count, seed + 2))
    found = way(current, previous, percentile_range, residual, chunk=37)
    assert_exact(found, current, previous, percentile_range, residual=residual)


@pytest.mark.parametrize("kind", long_but(KINDS, "normal", "steps"))
@pytest.mark.parametrize(
    "percentile_range",
    [
        (15.0, 85.0),
        *(pytest.param(one, marks=pytest.mark.long) for one in ((0.0, 100.0), (49.9, 50.1), (1e-3, 99.999))),
    ],
)
@WAYS
def test_a_million_voxels_are_exact(way, kind, percentile_range):
    current, previous = draw_values(kind, 1_000_003, 5), draw_values("normal", 1_000_003, 6)
    found = way(current, previous, percentile_range)
    assert_exact(found, current, previous, percentile_range)


@pytest.mark.long
@WAYS
def test_ten_million_voxels_are_exact(way):
    current = draw_values("normal", 10_000_019, 7)
    previous = current + np.float32(0.001)  # one common offset: rounding errors of float32 sums would not cancel
    found = way(current, previous, (15, 85))
    assert_exact(found, current, previous, (15, 85))


@pytest.mark.usefixtures("_sample")
@WAYS
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(5, 300), st.integers(0, 2**32 - 1), percentile_ranges)
def test_infinities_count_where_the_mask_has_them(way, count, seed, percentile_range):
    random = np.random.default_rng(seed)
    current, previous = draw_values("normal", count, seed), draw_values("normal", count, seed + 1)
    for values in (current, previous):
        values[random.integers(count, size=random.integers(4))] = random.choice([np.inf, -np.inf])
    found = way(current, previous, percentile_range, chunk=37)
    with np.errstate(invalid="ignore"):
        low_and_high = np.percentile(current.astype(np.float64), percentile_range)
        expected = list(brute_force(current, previous, percentile_range))
    for (mean, voxels, _), (expected_mean, expected_voxels), percentile in zip(
        found, expected, low_and_high, strict=True
    ):
        if np.isnan(percentile):
            assert math.isnan(mean)
            assert voxels is None
        else:
            assert voxels == expected_voxels
            assert mean == pytest.approx(expected_mean, rel=1e-7, abs=0, nan_ok=True)


@WAYS
def test_the_chunk_does_not_matter_and_bits_repeat(way):
    current, previous = draw_values("clipped", 300_000, 1), draw_values("normal", 300_000, 2)
    once = way(current, previous, (15, 85))
    assert way(current, previous, (15, 85)) == once
    for chunk in (1000, 65_537, 10**6):
        for found, expected in zip(way(current, previous, (15, 85), chunk=chunk), once, strict=True):
            assert found.voxels == expected.voxels
            assert found.mean == pytest.approx(expected.mean, rel=1e-7)


def test_shared_values_are_counted_not_gathered(monkeypatch):
    """Of an object that is clipped at both ends, hardly a voxel is put in order."""
    ordered = []
    partition = np.partition
    monkeypatch.setattr(
        np, "partition", lambda values, places: [ordered.append(len(values)), partition(values, places)][1]
    )
    current, previous = draw_values("clipped", 1_000_003, 1), draw_values("normal", 1_000_003, 2)
    assert_exact(on_cpu(current, previous, (30, 70)), current, previous, (30, 70))
    assert sum(ordered) < 30_000


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_of_a_live_model(dtype):
    current, previous = (torch.from_numpy(draw_values("normal", 100_000, seed)).to(dtype) for seed in (1, 2))
    wide = [values.double().numpy() for values in (current, previous)]
    assert_exact(mean_change_outside(current, previous, (15, 85)), *wide, (15, 85), rel=1e-6)


@WAYS
def test_percentiles_round_as_numpys_do(way):
    """Two neighbours between which interpolating from the far end would round onto the upper one."""
    pair = [-0.016221046447753906, -0.01572760008275509]
    current = np.array([*np.linspace(-1, -0.1, 28), *pair, *np.linspace(0.1, 1, 71)], dtype=np.float32)
    found = way(current, np.zeros(101, np.float32), (29.0, 29.0))
    assert [voxels for _, voxels, _ in found] == [count for _, count in brute_force(current, 0 * current, (29.0, 29.0))]


@pytest.mark.usefixtures("library")
def test_masked_means_by_hand():
    # Percentiles 25 and 75 of 0..4 are 1 and 3: strictly below is 0, strictly above is 4.
    current = array([0.0, 1.0, 2.0, 3.0, 4.0])
    previous = array([0.5, 9.0, 9.0, 9.0, 2.0])
    assert mean_change_outside(current, previous, (25, 75)) == ((0.5, 1, None), (2.0, 1, None))


@pytest.mark.usefixtures("library")
def test_constant_object_has_empty_masks_and_no_change():
    constant = array(np.full((1, 2, 3, 4), 0.7))
    assert mean_change_outside(constant, constant + 1, (15, 85)) == ((0.0, 0, None), (0.0, 0, None))


@WAYS
@pytest.mark.parametrize("count", [100, 100_000])
@pytest.mark.parametrize("broken", ["current", "previous"])
def test_nan_never_looks_converged(way, broken, count):
    values = {"current": draw_values("normal", count, 1), "previous": draw_values("normal", count, 2)}
    values[broken][:] = math.nan
    for mean, _, aligned in way(values["current"], values["previous"], (15, 85), np.zeros(count, np.float32)):
        assert math.isnan(mean)
        assert aligned == 0 if broken == "previous" else math.isnan(aligned)


@WAYS
@pytest.mark.parametrize("count", [100, 100_000])
def test_one_nan_voxel_leaves_no_percentile(way, count):
    current = np.arange(count, dtype=np.float32)
    current[50] = math.nan
    assert all(math.isnan(mean) for mean, _, _ in way(current, np.zeros(count, np.float32), (15, 85)))


def probe_change(current, previous):
    return quantity_of("probe").changes(Pair(current, previous, 1.0, (15, 85)))["probe"].value


@pytest.mark.usefixtures("library")
def test_probe_change_of_a_brighter_probe():
    previous = array([[1.0, 2.0], [3.0, 4.0]])
    assert probe_change(1.5 * previous, previous) == pytest.approx(0.5, rel=1e-8)
    assert probe_change(previous, array(np.zeros((2, 2)))) == pytest.approx(10 / 1e-8)


@pytest.mark.usefixtures("library")
def test_of_probes_without_intensity_no_change_is_known():
    assert math.isnan(probe_change(array(np.zeros((2, 2))), array(np.zeros((2, 2)))))
    assert probe_change(array(np.zeros((2, 2))), array(np.ones((2, 2)))) == pytest.approx(1)


@pytest.mark.usefixtures("library")
def test_position_change_of_a_common_shift():
    assert rms_displacement(array([[0.3, -0.4]] * 17), 2.0) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.usefixtures("library")
def test_position_change_is_rms_over_positions():
    # Displacements of 3, 0, 0, 0 px: RMS 1.5 px.
    moved = array(np.zeros((4, 2)))
    moved[0, 1] = 3
    assert rms_displacement(moved, 0.5) == pytest.approx(0.75)
