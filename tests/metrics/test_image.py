"""Pictures made flat, continuous, and moved by parts of a pixel."""

import math

import numpy as np
import pytest

from ptyconv_cli.metrics.image import (
    binned,
    correlation,
    faded,
    flattened,
    moved_by,
    object_picture,
    ring_correlation,
    transform,
    window,
)
from ptyconv_cli.metrics.snapshot import continuous


def blobs(shape, shift=(0.0, 0.0), width=1.8, seed=0):
    """A smooth picture whose value at p is that of the unmoved one at p - shift; it has no edges."""
    random = np.random.default_rng(seed)
    y, x = np.indices(shape) - np.reshape(shift, (2, 1, 1))
    found = np.zeros(shape)
    for _ in range(200):
        middle_y, middle_x = random.uniform(-10, 80, 2)
        found += random.uniform(0.2, 1) * np.exp(-((y - middle_y) ** 2 + (x - middle_x) ** 2) / (2 * width**2))
    return found


@pytest.mark.parametrize("holes", [False, True])
def test_flattened_takes_the_plane_away_that_fits_best(holes):
    random = np.random.default_rng(1)
    y, x = np.indices((21, 34))
    image = random.normal(size=(21, 34)) + 5 - 0.3 * y + 0.2 * x
    if holes:
        image[3:7, 4:20] = np.nan
    known = np.isfinite(image)
    plane = np.stack([np.ones(known.sum()), y[known], x[known]], 1)
    expected = image[known] - plane @ np.linalg.lstsq(plane, image[known], rcond=None)[0]
    assert np.allclose(flattened(image)[known], expected, atol=1e-12)
    assert np.isnan(flattened(image)[~known]).all()
    assert np.isnan(flattened(np.full((4, 4), np.nan))).all()


def test_a_picture_fades_where_nothing_is_lit():
    """What is there is not seen, nor an edge, of which unrelated pictures would have much in common."""
    random, shape = np.random.default_rng(2), (96, 120)
    y, x = np.indices(shape)
    lit = np.hypot(y - 47, x - 60) < 44
    one, other = (7 + 0.05 * y + random.normal(size=shape) for _ in range(2))
    assert faded(one, None) is one
    beyond = np.where(lit, one, np.nan)
    np.testing.assert_array_equal(faded(beyond, lit), faded(one, lit))
    assert not faded(one, lit)[~lit].any()
    middle = np.hypot(y - 47, x - 60) < 20
    np.testing.assert_allclose(faded(one, lit)[middle], flattened(one, lit)[middle], rtol=0.02)
    rings = ring_correlation(*(transform(faded(image, lit)) for image in (one, other)), shape[1])
    assert abs(rings.values.mean()) < 0.1


def test_the_window():
    values = window(40)
    assert values[4:36].tolist() == [1.0] * 32
    assert np.allclose(values, values[::-1])
    assert values[:2] == pytest.approx([0.5 * (1 - math.cos(math.pi * share)) for share in (0.125, 0.375)])
    assert np.allclose(window(40, 3.0)[3:], window(40)[:-3])


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, -0.5), (0.31, 0.0), (-0.2, 0.44)])
def test_moved_by_interpolates(shift):
    image, expected = blobs((40, 46)), blobs((40, 46), (-shift[0], -shift[1]))
    inside = np.s_[5:-5, 5:-5]
    assert np.abs(moved_by(image, shift) - expected)[inside].max() < 0.012 * np.ptp(expected)
    assert np.abs(moved_by(image, shift) - expected).max() < 0.15 * np.ptp(expected)  # at the edges, which are mirrored


@pytest.mark.parametrize("shape", [(40, 46), (41, 33)])
def test_a_moved_transform_is_that_of_the_moved_picture(shape):
    image, moved = blobs(shape), blobs(shape, (-0.4, 0.3))
    assert np.abs(transform(image, (0.4, -0.3)) - transform(moved)).max() < 3e-3 * np.abs(transform(moved)).max()


def test_correlation():
    random = np.random.default_rng(2)
    one, other = random.normal(size=(2, 12, 9))
    other += one
    assert correlation(one, other) == pytest.approx(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    assert math.isnan(correlation(one, np.ones((12, 9))))


def wrapped(phase):
    return np.angle(np.exp(1j * phase))


@pytest.mark.parametrize("height", [0.3, 2.0, 9.0])
def test_a_wrapped_phase_becomes_continuous(height):
    """A ramp of several turns, an offset, and a bump that may itself be of more than one turn."""
    y, x = np.indices((60, 70))
    phase = height * np.exp(-((y - 30) ** 2 + (x - 40) ** 2) / (2 * 9.0**2)) + 0.4 * y - 0.25 * x + 2.9
    found = continuous(wrapped(phase))
    turns = (found - phase) / (2 * math.pi)
    assert np.allclose(turns, np.rint(turns), atol=1e-9)
    assert np.ptp(np.rint(turns)) == 0


def test_noise_on_a_wrapped_phase_does_no_harm():
    random = np.random.default_rng(3)
    y, _ = np.indices((48, 48))
    phase = 0.2 * random.normal(size=(48, 48)) + 0.31 * y + 3.1
    assert np.ptp(continuous(wrapped(phase)) - phase) < 1e-9


def test_a_vortex_keeps_its_phase_up_to_full_turns():
    y, x = np.indices((30, 30)) - 14.5
    phase = np.arctan2(y, x)
    turns = (continuous(phase) - phase) / (2 * math.pi)
    assert np.allclose(turns, np.rint(turns), atol=1e-9)


def test_what_is_not_finite_stays():
    phase = np.ones((8, 8))
    phase[2, 3] = np.nan
    assert np.array_equal(continuous(phase), phase, equal_nan=True)


def test_the_picture_of_an_object():
    random = np.random.default_rng(4)
    values = random.normal(size=(2, 3, 20, 24)).astype(np.float32)
    assert np.allclose(object_picture(values), values.astype(float).sum(1).mean(0))
    assert np.allclose(object_picture(values, 2), values[:, 1].astype(float).mean(0))
    smooth = np.stack([blobs((40, 46), seed=seed) for seed in range(4)]).reshape(2, 2, 40, 46)
    whole = smooth + 0.5 * np.indices((40, 46))[0]
    difference = object_picture(wrapped(whole), wraps=True) - object_picture(whole)
    assert np.ptp(difference) < 1e-9


def test_binned():
    image = np.arange(5 * 7.0).reshape(5, 7)
    assert binned(image, 2).tolist() == [[4, 6, 8], [18, 20, 22]]
    assert binned(image, 1) is image
