"""The live class, as an engine uses it."""

import contextlib
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_gpu import Gpu
from fake_models import large_on, toy_on
from ptyrad_names import SERIES, TENSORS
from toy import ToyModel, write_hdf5, write_pt

from ptyconv_cli import convergence
from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.convergence import ConvergenceMonitor, create_convergence_monitor
from ptyconv_cli.metrics import percentiles, percentiles_gpu, planes_gpu, snapshot
from ptyconv_cli.quantities import registration, snapshots
from ptyconv_cli.results import history
from ptyconv_cli.verdict import live
from ptyconv_cli.verdict.rules import STATES

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
KEYS = [series.key for series in SERIES]


@pytest.mark.parametrize(("writer", "suffix"), [(write_hdf5, ".hdf5"), (write_hdf5, ".h5"), (write_pt, ".pt")])
@pytest.mark.parametrize("device", DEVICES)
def test_live_and_post_hoc_values_are_equal(tmp_path, device, writer, suffix):
    model = ToyModel(device=device)
    monitor = ConvergenceMonitor({"every_n_iters": None, "aligned": True}, model)
    writer(tmp_path / f"model_iter0000{suffix}", model, 0)
    for niter in range(1, 13):
        model.update()
        if monitor.should_step(niter, save_iters=3):
            monitor.step(model, niter)
            writer(tmp_path / f"model_iter{niter:04d}{suffix}", model, niter)
    assert [niter for niter, _ in model.convergence_iters["objp_fg"]] == [3, 6, 9, 12]
    analysis = analyze_run(tmp_path, device=device)
    post_hoc = analysis.convergence_iters
    assert post_hoc == model.convergence_iters
    assert all(value > 0 for curve in post_hoc.values() for _, value in curve)
    aligned = {key: [(p.niter, p.value) for p in points] for key, points in analysis.aligned_points.items()}
    assert aligned == model.convergence_aligned_iters


def test_aligned_changes_have_a_record_of_their_own():
    """The engine's own record is the same with them and without, and the model needs no place for theirs."""
    models = ToyModel(), ToyModel(), ToyModel()
    models[2].convergence_aligned_iters = {"probe": [(0, 9.0)]}
    for model, aligned in zip(models, (False, True, True), strict=True):
        monitor = ConvergenceMonitor({"aligned": aligned}, model)
        model.update()
        monitor.step(model, 1)
    assert models[0].convergence_iters == models[1].convergence_iters
    assert not hasattr(models[0], "convergence_aligned_iters")
    assert list(models[1].convergence_aligned_iters) == KEYS
    assert models[2].convergence_aligned_iters["probe"] == [(0, 9.0), *models[1].convergence_aligned_iters["probe"]]
    assert models[1].convergence_aligned_iters != models[1].convergence_iters


@pytest.mark.parametrize("device", DEVICES)
def test_values_are_the_formulas(device):
    """Written out once more in float64, on whole tensors that are copied by the test itself."""
    model = ToyModel(device=device)
    monitor = ConvergenceMonitor({"percentile_range": [20, 70]}, model)
    before = model.arrays()
    for _ in range(5):
        model.update()
    monitor.step(model, 5)
    now = model.arrays()
    found = {key: curve[-1][1] for key, curve in model.convergence_iters.items()}

    def tensors(arrays):
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    before, now = tensors(before), tensors(now)
    for name, sign in (("obja", -1), ("objp", 1)):
        # Corners reach from (0, 1) to (12, 16); a probe of 6 × 8 px puts centres at y 3 to 15, x 5 to 20.
        crop = (..., slice(2, 15), slice(4, 20))
        x, y = sign * now[name][crop].double(), sign * before[name][crop].double()
        low, high = torch.quantile(x, torch.tensor([0.2, 0.7]).double())
        assert found[f"{name}_bg"] == pytest.approx(float((x - y).abs()[x < low].mean()), rel=2e-6)
        assert found[f"{name}_fg"] == pytest.approx(float((x - y).abs()[x > high].mean()), rel=2e-6)
    intensity, old = (t["probe"].to(torch.complex128).abs().square().sum(0) for t in (now, before))
    assert found["probe"] == pytest.approx(float((intensity - old).abs().sum() / old.sum()), rel=2e-6)
    moved = (now["probe_pos_shifts"] - before["probe_pos_shifts"]).double()
    assert found["probe_pos_shifts"] == pytest.approx(0.25 * math.sqrt(moved.square().sum(-1).mean()), rel=2e-6)


def test_snapshots_are_copies():
    """An engine updates its tensors in place; a view would be compared with itself and give 0."""
    model = ToyModel()
    monitor = ConvergenceMonitor({}, model)
    with torch.no_grad():
        for tensor in model.optimizable_tensors.values():
            tensor += 0.125
    monitor.step(model, 1)
    assert model.convergence_iters["objp_bg"][0][1] == pytest.approx(0.125, rel=1e-5)
    assert model.convergence_iters["obja_fg"][0][1] == pytest.approx(0.125, rel=1e-5)
    assert model.convergence_iters["probe_pos_shifts"][0][1] == pytest.approx(0.25 * 0.125 * math.sqrt(2), rel=1e-5)
    assert model.convergence_iters["probe"][0][1] > 0


def test_a_plain_dict_takes_the_record():
    model = ToyModel()
    model.convergence_iters = {}
    monitor = ConvergenceMonitor({"tensors": ["probe", "objp"]}, model)
    monitor.step(model, 7)
    monitor.step(model, 9)
    assert model.convergence_iters == {key: [(7, 0.0), (9, 0.0)] for key in ("objp_bg", "objp_fg", "probe")}


@pytest.mark.parametrize("tensor", TENSORS)
def test_only_the_chosen_tensor_is_recorded_and_needed(tensor):
    model = ToyModel()
    if tensor != "probe":
        model.optimizable_tensors = {
            name: values for name, values in model.optimizable_tensors.items() if name in (tensor, "probe")
        }
    ConvergenceMonitor({"tensors": [tensor]}, model).step(model, 1)
    assert list(model.convergence_iters) == [series.key for series in SERIES if series.tensor == tensor]


@pytest.mark.parametrize(
    ("every_n_iters", "save_iters", "due"),
    [
        (None, None, []),
        (None, 4, [4, 8, 12]),
        (3, 4, [3, 6, 9, 12]),
        (5, None, [5, 10]),
        (1, None, list(range(1, 13))),
        (np.int64(6), None, [6, 12]),
        (None, 0, []),
    ],
)
def test_when_a_step_is_due(every_n_iters, save_iters, due):
    monitor = ConvergenceMonitor({"every_n_iters": every_n_iters}, ToyModel())
    assert [niter for niter in range(1, 13) if monitor.should_step(niter, save_iters)] == due


def test_no_parameters_no_monitor():
    model = ToyModel()
    assert create_convergence_monitor(None, model) is None
    monitor = create_convergence_monitor({"tensors": ["probe"], "every_n_iters": 2}, model)
    assert isinstance(monitor, ConvergenceMonitor)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"tensors": ["obja", "probes"]}, "unknown tensor probes: choose from obja, objp, probe, probe_pos_shifts"),
        ({"tensors": []}, "no tensor to track: choose at least one of obja, objp, probe, probe_pos_shifts"),
        ({"tensors": "objp"}, "tensors must be a list of names"),
        ({"tensors": None}, "tensors must be a list of names"),
        ({"percentile_range": [85, 15]}, "0 <= low <= high <= 100; got 85 and 15"),
        ({"percentile_range": [-1, 50]}, "0 <= low <= high <= 100; got -1 and 50"),
        ({"percentile_range": [50, 100.5]}, "0 <= low <= high <= 100; got 50 and 100.5"),
        ({"percentile_range": [math.nan, 85]}, "0 <= low <= high <= 100; got nan and 85"),
        ({"percentile_range": [15]}, "two numbers, low then high"),
        ({"percentile_range": 15}, "two numbers, low then high"),
        ({"percentile_range": [15, 50, 85]}, "two numbers, low then high"),
        ({"percentile_range": ["15", "85"]}, "two numbers, low then high"),
        ({"every_n_iters": 0}, "every_n_iters must be a whole number of at least 1, or None; got 0"),
        ({"every_n_iters": -5}, "got -5"),
        ({"every_n_iters": 2.5}, "got 2.5"),
        ({"every_n_iters": True}, "got True"),
        ([], "the parameters must be a dict; got []"),
        (5, "the parameters must be a dict; got 5"),
        ({"snapshot_device": "disk"}, "snapshot_device must be \"cpu\", or None for the model's own; got 'disk'"),
        (
            {"every_n_iter": 5},
            "unknown parameter every_n_iter: allowed are tensors, every_n_iters, percentile_range, snapshot_device, "
            "aligned",
        ),
        ({"aligned": 1}, "aligned must be True or False; got 1"),
    ],
)
def test_bad_parameters_say_what_is_allowed(params, said):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        ConvergenceMonitor(params, ToyModel())
    assert said in str(error.value)


def test_a_model_without_the_tensor_is_refused():
    model = ToyModel()
    del model.optimizable_tensors["objp"]
    with pytest.raises(ValueError, match="the model has no tensor objp; it has obja, probe, probe_pos_shifts"):
        ConvergenceMonitor({"tensors": ["objp"]}, model)


def test_a_scan_outside_the_object_is_refused():
    model = ToyModel()
    model.crop_pos = model.crop_pos + 1000
    with pytest.raises(ValueError, match=r"the scanned region \(y 1002:1015, x 1004:1020 px\) holds no voxel"):
        ConvergenceMonitor({}, model)


def with_tensor(name, change):
    def spoil(model):
        model.optimizable_tensors[name] = change(model.optimizable_tensors[name].detach())

    return spoil


NO_MODELS = {
    "dx is None": (lambda model: setattr(model, "dx", None), "dx, the size of a pixel in Å, .* found None"),
    "dx is NaN": (lambda model: setattr(model, "dx", torch.tensor(math.nan)), "a number above 0; found tensor"),
    "dx is -1": (lambda model: setattr(model, "dx", -1), "a number above 0; found -1"),
    "dx is several": (lambda model: setattr(model, "dx", torch.ones(2)), "a number above 0; found tensor"),
    "crop_pos is 1-D": (
        lambda model: setattr(model, "crop_pos", model.crop_pos[:, 0]),
        r"\(N, 2\); found int32 \(30,\)",
    ),
    "crop_pos is lacking": (lambda model: delattr(model, "crop_pos"), r"corners \[y, x\] of the probe windows"),
    "crop_pos is NaN": (lambda model: setattr(model, "crop_pos", model.crop_pos * math.nan), "finite numbers"),
    "crop_pos is meta": (lambda model: setattr(model, "crop_pos", model.crop_pos.to("meta")), "holds no numbers"),
    "no tensors": (lambda model: setattr(model, "optimizable_tensors", None), "must be a dict of tensors"),
    "no probe": (lambda model: setattr(model, "get_complex_probe_view", lambda: None), r"must return \(pmode, y, x\)"),
    "2-D": (with_tensor("obja", lambda tensor: tensor[0, 0]), r"obja: expected \(omode, slice, y, x\), found"),
    "empty": (with_tensor("obja", lambda tensor: tensor[..., :0]), r"obja: expected \(omode, slice, y, x\), found"),
    "meta": (with_tensor("objp", lambda tensor: tensor.to("meta")), "objp: has no numbers"),
    "bool": (with_tensor("objp", lambda tensor: tensor > 0), "objp: expected real numbers, found bool"),
    "None": (with_tensor("probe_pos_shifts", lambda tensor: None), "probe_pos_shifts: expected a tensor, found a None"),
}


@pytest.mark.parametrize("name", NO_MODELS)
def test_what_is_lacking_of_a_model_is_said(name):
    model = ToyModel()
    spoil, said = NO_MODELS[name]
    spoil(model)
    with pytest.raises(ValueError, match=said):
        ConvergenceMonitor({"aligned": True}, model)


def test_tensors_may_be_in_a_dict_of_parameters():
    model = ToyModel()
    model.optimizable_tensors = torch.nn.ParameterDict(model.optimizable_tensors)
    monitor = ConvergenceMonitor({"aligned": True}, model)
    monitor.step(model, 1)
    assert monitor.verdict().state in STATES


def test_a_loss_that_cannot_be_read_is_not_known():
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True}, model)
    model.loss_iters = [(1, torch.empty((), device="meta"))]
    monitor.step(model, 1)
    assert monitor.verdict().loss_lowest_at is None


def test_a_model_that_is_wrapped_is_to_be_unwrapped():
    with pytest.raises(ValueError, match=r"wrapped, as by DistributedDataParallel: pass model\.module"):
        ConvergenceMonitor({}, torch.nn.DataParallel(torch.nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"a Linear is no model that can be watched: it needs optimizable_tensors"):
        ConvergenceMonitor({}, torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    "taken", [torch.Tensor.double, torch.Tensor.numpy, torch.Tensor.tolist, lambda crop: crop + 0.4]
)
def test_positions_of_any_real_numbers_are_taken(taken):
    monitors = []
    for change in (taken, lambda crop: crop):
        model = ToyModel()
        model.crop_pos = change(model.crop_pos)
        monitors.append(ConvergenceMonitor({"aligned": True}, model))
        model.update()
        monitors[-1].step(model, 1)
        monitors[-1].record = dict(model.convergence_iters)
    assert monitors[0].region == monitors[1].region
    assert monitors[0].record == monitors[1].record


SPOILT = {
    "2-D": lambda tensor: tensor.reshape(tensor.shape[0], -1)[:, :1],
    "empty": lambda tensor: tensor[..., :0],
    "meta": lambda tensor: tensor.to("meta"),
    "bool": lambda tensor: tensor > 0,
    "None": lambda tensor: None,
}


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("name", ["objp", "obja", "probe_pos_shifts"])
@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_tensor_that_is_something_else_for_a_step_is_nan_then(spoilt, name, aligned):
    """And neither that step, nor a verdict after any of them, ends the loop."""
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": aligned}, model)
    for niter in range(1, 9):
        model.update()
        tensors = dict(model.optimizable_tensors)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            if niter == 4:
                model.optimizable_tensors[name] = SPOILT[spoilt](tensors[name].detach())
            monitor.step(model, niter)
            assert bool(warned) == (niter == 4)
            if aligned:
                assert monitor.verdict().state in STATES
        model.optimizable_tensors.update(tensors)
    of_tensor = [series.key for series in SERIES if series.tensor == name]
    for key in of_tensor:
        assert [niter for niter, value in model.convergence_iters[key] if math.isnan(value)] == [4]


def test_a_verdict_that_cannot_be_worked_out_says_why(monkeypatch):
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True}, model)
    monkeypatch.setattr(live, "conclude", lambda evidence: 1 / 0)
    with pytest.warns(RuntimeWarning, match="no verdict could be worked out: division by zero") as warned:
        verdict = monitor.verdict()
    assert warned[0].filename == __file__
    assert (verdict.state, verdict.keep) == ("insufficient", None)
    assert verdict.sentence == "insufficient: no verdict could be worked out: division by zero"


def test_nothing_is_disturbed():
    model, undisturbed = ToyModel(), ToyModel()
    random_state = torch.get_rng_state()
    monitor = ConvergenceMonitor({}, model)
    for niter in range(1, 4):
        model.update()
        monitor.step(model, niter)
        undisturbed.update()
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, tensor in model.optimizable_tensors.items():
        assert torch.equal(tensor, undisturbed.optimizable_tensors[name])
        assert torch.equal(tensor.grad, undisturbed.optimizable_tensors[name].grad)
        assert tensor.requires_grad
    assert all(isinstance(values, np.ndarray) for values in monitor.last.values.values())
    assert all(type(value) is float for curve in model.convergence_iters.values() for _, value in curve)


@pytest.fixture
def gpu():
    gpu = Gpu()
    with gpu.there():
        yield gpu


def only_here(model):
    """The same model, as it would be on a CPU."""
    here = SimpleNamespace(**vars(model))
    here.convergence_iters, here.convergence_aligned_iters = {}, {}
    here.optimizable_tensors = {name: torch.from_numpy(array) for name, array in model.arrays().items()}
    here.get_complex_probe_view = lambda: here.optimizable_tensors["probe"]
    return here


@pytest.mark.parametrize("aligned", [False, True])
def test_a_gpu_is_waited_for_a_few_times_a_tensor_and_keeps_its_voxels(gpu, monkeypatch, aligned):
    monkeypatch.setattr(percentiles, "SAMPLE", 512)
    monkeypatch.setattr(percentiles_gpu, "CHUNK", 100)  # many chunks, as in large objects
    model = toy_on(gpu)
    monitor = ConvergenceMonitor({"aligned": aligned}, model)
    model.update()
    gpu.reset()
    monitor.step(model, 1)
    # Of each object tensor the sample and the result. Aligned, also the products, with the sample; the means of its
    # slices, of the amplitude before, too; a sample in the frame, and the result; and the voxels by which its two modes
    # are told apart, twice. Of the probe its intensity, its fit, and what that leaves; the positions, twice; and of all
    # the sketches, and what they hold.
    assert gpu.waits == ["copy to host"] * (2 * (2 + 1 + 2 + 2) + 1 + 3 + 2 + 2 if aligned else 2 * 2 + 1 + 1)
    assert aligned or max(gpu.sizes) == 512  # numbers: a sample
    where = {name: isinstance(values, np.ndarray) for name, values in monitor.last.values.items()}
    assert where == {"obja": False, "objp": False, "probe": False, "probe_pos_shifts": True}


def test_a_gpu_gives_the_values_of_a_cpu(gpu):
    model = toy_on(gpu)
    here = only_here(model)
    monitors = [ConvergenceMonitor({"aligned": True}, one) for one in (model, here)]
    model.update()
    here.optimizable_tensors = only_here(model).optimizable_tensors
    for monitor, one in zip(monitors, (model, here), strict=True):
        monitor.step(one, 1)
    for record in ("convergence_iters", "convergence_aligned_iters"):
        for key, curve in getattr(model, record).items():
            assert curve == [(1, pytest.approx(getattr(here, record)[key][0][1], rel=1e-6))]
    assert monitors[0].verdict().state == monitors[1].verdict().state


def assert_well_formed(model, niters, unknown):
    """All series have a pair for every step, and NaN where something failed: `unknown`, by key, at which iterations."""
    for record in (model.convergence_iters, model.convergence_aligned_iters):
        assert list(record) == KEYS
        for key, curve in record.items():
            assert [niter for niter, _ in curve] == niters
            assert [niter for niter, value in curve if math.isnan(value)] == unknown.get(key, [])


def doublings_in(monitor):
    """The iterations of the doublings, by tensor, of which the change is known."""
    return {
        name: [(point.niter, point.since) for point in found.points if not math.isnan(point.relative)]
        for name, found in monitor.verdict().doublings.items()
    }


FAILURES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    MemoryError(),
    RuntimeError("CUDA error: unspecified launch failure"),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    IndexError("tuple index out of range"),
]


@pytest.mark.parametrize("error", FAILURES, ids=repr)
@pytest.mark.parametrize("place", ["take_tensor", "tensor_changes"])
def test_whatever_fails_in_a_step_the_reconstruction_goes_on(monkeypatch, place, error):
    """NaN at that iteration, one warning, and the next step tries again."""
    model, works = ToyModel(), getattr(snapshots, place)
    monitor = ConvergenceMonitor({"aligned": True}, model)

    def fails_for_the_phase(*args):
        if "objp" in args:
            raise error
        return works(*args)

    for niter in range(1, 4):
        model.update()
        with monkeypatch.context() as patched:
            if niter != 2:
                monitor.step(model, niter)
                continue
            patched.setattr(snapshots, place, fails_for_the_phase)
            with pytest.warns(RuntimeWarning) as warned:
                monitor.step(model, niter)
    (said,) = (str(one.message) for one in warned)
    because = str(error).rstrip(".") or type(error).__name__
    assert said == f"ptyconv's monitor at iteration 2: objp: {because}. Recorded as NaN; the next step tries again."
    assert warned[0].filename == __file__
    assert_well_formed(model, [1, 2, 3], {"objp_bg": [2], "objp_fg": [2]})
    assert doublings_in(monitor) == {name: [(2, 1), (3, 2)] for name in TENSORS} | {"objp": [(3, 1)]}


@pytest.mark.parametrize(("place", "tensors"), [("contrasts", TENSORS), ("taken", ["objp"])])
def test_where_it_is_not_known_what_a_snapshot_holds_only_the_changes_at_that_iteration_are_unknown(
    monkeypatch, place, tensors
):
    """Of an object whose phase alone is followed the amplitude is taken, too."""
    model, works = ToyModel(), snapshots.taken
    monitor = ConvergenceMonitor({"aligned": True, "tensors": tensors}, model)

    def fails(*args):
        if place == "contrasts" or "obja" in args:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return works(*args)

    for niter in range(1, 5):
        model.update()
        with monkeypatch.context() as patched:
            if niter == 2:
                patched.setattr(live if place == "contrasts" else convergence, place, fails)
                with pytest.warns(RuntimeWarning, match=r"at iteration 2: the verdict: CUDA error: unspecified launch"):
                    monitor.step(model, niter)
                assert monitor.verdict().state == "insufficient"
                continue
            monitor.step(model, niter)
    assert {niter for curve in model.convergence_iters.values() for niter, value in curve if value > 0} == {1, 2, 3, 4}
    of_object = [(3, 2), (4, 2)]  # not of 2, which is still there to compare with
    assert doublings_in(monitor)["objp"] == of_object
    assert place == "taken" or doublings_in(monitor)["probe"] == of_object


def test_where_the_place_of_the_object_is_not_found_the_next_change_is_since_the_last_place(monkeypatch):
    """Nothing that is where it was before is taken for what is somewhere else."""
    model, unhindered = ToyModel(), ToyModel()
    monitor, other = (ConvergenceMonitor({"aligned": True}, one) for one in (model, unhindered))
    for niter in range(1, 4):
        model.update()
        unhindered.update()
        with monkeypatch.context() as patched:
            if niter == 2:
                patched.setattr(registration.Registration, "bring", lambda *_: 1 / 0)
                with pytest.warns(RuntimeWarning, match=r"iteration 2: where the object is: division by zero\. "):
                    monitor.step(model, niter)
                continue
            monitor.step(model, niter)
            other.step(unhindered, niter)
    assert_well_formed(model, [1, 2, 3], {key: [2] for key in KEYS})
    for record in ("convergence_iters", "convergence_aligned_iters"):
        for key, curve in getattr(unhindered, record).items():
            assert getattr(model, record)[key][2] == curve[1]
    assert doublings_in(monitor) == {name: [(3, 1)] for name in TENSORS}


def test_what_the_scan_did_not_light_counts_in_no_aligned_change():
    """The object's size decides where that is, and not the size of another tensor of as many axes."""
    models = [ToyModel(omodes=1, slices=1) for _ in range(2)]
    for model in models:  # a scan of an L: one corner is dark
        y, x = model.crop_pos.T
        model.crop_pos = model.crop_pos[(y < 4) | (x < 5)]
        model.optimizable_tensors["probe_pos_shifts"] = model.optimizable_tensors["probe_pos_shifts"][: len(y)].detach()
    models[1].optimizable_tensors["objp"].data[..., 14, 19] += 3
    monitors = [ConvergenceMonitor({"aligned": True, "tensors": ["objp"]}, model) for model in models]
    assert monitors[0].last.in_frame.lit[0, 0]
    assert not monitors[0].last.in_frame.lit[-1, -1]
    for model, monitor in zip(models, monitors, strict=True):
        model.optimizable_tensors["objp"].data[..., 5:9, 5:9] += 0.1
        monitor.step(model, 1)
    one, other = (model.convergence_aligned_iters["objp_fg"] for model in models)
    assert one == other


def test_a_long_story_is_cut(monkeypatch):
    model = ToyModel()
    monitor = ConvergenceMonitor({"tensors": ["probe"]}, model)
    error = NotImplementedError("Could not run 'aten::empty_strided' " + 500 * "with these arguments ")

    def fails(*_):
        raise error

    monkeypatch.setattr(snapshots, "take_tensor", fails)
    with pytest.warns(RuntimeWarning) as warned:
        monitor.step(model, 1)
    assert "Could not run" in str(warned[0].message)
    assert len(str(warned[0].message)) < 320


def test_after_a_step_that_could_not_copy_the_change_is_since_the_last_copy(monkeypatch):
    model, unhindered, works = ToyModel(), ToyModel(), snapshots.take_tensor
    monitor, other = ConvergenceMonitor({}, model), ConvergenceMonitor({}, unhindered)
    for niter in (1, 2):
        model.update()
        unhindered.update()
        monkeypatch.setattr(snapshots, "take_tensor", works if niter == 2 else lambda *_: 1 / 0)
        with contextlib.nullcontext() if niter == 2 else pytest.warns(RuntimeWarning, match="division by zero"):
            monitor.step(model, niter)
    monkeypatch.setattr(snapshots, "take_tensor", works)
    other.step(unhindered, 2)
    assert {key: curve[-1] for key, curve in model.convergence_iters.items()} == {
        key: curve[-1] for key, curve in unhindered.convergence_iters.items()
    }


def test_a_tensor_that_changes_its_shape_begins_anew():
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True}, model)
    for niter in range(1, 5):
        model.update()
        if niter == 3:
            model.optimizable_tensors["obja"] = model.optimizable_tensors["obja"][:, :2].detach().clone()
            model.optimizable_tensors["probe_pos_shifts"] = torch.zeros(7, 2)
            model.update = lambda: None
            with pytest.warns(
                RuntimeWarning, match=r"obja: its shape changed from \(2, 3, 13, 16\) to \(2, 2, 13, 16\); "
            ):
                monitor.step(model, niter)
        else:
            monitor.step(model, niter)
    unknown = {"obja_bg": [3], "obja_fg": [3], "probe_pos_shifts": [3]}
    assert_well_formed(model, [1, 2, 3, 4], unknown)
    assert model.convergence_iters["obja_bg"][-1] == (4, 0)
    assert monitor.verdict().doublings["obja"].points == []


def test_where_warnings_are_errors_the_reconstruction_goes_on(monkeypatch, capsys):
    model = ToyModel()
    monitor = ConvergenceMonitor({}, model)
    monkeypatch.setattr(snapshots, "take_tensor", lambda *_: 1 / 0)
    with warnings.catch_warnings(action="error"):
        monitor.step(model, 1)
    assert "at iteration 1" in capsys.readouterr().err
    assert all(math.isnan(value) for curve in model.convergence_iters.values() for _, value in curve)


@pytest.mark.parametrize(
    ("shape", "on_host"),
    [((1, 2, 150, 160), [False, False, False, True, False]), ((2, 1, 150, 160), [False, True, True, True, False])],
)
def test_a_full_gpu_leaves_it_to_smaller_pieces_or_to_the_cpu(gpu, monkeypatch, shape, on_host):
    """The numbers are the same, nobody is told, and the GPU is used again as soon as it has room.

    Modes of an object are looked at together, for which more room is needed.
    """
    for place in ((percentiles, "SAMPLE"), (history, "MOST_SKETCHED"), (snapshots, "SMALL_PIECES")):
        monkeypatch.setattr(*place, 1 << 13)
    monkeypatch.setattr(planes_gpu, "SMALL", 0)
    model, other_gpu = large_on(gpu, shape), Gpu()
    with other_gpu.there():
        unhindered = large_on(other_gpu, shape)
    monitor = ConvergenceMonitor({"aligned": True}, model)
    with other_gpu.there():
        other = ConvergenceMonitor({"aligned": True}, unhindered)
    one, places = 4 * monitor.last.values["objp"].numel(), []
    for niter, objects in enumerate((20, 4, 1.5, 0.2, 20), 1):
        model.update()
        gpu.room = gpu.live + objects * one
        gpu.reset()
        monitor.step(model, niter)
        assert gpu.peak <= gpu.room
        places.append(isinstance(monitor.last.values["obja"], np.ndarray))
        assert ("empty_cache" in gpu.ops) == (objects < 20)
        gpu.room = math.inf
        with other_gpu.there():
            unhindered.update()
            other.step(unhindered, niter)
    assert places == on_host
    for record in ("convergence_iters", "convergence_aligned_iters"):
        for key, curve in getattr(unhindered, record).items():
            assert getattr(model, record)[key] == [(niter, pytest.approx(value, rel=1e-6)) for niter, value in curve]


def test_a_snapshot_kept_on_the_host_needs_no_copy_of_it_all_on_the_gpu(gpu):
    model = large_on(gpu, (1, 6, 200, 210))
    gpu.reset()
    live = gpu.live
    monitor = ConvergenceMonitor({"snapshot_device": "cpu"}, model)
    assert gpu.peak - live < 1.1 * 4 * 200 * 210
    assert all(isinstance(values, np.ndarray) for values in monitor.last.values.values())
    model.update()
    monitor.step(model, 1)
    assert all(0 < curve[0][1] < 1 for curve in model.convergence_iters.values())


def test_too_many_voxels_for_a_gpu_are_refused_before_the_first_iteration(gpu, monkeypatch):
    monkeypatch.setattr(snapshot, "MOST_VOXELS", 1000)
    model = toy_on(gpu)
    with pytest.raises(ValueError, match='obja: 1,248 voxels are too many for a GPU; set snapshot_device to "cpu"'):
        ConvergenceMonitor({}, model)
    ConvergenceMonitor({"snapshot_device": "cpu"}, model)
    ConvergenceMonitor({}, ToyModel())


@pytest.mark.parametrize("device", DEVICES)
def test_a_snapshot_in_the_hosts_memory_gives_the_same(device):
    models = ToyModel(device=device), ToyModel(device=device)
    monitors = [
        ConvergenceMonitor({"snapshot_device": place}, model)
        for place, model in zip((None, "cpu"), models, strict=True)
    ]
    for model, monitor in zip(models, monitors, strict=True):
        model.update()
        monitor.step(model, 1)
    assert all(isinstance(values, np.ndarray) for values in monitors[1].last.values.values())
    for key, curve in models[0].convergence_iters.items():
        assert models[1].convergence_iters[key][0][1] == pytest.approx(curve[0][1], rel=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_snapshots_stay_on_the_gpu():
    model = ToyModel(device="cuda")
    monitor = ConvergenceMonitor({}, model)
    monitor.step(model, 1)
    assert {monitor.last.values[name].device.type for name in ("obja", "objp", "probe")} == {"cuda"}
