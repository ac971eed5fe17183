"""Sentences for the methods of a paper."""

import re

import pytest
import runs

from ptyconv_cli import DOCUMENTATION, __version__, analyze_run, methods_text
from ptyconv_cli.verdict.rules import STATES

CALLED = {
    "objp": r"object phase ([\d.]+) %",
    "obja": r"object amplitude ([\d.]+) %",
    "probe": r"; probe ([\d.]+) %",
    "probe_pos_shifts": r"scan positions ([\d.]+) px",
}


def test_it_has_the_numbers_of_the_run():
    analysis = runs.analysis_of(runs.ATOMS)
    said = methods_text(analysis)
    assert f"ptyconv {__version__} ({DOCUMENTATION}) from 10 checkpoints of PtyRAD, iterations 20 to 200." in said
    assert "53 × 54 px (14 × 14.2 Å)" in said
    for key, words in CALLED.items():
        (given,) = re.findall(words, said)
        assert float(given) == pytest.approx(analysis.verdict.doublings[key].points[-1].relative, rel=0.06)
    assert "tilt" not in said, "which was not optimised"
    assert "at most 5 %, which has held since iteration 20." in said
    assert said.endswith("The checkpoint of iteration 200 was kept.")


def test_of_a_run_that_has_not_converged_it_says_so():
    said = methods_text(runs.analysis_of(runs.HALVES[0]))
    assert "From iteration 80 to 168 the RMS change per doubling of the iterations was: object phase 11 %" in said
    assert "by at most 5 %: it had not converged." in said


def test_tolerances_that_differ_are_both_said():
    said = methods_text(analyze_run(runs.ATOMS, tolerances={"phase": "2%"}, tensors=["objp", "obja"], device="cpu"))
    assert "by at most 2 % and 5 %: it had not converged" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [("ptyrad_times100", "the run broke before it converged"), ("ptyrad_cosine", "had")],
)
def test_other_ends(name, words):
    analysis = runs.analysis_of(runs.DATA / "truth" / name)
    assert analysis.verdict.state in STATES
    assert words in methods_text(analysis)


def test_without_a_verdict_there_is_nothing_to_say():
    with pytest.raises(ValueError, match="no verdict"):
        methods_text(analyze_run(runs.ATOMS, aligned=False, device="cpu"))


@pytest.mark.parametrize("quiet", [False, True])
def test_analyze_prints_it_last(ptyconv, tmp_path, quiet):
    options = ["--methods", "--no-plot", *(["-q"] if quiet else [])]
    said = " ".join(ptyconv("analyze", runs.ATOMS, "-o", tmp_path, *options).stdout.split())
    text = methods_text(runs.analysis_of(runs.ATOMS))
    assert said.endswith(text)
    assert (said == text) == quiet


def test_it_is_of_one_run_that_has_ended(ptyconv, tmp_path):
    for options in (["--follow"], ["--no-aligned"]):
        assert ptyconv("analyze", runs.ATOMS, "-o", tmp_path, "--methods", *options).exit_code == 2
    result = ptyconv("analyze", runs.SAMPLES / "siemens_star", "-o", tmp_path, "--methods")
    assert result.exit_code == 2
    assert "several runs" in result.stderr
    assert list(tmp_path.iterdir()) == []
