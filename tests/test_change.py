"""The metrics against float64 brute force and against answers known beforehand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ptyconv_cli.change import position_change, probe_change
from ptyconv_cli.percentiles import mean_change_outside
from ptyconv_cli.region import scanned_region

percentile_ranges = st.sampled_from(
    [(15.0, 85.0), (0.0, 100.0), (0.0, 0.0), (100.0, 100.0), (49.9, 50.1), (50.0, 50.0), (29.0, 57.0), (1e-3, 99.999)]
)
kinds = st.sampled_from(["normal", "uniform", "clipped", "constant", "two-valued", "sorted", "reversed", "tiny steps"])


def draw_values(kind: str, count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.standard_normal(count).astype(np.float32)
    return {
        "normal": values,
        "uniform": random.random(count, dtype=np.float32),
        "clipped": np.clip(values, -0.5, 0.5),
        "constant": np.full_like(values, 0.1),
        "two-valued": np.where(values > 1, np.float32(2), np.float32(-1)),
        "sorted": np.sort(values),
        "reversed": np.sort(values)[::-1].copy(),
        "tiny steps": np.nextafter(np.float32(1), np.float32(1) + (values > 0)).astype(np.float32),
    }[kind]


def brute_force(current: np.ndarray, previous: np.ndarray, percentile_range: tuple[float, float]):
    exact = current.astype(np.float64)
    low, high = np.percentile(exact, percentile_range)
    change = np.abs(current - previous).astype(np.float64)
    for mask in (exact < low, exact > high):
        yield (change[mask].mean() if mask.any() else 0.0), mask.sum()


# 0.29 * 100 and 0.57 * 100 come out just below 29 and 57, so a percentile rounds onto the neighbour above it, or not.
@example("normal", 101, 0, (29.0, 57.0))
@example("normal", 101, 1, (29.0, 57.0))
@example("uniform", 101, 2, (29.0, 57.0))
@example("tiny steps", 101, 3, (29.0, 57.0))
@settings(max_examples=300, deadline=None)
@given(kinds, st.integers(1, 400), st.integers(0, 2**32 - 1), percentile_ranges)
def test_masked_means_are_the_brute_force_ones(kind, count, seed, percentile_range):
    current, previous = draw_values(kind, count, seed), draw_values("normal", count, seed + 1)
    found = mean_change_outside(torch.from_numpy(current), torch.from_numpy(previous), percentile_range)
    for (mean, voxels), (expected_mean, expected_voxels) in zip(
        found, brute_force(current, previous, percentile_range), strict=True
    ):
        assert voxels == expected_voxels
        assert mean == pytest.approx(expected_mean, rel=1e-9, abs=0)


def test_percentiles_round_as_numpys_do():
    """Two neighbours between which interpolating from the far end would round onto the upper one."""
    pair = [-0.016221046447753906, -0.01572760008275509]
    current = np.array([*np.linspace(-1, -0.1, 28), *pair, *np.linspace(0.1, 1, 71)], dtype=np.float32)
    found = mean_change_outside(torch.from_numpy(current), torch.zeros(101), (29.0, 29.0))
    assert [voxels for _, voxels in found] == [count for _, count in brute_force(current, 0 * current, (29.0, 29.0))]


def test_masked_means_by_hand():
    # Percentiles 25 and 75 of 0..4 are 1 and 3: strictly below is 0, strictly above is 4.
    current = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    previous = torch.tensor([0.5, 9.0, 9.0, 9.0, 2.0])
    assert mean_change_outside(current, previous, (25, 75)) == ((0.5, 1), (2.0, 1))


def test_constant_object_has_empty_masks_and_no_change():
    constant = torch.full((1, 2, 3, 4), 0.7)
    assert mean_change_outside(constant, constant + 1, (15, 85)) == ((0.0, 0), (0.0, 0))


@pytest.mark.parametrize("broken", ["current", "previous"])
def test_nan_never_looks_converged(broken):
    values = {"current": torch.randn(100), "previous": torch.randn(100)}
    values[broken][:] = math.nan
    for mean, _ in mean_change_outside(values["current"], values["previous"], (15, 85)):
        assert math.isnan(mean)


def test_one_nan_voxel_leaves_no_percentile():
    current = torch.arange(100.0)
    current[50] = math.nan
    assert all(math.isnan(mean) for mean, _ in mean_change_outside(current, torch.zeros(100), (15, 85)))


def test_probe_change_of_a_brighter_probe():
    previous = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert probe_change(1.5 * previous, previous) == pytest.approx(0.5, rel=1e-8)
    assert probe_change(previous, torch.zeros(2, 2)) == pytest.approx(10 / 1e-8)


def test_position_change_of_a_common_shift():
    positions = torch.rand(17, 2)
    assert position_change(positions + torch.tensor([0.3, -0.4]), positions, 2.0) == pytest.approx(1.0, rel=1e-6)


def test_position_change_is_rms_over_positions():
    # Displacements of 3, 0, 0, 0 px: RMS 1.5 px.
    moved = torch.zeros(4, 2)
    moved[0, 1] = 3
    assert position_change(moved, torch.zeros(4, 2), 0.5) == pytest.approx(0.75)


def test_region_is_spanned_by_the_probe_centres():
    crop_pos = torch.tensor([[4, 5], [9, 7], [6, 12]], dtype=torch.int32)
    # Centres (7..12, 9..16) for a probe of 7 × 9 px: half sizes are 3 and 4.
    assert scanned_region(crop_pos, (7, 9)) == (6, 12, 8, 16)


def test_region_is_clamped_at_the_object_edge():
    assert scanned_region(torch.tensor([[0, 0], [5, 6]]), (1, 1)) == (0, 5, 0, 6)
