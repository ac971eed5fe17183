"""Where a snapshot is in the frame of its run: ramps, shifts and modes that are known beforehand."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantoms import atoms

from ptyconv_cli.metrics.registration import (
    finely,
    order_of,
    periodic_shift,
    ramp_like,
    ramp_of,
    shift_between,
    wave_of,
)
from ptyconv_cli.metrics.translation import moved
from ptyconv_cli.results.frame import ENOUGH, Frame, Place

TURNS = pytest.mark.parametrize("turns", [(0.0, 0.0), (0.3, -0.2), (1.7, 2.4), (-4.9, 5.0), (0.5, 0.0)])


def ramp(shape, turns) -> tuple[np.ndarray, np.ndarray]:
    """A ramp of so many turns over a picture, and the same per px."""
    per_px = 2 * math.pi * np.array(turns) / shape
    y, x = np.mgrid[: shape[0], : shape[1]]
    return per_px[0] * y + per_px[1] * x, per_px


@TURNS
@pytest.mark.parametrize("shape", [(60, 50), (31, 64), (700, 530)])
def test_a_ramp_is_found_to_a_millionth_of_a_turn(shape, turns):
    phase, per_px = ramp(shape, turns)
    found = np.array(ramp_of([np.exp(1j * (phase + 0.7))]))
    assert np.abs((found - per_px) * shape).max() < 2e-6 * 2 * math.pi


@TURNS
def test_of_an_object_one_more_ramp_is_one_more_ramp(turns):
    """Also of several modes, and of what is lit only in part."""
    shape, random = (60, 50), np.random.default_rng(0)
    y, x = np.mgrid[:60, :50]
    light = np.hypot(y - 25, x - 28) < 24
    waves = [(1 - 0.1 * atoms(shape, seed)) * light * np.exp(1j * 0.8 * atoms(shape, seed)) for seed in (1, 2)]
    waves = [wave + 0.01 * random.normal(size=shape) for wave in waves]
    phase, per_px = ramp(shape, turns)
    one, other = (np.array(ramp_of(of_one)) for of_one in (waves, [wave * np.exp(1j * phase) for wave in waves]))
    assert np.abs((other - one - per_px) * shape).max() < 1e-5


def test_of_nothing_there_is_no_ramp():
    assert ramp_of([np.zeros((20, 30), complex)]) == (0.0, 0.0)


def test_a_ramp_is_0_in_the_middle():
    found = ramp_like(np.zeros((4, 5)), (0.1, -0.2))
    y, x = np.mgrid[:4, :5]
    assert np.allclose(found, 0.1 * (y - 1.5) - 0.2 * (x - 2))


def test_a_wave_counts_where_it_is_lit_and_finite():
    phase, amplitude = np.array([[0.3, np.nan], [1.0, 2.0]]), np.array([[2.0, 1.0], [1.0, np.inf]])
    real, imaginary = wave_of(phase, amplitude, np.array([[1.0, 1.0], [0.0, 1.0]]))
    assert np.allclose(real, [[2 * math.cos(0.3), 0], [0, 0]])
    assert np.allclose(imaginary, [[2 * math.sin(0.3), 0], [0, 0]])


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.02, -0.03), (0.4, 0.5), (-3.3, 7.25), (11.0, -9.5)])
@pytest.mark.parametrize("shape", [(32, 40), (33, 41)])
def test_the_shift_of_a_periodic_picture(shape, shift):
    random = np.random.default_rng(0)
    picture = random.normal(size=shape)
    smooth = np.fft.fft2(picture) * (np.hypot(*np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")) < 0.3)
    before = np.fft.ifft2(smooth).real
    now = moved(before, (-shift[0], -shift[1]))  # what was at p is at p + shift
    assert periodic_shift(now, before) == pytest.approx(shift, abs=2e-6)


def test_of_what_is_even_or_not_finite_no_shift_is_seen():
    even, broken = np.ones((8, 9)), np.full((8, 9), np.nan)
    assert periodic_shift(even, even) is None
    assert periodic_shift(broken, even) is None


@pytest.mark.parametrize("shift", [(0.3, -0.6), (2.0, 1.0), (-1.25, 3.5)])
def test_the_shift_between_pictures_of_atoms(shift):
    shape = (90, 100)
    before, now = atoms(shape), atoms(shape, shift=shift)
    noise = np.random.default_rng(0).normal(0, 0.02, (2, *shape))
    assert shift_between(now + noise[0], before + noise[1]) == pytest.approx(shift, abs=0.03)
    assert shift_between(np.full(shape, np.nan), before) is None
    assert shift_between(noise[0], noise[1]) is None


def test_intensities_are_seen_at_every_half_pixel():
    random = np.random.default_rng(0)
    modes = random.normal(size=(2, 8, 9)) + 1j * random.normal(size=(2, 8, 9))
    fine = finely(modes)
    assert fine.shape == (16, 18)
    scale = fine[::2, ::2].sum() / (np.abs(modes) ** 2).sum()
    for start, shift in {(0, 0): (0, 0), (0, 1): (0, 0.5)}.items():  # of an even size the highest frequency has no sign
        there = (np.abs(moved(modes, shift)) ** 2).sum(0)
        assert np.allclose(fine[start[0] :: 2, start[1] :: 2], scale * there, rtol=0, atol=1e-9)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_modes_are_put_in_the_order_in_which_they_are_least_apart(count, seed):
    apart = np.random.default_rng(seed).random((count, count))
    found = order_of(apart) or tuple(range(count))
    least = min(sum(apart[k, order[k]] for k in range(count)) for order in permutations(range(count)))
    assert sum(apart[k, found[k]] for k in range(count)) == pytest.approx(least)


@pytest.mark.parametrize("count", [2, 6, 7, 20])
def test_modes_that_change_places_are_found(count):
    random = np.random.default_rng(0)
    modes, order = random.normal(size=(count, 50)), random.permutation(count)
    now = np.empty_like(modes)
    now[order] = modes + 0.01 * random.normal(size=modes.shape)  # mode `order[k]` of now is mode k before
    apart = np.square(modes[:, None] - now).sum(-1)
    assert order_of(apart) == tuple(order.tolist())
    assert order_of(apart[:, order]) == (), "in order"
    assert order_of(np.full((count, count), np.nan)) == ()


moves = st.tuples(*[st.one_of(st.floats(-3, 3), st.floats(-0.04, 0.04), st.sampled_from([1.0, -2.0, 0.98, 1.03]))] * 2)


@given(st.lists(moves, max_size=30))
def test_a_place_is_the_sum_of_all_moves_and_little_is_left(all_moves):
    place = Place()
    for by in all_moves:
        place = place.moved_on(by)
        assert max(map(abs, place.rest)) <= ENOUGH
    total = np.sum(all_moves, axis=0) if all_moves else np.zeros(2)
    assert np.add(place.shift, place.rest) == pytest.approx(total, abs=1e-9)
    assert np.add(place.whole, place.fraction) == pytest.approx(place.shift, abs=2e-6)
    assert max(map(abs, place.fraction)) <= 0.5


def test_nearly_whole_pixels_are_moved_whole():
    place = Place().moved_on((1.02, -2.97))
    assert (place.shift, place.whole, place.fraction) == ((1, -3), (1, -3), (0, 0))
    assert place.rest == pytest.approx((0.02, 0.03))


def test_little_adds_up_until_it_is_enough():
    place = Place()
    for _ in range(5):
        place = place.moved_on((0.01, 0.0))
        assert place.shift == (0, 0)
    place = place.moved_on((0.01, 0.0))
    assert (place.shift, place.rest) == (pytest.approx((0.06, 0)), (0, 0))
    back = place.moved_on((-0.06, 0.0))
    assert back.shift == (0, 0)


def test_what_was_undone_since_another_snapshot():
    before = Frame(Place((1.0, 0.5)), Place((0.2, 0.0)), offset=((3.0, 0.0),), ramp=(0.1, 0.2))
    now = Frame(Place((3.0, 0.25)), Place((0.0, 0.4)), offset=((-3.0, 0.5),), ramp=(0.3, 0.1), order=(1, 0))
    undone = now.since(before)
    assert undone.shift == (2.0, -0.25)
    assert undone.probe == pytest.approx((-0.2, 0.4))
    assert undone.offset[0] == pytest.approx((2 * math.pi - 6, 0.5)), "by less than half a turn"
    assert undone.ramp == pytest.approx((0.2, -0.1))
    assert undone.order == (1, 0)
