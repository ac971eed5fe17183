"""Changes per doubling of real and invented runs, against brute force; how much work they are."""

import math
import re
import shutil
from collections import Counter

import h5py
import long_runs
import numpy as np
import pytest
import runs
from brute_force import difference, residual
from phantoms import two_mode_run
from prefixes import object_contrast
from ptyrad_names import TENSORS
from rarely import long_after
from toy import write_run

from ptyconv_cli.analysis import steps
from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.analysis.steps import compared_with, shown_before
from ptyconv_cli.quantities.quantity import Quantity
from ptyconv_cli.results.history import LAG, MOST
from ptyconv_cli.verdict.conclusion import exit_code
from ptyconv_cli.verdict.segments import Counting


def rms(name, change, dx):
    if name == "probe_pos_shifts":
        return dx * np.sqrt((change**2).sum(-1).mean())
    return np.sqrt((change**2).mean())


def brute_force_doubling(run_dir, files, name) -> tuple[float, float]:
    """The distance and the change per doubling of a tensor from one file to another, in float64."""
    (before, _), (now, dx) = (runs.stored(run_dir / file) for file in files)
    with h5py.File(run_dir / files[0]) as one, h5py.File(run_dir / files[1]) as other:
        niters = int(one["niter"][()]), int(other["niter"][()])
    change = residual(*difference(name, now[name], before[name]))
    if name == "probe":
        change *= change.size  # of intensities divided by their means
    intensity = now["probe"]
    contrast = {
        "probe": np.sqrt(np.mean((intensity / intensity.mean()) ** 2)) / 100,
        "probe_pos_shifts": dx,
    }.get(name, object_contrast(1 - now["obja"], now["objp"]) / 100)
    distance = rms(name, change, dx)
    return distance, distance / contrast / math.log2(niters[1] / niters[0])


@pytest.mark.parametrize("run", long_after(2, ["sample", "two modes", "modes", "fixed_positions"]))
def test_the_change_per_doubling_is_the_brute_force_one(run, tmp_path):
    if run in long_runs.NAMES:
        run_dir = long_runs.unpack(run, tmp_path)
    else:
        run_dir = runs.SAMPLE if run == "sample" else two_mode_run(tmp_path)
    doublings = analyze_run(run_dir, device="cpu").verdict.doublings
    for name in TENSORS:
        if doublings[name].state == "not optimised":
            continue
        last = doublings[name].points[-1]
        files = [f"model_iter{niter:04d}.hdf5" for niter in (last.since, last.niter)]
        expected = brute_force_doubling(run_dir, files, name)
        assert (last.distance, last.relative) == pytest.approx(expected, rel=1e-4), name


def test_tilt_and_thickness_are_judged_by_their_histories(tmp_path):
    """They travel on for ever, 0.05 mrad and 0.02 Å an iteration, while all else stands still."""
    for path in sorted(runs.SAMPLE.glob("*.hdf5")):
        shutil.copy(path, tmp_path)
        with h5py.File(tmp_path / path.name, "r+") as file:
            niters = file["avg_tilt_iters/niter"][()]
            file["avg_tilt_iters/tilt_y"][...] = 0.05 * niters
            file["dz_iters"][:, 1] = 4 + 0.02 * file["dz_iters"][:, 0]
            niter = int(file["niter"][()])
            file["optimizable_tensors/slice_thickness"][...] = 4 + 0.02 * niter
    found = analyze_run(tmp_path, device="cpu").verdict.doublings
    assert found["tilt"].state == "drifting"
    assert found["tilt"].points[-1].relative == pytest.approx(0.05 * 60)
    assert found["thickness"].state == "drifting"
    assert found["thickness"].points[-1].relative == pytest.approx(100 * 0.02 * 60 / (4 + 0.02 * 120))
    before = runs.analysis_of(runs.SAMPLE).verdict.doublings
    assert before["tilt"].state == before["thickness"].state == "not optimised"


@pytest.fixture
def standing_still(tmp_path):
    """A function that makes all tensors of a run stand still from an iteration on, with no word of it recorded."""

    def make(niter, names=TENSORS):
        for path in sorted(runs.ALL["constant_lr"].glob("*.hdf5")):
            shutil.copy(path, tmp_path)
        with h5py.File(tmp_path / f"model_iter{niter:04d}.hdf5") as file:
            kept = {name: file[f"optimizable_tensors/{name}"][()] for name in names}
        for path in tmp_path.glob("*.hdf5"):
            with h5py.File(path, "r+") as file:
                if int(file["niter"][()]) > niter:
                    for name, values in kept.items():
                        file[f"optimizable_tensors/{name}"][...] = values
        return tmp_path

    return make


def test_a_run_that_stands_still_from_its_middle_on_has_converged(standing_still):
    verdict = analyze_run(standing_still(60), device="cpu").verdict
    assert {verdict.doublings[name].state for name in TENSORS} == {"not optimised"}
    assert {verdict.doublings[name].since for name in TENSORS} == {60}
    assert (verdict.state, verdict.since, exit_code(verdict)) == ("converged", 60, 0)
    assert "nothing changed after iteration 60" in verdict.sentence


def test_a_run_that_stops_later_is_judged_by_what_it_was_until_then(standing_still):
    run_dir = standing_still(84)
    verdict = analyze_run(run_dir, device="cpu").verdict
    assert {verdict.doublings[name].since for name in TENSORS} == {84}
    until = analyze_run(
        run_dir, files=[path for path in run_dir.glob("*.hdf5") if path.name <= "model_iter0084.hdf5"], device="cpu"
    ).verdict
    assert (verdict.state, exit_code(verdict)) == (until.state, 3)
    assert verdict.sentence == f"{until.sentence} Nothing changed after iteration 84."
    assert verdict.advice.startswith("look why nothing changed after iteration 84")


def test_one_tensor_that_stands_still_does_not_count(standing_still):
    verdict = analyze_run(standing_still(84, ["probe_pos_shifts"]), device="cpu").verdict
    assert (verdict.doublings["probe_pos_shifts"].state, verdict.doublings["probe_pos_shifts"].since) == (
        "not optimised",
        84,
    )
    assert verdict.state == "converging"


def test_an_object_that_stops_late_is_judged_by_what_it_was(standing_still):
    """Also where the probe and positions go on, and count as converged."""
    run_dir = standing_still(84, ["objp", "obja"])
    wide = {"probe": "900%", "probe_pos_shifts": "90px"}
    verdict = analyze_run(run_dir, device="cpu", tolerances=wide).verdict
    assert (verdict.state, verdict.worst, exit_code(verdict)) == ("converging", "objp", 3)
    assert verdict.sentence.endswith("The object phase did not change after iteration 84.")
    early = tuple(path for path in run_dir.glob("*.hdf5") if path.name <= "model_iter0084.hdf5")
    until = analyze_run(run_dir, files=early, device="cpu", tolerances=wide).verdict
    assert verdict.sentence.startswith(until.sentence)


def test_a_run_that_never_moved_was_not_optimised(standing_still):
    verdict = analyze_run(standing_still(6), device="cpu").verdict
    assert (verdict.state, exit_code(verdict)) == ("insufficient", 4)
    assert verdict.sentence == "nothing changed from the first checkpoint to the last: nothing of it was optimised."


def test_phase_or_amplitude_alone_is_measured_by_both():
    both = runs.analysis_of(runs.SAMPLE).verdict.doublings
    for name in ("obja", "objp"):
        alone = analyze_run(runs.SAMPLE, tensors=[name], device="cpu").verdict.doublings
        assert list(alone) == [name, "tilt", "thickness"]
        assert alone[name].contrast == pytest.approx(both[name].contrast, rel=1e-9)


@np.errstate(over="ignore")
def broken(folder, values):
    for path in sorted(runs.SAMPLE.glob("*.hdf5")):
        shutil.copy(path, folder)
        with h5py.File(folder / path.name, "r+") as file:
            if int(file["niter"][()]) >= 70:
                for name, value in values.items():
                    tensor = file[f"optimizable_tensors/{name}"]
                    tensor[...] = tensor[()] * value
    return folder


@pytest.mark.parametrize("value", long_after(1, [math.nan, math.inf]))
@pytest.mark.parametrize("name", TENSORS)
def test_a_broken_tensor_outranks_everything(tmp_path, name, value):
    if name == "probe" and value == math.inf:
        value = 3e38  # whose intensity is infinite
    verdict = analyze_run(broken(tmp_path, {name: value}), device="cpu").verdict
    assert (verdict.state, verdict.worst, verdict.since, exit_code(verdict)) == ("broken", name, 70, 3)
    assert re.search("holds? NaN or infinity since iteration 70", verdict.sentence)
    assert verdict.keep == 60, "the last one that is whole"
    assert re.fullmatch(r"the (object|probe|scan positions) (is|are) broken since iteration 70", verdict.keep_because)
    assert verdict.advice.startswith("start again from iteration 60, with a smaller learning rate (model_params.")


@pytest.mark.parametrize("value", [0.0, 1e-6, 0.03])
def test_a_probe_that_vanished_is_broken(tmp_path, value):
    verdict = analyze_run(broken(tmp_path, {"probe": value}), device="cpu").verdict
    assert (verdict.state, verdict.worst, verdict.since) == ("broken", "probe", 70)
    assert verdict.sentence == "the probe has nearly vanished since iteration 70."
    assert (verdict.keep, verdict.keep_because) == (60, "the probe is broken since iteration 70")


def test_a_run_that_has_converged_without_learning_rates_says_so():
    """That of one that moves its learning rate fell is no question."""
    wide = dict.fromkeys(("objp", "obja"), "900%")
    verdict = analyze_run(runs.SAMPLE_PT, device="cpu", tolerances=wide).verdict
    assert (verdict.state, verdict.remark) == (
        "converged",
        "No learning rates are recorded: whether a change is small only because they fell is not known.",
    )
    assert runs.analysis_of(runs.SAMPLE_PT).verdict.state != "converged"
    assert runs.analysis_of(runs.SAMPLE_PT).verdict.remark == ""
    known = analyze_run(runs.SAMPLE, device="cpu", tolerances=wide).verdict
    assert (known.state, known.remark) == ("converged", "")


def test_a_learning_rate_that_goes_to_0_does_not_hide_that_the_object_moved():
    verdict = runs.analysis_of(runs.ALL["cosine_lr"]).verdict
    assert (verdict.state, exit_code(verdict)) == ("drifting", 3)
    assert verdict.doublings["objp"].points[-1].relative > 100
    for name in ("probe", "probe_pos_shifts"):
        assert verdict.doublings[name].state == "step-limited"
    assert verdict.keep < 60, "the object was calm before"


def test_a_tolerance_in_angstrom_is_one_in_pixels():
    dx = runs.analysis_of(runs.SAMPLE).dx
    found = analyze_run(runs.SAMPLE, tolerances={"probe_pos_shifts": "0.1Å", "objp": "7%"}, device="cpu").verdict
    assert found.doublings["probe_pos_shifts"].tolerance == pytest.approx(0.1 / dx)
    assert (found.doublings["objp"].tolerance, found.doublings["objp"].state) == (7, "converged")


@pytest.mark.parametrize("count", [1, 2, 16, 63, 64, 65, 127, 128, 1000])
def test_shown_checkpoints_are_spread_evenly_with_the_first(count):
    shown = list(shown_before(count))
    assert shown[0] == 0
    assert len(shown) <= MOST - 1
    assert len(shown) >= min(count, MOST // 2 - 1)
    assert len(set(np.diff(shown).tolist())) <= 1
    assert set(shown) <= {*shown_before(max(count - 1, 1)), count - 1}, "what is shown was compared before"


def test_a_checkpoint_is_compared_with_few_others():
    niters = list(range(10, 10001, 10))
    for count in (2, 17, 200, 1000):
        found = compared_with(niters[:count], Counting())
        assert {count - 2, max(count - 1 - LAG, 0), (count - 1) // 2} - set(found) <= {0, -1}
        assert len(found) <= MOST + 2


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Checkpoints of a small object, at every second iteration."""
    folder = tmp_path_factory.mktemp("long")
    write_run(folder, range(2, 4 * MOST + 1, 2))
    return sorted(folder.glob("*.hdf5"))


def work_of(files, monkeypatch, cache=None):
    """How many distances an analysis worked out, and how many rows of sketched values it read back."""
    done = Counter()
    measure, read = Quantity.distances, steps.Rows.read

    def counted(self, places, later, earlier, dx):
        done["distances"] += len(earlier)
        return measure(self, places, later, earlier, dx)

    def counted_read(self, row):
        done["rows"] += 1
        return read(self, row)

    with monkeypatch.context() as patched:
        patched.setattr(Quantity, "distances", counted)
        patched.setattr(steps.Rows, "read", counted_read)
        analysis = analyze_run(files[0].parent, cache=cache, files=files, tensors=["probe"], device="cpu")
    return done, analysis


def test_the_work_grows_in_proportion_to_the_number_of_checkpoints(files, monkeypatch):
    per_checkpoint = []
    for count in (MOST + 6, MOST + 40):
        done, analysis = work_of(files[:count], monkeypatch)
        per_checkpoint.append(done["distances"] / count)
        assert len(analysis.trajectories["probe"].niters) <= MOST
        assert len(analysis.trajectories["probe"].aligned.between) <= MOST
    assert max(per_checkpoint) <= MOST + 2
    assert per_checkpoint[1] <= 1.3 * per_checkpoint[0]


def test_a_new_checkpoint_costs_the_same_however_many_there_are(files, tmp_path, monkeypatch):
    costs = []
    for count in (MOST + 6, 2 * MOST):
        cache = Cache(tmp_path / str(count))
        work_of(files[: count - 1], monkeypatch, cache)
        cache.keep()
        cost, _ = work_of(files[:count], monkeypatch, cache)
        assert 0 < cost["distances"] <= MOST + 2
        assert cost["rows"] <= MOST + 2
        costs.append(cost)
    assert costs[0]["distances"] == pytest.approx(costs[1]["distances"], rel=0.05)


@pytest.mark.parametrize(("count", "lag"), long_after(3, [(2, 1), (7, 3), (16, 8), (3, 1), (4, 2), (15, 7), (40, 8)]))
def test_the_drift_ratio_looks_back_half_of_few_checkpoints(files, count, lag):
    found = analyze_run(files[0].parent, files=files[:count], device="cpu").trajectories["objp"]
    assert found.lag == lag
    niters = [niter for niter, _ in found.aligned.drift_ratio]
    assert niters == (list(range(2 * (lag + 1), 2 * count + 1, 2)) if lag > 1 else [])
    assert found.to_last(found.raw)[-1] == (2 * count, 0.0)
