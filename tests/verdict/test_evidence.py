"""The verdict tried on runs of seven engines whose truth is known, at every prefix, as docs/verdict.md has it."""

import math

import evidence
import numpy as np
import pytest
from prefixes import prefixes_of
from rarely import long_but

FOLDERS = evidence.folders_in(evidence.FOLDER)
DIVERGED = ("phaser_lsqml_lo_pos", "ptypy_epie_lo", "ptyrad_times100")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All runs, walked over once."""
    return list(evidence.cases(evidence.FOLDER, tmp_path_factory.mktemp("evidence")))


@pytest.mark.long
def test_what_is_called_converged_stays_so(found):
    calls = sum(verdict.state == "converged" for case in found for verdict in case.judged.values())
    assert calls > 60, "the test can fail"
    assert [text for case in found for text in evidence.false_calls(case)] == []


@pytest.mark.long
def test_where_a_run_is_first_called_converged_it_is_near_its_best(found):
    """A loop that ends there must not cost a good run: at any checkpoint, from the third on."""
    calls = evidence.first_calls(found)
    assert len(calls) >= 10
    assert max(far for _, far in calls.values()) <= 0.02
    assert all(case.prefixes.niters.index(calls[case.name][0]) >= 2 for case in found if case.name in calls)


@pytest.mark.long
def test_no_run_that_approaches_the_truth_is_called_drifting(found):
    on_their_way = [n for case in found for n in case.judged if case.truth.falls_after(n) >= evidence.BETTER]
    assert len(on_their_way) > 10, "the test can fail"
    wrong = [text for case in found for text in evidence.bad_advice(case)]
    assert len(wrong) <= 0.03 * sum(len(case.judged) for case in found), wrong


@pytest.mark.long
def test_once_there_is_a_verdict_there_is_always_one(found):
    assert [text for case in found for text in evidence.flips(case)] == []


@pytest.mark.long
def test_the_checkpoint_to_keep_is_near_the_best(found):
    ends = [case.regret(case.last) for case in found]
    ends = [pair for pair in ends if not math.isnan(pair[0])]
    assert len(ends) >= 28
    assert np.mean([regret for regret, _ in ends]) <= evidence.SMALL_REGRET
    assert sum(worse > evidence.WORSE for _, worse in ends) <= len(ends) / 20
    at_all = [case.regret(niter) for case in found for niter in case.judged]
    known = [pair for pair in at_all if not math.isnan(pair[0])]
    assert np.mean([regret for regret, _ in known]) <= 2 * evidence.SMALL_REGRET
    assert sum(worse > evidence.WORSE for _, worse in known) <= len(known) / 20


@pytest.mark.long
def test_the_forecast_holds_for_each_engine_also_where_it_is_fitted_on_the_others(found):
    moments = 0
    for key, engine, count, held, of_others, held_by_these in evidence.coverage(found):
        assert held >= 0.9, (key, engine)
        assert held_by_these >= 0.9, (key, engine, of_others)
        moments += count
    assert moments > 400


@pytest.mark.long
def test_the_table_of_the_docs_is_this_one(found):
    content = evidence.DOCS.read_text()
    shown = content.split(evidence.BEGIN)[1].split(evidence.END)[0].strip()
    assert shown == evidence.table(found).strip(), "make evidence"


@pytest.mark.parametrize("name", long_but(FOLDERS, *DIVERGED))
def test_a_run_that_diverged_is_called_so_in_time(name):
    case = evidence.Case(name, prefixes_of(FOLDERS[name]), evidence.Truth({}, {}))
    assert (case.verdicts[case.last].state == "broken") == (name in DIVERGED)
    assert evidence.called_late(case) == []


def test_atoms_have_converged_from_iteration_50_on_and_the_positions_still_move():
    run = prefixes_of(FOLDERS["ptyrad_atoms"])
    assert {run.verdict(niter).state for niter in run.niters if niter >= 50} == {"converged"}
    last = run.verdict(run.niters[-1])
    assert "Scan positions still move, by 0.095 px per doubling, within the 0.1 px tolerated, but more" in last.sentence
    assert last.keep == 200
