"""Pictures that have nothing in common are refused, and such of one thing kept, of whatever kind they are."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from related import KINDS, SIZES, related, unrelated

from ptyconv_cli.analysis.frc_fitting import Fitting
from ptyconv_cli.metrics.chance import independent_pixels, is_seen, likelihood
from ptyconv_cli.metrics.fit import fit
from ptyconv_cli.metrics.image import Overlap, crossing, flattened, one_bit, overlap
from ptyconv_cli.metrics.leakage import rings_of

FURTHER = ("streaks", "few spots")
"""Kinds of which a few more pass: 4 of 100."""

TOO_FEW_BLOBS = {(kind, size) for kind in ("smooth, 8 px", "few spots") for size in SIZES if size < 64}
TOO_FEW_BLOBS |= {("smooth, 4 px", size) for size in SIZES if size < 32}
"""Fewer than eight a side: of such, two of one thing and two of different ones look the same."""


def detail_of(common):
    """The ring down to which pictures agree, over the pixels of a side; None for none."""
    rings = rings_of(common)
    ring = crossing(rings.values, one_bit(rings.pixels))
    return None if ring is None else min(ring, len(rings.values)) / min(common.one.shape)


def accepted(kind, size, seed):
    """Whether unrelated pictures are taken for ones of two runs, and for ones of one run; and down to the limit."""
    one, other = unrelated(kind, size, seed)
    of_two = fit(one, other)
    of_one, beyond_chance = Fitting([Path("run")]).common(one, other)
    found = [of_two.common] * of_two.beyond_chance + [of_one] * beyond_chance
    limits = [detail_of(common) == (min(common.one.shape) // 2) / min(common.one.shape) for common in found]
    return of_two.beyond_chance, beyond_chance, any(limits)


def check_unrelated(pairs_of_each):
    """At most 2 of 100 of each kind are accepted, and none down to the pixels' limit."""
    of_two, of_one = Counter(), Counter()
    for kind in KINDS:
        for size in SIZES:
            for seed in range(pairs_of_each):
                two, one, to_limit = accepted(kind, size, seed)
                of_two[kind] += two
                of_one[kind] += one
                assert not to_limit or kind in FURTHER, (kind, size, seed)
    for kind in KINDS:
        most = max((0.04 if kind in FURTHER else 0.02) * len(SIZES) * pairs_of_each, 1)
        assert of_two[kind] <= most, of_two
        assert of_one[kind] <= most, of_one


def test_unrelated_pictures_have_nothing_in_common():
    check_unrelated(2)


@pytest.mark.long
def test_two_thousand_pairs_of_unrelated_pictures():
    check_unrelated(37)


def check_related(pairs_of_each):
    """At least 95 of 100 are kept; the detail is nearly always within a tenth of that at the true shift.

    A crystal is laid on itself where that needs the smallest shift, which may be a period away.
    """
    kept, close, close_of_crystals = [], [], []
    for kind in KINDS:
        for size in SIZES:
            for seed in range(pairs_of_each) if (kind, size) not in TOO_FEW_BLOBS else ():
                one, other, shift = related(kind, size, seed)
                found = fit(one, other)
                kept.append(found.beyond_chance)
                if not found.beyond_chance:
                    continue
                expected, detail = detail_of(overlap(one, other, shift)), detail_of(found.common)
                is_close = expected == detail or (expected and detail and abs(detail / expected - 1) <= 0.1)
                (close_of_crystals if kind == "atoms on a lattice" else close).append(is_close)
    assert np.mean(kept) >= 0.95
    assert np.mean(close) >= 0.95
    assert np.mean(close_of_crystals) >= 0.85


def test_pictures_of_one_thing_are_kept():
    check_related(1)


@pytest.mark.long
def test_five_hundred_pairs_of_pictures_of_one_thing():
    check_related(11)


def test_how_many_independent_pixels_there_are():
    """Of white noise nearly all of the rings', of a blur of σ px 1 / 2πσ² of them; correlations scatter by 1 / √N."""
    for kind, sigma in (("white", None), ("smooth, 2 px", 2), ("smooth, 4 px", 4)):
        pairs = [unrelated(kind, 96, seed) for seed in range(60)]
        common = [Overlap(flattened(one), flattened(other), (0.0, 0.0)) for one, other in pairs]
        expected = 96**2 * np.pi / 4 if sigma is None else 96**2 / (2 * np.pi * sigma**2)
        found = np.median([independent_pixels(one) for one in common])
        assert found == pytest.approx(expected, rel=0.25)
        scatter = np.std([one.correlation for one in common])
        assert scatter == pytest.approx(1 / np.sqrt(expected), rel=0.35)


def test_streaks_and_a_few_spots_are_few_independent_pixels():
    """Whose power lies on a line, and which fill few pixels."""
    size = 64
    random = np.random.default_rng(4)
    streaks = np.repeat(random.normal(size=(size, 1)), size, 1) + 0.1 * random.normal(size=(size, size))
    spots = np.zeros((size, size))
    spots[tuple(random.integers(8, 56, (2, 3)))] = 1
    noise = random.normal(size=(size, size))
    numbers = {}
    for name, image in (("streaks", streaks), ("spots", spots), ("noise", noise)):
        numbers[name] = independent_pixels(Overlap(flattened(image), flattened(image), (0.0, 0.0)))
    assert numbers["streaks"] < 160
    assert numbers["spots"] < 40
    assert numbers["noise"] > 1000


def test_likelihood_is_that_of_independent_pixels():
    one, other, shift = related("atoms at random", 64, 0)
    common = overlap(one, other, shift)
    expected = -independent_pixels(common) / 2 * np.log(1 - common.correlation**2)
    assert likelihood(common) == pytest.approx(expected)
    negated = overlap(one, -other, shift)
    assert likelihood(negated) == 0


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_of_what_is_flat_or_not_finite_nothing_is_seen(value):
    flat = np.full((20, 24), value)
    assert not is_seen(Overlap(flat, flat, (0.0, 0.0)))
