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
    analysis = analyze_run(folder, device="cpu")
    live, post_hoc = monitor.verdict(rates, loss=analysis.engine.loss), analysis.verdict
    assert (live.state, live.worst, live.sentence) == (post_hoc.state, post_hoc.worst, post_hoc.sentence)
    assert (live.keep, live.keep_because) == (post_hoc.keep, post_hoc.keep_because)
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


@pytest.mark.parametrize(
    "given", [{"objp": 5e-4}, {"objp": [5e-4, 5e-4]}, {"objp": [(1, "fast")]}, [(1, 5e-4)], {"objp": {1: 5e-4}}]
)
def test_learning_rates_in_another_form_are_an_error_that_says_the_form(recorded, given):
    monitor, _ = recorded
    with pytest.raises(ValueError, match=r"learning_rates.*\(niter, rate\)"):
        monitor.verdict(given)


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


def test_iterations_count_from_the_begin_and_at_equal_phases_of_a_schedule_that_restarts():
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True, "tensors": ["objp"]}, model)
    for niter in range(1, 44):
        model.update()
        monitor.step(model, niter)
    jumps = {"objp": [(niter, 1.0 if niter <= 20 else 0.1) for niter in range(1, 44)]}
    last = monitor.verdict(jumps).doublings["objp"].points[-1]
    assert (last.niter, last.since) == (43, 22)
    restarts = {"objp": [(niter, 0.7 ** (niter % 10)) for niter in range(1, 44)]}
    last = monitor.verdict(restarts).doublings["objp"].points[-1]
    assert (last.niter, last.since) == (43, 23)


def test_the_loss_is_the_models_or_what_is_given():
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True}, model)
    model.loss_iters = []
    for niter in range(1, 25):
        model.update()
        model.loss_iters.append((niter, 10.0 + abs(niter - 12)))
        monitor.step(model, niter)
    assert monitor.verdict().loss_lowest_at == 12
    assert monitor.verdict(loss=[(niter, 1.0 / niter) for niter in range(1, 25)]).loss_lowest_at == 24
    diverged = [(niter, 1.0 if niter < 20 else 1e9) for niter in range(1, 25)]
    assert monitor.verdict(loss=diverged).state == "broken"


@pytest.mark.parametrize("odd", [None, 7, [1.0, 2.0], {"a": 1}, [("x", "y")], [(1, None)]])
def test_a_loss_of_another_kind_is_not_known(odd):
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True}, model)
    model.loss_iters = odd
    for niter in range(1, 5):
        model.update()
        monitor.step(model, niter)  # without a warning
    assert monitor.verdict().loss_lowest_at is None


def test_each_snapshot_is_measured_by_what_it_holds_itself(recorded):
    monitor, folder = recorded
    live, post_hoc = monitor.verdict().doublings["objp"], analyze_run(folder, device="cpu").verdict.doublings["objp"]
    contrasts = [point.contrast for point in live.points]
    assert len(set(contrasts)) == len(contrasts)
    assert contrasts == pytest.approx([point.contrast for point in post_hoc.points], rel=1e-3)


def test_an_amplitude_that_vanishes_breaks_a_run():
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True}, model)
    for niter in range(1, 9):
        model.update()
        if niter >= 5:
            model.optimizable_tensors["obja"].data.mul_(3e-4)
        monitor.step(model, niter)
    verdict = monitor.verdict()
    assert (verdict.state, verdict.worst, verdict.since) == ("broken", "obja", 5)
    assert verdict.sentence == "the object amplitude has nearly vanished since iteration 5."


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
    monitor, analysis = frozen_run(tmp_path), analyze_run(tmp_path, device="cpu")
    live, post_hoc = monitor.verdict(loss=analysis.engine.loss), analysis.verdict
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


def test_a_scale_that_goes_from_the_probe_to_the_object_breaks_nothing():
    """By a thousand in amplitude: every pattern is as it was."""
    verdicts = []
    for scale in (1.0, 1e3):
        model = ToyModel()
        monitor = ConvergenceMonitor({"aligned": True}, model)
        for niter in range(1, 9):
            model.update()
            if niter == 5:
                slices = model.optimizable_tensors["obja"].shape[1]
                model.optimizable_tensors["obja"].data.mul_(scale ** (1 / slices))
                model.optimizable_tensors["probe"].data.div_(scale)
            monitor.step(model, niter)
        verdicts.append(monitor.verdict())
    assert "broken" not in {found.state for verdict in verdicts for found in verdict.doublings.values()}
