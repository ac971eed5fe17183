"""The verdict on a run: which quantity it is of, in which words, and what to do."""

import re
from dataclasses import replace

import pytest
from motions import CONTRAST

from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.quantities.settings import check_tolerances
from ptyconv_cli.results.engine_settings import EngineSettings
from ptyconv_cli.results.history import EngineHistories
from ptyconv_cli.results.run_analysis import Doublings
from ptyconv_cli.verdict.conclusion import RunEvidence, conclude, exit_code, stopped_late
from ptyconv_cli.verdict.evidence import Motion, doublings_of
from ptyconv_cli.verdict.segments import Counting
from ptyconv_cli.verdict.sentences import keep_line, rounded, verdict_line

LAST = 800
NITERS = [100, 200, 400, 800]

SETTINGS = EngineSettings(
    rates={"objp": "phase.lr", "obja": "amplitude.lr", "probe_pos_shifts": "positions.lr"},
    fixing={"probe_pos_shifts": "positions.end: {niter}"},
    saving="SAVE",
    iterations="NITER",
)


def loss_curve(kind):
    """A loss of 800 iterations: it "falls" by a third over the last 400, "hardly", or "rises" from 400 on."""
    at = {"falls": lambda n: 100 - n / 8, "hardly": lambda n: 90 / n**0.9 + 1, "rises": lambda n: abs(n - 400) / 8 + 1}
    return [(n, at[kind](n)) for n in range(1, LAST + 1)]


def history(kind="hardly", **given):
    return EngineHistories(loss=loss_curve(kind), settings=SETTINGS, learning_rates={"objp": [(1, 1e-3)]}, **given)


def moving(key, *relative, loss="hardly", **motion):
    """A quantity whose changes per doubling are these, up to iteration 800, in its unit; all checkpoints move."""
    quantity = quantity_of(key)
    scale = CONTRAST / (100 if quantity.unit == "%" else 1)
    niters = [LAST // 2**k for k in range(len(relative))][::-1]
    doubled = [(niter, niter // 2, one * scale) for niter, one in zip(niters, relative, strict=True)]
    motion = {"to_last": [(400, doubled[-1][2]), (600, doubled[-1][2] / 2)] if doubled else [], **motion}
    contrasts = dict.fromkeys([*niters, LAST], CONTRAST)
    return doublings_of(Motion(LAST, contrasts, doubled, **motion), quantity, quantity.tolerance, [], loss_curve(loss))


def concluded(quantities, **given):
    return conclude(RunEvidence(**{"doublings": quantities, "niters": NITERS, "engine": history(), **given}))


def run(loss="hardly", engine=None, **quantities):
    of_each = {key: moving(key, *changes, loss=loss) for key, changes in quantities.items()}
    return concluded(of_each, engine=engine or history(loss))


def test_what_drifts_says_by_how_much_and_how_to_find_out_why():
    verdict = run(
        objp=(18, 11, 12, 23), obja=(8, 6, 6, 18), probe=(1, 0.8, 1.6, 3.4), probe_pos_shifts=(0.1, 0.17, 0.35)
    )
    assert (verdict.state, verdict.worst, verdict.since) == ("drifting", "objp", None)
    assert verdict.sentence == (
        "from iteration 400 to 800 the object phase changed by 23 % of the object's contrast (5 % tolerated), more "
        "than over the doubling before (12 %), and more than the least, at iteration 200 (11 %), while the loss "
        "hardly falls. Scan positions move as well, by 0.35 px per doubling (0.1 px tolerated)."
    )
    assert verdict.advice == (
        "to know whether the scan positions drive it, run again with them fixed from iteration 200 on (positions.end: "
        "200). Whether more iterations help shows in two halves of the data: reconstruct each, then ptyconv frc "
        "HALF_A HALF_B --halves"
    )
    assert (verdict.keep, exit_code(verdict)) == (200, 3)
    assert keep_line(verdict).startswith("keep iteration 200: its change per doubling was the least (11 %);")


def test_while_the_loss_still_falls_what_moves_is_under_way():
    verdict = run("falls", objp=(18, 11, 12, 23), probe_pos_shifts=(0.1, 0.17, 0.35))
    assert (verdict.state, verdict.keep, verdict.doublings["objp"].quietest) == ("moving", 800, None)
    assert "more than over the doubling before (12 %), while the loss still falls." in verdict.sentence
    assert verdict.advice.startswith("go on (NITER): the loss still falls; 800 more iterations will change the object")


@pytest.mark.parametrize(("loss", "changes"), [("falls", (20, 12, 14)), ("hardly", (40, 20, 10))])
def test_after_a_schedule_that_ended_going_on_needs_another_one(loss, changes):
    """What as many iterations again would bring is known as little by the time they take."""
    engine = replace(history(loss), learning_rates={"objp": [(n, 1e-3 * (1 - n / 801) ** 2) for n in range(1, 801)]})
    said = "; the learning rate of the object phase (phase.lr) has fallen to almost 0, so begin its schedule anew"
    assert said in run(loss=loss, engine=engine, objp=changes).advice
    assert said not in run(loss=loss, objp=changes).advice


@pytest.mark.parametrize("loss", ["falls", "hardly", "rises"])
@pytest.mark.parametrize(
    "objp", [(20, 12, 8), (10, 12, 11), (14, 10, 12, 30), (8, 3, 1), (8,), ()], ids=lambda changes: str(changes)
)
def test_nothing_is_ever_stopped_fixed_or_blamed_without_a_test(objp, loss):
    verdict = run(loss, objp=objp, probe=(6, 8, 16), probe_pos_shifts=(0.1, 0.2, 0.6))
    for text in (verdict.sentence, verdict.advice, verdict.keep_because):
        assert not re.search(
            r"\bstop\b|keep .* fixed|drives? |compare with",
            text.replace("to know whether", "")
            .replace("the scan positions drive it, run", "")
            .replace("the probe drives it, run", ""),
        ), text


def test_a_suspect_is_named_only_beyond_its_tolerance_the_farthest_first():
    verdict = run(objp=(10, 12, 30), probe=(6, 8, 16), probe_pos_shifts=(0.1, 0.2, 0.6))
    assert verdict.sentence.index("Scan positions move as well, by 0.60 px") < verdict.sentence.index("The probe moves")
    calm = run(objp=(10, 12, 30), probe_pos_shifts=(0.01, 0.02, 0.06))
    assert "positions" not in calm.sentence + calm.advice


def test_of_phase_and_amplitude_the_one_that_moves_more():
    assert run(objp=(10, 12, 14), obja=(10, 16, 22)).worst == "obja"
    assert run(objp=(4, 3, 1), obja=(10, 16, 22)).worst == "obja"
    assert run(objp=(20, 12, 8), obja=(2, 3, 6)).worst == "objp", "though it is converging"


def test_the_verdict_is_the_objects():
    verdict = run(objp=(20, 12, 8), probe=(10, 20, 40))
    assert (verdict.state, verdict.worst) == ("converging", "objp")
    assert "The probe moves as well, by 40 % of its intensity per doubling (5 % tolerated)." in verdict.sentence
    verdict = run(objp=(4, 3, 1), obja=(4, 3, 2), probe=(10, 20, 40), probe_pos_shifts=(1, 0.5, 0.2))
    assert (verdict.state, verdict.converged_since, verdict.keep) == ("converged", 400, 800)
    assert verdict_line(verdict) == (
        "converged since iteration 400: from iteration 400 to 800 the object phase changed by 1 % and the object "
        "amplitude by 2 % of the object's contrast (5 % tolerated). The probe still moves, by 40 % of its intensity "
        "per doubling (5 % tolerated), while the object hardly does. Scan positions still move, by "
        "0.20 px per doubling (0.1 px tolerated), while the object hardly does."
    )
    assert (exit_code(verdict), exit_code(verdict, everything=True), verdict.all_converged) == (0, 3, False)
    all_of_it = run(objp=(4, 3, 1), probe=(4, 3, 1))
    assert (exit_code(all_of_it, everything=True), all_of_it.all_converged) == (0, True)
    alone = run(probe=(10, 20, 40))
    assert (alone.state, alone.worst, alone.keep) == ("drifting", "probe", None)


def test_what_is_within_its_tolerance_but_grows_beyond_it_says_both():
    verdict = run(objp=(4, 3, 1), probe_pos_shifts=(0.02, 0.05, 0.09))
    assert verdict.sentence.endswith(
        "Scan positions still move, by 0.09 px per doubling, within the 0.1 px tolerated, but more each time, while "
        "the object hardly does."
    )


def test_converging_says_what_as_many_iterations_again_will_bring_and_how_long_they_take():
    seconds = [(n, 9.0 * n) for n in range(1, LAST + 1)]
    verdict = run(objp=(40, 20, 10), engine=history(seconds=seconds))
    assert verdict.advice.startswith(
        "go on (NITER), if you need 5 %; 800 more iterations (about 2 h 00 min) will change the object phase "
        "by 3.3 to 30 %. Whether"
    )
    assert verdict.keep_because == "it is the last, and the object changes less than before"
    assert "(about" not in run(objp=(40, 20, 10)).advice


def test_converged_is_not_called_correct():
    verdict = run(objp=(8, 3, 1), obja=(8, 2, 0.5), probe=(0.5, 0.4, 0.002), probe_pos_shifts=(0.1, 0.05, 0.02))
    assert (verdict.state, verdict.since, exit_code(verdict)) == ("converged", 400, 0)
    assert "does not say that it is correct" in verdict.advice
    different = {"objp": moving("objp", 8, 3, 1), "obja": replace(moving("obja", 8, 2, 1), tolerance=2.0)}
    assert "phase changed by 1 % (5 % tolerated) and the object amplitude by 1 % (2 % tolerated) of the object's" in (
        concluded(different).sentence
    )


def test_a_loss_that_rose_is_said_whatever_the_state():
    verdict = run("rises", objp=(8, 3, 1))
    assert (verdict.state, verdict.loss_lowest_at) == ("converged", 400)
    assert verdict.remark == "The loss is 4500 % higher than at iteration 400."
    assert run("hardly", objp=(8, 3, 1)).remark == ""


def test_a_run_whose_loss_left_has_diverged():
    loss = [*loss_curve("hardly")[:500], *((n, 1e5 * n) for n in range(501, LAST + 1))]
    verdict = run(objp=(8, 3, 1), engine=replace(history(), loss=loss))
    assert (verdict.state, verdict.since, verdict.keep, exit_code(verdict)) == ("broken", 500, 400, 3)
    assert verdict.doublings["objp"].forecast is None
    assert verdict.sentence == (
        "the run diverged: its loss left for good after iteration 500 (it was 1.335 at 500, and is 8e+07)."
    )
    assert verdict.advice == (
        "start again from iteration 400, with a smaller learning rate (phase.lr and amplitude.lr)"
    )
    none = run(objp=(8, 3, 1), engine=replace(history(), loss=loss, settings=EngineSettings(rate_word="")))
    assert none.advice == "start again from iteration 400, with other settings"


def test_too_early_to_tell_names_what_is_missing():
    verdict = run(objp=())
    assert (verdict.state, exit_code(verdict), verdict.keep) == ("insufficient", 4, 800)
    late = concluded({"objp": moving("objp")}, niters=[650, 700, 800])
    assert late.sentence == (
        "too early to tell: there is no checkpoint between iterations 200 and 571, to compare that of 800 with."
    )
    assert (
        late.advice
        == "go on to iteration 1400 at least (NITER), or keep a checkpoint of the iterations before, too (SAVE)"
    )
    others = run(objp=(), probe=(10, 20, 40))
    assert (others.state, others.worst) == ("insufficient", "objp")
    one_is_known = run(objp=(), obja=(10, 20, 40))
    assert (one_is_known.state, one_is_known.worst) == ("drifting", "obja")


@pytest.mark.parametrize(
    ("niters", "begin", "enough"),
    [
        ([0], 0, 3),
        ([20], 0, 60),
        ([20, 40], 0, 60),
        ([20, 100], 0, 260),
        ([650, 700, 800], 0, 1400),
        ([1, 2], 0, 3),
        ([100, 110], 100, 130),
        ([1, 99_999, 100_000], 0, 196_000),
    ],
)
def test_how_far_to_go_on_is_the_first_save_that_has_two_doublings_behind_it(niters, begin, enough):
    advice = concluded({"objp": replace(moving("objp"), begin=begin)}, niters=niters).advice
    assert advice.startswith(f"go on to iteration {enough} at least")


def test_of_a_resumed_run_without_the_first_it_cannot_be_known_whether_it_has_converged():
    calm, moves = {"objp": moving("objp", 8, 3, 1)}, {"objp": moving("objp", 20, 12, 8)}
    verdict = concluded(calm, resumed_from="first/model_iter0200.hdf5")
    assert (verdict.state, exit_code(verdict), verdict.converged_since) == ("insufficient", 4, None)
    assert verdict.sentence.endswith(
        "But it was resumed from first/model_iter0200.hdf5, and the iterations before that are not counted: whether it "
        "has converged cannot be said.".replace("iter0200.hdf5", "iter0200.hdf5")
    )
    assert "--chain" in verdict.advice
    assert concluded(moves, resumed_from="first/model_iter0200.hdf5").state == "converging", "that is known"


def test_what_is_not_optimised_does_not_count():
    still = moving("probe", 0, 0, 0, stopped_since=100)
    verdict = concluded({"objp": moving("objp", 8, 3, 1), "probe": still})
    assert (verdict.state, verdict.doublings["probe"].state, verdict.all_converged) == (
        "converged",
        "not optimised",
        True,
    )
    assert verdict.doublings["probe"].forecast is verdict.doublings["probe"].quietest is None
    alone = concluded({"probe": still}, niters=[50, 800])
    assert (alone.state, alone.since, alone.sentence) == ("converged", 100, "nothing changed after iteration 100.")
    never = concluded({"probe": still}, niters=[100, 800])
    assert (never.state, never.since, exit_code(never)) == ("insufficient", None, 4)
    assert "nothing of it was optimised" in never.sentence


def test_what_stops_late_is_what_it_was_until_then():
    still = {"objp": moving("objp", 20, 30, 40, stopped_since=600), "probe": moving("probe", 4, 2, 1)}
    assert stopped_late(still, LAST, {}) == {"objp": 600}
    assert stopped_late(still, LAST, {"objp": Counting((0, 500))}) == {}, "100 of the 300 iterations since then"
    assert stopped_late({**still, "objp": moving("objp", 20, 30, 40, stopped_since=400)}, LAST, {}) == {}
    until = concluded(still, before={"objp": moving("objp", 20, 30, 40)})
    assert (until.state, until.worst, until.doublings["objp"].state) == ("drifting", "objp", "not optimised")
    assert until.sentence.endswith(" The object phase did not change after iteration 600.")
    assert until.advice == "optimise the object phase again: by iteration 600 it had not converged"
    calm = concluded(still, before={"objp": moving("objp", 8, 3, 1)})
    assert (calm.state, calm.advice[:6]) == ("converged", "it can")


def test_of_the_probe_and_positions_it_is_so_where_nothing_moves():
    positions = moving("probe_pos_shifts", 0.1, 0.2, 0.4, stopped_since=600)
    assert stopped_late({"objp": moving("objp", 8, 3, 1), "probe_pos_shifts": positions}, LAST, {}) == {}
    both = {"objp": moving("objp", 8, 3, 1, stopped_since=100), "probe_pos_shifts": positions}
    assert stopped_late(both, LAST, {}) == {"probe_pos_shifts": 600}
    until = concluded(both, before={"probe_pos_shifts": moving("probe_pos_shifts", 0.1, 0.2, 0.4)})
    assert (until.state, until.worst) == ("drifting", "probe_pos_shifts")
    assert until.sentence.endswith(" Nothing changed after iteration 600.")
    assert until.advice.startswith("look why nothing changed after iteration 600")


def test_a_change_that_was_scaled_to_a_doubling_is_said_to_be_of_one():
    scale = CONTRAST / 100
    doubled = [(400, 200, 20 * scale), (880, 400, 23 * scale)]
    motion = Motion(880, {400: CONTRAST, 880: CONTRAST}, doubled, to_last=doubled[:0])
    found = doublings_of(motion, quantity_of("objp"), 5.0, [])
    assert concluded({"objp": found}, niters=[200, 400, 880]).sentence.startswith(
        "from iteration 400 to 880 the object phase changed by 20 % of the object's contrast per doubling (5 %"
    )


def test_a_step_limited_one_is_known_only_at_a_constant_rate():
    found: Doublings = replace(moving("objp", 8, 3, 1), state="step-limited", since=None)
    verdict = concluded({"objp": found, "obja": moving("obja", 8, 3, 1)})
    assert (verdict.state, verdict.worst, exit_code(verdict)) == ("step-limited", "objp", 3)
    assert verdict.sentence.endswith("and less than before only because its learning rate fell.")
    assert verdict.advice == (
        "to know whether it has converged, go on with a constant learning rate of the object phase (phase.lr)"
    )


def test_scan_positions_are_many():
    broken = concluded({"probe_pos_shifts": moving("probe_pos_shifts", 1, 1, 1, broken_since=700)})
    assert broken.sentence == "the scan positions hold NaN or infinity since iteration 700."
    assert broken.advice == "start again, with a smaller learning rate (positions.lr)"


def test_a_broken_one_outranks_all():
    verdict = concluded({"objp": moving("objp", 20, 30, 60), "probe": moving("probe", 1, 1, 1, broken_since=700)})
    assert (verdict.state, verdict.worst, verdict.since, exit_code(verdict)) == ("broken", "probe", 700, 3)
    assert "drifting" not in verdict.sentence


def test_jitter_within_the_tolerance_is_no_harm():
    near = {"to_last": [(400, 0.06), (500, 0.06), (600, 0.06), (700, 0.06)], "drift_ratio": 1.0, "lag": 8}
    small = concluded({"objp": moving("objp", 6, 6, 6, **near)})
    assert (small.doublings["objp"].state, small.state) == ("jittering", "converged")
    assert small.sentence == (
        "The object phase jitters about a point, by 4.2 % of the object's contrast, so that two checkpoints differ by "
        "6 % (5 % tolerated)."
    )
    large = {**near, "to_last": [(niter, 0.1) for niter, _ in near["to_last"]]}
    verdict = concluded({"objp": moving("objp", 10, 10, 10, **large)})
    assert verdict.state == "jittering"
    assert verdict.sentence.startswith("since iteration 400 the object phase jitters about a point, by 7.1 % of the")
    assert verdict.advice.startswith(
        "lower the learning rate of the object phase (phase.lr): more iterations alone will not calm it"
    )


def test_that_rates_are_not_known_is_said_where_it_matters():
    unknown = replace(history(), learning_rates={})
    assert "No learning rates are recorded" in run(objp=(8, 3, 1), engine=unknown).remark
    assert "rates" not in run(objp=(20, 12, 8), engine=unknown).remark
    without = replace(unknown, settings=EngineSettings(rate_word=""))
    assert "rates" not in run(objp=(8, 3, 1), engine=without).remark, "the engine has none"


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
    [("2%", 2), ("2 %", 2), (2, 2), (0.5, 0.5), ("1e-1%", 0.1)],
)
def test_tolerances_of_the_object(given, value):
    assert check_tolerances({"objp": given})["objp"].value(dx=0.5) == value


@pytest.mark.parametrize(("given", "value"), [("0.05px", 0.05), (0.05, 0.05), ("0.1Å", 0.2), ("0.1 A", 0.2), (1, 1)])
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
    with pytest.raises(ValueError, match=re.escape("choose from phase" if key == "objq" else f"as in {key}=")):
        check_tolerances({key: given})
