"""Where two pictures lie on each other: to a twentieth of a pixel, or not at all."""

import numpy as np
import pytest
from rarely import long_after

from ptyconv_cli.metrics.fit import COARSE, TURNED, better_orientation, fit
from ptyconv_cli.metrics.image import flattened, overlap, register


def scene(shape, corner=(0.0, 0.0), seed=0, width=1.6, lattice=False):
    """A view of one endless picture: what is at p in it is at p + corner in the picture."""
    random = np.random.default_rng(seed)
    y, x = np.indices(shape) + np.reshape(corner, (2, 1, 1))
    found = np.zeros(shape)
    for a in range(-4, 16):
        for b in range(-4, 16):
            middle = (7.3 * a, 7.3 * b) if lattice else random.uniform(-30, 120, 2)
            strength = random.uniform(0.3, 1)
            found += strength * np.exp(-((y - middle[0]) ** 2 + (x - middle[1]) ** 2) / (2 * width**2))
    return found


def spoilt(image, seed, noise=0.1):
    """With a constant, a ramp and noise."""
    random = np.random.default_rng(seed)
    y, x = np.indices(image.shape)
    ramp = random.uniform(-0.05, 0.05) * y + random.uniform(-0.05, 0.05) * x + random.normal()
    return image + ramp + noise * image.std() * random.normal(size=image.shape)


SHIFTS = [(0.0, 0.0), (0.05, -0.02), (0.25, 0.5), (-0.5, 0.5), (1.3, -2.62), (-5.45, 3.3), (12.7, -12.7), (0.0, 12.7)]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("shapes", [((64, 64), (64, 64)), ((48, 70), (66, 52))])
@pytest.mark.parametrize("lattice", [False, True])
def test_a_shift_is_found_to_a_twentieth_of_a_pixel(shift, shapes, lattice):
    one = spoilt(scene(shapes[0], lattice=lattice), 1)
    other = spoilt(scene(shapes[1], (-shift[0], -shift[1]), lattice=lattice), 2)
    fitted = fit(one, other)
    assert fitted.beyond_chance
    found = fitted.common
    assert found.shift == pytest.approx(shift, abs=0.05)
    assert max(map(abs, found.rest)) <= 0.5
    assert found.correlation > 0.9


@pytest.mark.parametrize("shift", [(0.3, -0.2), (0.5, 0.5), (3.5, -7.25)])
def test_without_noise_it_is_exact(shift):
    one, other = scene((64, 60)), scene((64, 60), (-shift[0], -shift[1]))
    found = fit(one, other).common
    assert found.shift == pytest.approx(shift, abs=0.004)
    assert found.correlation > 0.999


def test_large_pictures_are_searched_for_coarsely_first():
    shape = (COARSE + 200, 2 * COARSE)
    random = np.random.default_rng(5)
    whole = random.normal(size=(shape[0] + 40, shape[1] + 40))
    for _ in range(3):  # a blur of some pixels
        whole = sum(np.roll(whole, k, axis) for axis in (0, 1) for k in range(-2, 3))
    one, other = whole[20:-20, 20:-20], whole[20 - 13 : -20 - 13, 20 + 6 : -20 + 6 or None][: shape[0], : shape[1]]
    found = fit(one, other).common
    assert found.shift == pytest.approx((13, -6), abs=0.01)


def test_only_the_overlap_counts():
    one, other = scene((40, 50)), scene((40, 50), (-10, 20))
    found = overlap(one, other, (10.2, -19.6))
    assert found.one.shape == found.other.shape == (30, 30)
    assert np.allclose(found.one, flattened(one[:30, 20:]))
    assert np.allclose(found.other, flattened(other[10:, :30]))
    assert found.rest == pytest.approx((0.2, 0.4))
    assert overlap(one, other, (25, 0)) is None  # 15 px are left
    assert overlap(one, other, (24, 0)).one.shape == (16, 50)


def test_pictures_that_are_too_small_are_not_searched_for():
    assert fit(scene((15, 40)), scene((40, 40))) is None
    assert register(scene((15, 40)), scene((15, 40)), (0, 0)) is None


@pytest.mark.long
def test_noise_is_seldom_exceeded_by_pictures_that_have_nothing_in_common():
    exceeded = 0
    for seed in range(50):
        fitted = fit(spoilt(scene((48, 56), seed=2 * seed), 1), spoilt(scene((52, 44), seed=2 * seed + 1), 2))
        exceeded += fitted.beyond_chance
    assert exceeded <= 3  # of scenes with few atoms, some of which lie on others


def test_white_noise_has_nothing_in_common():
    random = np.random.default_rng(7)
    for _ in range(30):
        fitted = fit(*random.normal(size=(2, 40, 44)))
        assert not fitted.beyond_chance


def test_what_is_faint_is_told_from_noise():
    """Pictures of which most is noise, and the rest is the same."""
    one, other = spoilt(scene((64, 64)), 1, noise=2.5), spoilt(scene((64, 64), (-1, 2)), 2, noise=2.5)
    fitted = fit(one, other)
    assert fitted.beyond_chance
    assert fitted.common.correlation < 0.5
    assert fitted.common.shift == pytest.approx((1, -2), abs=0.5)


@pytest.mark.parametrize("how", long_after(3, [how for how in TURNED if how]))
@pytest.mark.parametrize("sign", long_after(1, [1, -1]))
def test_it_is_said_how_a_picture_would_fit(how, sign):
    one = spoilt(scene((50, 44)), 1)
    other = spoilt(scene((50, 44), (2.0, -3.0)), 2)
    back = {"rotated by 90°": "rotated by 270°", "rotated by 270°": "rotated by 90°"}.get(how, how)
    found, correlation = better_orientation(one, sign * TURNED[back](other))
    assert found == how + (" and with the opposite sign" if sign < 0 else "")
    assert correlation > 0.9
    assert better_orientation(one, other) is None


def test_nothing_breaks_on_pictures_without_structure():
    flat, noise = np.zeros((20, 20)), np.random.default_rng(1).normal(size=(20, 20))
    assert not fit(flat, flat).beyond_chance
    assert not fit(flat, noise).beyond_chance
    assert register(flat, noise, (0, 0)).shift == (0, 0)
