"""What leaks into a ring from others, against what a picture without anything there has in it; and then there."""

import numpy as np
import pytest
from related import KINDS

from ptyconv_cli.metrics.image import Overlap, flattened, ring_powers, transform
from ptyconv_cli.metrics.leakage import MOST, leaked, rings_of


def waves(size, lowest, highest, seed):
    """A picture of waves, between Fourier pixels, of lengths from size / highest to size / lowest pixels."""
    random = np.random.default_rng(seed)
    y, x = np.indices((size, size)) / size
    found = np.zeros((size, size))
    for _ in range(40):
        angle, length = random.uniform(0, np.pi), random.uniform(lowest, highest)
        found += np.cos(2 * np.pi * (length * (y * np.sin(angle) + x * np.cos(angle)) + random.random()))
    return found


@pytest.mark.parametrize("size", [64, 65])
def test_it_is_what_is_in_rings_that_hold_nothing(size):
    """Of a picture of coarse waves alone, all that is in the fine rings: on average, as much as is expected."""
    shares = np.mean([leaked(flattened(waves(size, 2, 5, seed))) for seed in range(12)], axis=0)
    assert np.all(shares[9:] > 0.6)
    assert np.all(shares[9:] < 1.8)
    assert shares[2:4].max() < 0.1


def test_it_is_a_share_of_the_power():
    """Fine waves are put over coarse ones: what leaks in adds up, and its share falls as these take the ring over."""
    coarse, fine = flattened(waves(64, 2, 4, 1)), 0.05 * flattened(waves(64, 14, 15, 2))

    def leaking(image):
        return leaked(image)[13] * ring_powers(transform(image), 64)[13]

    assert leaking(coarse + fine) == pytest.approx(leaking(coarse) + leaking(fine), rel=0.2)
    assert leaked(coarse + fine)[13] < 0.2 < 0.6 < leaked(coarse)[13]


def test_white_noise_fills_all_rings_and_smooth_pictures_the_coarse_ones():
    random = np.random.default_rng(3)
    for kind, first, last in (("white", 32, 32), ("smooth, 2 px", 14, 22), ("smooth, 4 px", 5, 9)):
        holds = leaked(flattened(KINDS[kind](64, random))) <= MOST
        assert holds[: first - 2].all(), kind
        assert not holds[last + 2 :].any() or last == 32, kind


def hann(image):
    """Its transform under Hann's window, point by point."""
    height, width = image.shape
    rise = [np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 for size in (height, width)]
    return np.fft.fft2(image * np.outer(*rise))


def test_rings_that_are_full_of_others_are_taken_under_a_window_that_hardly_leaks():
    """Of coarse waves that are the same, and fine ones, a thousandth as strong, that are not."""
    coarse = flattened(waves(64, 2, 4, 1))
    one, other = (flattened(coarse + 1e-3 * waves(64, 20, 24, seed)) for seed in (2, 3))
    common = Overlap(one, other, (0.0, 0.0))
    found, plain = rings_of(common), common.rings
    leaking = (leaked(one) > MOST) | (leaked(other) > MOST)
    assert leaking[21]
    assert plain.values[21] > 0.5  # what leaked in is the same in both
    assert abs(found.values[21]) < 0.4
    f, g = hann(one), hann(other)
    ring = np.rint(64 * np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))) == 22
    expected = (f * g.conj())[ring].real.sum() / np.sqrt((abs(f[ring]) ** 2).sum() * (abs(g[ring]) ** 2).sum())
    assert found.values[21] == pytest.approx(expected)
    assert found.pixels[21] == pytest.approx(plain.pixels[21] / 2.25)
    assert np.array_equal(found.values[~leaking], plain.values[~leaking])


def test_what_is_flat_or_not_finite_stays_so():
    for value in (0.0, np.nan):
        assert not np.isfinite(rings_of(Overlap(np.full((20, 24), value), np.ones((20, 24)), (0.0, 0.0))).values).any()
