"""The verdict of a live monitor: the same as of the checkpoints, from memory that is bounded."""

import math

import numpy as np
import pytest
import torch
from ptyrad_names import TENSORS
from toy import ToyModel, write_hdf5

from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.convergence import ConvergenceMonitor
from ptyconv_cli.results.history import LAG
from ptyconv_cli.verdict.live import OCTAVES, PER_OCTAVE


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A monitor and the checkpoints of the same 24 iterations."""
    folder, model = tmp_path_factory.mktemp("run"), ToyModel()
    monitor = ConvergenceMonitor({"aligned": True}, model)
    for niter in range(1, 25):
        model.update()
        monitor.step(model, niter)
        write_hdf5(folder / f"model_iter{niter:04d}.hdf5", model, niter)
    return monitor, folder


def test_it_is_the_verdict_of_the_checkpoints(recorded):
    monitor, folder = recorded
    rates = {name: [(niter, 1.0) for niter in range(1, 25)] for name in TENSORS}
    live, post_hoc = monitor.verdict(rates), analyze_run(folder, device="cpu").verdict
    assert (live.state, live.worst, live.sentence) == (post_hoc.state, post_hoc.worst, post_hoc.sentence)
    for name in TENSORS:
        one, other = live.doublings[name], post_hoc.doublings[name]
        # The object walks, and is moved to where the first snapshot's is, which is another one.
        assert (one.state, one.since) == (other.state, other.since)
        assert one.contrast == pytest.approx(other.contrast, rel=1e-3)
        assert [point.niter for point in one.points] == [point.niter for point in other.points]
        expected = [point.relative for point in other.points]
        assert [point.relative for point in one.points] == pytest.approx(expected, rel=0.1)


def test_tolerances_are_those_of_the_command_line(recorded):
    monitor, _ = recorded
    wide = {"objp": "900%", "obja": "900%", "probe": 900, "probe_pos_shifts": "90px"}
    assert monitor.verdict(tolerances=wide).state == "converged"
    with pytest.raises(ValueError, match="tolerance of objp"):
        monitor.verdict(tolerances={"objp": "1px"})


def test_it_needs_the_aligned_change():
    with pytest.raises(ValueError, match="aligned"):
        ConvergenceMonitor({}, ToyModel()).verdict()


def test_before_there_is_anything_it_is_too_early():
    monitor = ConvergenceMonitor({"aligned": True}, ToyModel())
    assert monitor.verdict().state == "insufficient"


def test_memory_is_bounded():
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True, "tensors": ["probe_pos_shifts"]}, model)
    most = (OCTAVES + 1) * PER_OCTAVE + LAG + 1
    for niter in range(1, 1001):
        model.update()
        monitor.step(model, niter)
        assert len(monitor._evidence._tensors["probe_pos_shifts"]._sketches) <= most
    points = monitor.verdict().doublings["probe_pos_shifts"].points
    assert points[-1].niter == 1000
    assert points[-1].since == pytest.approx(500, rel=0.03)


def test_a_learning_rate_that_jumps_begins_a_segment():
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True, "tensors": ["objp"]}, model)
    for niter in range(1, 41):
        model.update()
        monitor.step(model, niter)
    rates = {"objp": [(niter, 1.0 if niter <= 20 else 0.1) for niter in range(1, 41)]}
    points = monitor.verdict(rates).doublings["objp"].points
    assert {point.since > 20 for point in points} == {True}
    assert (points[-1].niter, points[-1].since) == (40, 30)


@pytest.mark.parametrize("name", ["objp", "probe_pos_shifts"])
def test_a_broken_tensor_is_named(name):
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True}, model)
    for niter in range(1, 9):
        model.update()
        if niter >= 6:
            with torch.no_grad():
                model.optimizable_tensors[name].fill_(np.nan)
        monitor.step(model, niter)
    verdict = monitor.verdict()
    assert (verdict.state, verdict.worst, verdict.since) == ("broken", name, 6)


@pytest.mark.parametrize("left", [0.0, 1e-5])
def test_a_probe_that_vanishes_breaks_a_run(left):
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True}, model)
    for niter in range(1, 9):
        model.update()
        if niter >= 5:
            model.optimizable_tensors["probe"].data.mul_(left)
        monitor.step(model, niter)
    verdict = monitor.verdict()
    assert (verdict.state, verdict.worst, verdict.since) == ("broken", "probe", 5)
    if not left:
        assert math.isnan(dict(model.convergence_iters["probe"])[8])


def frozen_run(folder=None, **params):
    """A monitor of 24 iterations, of which the last six change nothing, and their checkpoints in a folder."""
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True, **params}, model)
    for niter in range(1, 25):
        if niter <= 18:
            model.update()
        monitor.step(model, niter)
        if folder:
            write_hdf5(folder / f"model_iter{niter:04d}.hdf5", model, niter)
    return monitor


def test_a_run_that_stands_still_is_judged_by_what_it_was_until_then(tmp_path):
    live, post_hoc = frozen_run(tmp_path).verdict(), analyze_run(tmp_path, device="cpu").verdict
    assert (live.state, live.worst, live.sentence) == (post_hoc.state, post_hoc.worst, post_hoc.sentence)
    assert live.state != "converged"
    assert live.sentence.endswith("Nothing changed after iteration 18.")
    assert {found.state for found in live.doublings.values()} == {"not optimised"}


def test_an_iteration_that_is_done_again_replaces_itself(recorded):
    model, monitors = ToyModel(), []
    for again in (False, True):
        model = ToyModel()
        monitors.append(ConvergenceMonitor({"aligned": True}, model))
        for niter in range(1, 17):
            model.update()
            monitors[-1].step(model, niter)
            if again and niter in (8, 16):
                monitors[-1].step(model, niter)
    once, twice = (monitor.verdict() for monitor in monitors)
    assert twice.sentence == once.sentence
    for name in TENSORS:
        assert twice.doublings[name].points == once.doublings[name].points


@pytest.mark.parametrize("name", ["objp", "obja"])
def test_phase_or_amplitude_alone_is_measured_by_both(recorded, name):
    both = recorded[0].verdict().doublings
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True, "tensors": [name]}, model)
    for niter in range(1, 25):
        model.update()
        monitor.step(model, niter)
    assert monitor.verdict().doublings[name].contrast == pytest.approx(both[name].contrast, rel=5e-3)
