"""Text of results."""

import math

import pytest

from ptyconv_cli.results.text import length, told_apart


def test_names_stay_different_when_they_are_shortened():
    names = [f"hypertune_TPESampler_loss/t{n:04d}_full_N144_dp32_random16_p2_1obj_2slice_dz4" for n in range(30)]
    short = told_apart([*names, "short"], 26)
    assert len(set(short)) == 31
    assert max(map(len, short)) <= 26
    assert short[-1] == "short"
    assert told_apart(["a" * 40, "a" * 40], 10)[0] == told_apart(["a" * 40, "a" * 40], 10)[1]


@pytest.mark.parametrize(
    ("angstrom", "said"),
    [
        *((6.638, "6.64 Å"), (999.4, "999 Å"), (1234.0, "1234 Å"), (9999.4, "9999 Å")),
        *((9999.6, "1000 nm"), (15700, "1570 nm"), (2.5e6, "250000 nm"), (-20000.0, "-2000 nm")),
        *((0.0, "0 Å"), (math.nan, "nan Å"), (math.inf, "inf Å")),
    ],
)
def test_lengths_with_more_than_four_digits_are_in_nm(angstrom, said):
    assert length(angstrom) == said
