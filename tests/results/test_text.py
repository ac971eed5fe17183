"""Text of results."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptyconv_cli.results.text import (
    NARROWEST,
    detail_unit,
    length,
    text_width,
    told_apart,
    unbroken,
    with_place_kept,
    wrapped,
)

WORDS = st.text(st.sampled_from("abz019-./_é超,"), min_size=1, max_size=12)
PATHS = st.lists(WORDS, min_size=12, max_size=20).map(lambda parts: "/" + "/".join(parts))
TEXTS = st.lists(WORDS | PATHS, min_size=1, max_size=30)


def test_names_stay_different_when_they_are_shortened():
    names = [f"hypertune_TPESampler_loss/t{n:04d}_full_N144_dp32_random16_p2_1obj_2slice_dz4" for n in range(30)]
    short = told_apart([*names, "short"], 26)
    assert len(set(short)) == 31
    assert max(map(len, short)) <= 26
    assert short[-1] == "short"
    assert told_apart(["a" * 40, "a" * 40], 10)[0] == told_apart(["a" * 40, "a" * 40], 10)[1]


@pytest.mark.parametrize("width", [10, 16, 20, 30])
def test_the_same_trials_of_several_studies_stay_different(width):
    """Of each name the part that differs is shown."""
    names = [
        f"{day}/output/hypertune_TPESampler_loss/t{n:04d}_full_N144_dp32_random16_p2_1obj"
        for day in ("monday", "tuesday")
        for n in range(4)
    ]
    short = told_apart(names, width)
    assert len(set(short)) == 8
    assert max(map(len, short)) <= width
    if width >= 16:
        assert short[0] == "monday/…/t0000"


@given(st.lists(st.lists(WORDS, min_size=1, max_size=4).map("/".join), max_size=8), st.integers(8, 30))
def test_names_are_as_different_as_they_were(names, width):
    short = told_apart(names, width)
    if all(name.isprintable() for name in names):
        assert len(set(short)) == len(set(names))
    assert all(len(name) <= width for name in short)


@pytest.mark.parametrize(
    ("angstrom", "said"),
    [
        *((6.638, "6.64 Å"), (999.4, "999 Å"), (1234.0, "1234 Å"), (9999.4, "9999 Å")),
        *((9999.6, "1000 nm"), (15700, "1570 nm"), (2.5e6, "250 µm"), (-20000.0, "-2000 nm")),
        *(
            (99990.0, "9999 nm"),
            (99996.0, "10 µm"),
            (1.93e5, "19.3 µm"),
            (9.9994e7, "9999 µm"),
            (3e8, "30 mm"),
            (3e12, "300000 mm"),
        ),
        *((0.0, "0 Å"), (math.nan, "nan Å"), (math.inf, "inf Å")),
    ],
)
def test_lengths_have_the_unit_in_which_they_have_at_most_four_digits(angstrom, said):
    assert length(angstrom) == said


@given(TEXTS, st.integers(40, 200), st.sampled_from(["", "  ", "      "]))
def test_no_word_is_broken_and_lines_of_several_words_fit(words, columns, indent):
    lines = wrapped(" ".join(words), columns, indent)
    assert " ".join(lines).split() == words
    assert all(len(line) <= columns for line in lines if len(line.split()) > 1)
    assert all(line.startswith(indent) for line in lines[1:])


@given(TEXTS, st.lists(WORDS, min_size=2, max_size=20).map(" ".join), st.integers(40, 200))
def test_a_path_with_spaces_is_in_one_line(words, path, columns):
    lines = wrapped(f"{' '.join(words)} {unbroken(path)} {' '.join(words)}", columns)
    assert any(path in line for line in lines)
    assert " ".join(" ".join(lines).split()) == f"{' '.join(words)} {path} {' '.join(words)}"


@pytest.mark.parametrize("unit", ["%", "px", "mrad", "times", "Å", "nm", "MB"])
def test_no_line_begins_with_a_unit(unit):
    for columns in range(40, 60):
        assert f"1.2 {unit}" in "\n".join(wrapped(f"{'word ' * 7}and so on 1.2 {unit} more", columns))


def test_the_file_that_a_warning_begins_with_is_in_one_line():
    path = f"/data/{'my run/' * 20}model iter0002.hdf5"
    assert path in wrapped(f"warning: {with_place_kept(f'{path}: cannot be read')}", 40, "  ")[1]
    for beginning in ("Error: ", "Error: Invalid value for '-o' / '--output': "):
        for place in (path, "my runs/12:30 of March"):
            assert with_place_kept(f"{beginning}{place}: is no run") == f"{beginning}{unbroken(place)}: is no run"
    said = "The files differ in their iterations: 1 and 2"
    assert with_place_kept(said) == said, "that is a sentence"


def test_text_is_as_wide_as_the_terminal_but_no_narrower_than_40_columns(monkeypatch):
    for columns, width in (("200", 200), ("80", 80), ("41", 41), ("7", NARROWEST)):
        monkeypatch.setenv("COLUMNS", columns)
        assert text_width() == width


@pytest.mark.parametrize(
    ("extent", "unit"),
    [(math.nan, "Å"), (500.0, "Å"), (9999.0, "Å"), (2e5, "nm"), (9.9e5, "nm"), (1e6, "µm"), (3e9, "µm")],
)
def test_details_are_in_a_unit_that_suits_the_light(extent, unit):
    assert detail_unit(extent)[1] == unit
