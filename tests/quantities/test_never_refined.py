"""Which tensors were refined at all, told by their changes."""

import math

import pytest

from ptyconv_cli.quantities import never_refined, within_rounding
from ptyconv_cli.results.history import Point


@pytest.mark.parametrize(
    ("changes", "expected"),
    [([0.0, 0.0], True), ([1e-9, -1e-8], True), ([0.0, 1e-5], False), ([0.0, math.nan], False), ([], False)],
)
def test_rounding_is_no_change(changes, expected):
    assert within_rounding(changes) is expected


def test_a_tensor_counts_if_one_of_its_series_changed():
    still, moved, empty = [Point(2, 1, 1e-9, 5)], [Point(2, 1, 0.1, 5)], [Point(2, 1, 0.0, 0)]
    series = {"objp_bg": still, "objp_fg": moved, "probe_pos_shifts": still}
    assert never_refined(series, 1.0) == ("probe_pos_shifts",)
    assert never_refined({"objp_bg": still, "objp_fg": still}, 1.0) == ("objp",)
    assert never_refined({"objp_bg": empty, "objp_fg": empty}, 1.0) == (), "an empty mask measures nothing"
    assert never_refined({}, 1.0) == ()


def test_positions_are_rounded_in_pixels():
    moved = {"probe_pos_shifts": [Point(2, 1, 1e-5)], "probe": [Point(2, 1, 1e-5)]}
    assert never_refined(moved, dx=0.5) == ()
    assert never_refined(moved, dx=200.0) == ("probe_pos_shifts",)
