"""What may be taken for a walk and is none: nothing is moved for it, and no change comes of it."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import runs
from ambiguities import Reading, State

from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.results.run_analysis import RunAnalysis

FOLDERS = {"PtyRAD": runs.DATA / "ptyrad-v2" / "pixel", "ptychodus": runs.DATA / "engines" / "ptychodus"}
"""Phases that do not wrap, and a complex object."""


class Changed(NamedTuple):
    """From a place in a run on, `change` is done to its checkpoints."""

    change: Callable[[State], State]
    since: int = 1
    until: int = 99

    def of(self, state: State, place: int) -> State:
        return self.change(state) if self.since <= place < self.until else state


def as_it_is(state: State) -> State:
    return state


@cache
def niters_of(name: str) -> list[int]:
    return [checkpoint.niter for checkpoint in analyze_run(FOLDERS[name], device="cpu").checkpoints]


def analyzed(name: str, changed: Changed) -> RunAnalysis:
    reading = Reading()
    reading.niters, reading.ambiguity = niters_of(name), changed
    with reading.instead():
        return analyze_run(FOLDERS[name], device="cpu")


@cache
def as_read(name: str) -> RunAnalysis:
    return analyzed(name, Changed(as_it_is))


def a_few_positions_jump(state: State) -> State:
    positions = state.probe_pos_shifts.copy()
    positions[:: max(len(positions) // 4, 1)] += (60, -45)
    return replace(state, probe_pos_shifts=positions)


def positions_go_without_the_object(state: State) -> State:
    return replace(state, probe_pos_shifts=state.probe_pos_shifts + np.array([2, 0.5]))


def positions_are_absurd(state: State) -> State:
    return replace(state, probe_pos_shifts=state.probe_pos_shifts + 1e9)


def the_probe_grows_a_side_lobe(state: State) -> State:
    lobe = 0.8 * np.roll(state.probe, (3, 2), (-2, -1))
    return replace(state, probe=state.probe + lobe)


MISLEADING = [
    a_few_positions_jump,
    positions_go_without_the_object,
    positions_are_absurd,
    the_probe_grows_a_side_lobe,
]


def changes_of_object(analysis: RunAnalysis) -> dict[str, list[float]]:
    return {
        key: [point.value for point in points]
        for key, points in analysis.aligned_points.items()
        if key.startswith("obj")
    }


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("change", MISLEADING)
def test_an_object_that_stays_is_not_moved(name, change):
    expected, found = changes_of_object(as_read(name)), changes_of_object(analyzed(name, Changed(change)))
    assert expected.keys() == found.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, rel=0.02), key


class Creeping(NamedTuple):
    step: float

    def of(self, state: State, place: int) -> State:
        return replace(state, probe_pos_shifts=state.probe_pos_shifts + self.step * place)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("step", [0.03, 0.1, 0.4])
def test_positions_that_creep_away_from_an_object_do_not_take_it_along(name, step):
    expected, found = changes_of_object(as_read(name)), changes_of_object(analyzed(name, Creeping(step)))
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, rel=0.05), key


@pytest.mark.parametrize("name", FOLDERS)
def test_a_value_that_is_not_finite_in_the_first_checkpoint_spoils_no_other(name):
    def spoilt(state: State) -> State:
        phase = state.objp.copy()
        middle = tuple(size // 2 for size in phase.shape[-2:])
        phase[(0, 0, *middle)] = np.nan
        return replace(state, objp=phase)

    expected = changes_of_object(as_read(name))
    found = changes_of_object(analyzed(name, Changed(spoilt, 0, 1)))
    for key, values in expected.items():
        assert found[key][-2:] == pytest.approx(values[-2:], rel=0.02), key
