"""The verdict on a run: which quantity it is of, in which words, and what to do."""

import re

import pytest
from motions import CONTRAST

from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.quantities.settings import check_tolerances
from ptyconv_cli.verdict.evidence import Motion, doublings_of
from ptyconv_cli.verdict.rules import conclude, exit_code, stopped_late
from ptyconv_cli.verdict.sentences import rounded

LAST = 800


def moving(key, *relative, **motion):
    """A quantity whose changes per doubling are these, up to iteration 800, in its unit; all checkpoints move."""
    quantity = quantity_of(key)
    scale = CONTRAST / (100 if quantity.unit == "%" else 1)
    niters = [LAST // 2**k for k in range(len(relative))][::-1]
    doubled = [(niter, niter // 2, one * scale) for niter, one in zip(niters, relative, strict=True)]
    motion = {"to_last": [(400, doubled[-1][2]), (600, doubled[-1][2] / 2)] if doubled else [], **motion}
    return doublings_of(Motion(LAST, CONTRAST, doubled, **motion), quantity, quantity.tolerance, [])


def run(**quantities):
    return conclude({key: moving(key, *changes) for key, changes in quantities.items()})


def test_what_drifts_says_by_how_much_and_what_may_drive_it():
    verdict = run(
        objp=(18, 11, 12, 23), obja=(8, 6, 6, 18), probe=(1, 0.8, 1.6, 3.4), probe_pos_shifts=(0.1, 0.17, 0.35)
    )
    assert (verdict.state, verdict.worst, verdict.since) == ("drifting", "objp", None)
    assert verdict.sentence == (
        "from iteration 400 to 800 the object phase changed by 23 % of the object's contrast, more than over the "
        "doubling before (12 %); quietest at 200 (11 %). Scan positions moved by 0.35 px, twice as much as before."
    )
    assert verdict.advice == (
        "look at the learning rate of the scan positions: lower it, or keep the scan positions fixed from iteration "
        "200 on"
    )


def test_the_one_that_grows_most_is_named_first():
    verdict = run(objp=(10, 12, 30), probe=(6, 8, 16), probe_pos_shifts=(0.1, 0.2, 0.6))
    assert "Scan positions moved by 0.60 px, 3 times as much as before. The probe changed" in verdict.sentence
    calm = run(objp=(10, 12, 30), probe_pos_shifts=(0.01, 0.02, 0.06))
    assert "Scan positions" not in calm.sentence
    assert calm.advice == "stop, or change the settings: more iterations will move it as much again"


def test_an_early_minimum_is_none():
    """Of the first doubling nothing can be said to be quiet; a run that is young may be setting out."""
    later = run(objp=(14, 10, 12, 30))
    assert later.advice == "stop: compare with the checkpoint of iteration 200, and lower the learning rate"
    assert "quietest at 200 (10 %)" in later.sentence
    first = run(objp=(10, 12, 20, 30))
    assert "quietest" not in first.sentence
    scale = CONTRAST / 100
    doubled = [(12, 6, 10 * scale), (24, 12, 20 * scale)]
    young = Motion(24, CONTRAST, doubled, to_last=[(12, doubled[1][2]), (18, doubled[1][2])])
    verdict = conclude({"objp": doublings_of(young, quantity_of("objp"), 5.0, [])})
    assert (verdict.state, verdict.advice) == ("drifting", "continue, and ask again after about twice the iterations")


def test_of_phase_and_amplitude_the_one_that_moves_more():
    assert run(objp=(10, 12, 14), obja=(10, 16, 22)).worst == "obja"
    assert run(objp=(4, 3, 1), obja=(10, 16, 22)).worst == "obja"
    assert run(objp=(20, 12, 8), obja=(2, 3, 6)).worst == "objp", "though it is converging"


def test_the_object_comes_first_and_then_the_rest():
    verdict = run(objp=(20, 12, 8), probe=(10, 20, 40))
    assert (verdict.state, verdict.worst) == ("converging", "objp")
    assert "The probe changed by 40 % of its intensity, twice as much as before." in verdict.sentence
    verdict = run(objp=(4, 3, 1), probe=(10, 20, 40), probe_pos_shifts=(1, 0.5, 0.2))
    assert (verdict.state, verdict.worst) == ("drifting", "probe")
    assert verdict.sentence.startswith("from iteration 400 to 800 the probe changed by 40 % of its intensity")


def test_converging_says_when():
    verdict = run(objp=(40, 20, 10))
    assert verdict.sentence.endswith(
        "less than over the doubling before (20 %); at this pace within 5 % by iteration 1600."
    )
    assert verdict.advice == "continue: about 800 more iterations"
    slow = run(objp=(200, 140, 100))
    assert slow.doublings["objp"].reaches is None
    assert slow.advice == "continue only with a larger learning rate: at this pace it takes too long"


def test_converged_is_not_called_correct():
    verdict = run(objp=(8, 3, 1), obja=(8, 2, 0.5), probe=(0.5, 0.4, 0.002), probe_pos_shifts=(0.1, 0.05, 0.02))
    assert (verdict.state, verdict.since, exit_code(verdict)) == ("converged", 400, 0)
    assert verdict.sentence == (
        "from iteration 400 to 800 it changed no more than tolerated: object phase by 1 %, object amplitude by "
        "0.50 %, probe by < 0.01 % and scan positions by 0.02 px."
    )
    assert "does not say that it is correct" in verdict.advice


def test_too_early_to_tell():
    verdict = run(objp=(8,), probe=())
    assert (verdict.state, exit_code(verdict)) == ("insufficient", 4)
    assert verdict.sentence.startswith("too early to tell")
    one_is_known = run(objp=(8,), probe=(10, 20, 40))
    assert (one_is_known.state, one_is_known.worst, exit_code(one_is_known)) == ("drifting", "probe", 3)
    one_is_known = run(objp=(8,), obja=(10, 20, 40))
    assert (one_is_known.state, one_is_known.worst) == ("drifting", "obja")
    calm = run(objp=(8,), probe=(4, 2, 1))
    assert (calm.state, calm.worst) == ("insufficient", "objp")


def test_what_is_not_optimised_does_not_count():
    still = moving("probe", 0, 0, 0, stopped_since=100)
    verdict = conclude({"objp": moving("objp", 8, 3, 1), "probe": still})
    assert (verdict.state, verdict.doublings["probe"].state) == ("converged", "not optimised")
    assert verdict.doublings["probe"].forecast is verdict.doublings["probe"].quietest is None
    alone = conclude({"probe": still}, first=50)
    assert (alone.state, alone.since) == ("converged", 100)
    never = conclude({"probe": still}, first=100)
    assert (never.state, never.since, exit_code(never)) == ("insufficient", None, 4)
    assert "nothing of it was optimised" in never.sentence


def test_what_stops_late_is_what_it_was_until_then():
    still = {"objp": moving("objp", 20, 30, 40, stopped_since=600), "probe": moving("probe", 4, 2, 1)}
    assert stopped_late(still, LAST, {}) == {"objp": 600}
    assert stopped_late(still, LAST, {"objp": [0, 500]}) == {}, "100 of the 300 iterations since then"
    assert stopped_late({**still, "objp": moving("objp", 20, 30, 40, stopped_since=400)}, LAST, {}) == {}
    until = conclude(still, before={"objp": moving("objp", 20, 30, 40)})
    assert (until.state, until.worst, until.doublings["objp"].state) == ("drifting", "objp", "not optimised")
    assert until.sentence.endswith(" The object phase did not change after iteration 600.")
    assert until.advice == "optimise the object phase again: by iteration 600 it had not converged"
    calm = conclude(still, before={"objp": moving("objp", 8, 3, 1)})
    assert (calm.state, calm.advice[:6]) == ("converged", "stop, ")


def test_of_the_probe_and_positions_it_is_so_where_nothing_moves():
    positions = moving("probe_pos_shifts", 0.1, 0.2, 0.4, stopped_since=600)
    assert stopped_late({"objp": moving("objp", 8, 3, 1), "probe_pos_shifts": positions}, LAST, {}) == {}
    both = {"objp": moving("objp", 8, 3, 1, stopped_since=100), "probe_pos_shifts": positions}
    assert stopped_late(both, LAST, {}) == {"probe_pos_shifts": 600}
    until = conclude(both, before={"probe_pos_shifts": moving("probe_pos_shifts", 0.1, 0.2, 0.4)})
    assert (until.state, until.worst) == ("drifting", "probe_pos_shifts")
    assert until.sentence.endswith(" Nothing changed after iteration 600.")
    assert until.advice.startswith("look why nothing changed after iteration 600")


def test_a_change_that_was_scaled_to_a_doubling_is_said_to_be_of_one():
    scale = CONTRAST / 100
    doubled = [(400, 200, 20 * scale), (880, 400, 23 * scale)]
    found = doublings_of(Motion(880, CONTRAST, doubled, to_last=doubled[:0]), quantity_of("objp"), 5.0, [])
    assert conclude({"objp": found}).sentence.startswith(
        "from iteration 400 to 880 the object phase changed by 20 % of the object's contrast per doubling, about"
    )


def test_scan_positions_are_many():
    broken = conclude({"probe_pos_shifts": moving("probe_pos_shifts", 1, 1, 1, broken_since=700)})
    assert broken.sentence == "the scan positions hold NaN or infinity since iteration 700."
    assert broken.advice.startswith("stop: start again from a checkpoint before iteration 700, if there is one")
    assert run(probe_pos_shifts=(0.3, 0.3, 0.3)).advice.endswith("more iterations will move them as much again")


def test_a_broken_one_outranks_all():
    verdict = conclude({"objp": moving("objp", 20, 30, 60), "probe": moving("probe", 1, 1, 1, broken_since=700)})
    assert (verdict.state, verdict.worst, verdict.since, exit_code(verdict)) == ("broken", "probe", 700, 3)
    assert "drifting" not in verdict.sentence


def test_jitter_within_the_tolerance_is_no_harm():
    near = {"to_last": [(400, 0.06), (500, 0.06), (600, 0.06), (700, 0.06)], "drift_ratio": 1.0, "lag": 8}
    small = conclude({"objp": moving("objp", 6, 6, 6, **near)})
    assert (small.doublings["objp"].state, small.state) == ("jittering", "converged")
    assert small.sentence == "no more than tolerated the object phase jitters about a point, by 4.2 %."
    mixed = conclude({"objp": moving("objp", 6, 6, 6, **near), "probe": moving("probe", 4, 2, 1)})
    assert mixed.sentence.endswith(
        "it changed no more than tolerated: probe by 1 %. And the object phase jitters about a point, by 4.2 %."
    )
    large = {**near, "to_last": [(niter, 0.1) for niter, _ in near["to_last"]]}
    verdict = conclude({"objp": moving("objp", 10, 10, 10, **large)})
    assert verdict.state == "jittering"
    assert verdict.sentence == (
        "since iteration 400 the object phase jitters about a point, by 7.1 % of the object's contrast."
    )
    assert verdict.advice.startswith("lower the learning rate of the object phase")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (0.004, "< 0.01"),
        (0.05, "0.05"),
        (0.5, "0.50"),
        (0.998, "1"),
        (1.0, "1"),
        (3.44, "3.4"),
        (9.96, "10"),
        (23.4, "23"),
        (230.4, "230"),
        (float("nan"), "?"),
        (float("inf"), "?"),
    ],
)
def test_numbers_have_two_digits(number, text):
    assert rounded(number) == text


@pytest.mark.parametrize(
    ("given", "value"),
    [("2%", 2), ("2 %", 2), (2, 2), (0.5, 0.5), ("1e-1", 0.1)],
)
def test_tolerances_of_the_object(given, value):
    assert check_tolerances({"objp": given})["objp"].value(dx=0.5) == value


@pytest.mark.parametrize(("given", "value"), [("0.05px", 0.05), ("0.05", 0.05), ("0.1Å", 0.2), ("0.1 A", 0.2), (1, 1)])
def test_tolerances_of_positions(given, value):
    assert check_tolerances({"probe_pos_shifts": given})["probe_pos_shifts"].value(dx=0.5) == pytest.approx(value)


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("objp", "2px"),
        ("objp", "-2%"),
        ("objp", "0"),
        ("objp", "nan"),
        ("objp", ""),
        ("probe_pos_shifts", "1%"),
        ("tilt", "1Å"),
        ("objq", "1"),
        ("objp", "1e999"),
        ("objp", None),
    ],
)
def test_other_tolerances_are_refused_with_an_example(key, given):
    with pytest.raises(ValueError, match=re.escape("choose from objp" if key == "objq" else f"as in {key}=")):
        check_tolerances({key: given})
