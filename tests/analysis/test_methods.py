"""Sentences for the methods of a paper."""

import math
import re
from dataclasses import replace

import pytest
import runs

from ptyconv_cli import DOCUMENTATION, __version__, analyze_run, methods_text

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
    assert "by at most 5 %, and by its trend so will the next, which has held since iteration 20." in said
    assert "The checkpoint of iteration 200 is kept: it is the last, and" in said


def test_of_a_run_that_has_not_converged_it_says_so():
    said = methods_text(runs.analysis_of(runs.HALVES[0]))
    assert "From iteration 80 to 168 the RMS change per doubling of the iterations was: object phase 11 %" in said
    assert "changes it by at most 5 %, and by its trend so will the next: it had not converged. The checkpoint" in said


def test_tolerances_that_differ_are_said_of_each():
    said = methods_text(analyze_run(runs.ATOMS, tolerances={"phase": "2%"}, tensors=["objp", "obja"], device="cpu"))
    assert "the object phase by at most 2 % and the object amplitude by at most 5 %, and by its trend so" in said


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ("probe", "The probe counts as converged where a doubling of the iterations changes it by at most 5 %, and by"),
        ("probe_pos_shifts", "a doubling of the iterations changes them by at most 0.1 px, and by its"),
    ],
)
def test_without_an_object_it_is_of_what_was_judged(tensor, words):
    said = methods_text(analyze_run(runs.ATOMS, tensors=[tensor], device="cpu"))
    assert words in said
    assert "mrad" not in said
    assert "kept" not in said


def test_of_a_run_that_broke_it_says_what_the_verdict_says():
    analysis = runs.analysis_of(runs.DATA / "truth" / "ptyrad_times100")
    assert methods_text(analysis).endswith(
        f"and by its trend so will the next. The verdict is: broken, {analysis.verdict.sentence}"
    )


def test_of_too_few_checkpoints_too():
    analysis = analyze_run(runs.ATOMS, select="*iter0[12]00*", device="cpu")
    assert analysis.verdict.state == "insufficient"
    assert f"The verdict is: insufficient, {analysis.verdict.sentence}" in methods_text(analysis)


def test_what_is_not_known_is_not_said():
    analysis = runs.analysis_of(runs.ATOMS)
    phase = analysis.verdict.doublings["objp"]
    unknown = replace(phase, points=[*phase.points[:-1], replace(phase.points[-1], relative=math.nan)])
    verdict = replace(analysis.verdict, doublings={**analysis.verdict.doublings, "objp": unknown})
    said = methods_text(replace(analysis, verdict=verdict))
    assert "?" not in said
    assert "was: object amplitude 1.1 % of the object's contrast; probe" in said


def test_only_changes_over_the_same_interval_are_together():
    """Where one was optimised later, its last doubling may be another."""
    analysis = runs.analysis_of(runs.ATOMS)
    probe = analysis.verdict.doublings["probe"]
    other = replace(probe, points=[*probe.points[:-1], replace(probe.points[-1], since=120)])
    verdict = replace(analysis.verdict, doublings={**analysis.verdict.doublings, "probe": other})
    said = methods_text(replace(analysis, verdict=verdict))
    assert "From iteration 100 to 200" in said
    assert "probe 0.27" not in said


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
