"""Which voxels the scan lit, against windows that are added up one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptyconv_cli.metrics import light as module
from ptyconv_cli.metrics.light import light, lit, stray
from ptyconv_cli.results.run_analysis import Region


def probe(height=12, width=15) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.exp(-((y - 4.5) ** 2 + (x - 7) ** 2) / 18) + 0.1 * np.random.default_rng(0).random((height, width))


def added_up(corners, intensity, region, around=None) -> np.ndarray:
    found = np.zeros((region.y_stop - region.y_start, region.x_stop - region.x_start))
    for top, left in corners.tolist():
        for row in range(intensity.shape[0]):
            for column in range(intensity.shape[1]):
                y, x = top + row, left + column
                if around:
                    y, x = y % around[0], x % around[1]
                if region.y_start <= y < region.y_stop and region.x_start <= x < region.x_stop:
                    found[y - region.y_start, x - region.x_start] += intensity[row, column]
    return found


REGIONS = [Region(10, 40, 12, 50), Region(0, 60, 0, 64), Region(30, 33, 20, 25), Region(55, 60, 60, 64)]


@pytest.mark.parametrize("region", REGIONS)
def test_it_is_the_sum_over_all_windows(region):
    corners = np.random.default_rng(1).integers((5, 8), (36, 40), (30, 2))
    found = light(corners, probe(), region)
    assert np.allclose(found, added_up(corners, probe(), region), rtol=0, atol=1e-9)


@pytest.mark.parametrize("region", REGIONS)
def test_windows_wrap_around_where_they_may(region):
    corners = np.random.default_rng(2).integers(-70, 130, (30, 2))
    found = light(corners, probe(), region, around=(60, 64))
    assert np.allclose(found, added_up(corners, probe(), region, (60, 64)), rtol=0, atol=1e-9)


def test_a_window_larger_than_the_object_wraps_around_more_than_once():
    corners, region = np.array([[3, 5], [0, 0]]), Region(0, 7, 0, 6)
    expected = added_up(corners, probe(), region, (7, 6))
    assert np.allclose(light(corners, probe(), region, around=(7, 6)), expected, rtol=0, atol=1e-9)


def test_windows_far_away_take_no_memory_and_give_no_light():
    corners, region = np.array([[10, 12], [10**9, 3], [-(10**9), 10**9]]), Region(10, 40, 12, 50)
    assert np.allclose(light(corners, probe(), region), added_up(corners, probe(), region), rtol=0, atol=1e-9)
    assert not light(corners[1:], probe(), region).any()


def test_lit_is_a_tenth_of_the_median():
    y, x = np.mgrid[0:60:3, 0:60:3]
    corners = np.stack([y, x], -1)[np.hypot(y - 28, x - 28) < 30]
    region = Region(5, 64, 8, 66)
    total = added_up(corners, probe(), region)
    expected = total >= 0.1 * np.median(total)
    assert 0.6 < expected.mean() < 0.98
    assert np.array_equal(lit(corners, probe(), region), expected)


def test_all_lit_is_none_and_so_is_what_is_not_known():
    corners = np.stack(np.meshgrid(range(0, 60, 3), range(0, 60, 3), indexing="ij"), -1).reshape(-1, 2)
    region = Region(5, 60, 8, 60)
    assert lit(corners, probe(), region) is None
    assert lit(corners, np.full((12, 15), np.nan), region) is None
    assert lit(corners, np.zeros((12, 15)), region) is None


@given(st.integers(0, 2**32 - 1))
def test_a_coarse_look_overlooks_little_that_is_not_lit(seed):
    """Of a sparse scan, gaps that are narrower than its pixels; else what it is not sure of is looked at finely."""
    random = np.random.default_rng(seed)
    size = int(random.integers(16, 40))
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    intensity = np.exp(-(y**2 + x**2) / (2 * (size * random.uniform(0.05, 0.4)) ** 2))
    step, count = random.uniform(0.1, 0.8) * size, 6
    grid = np.stack(np.meshgrid(range(count), range(count), indexing="ij"), -1).reshape(-1, 2)
    corners = np.round(step * grid + random.normal(0, random.uniform(0, 0.3) * step, grid.shape)).astype(int)
    corners = corners[random.random(len(corners)) > 0.1 * random.integers(2)] - corners.min()
    middles = corners + size // 2
    (top, left), (bottom, right) = np.maximum(middles.min(0) - 1, 0), middles.max(0)
    region = Region(int(top), int(bottom), int(left), int(right))
    if module._surely_lit(corners, intensity, region, None):
        total = light(corners, intensity, region)
        assert (total >= 0.1 * np.median(total)).mean() > 0.9


def test_most_scans_are_known_by_a_coarse_look(monkeypatch):
    corners = np.stack(np.meshgrid(range(0, 120, 4), range(0, 120, 4), indexing="ij"), -1).reshape(-1, 2)
    y, x = np.mgrid[:48, :48] - 23.5
    intensity, looks = np.exp(-(y**2 + x**2) / 200), []
    monkeypatch.setattr(module, "light", lambda *given: [looks.append(given[1].shape), light(*given)][1])
    assert lit(corners, intensity, Region(23, 140, 23, 140)) is None
    assert looks == [(8, 8)]


def test_stray_is_what_is_far_from_the_scan():
    random = np.random.default_rng(0)
    corners = random.integers(0, 100, (500, 2))
    corners[[7, 300]] = [[400, 50], [50, -900]]
    assert np.flatnonzero(stray(corners)).tolist() == [7, 300]
    assert not stray(random.integers(0, 100, (500, 2))).any()
