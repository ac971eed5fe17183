"""Fourier ring correlation against a reference written out ring by ring, and against what statistics say."""

import math

import numpy as np
import pytest

from ptyconv_cli.metrics.image import (
    crossing,
    half_bit,
    one_bit,
    ring_correlation,
    threshold_curve,
    transform,
)


def found(one, other, moved=(0.0, 0.0)):
    return ring_correlation(transform(one), transform(other, moved), one.shape[1])


def tukey(size):
    """The window, point by point: it rises over the outer tenth on each side."""
    values = []
    for k in range(size):
        share = min(k + 0.5, size - k - 0.5) / (0.1 * size)
        values.append(0.5 * (1 - math.cos(math.pi * share)) if share < 1 else 1.0)
    return np.array(values)


def reference(one, other):
    """Ring by ring, from whole transforms, in float64."""
    height, width = one.shape
    window = np.outer(tukey(height), tukey(width))
    f, g = np.fft.fft2(one * window), np.fft.fft2(other * window)
    shorter = min(height, width)
    y = np.array([k if k <= height // 2 else k - height for k in range(height)]) / height
    x = np.array([k if k <= width // 2 else k - width for k in range(width)]) / width
    ring = np.rint(np.sqrt(y[:, None] ** 2 + x[None] ** 2) * shorter)
    values, pixels = [], []
    for number in range(1, shorter // 2 + 1):
        inside = ring == number
        numerator = (f[inside] * g[inside].conj()).sum().real
        values.append(numerator / math.sqrt((abs(f[inside]) ** 2).sum() * (abs(g[inside]) ** 2).sum()))
        pixels.append(inside.sum())
    return np.array(values), np.array(pixels)


@pytest.mark.parametrize("shape", [(32, 32), (33, 33), (40, 27), (27, 40), (16, 64), (31, 18)])
def test_it_is_that_of_the_reference(shape):
    random = np.random.default_rng(1)
    one = random.normal(size=shape).cumsum(0)
    other = one + 2 * random.normal(size=shape)
    values, pixels = reference(one, other)
    rings = found(one, other)
    assert np.allclose(rings.values, values, rtol=1e-12, atol=1e-12)
    assert len(values) == min(shape) // 2
    assert rings.pixels.tolist() == pixels.tolist()


@pytest.mark.parametrize("shape", [(24, 24), (25, 31)])
def test_identical_pictures_give_one(shape):
    image = np.random.default_rng(2).normal(size=shape)
    assert np.allclose(found(image, 3 * image).values, 1, atol=1e-12)
    assert np.allclose(found(image, -image).values, -1, atol=1e-12)


def test_white_noise_gives_zero_within_its_error():
    random, trials = np.random.default_rng(3), 400
    rings = [found(*random.normal(size=(2, 48, 56))) for _ in range(trials)]
    values, pixels = np.stack([one.values for one in rings]), rings[0].pixels
    error = 1 / np.sqrt(pixels)
    assert np.all(np.abs(values.mean(0)) < 3.5 * error / math.sqrt(trials))
    # How far it scatters is by so many pixels; of a few, it is bounded by 1.
    many = pixels > 10
    assert np.allclose(values.std(0)[many], error[many], rtol=0.12)


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_a_picture_with_noise_of_known_power(ratio):
    random, trials = np.random.default_rng(4), 60
    sums, pixels = 0, None
    for _ in range(trials):
        image, first, second = random.normal(size=(3, 64, 64))
        rings = found(math.sqrt(ratio) * image + first, math.sqrt(ratio) * image + second)
        sums, pixels = sums + rings.values, rings.pixels
    expected = ratio / (ratio + 1)
    # A correlation of a few numbers is biased towards 0, by about (1 - r²) r / 2n.
    bias = (1 - expected**2) * expected / (2 * pixels)
    error = (1 - expected**2) / np.sqrt(pixels * trials)
    assert np.all(np.abs(sums / trials - expected + bias) < 3 * error + 0.2 * bias)


@pytest.mark.parametrize(
    ("pixels", "one", "half"),
    [
        (1, 1.0, 1.0),
        (4, 0.77346, 0.69920),
        (25, 0.55128, 0.42411),
        (100, 0.45169, 0.30669),
        (2500, 0.35876, 0.20020),
        (1e12, 0.33333, 0.17157),
    ],
)
def test_the_curves_of_van_heel_and_schatz(pixels, one, half):
    """Worked out by hand from (0.5 + 2.4142 / √n) / (1.5 + 1.4142 / √n) and (0.2071 + 1.9102 / √n) / (1.2071 + 0.9102 /
    √n).
    """
    assert one_bit(np.array([pixels]))[0] == pytest.approx(one, abs=2e-5)
    assert half_bit(np.array([pixels]))[0] == pytest.approx(half, abs=2e-5)


def test_a_bit_is_a_bit():
    """Of many pixels a correlation r is a ratio of signal to noise of 2 r / (1 - r) in both together."""
    for curve, bits in ((one_bit, 1.0), (half_bit, 0.5)):
        r = float(curve(np.array([1e14]))[0])
        assert math.log2(1 + 2 * r / (1 - r)) == pytest.approx(bits, abs=1e-4)


def test_constant_thresholds():
    assert threshold_curve("0.143")(np.ones(3)).tolist() == [0.143] * 3
    assert threshold_curve(0.5)(np.ones(2)).tolist() == [0.5] * 2
    assert threshold_curve("half-bit") is half_bit
    for wrong in ("two-bit", "1.5", "0", "nan", -1):
        with pytest.raises(ValueError, match="is no threshold"):
            threshold_curve(wrong)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.9, 0.8, 0.7], math.inf),
        ([0.9, 0.9, 0.9, 0.6, 0.4], 4.5),
        ([0.9, 0.9, 0.9, 0.5, 0.4], 4.0),  # at the threshold is not below it
        ([0.9, 0.6, 0.4, 0.1], 2.5),
        ([0.9, 0.9, 0.9, 0.7, 0.3, 0.9], math.inf),  # a single ring decides nothing
        ([0.9, 0.9, 0.9, 0.7, 0.3, 0.9, 0.3, 0.3], 6 + 4 / 6),
        ([0.9, 0.9, 0.9, 0.7, 0.3, 0.4, 0.9], 4.5),
        ([0.9, 0.1, 0.9, 0.7, 0.3], 4.5),  # nor a dip in the coarsest rings
        ([0.9, 0.1, 0.1, 0.7, 0.3, 0.3], 1 + 0.4 / 0.8),
        ([0.4, 0.1, 0.9, 0.7, 0.3, 0.3], 4.5),
        ([0.4, 0.3, 0.9, 0.9], math.inf),
        ([0.4, 0.3, 0.4, 0.9, 0.9], math.inf),  # of a crystal that holds nothing so coarse
        ([0.4, 0.3, 0.4, 0.3, 0.9, 0.7, 0.3, 0.3], 6.5),
        ([0.4, 0.3, 0.4, 0.9, 0.4, 0.9], None),  # rings by chance
        ([math.nan, 0.9, 0.9], math.inf),
        ([math.nan, math.nan], None),
        ([0.9, 0.9, 0.9, math.nan, 0.9], math.inf),
        ([0.9, 0.9, 0.9, math.nan, math.nan], 3.0),
        ([], None),
    ],
)
def test_the_first_crossing(values, expected):
    values, threshold = np.array(values), np.full(len(values), 0.5)
    crossed = crossing(values, threshold)
    assert crossed == expected if expected is None else crossed == pytest.approx(expected)


def test_noise_has_no_detail():
    """Whose curves cross any threshold now and then."""
    random, crossed = np.random.default_rng(5), {"one-bit": 0, "half-bit": 0}
    for _ in range(60):
        rings = found(*random.normal(size=(2, 64, 64)))
        for name in crossed:
            crossed[name] += crossing(rings.values, threshold_curve(name)(rings.pixels)) is not None
    assert crossed["one-bit"] <= 6
    assert crossed["half-bit"] <= 15
