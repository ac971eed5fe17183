"""What ring correlations say, in words, and the file that holds them."""

from dataclasses import replace

import pytest
from frc import POINT, of

from ptyconv_cli.results.frc import is_worse, size_of


def test_frequencies_and_the_limit():
    assert POINT.frequencies == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert POINT.limit == pytest.approx(2.5)
    assert not POINT.is_down_to_limit
    assert replace(POINT, resolution=POINT.limit).is_down_to_limit


def test_lengths():
    of_atoms, of_cells = (1.0, "Å"), (10.0, "nm")
    said = [size_of(value, of_atoms) for value in (0.7, 1.111, 9.94, 9.96, 123.4)]
    assert said == ["0.70 Å", "1.1 Å", "9.9 Å", "9.96 Å", "123 Å"]
    assert [size_of(value, of_cells) for value in (3570.0, 38600.0)] == ["357 nm", "3860 nm"]


def test_lengths_have_the_unit_of_what_is_compared():
    """Of 100 px of 0.1 µm details are in nm, as its changes are."""
    wide = replace(of(replace(POINT, overlap=(80, 100), ring_width=1e-4, resolution=3300.0)), dx=1000.0)
    assert wide.answer == ["From iteration 200 to 400 detail down to 330 nm stayed (one-bit)."]


def test_the_answer_of_one_run():
    assert of(POINT).answer == ["From iteration 200 to 400 detail down to 3.3 Å stayed (one-bit)."]
    before = replace(POINT, niter=200, other=100, resolution=5.0)
    assert of(before, POINT).answer[1:] == ["The doubling before, from 100 to 200: 5.0 Å."]
    assert of(replace(POINT, resolution=POINT.limit)).answer == [
        "From iteration 200 to 400 all detail stayed, down to 2.5 Å, the pixels' limit (one-bit)."
    ]
    assert of(replace(POINT, resolution=None)).answer == ["From iteration 200 to 400 no detail stayed (one-bit)."]
    dip = replace(POINT, frc=[0.5, 0.5, 0.9, 0.2])
    assert of(dip).answer[1:] == ["Detail of 10 Å, 5.0 Å is below the threshold."]
    assert of(replace(dip, frc=[0.99, 0.5, 0.9, 0.2])).answer[1:] == ["Detail of 5.0 Å is below the threshold."]


def test_the_answer_of_two_runs():
    first, early, late = (
        replace(POINT, niter=niter, other=niter, area=area, correlation=correlation)
        for niter, area, correlation in ((20, 0.7, 0.98), (30, 0.8, 0.99), (300, 0.6, 0.95))
    )
    assert of(first, early, late, runs=2).answer == [
        "The two runs agree best at iteration 30: mean ring correlation 0.800, correlation of the pictures 0.990.",
        "At the last, 300, they agree less: mean ring correlation 0.600, correlation of the pictures 0.950, and "
        "differ 5 times as much.",
        "What came after iteration 30 is not reproducible: keep iteration 30.",
    ]
    hardly = replace(late, area=0.79, correlation=0.989)
    assert of(first, early, hardly, runs=2).answer[1:] == [
        "At the last, 300, they agree about as well: mean ring correlation 0.790, correlation of the pictures 0.989."
    ]
    assert of(late, replace(early, niter=400, other=400), runs=2).answer == [
        "The two runs agree best at iteration 400: mean ring correlation 0.800, correlation of the pictures 0.990."
    ]
    assert of(early, runs=2).answer == [
        "The two agree down to 3.3 Å (one-bit): mean ring correlation 0.800, correlation of the pictures 0.990."
    ]
    same = replace(early, niter=0, other=0, area=1.0, correlation=1.0)
    assert of(same, replace(same, niter=10, other=10), early, late, runs=2).answer[-1] == (
        "They agree less from the first pair on, and pictures with little in them yet are alike: from which iteration "
        "on it is not reproducible cannot be said."
    )
    assert of(replace(same, niter=10, other=10), runs=2).answer == ["The pictures are the same."]
    against = [replace(early, other=900), replace(late, other=900)]
    assert of(*against, runs=2).answer[0].startswith("one agrees best with other at iteration 30: ")
    assert "reproducible" not in " ".join(of(*against, runs=2).answer)


@pytest.mark.parametrize(
    ("area", "correlation", "worse"),
    [(0.6, 0.95, True), (0.79, 0.95, False), (0.6, 0.989, False), (0.76, 0.9878, False), (0.74, 0.987, True)],
)
def test_worse_is_a_quarter_more_of_what_is_lacking_by_both_measures(area, correlation, worse):
    best = replace(POINT, area=0.8, correlation=0.99)
    assert is_worse(replace(POINT, area=area, correlation=correlation), best, best) is worse
