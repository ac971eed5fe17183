"""Images as 8-bit pictures."""

import numpy as np
import pytest
from phantoms import atoms

from ptyconv_cli.page import images
from ptyconv_cli.page.images import (
    LARGEST,
    MIDDLE,
    REACH,
    SETTINGS,
    averaged,
    data_uri,
    decoded,
    encoded,
    fitting,
    levels_about_zero,
    levels_in,
    smaller,
)

RANDOM = np.random.default_rng(3)


def test_averaging_keeps_the_mean_of_each_block():
    values = RANDOM.normal(size=(40, 60))
    assert np.allclose(averaged(values, 15), values.reshape(10, 4, 15, 4).mean((1, 3)), atol=1e-6)
    assert np.array_equal(averaged(values, 60), values.astype("f4"))


@pytest.mark.parametrize(("shape", "side", "expected"), [((3000, 1500), 1024, (1024, 512)), ((2000, 1), 100, (100, 1))])
def test_a_picture_has_at_most_so_many_pixels_a_side(shape, side, expected):
    assert averaged(np.ones(shape), side).shape == expected


def test_levels_in_a_window():
    assert levels_in(np.array([-5, -1, 0, 1, 5, np.nan, np.inf]), -1, 1).tolist() == [0, 0, 128, 255, 255, 0, 255]
    assert levels_in(np.array([2.0, 2.0]), 2, 2).tolist() == [0, 0]


def test_levels_about_zero_mean_what_is_said():
    values = np.array([-2, -1, -0.01, 0, 0.0001, 0.04, 1, np.nan])
    found = levels_about_zero(values, 1.0).astype(float)
    meant = np.sign(found - MIDDLE) * ((found - MIDDLE) / REACH) ** 2
    assert meant[[0, 1, 3, 6, 7]].tolist() == [-1, -1, 0, 1, 0]
    assert meant[[2, 4, 5]] == pytest.approx([-0.01, 0.0001, 0.04], abs=2e-3)
    assert levels_about_zero(values, 0.0).tolist() == [MIDDLE] * len(values)


@pytest.mark.parametrize("webp", [True, False])
def test_nothing_is_lost_of_a_small_picture(monkeypatch, webp):
    monkeypatch.setattr(images.features, "check", lambda name: webp)
    values = RANDOM.integers(0, 256, (33, 21), dtype=np.uint8)
    picture = encoded(values, None)
    assert np.array_equal(decoded(picture), values)
    assert data_uri(picture).startswith(f"data:image/{'webp' if webp else 'png'};base64,")


def test_no_difference_stays_none_where_something_is_lost():
    assert np.array_equal(decoded(encoded(np.full((64, 64), MIDDLE, np.uint8), 50)), np.full((64, 64), MIDDLE))


def test_the_best_setting_that_fits():
    values = levels_in(atoms((300, 400)), 0, 1)
    assert fitting(values, 1e6) == SETTINGS[0]
    sizes = []
    for most in (20_000, 5_000, 1_000):
        setting = fitting(values, most)
        picture = encoded(levels_in(averaged(atoms((300, 400)), setting.side), 0, 1), setting.quality)
        assert len(picture) <= most
        sizes.append(len(picture))
    assert sizes[0] > sizes[1] > sizes[2]
    assert fitting(values, 1) == SETTINGS[-1]
    assert SETTINGS[0] == (LARGEST, None)


def test_smaller():
    picture = encoded(levels_in(atoms((100, 50)), 0, 1), None)
    assert decoded(smaller(picture, 0.5, 24)).shape == (50, 25)
    assert smaller(picture, 0.2, 24) == picture
