"""How much room in a page pictures have."""

import pytest

from ptyconv_cli.analysis.frames import HALF, IMAGE, LAST
from ptyconv_cli.page.images import BESIDE, ENOUGH, Group, Pictures, shared_out

LARGE = {
    Group("objp", True, IMAGE): Pictures(40, 10**6),
    Group("objp", True, LAST): Pictures(40, 10**6),
    Group("objp", False, IMAGE): Pictures(800, 10**6),
    Group("objp", False, HALF): Pictures(800, 10**6),
    Group("probe", True, IMAGE): Pictures(40, 128**2),
}


def taken(shares, groups):
    return sum(shares[group] * groups[group].number for group in groups)


def test_all_of_it_is_given_out():
    shares = shared_out(3e7, LARGE)
    assert taken(shares, LARGE) == pytest.approx(3e7)
    phase, difference, of_slice, of_slices_difference, probe = shares.values()
    assert phase > 2 * difference > 10 * of_slice > 10 * of_slices_difference
    assert probe == pytest.approx(ENOUGH * 128**2 + BESIDE)


def test_nothing_has_more_than_it_needs():
    shares = shared_out(1e12, LARGE)
    assert shares == {group: pytest.approx(ENOUGH * LARGE[group].pixels + BESIDE) for group in LARGE}
    assert shared_out(1e7, {}) == {}


def test_few_slices_have_as_much_together_as_many():
    few = LARGE | {Group("objp", False, IMAGE): Pictures(80, 10**6)}
    assert shared_out(1e6, few)[Group("objp", False, IMAGE)] == pytest.approx(
        10 * shared_out(1e6, LARGE)[Group("objp", False, IMAGE)]
    )
