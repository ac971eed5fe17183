"""Texts of lists that grow: equal to those made at once, with no item made twice."""

import pytest
import runs
from hypothesis import given
from hypothesis import strategies as st

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis import report
from ptyconv_cli.results.files import Pieces


@given(st.lists(st.lists(st.integers(0, 3), max_size=5), max_size=6))
def test_the_same_as_made_at_once(lists):
    """Also of lists that got shorter, or changed in the middle."""
    pieces = Pieces()
    for items in lists:
        assert pieces.joined("one", items, str, ", ") == ", ".join(map(str, items))


def test_each_item_is_made_once():
    pieces, made = Pieces(), []

    def text_of(item):
        made.append(item)
        return f"<{item}>"

    for count in range(1, 8):
        assert pieces.joined("one", list(range(count)), text_of) == "".join(f"<{k}>" for k in range(count))
        pieces.joined("another", ["other"], str)
    assert made == list(range(7))


def test_what_changed_is_made_anew():
    pieces = Pieces()
    pieces.joined("one", [1, 2, 3], str)
    assert pieces.joined("one", [1, 5, 3, 4], str) == "1534"


@pytest.fixture(scope="module")
def growing():
    """Analyses of the sample run with more and more of its checkpoints, as of a running job."""
    files = sorted(runs.SAMPLE.glob("*.hdf5"))
    return [analyze_run(runs.SAMPLE, files=files[:count], device="cpu") for count in range(9, 13)]


def test_results_of_a_growing_run_are_the_same_to_the_last_byte(growing):
    pieces = Pieces()
    for analysis in growing:
        for write in (report.changes_json, report.report_json, report.changes_csv):
            assert write(analysis, pieces) == write(analysis)


def test_what_was_in_the_last_report_is_not_put_into_text_again(growing, monkeypatch):
    made = {"_point": 0, "_removed": 0, "_checkpoint": 0, "_row": 0}

    def counted(module, name):
        make = getattr(module, name)

        def making(*arguments):
            made[name] += 1
            return make(*arguments)

        monkeypatch.setattr(module, name, making)

    for name in ("_point", "_removed", "_checkpoint"):
        counted(report, name)
    counted(report, "_row")
    pieces = Pieces()
    for analysis in growing:
        made.update(dict.fromkeys(made, 0))
        report.report_json(analysis, pieces)
        report.changes_csv(analysis, pieces)
    assert made == {"_point": 12, "_removed": 4, "_checkpoint": 1, "_row": 6}
