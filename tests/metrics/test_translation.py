"""Planes moved by fractions of a pixel, against sums of waves that are worked out where they are wanted."""

import math

import both
import numpy as np
import pytest
import torch
from both import array, host

from ptyconv_cli.metrics import translation
from ptyconv_cli.metrics.translation import MARGIN, mirrored, moved, moved_inside

pytestmark = pytest.mark.usefixtures("library")

SHIFTS = pytest.mark.parametrize("shift", [(0.3, -0.45), (0.0, 0.5), (-0.2, 0.0), (3.7, -2.0), (1.0, 2.0)])


def interpolation(size: int, part: float) -> np.ndarray:
    """The matrix that reads a periodic row of real numbers `part` further on: a sum of cosines of whole periods."""
    away = np.arange(size)[:, None] + part - np.arange(size)
    found = np.ones_like(away)
    for k in range(1, (size + 1) // 2):
        found += 2 * np.cos(2 * math.pi * k * away / size)
    return (found + (np.cos(math.pi * away) if size % 2 == 0 else 0)) / size


@SHIFTS
@pytest.mark.parametrize("shape", [(2, 9, 12), (1, 8, 7), (3, 1, 6)])
def test_real_planes_are_those_of_a_trigonometric_interpolation(shape, shift):
    planes = np.random.default_rng(0).normal(size=shape)
    rows, columns = (interpolation(size, part) for size, part in zip(shape[1:], shift, strict=True))
    found = moved(array(planes, float), shift)
    assert np.allclose(host(found), rows @ planes @ columns.T, rtol=0, atol=1e-12)


@SHIFTS
def test_complex_planes_move_back_to_what_they_were(shift):
    random = np.random.default_rng(0)
    planes = random.normal(size=(2, 8, 9)) + 1j * random.normal(size=(2, 8, 9))
    there = moved(array(planes, complex), shift)
    back = moved(there, (-shift[0], -shift[1]))
    assert np.allclose(host(back), planes, rtol=0, atol=1e-12)
    assert np.linalg.norm(host(there)) == pytest.approx(np.linalg.norm(planes), rel=1e-12)


def test_by_whole_pixels_it_is_a_roll():
    planes = np.random.default_rng(0).normal(size=(2, 8, 9))
    found = host(moved(array(planes, float), (2.0, -3.0)))
    assert np.allclose(found, np.roll(planes, (-2, 3), (1, 2)), rtol=0, atol=1e-12)


def waves(shape, finest: float, shift=(0.0, 0.0)) -> np.ndarray:
    """Planes with a margin, sums of waves of up to so many periods per px, at places that are moved."""
    random = np.random.default_rng(3)
    planes, height, width = shape
    y = np.arange(-MARGIN, height + MARGIN)[:, None] + shift[0]
    x = np.arange(-MARGIN, width + MARGIN) + shift[1]
    found = np.zeros((planes, len(y), x.shape[0]))
    for plane in range(planes):
        for _ in range(25):
            size, angle, phase = finest * random.random() ** 0.5, *random.uniform(0, 2 * math.pi, 2)
            along = size * (math.sin(angle) * y + math.cos(angle) * x)
            found[plane] += np.cos(2 * math.pi * along + phase)
    return found / 5


FRACTIONS = pytest.mark.parametrize("shift", [(0.3, -0.45), (0.5, 0.5), (-0.2, 0.0)])
INSIDE = np.s_[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


@FRACTIONS
@pytest.mark.parametrize("large", [False, True], ids=["by Fourier", "by kernels"])
@pytest.mark.parametrize("shape", [(2, 40, 51), (1, 64, 130), (1, 7, 9)])
def test_what_is_band_limited_is_moved_exactly(shape, shift, large, monkeypatch):
    """By kernels, of up to 0.35 periods per px; by Fourier it is at the edges that something is left."""
    if large:
        monkeypatch.setattr(translation, "LARGE", 1)
    finest = 0.35
    found = host(moved_inside(array(waves(shape, finest), float), shift))
    expected = waves(shape, finest, shift)[INSIDE]
    assert found.shape == expected.shape
    assert np.sqrt(np.mean((found - expected) ** 2)) < (2e-3 if large else 2e-2) * expected.std()


@FRACTIONS
def test_kernels_and_fourier_agree_inside(shift, monkeypatch):
    planes = waves((2, 90, 80), 0.35)
    by_fourier = host(moved_inside(array(planes, float), shift))
    monkeypatch.setattr(translation, "LARGE", 1)
    by_kernels = host(moved_inside(array(planes, float), shift))
    away = np.s_[:, 20:-20, 20:-20]
    assert np.abs(by_fourier - by_kernels)[away].max() < 5e-3 * by_fourier.std()


@pytest.mark.parametrize("large", [False, True])
def test_constants_and_single_precision_stay(large, monkeypatch):
    monkeypatch.setattr(translation, "LARGE", 1 if large else 10**9)
    planes = array(np.full((2, 30 + 2 * MARGIN, 20 + 2 * MARGIN), 7.5))
    found = moved_inside(planes, (0.3, 0.2))
    assert found.dtype == planes.dtype
    assert np.allclose(host(found), 7.5, rtol=1e-6)


def test_half_of_kernels_blocks_and_any_size_fit_together(monkeypatch):
    monkeypatch.setattr(translation, "LARGE", 1)
    planes = array(waves((1, 70, 75), 0.3), float)
    whole = host(moved_inside(planes, (0.3, 0.2)))
    monkeypatch.setattr(translation, "BLOCK", 13)
    assert np.allclose(host(moved_inside(planes, (0.3, 0.2))), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("beyond", [((0, 0), (0, 0)), ((3, 0), (0, 5)), ((9, 16), (4, 21))])
def test_beyond_its_ends_a_plane_is_mirrored(beyond):
    planes = np.random.default_rng(0).normal(size=(1, 2, 7, 9))
    expected = np.pad(planes, [(0, 0), (0, 0), *beyond], mode="symmetric")
    assert np.array_equal(host(mirrored(array(planes, float), beyond)), expected)


@SHIFTS
def test_torch_does_what_numpy_does(shift):
    if both.library == "torch":
        return
    planes = np.random.default_rng(0).normal(size=(2, 8, 9)).astype(np.float32)
    assert np.allclose(moved(planes, shift), moved(torch.from_numpy(planes), shift), rtol=0, atol=1e-6)
