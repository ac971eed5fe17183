"""Pictures of one thing, iteration by iteration, within a number of bytes."""

from functools import partial

import numpy as np
from phantoms import atoms

from ptyconv_cli.page.images import SMALLEST, Choice, Strip, decoded, fit_together, levels_in
from ptyconv_cli.workers import Workers

LEVELS = partial(levels_in, low=0, high=1)


def filled(strip, images):
    with Workers(2) as workers:
        for niter, image in images.items():
            strip.add(niter, image, LEVELS, workers)
        strip.finish()
    return strip


def noisy(seed):
    return atoms((200, 260)) + np.random.default_rng(seed).normal(0, 0.1, (200, 260))


def test_all_are_stored_alike():
    choice = Choice(3_000)
    one, other = (filled(Strip(choice), {k: noisy(k + offset) for k in (30, 20, 10)}) for offset in (0, 5))
    shapes = {decoded(picture).shape for strip in (one, other) for picture in strip.pictures.values()}
    assert len(shapes) == 1
    assert max(map(len, one.pictures.values())) <= 3_000
    assert max(shapes.pop()) < 260


def test_one_that_shows_nothing_does_not_choose():
    strip = filled(Strip(Choice(3_000)), {30: np.zeros((200, 260)), 20: noisy(1)})
    assert decoded(strip.pictures[30]).shape == (200, 260)
    assert decoded(strip.pictures[20]).shape < (200, 260)
    assert len(strip.pictures[30]) < 300


def test_what_is_not_finite_is_counted_and_has_no_picture():
    broken = noisy(2)
    broken[3:5, 7] = np.nan, np.inf
    strip = filled(Strip(Choice(1e6)), {20: broken, 10: np.full((200, 260), np.nan)})
    assert strip.unknown == {20: 2, 10: 200 * 260}
    assert set(strip.pictures) == {20}


def test_together_they_fit():
    strips = [filled(Strip(Choice(1e6)), {k: noisy(k) for k in range(4)}) for _ in range(3)]
    whole = sum(strip.size for strip in strips)
    for share in (2, 10, 40):
        fit_together(strips, whole / share)
        assert sum(strip.size for strip in strips) <= whole / share
    fit_together(strips, 10)  # as small as can be
    assert min(max(decoded(one).shape) for strip in strips for one in strip.pictures.values()) > SMALLEST / 2
