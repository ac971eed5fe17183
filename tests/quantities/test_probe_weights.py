"""Position-dependent probe modes: their weights are followed, and the probe is the mean over positions."""

import re
import shutil

import engines
import h5py
import numpy as np
import pytest
import torch
from toy import ToyModel

from ptyconv_cli import analyze_run
from ptyconv_cli.checkpoints.opening import open_checkpoint
from ptyconv_cli.convergence import ConvergenceMonitor
from ptyconv_cli.metrics.aligned import align_weights
from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results.run_analysis import Region

MODES = 3


def weights_at(niter, count):
    """Weights that come to rest; the first mode's are near 1."""
    random = np.random.default_rng(1)
    still, moving = random.normal(size=(2, count, MODES))
    return (still + 5 / niter * moving) * [0.05, 0.2, 0.1] + [1, 0, 0]


def mixed(niter):
    """Other modes for each checkpoint, which change no probe."""
    return np.eye(MODES) + 0.3 * np.random.default_rng(niter).normal(size=(MODES, MODES))


@pytest.fixture(params=["same modes", "mixed modes"])
def run_dir(request, tmp_path):
    folder = shutil.copytree(engines.ENGINES / "ptychodus", tmp_path / "run")
    for path in folder.glob("product*.h5"):
        with h5py.File(path, "r+") as file:
            niter = file["loss_values"].size
            probe, count = file["probe"][()], len(file["probe_position_x_m"])
            others = [(k + 1) * 0.1 * np.roll(probe[0], 3 * (k + 1), -1) for k in range(MODES - 1)]
            probe = np.stack([probe[0], *others])
            weights = weights_at(niter, count)
            if request.param == "mixed modes":
                weights = weights @ mixed(niter)
                first = np.einsum("jk,kyx->jyx", np.linalg.inv(mixed(niter)), probe[:, 0])
                probe[:, 0] = first
            attrs = dict(file["probe"].attrs)
            for name, values in (("probe", probe.astype(np.complex64)), ("opr_weights", weights)):
                del file[name]
                file[name] = values
            file["probe"].attrs.update(attrs)
    return folder


def test_raw_and_aligned_change_are_those_of_the_formulas(run_dir):
    found = analyze_run(run_dir, device="cpu")
    weights = {}
    for path in run_dir.glob("product.0*.h5"):
        with h5py.File(path) as file:
            weights[file["loss_values"].size] = file["opr_weights"][()]
    raw, aligned = found.points["probe_weights"], found.aligned_points["probe_weights"]
    assert [point.niter for point in raw] == sorted(weights)[1:]
    for one, other in zip(raw, aligned, strict=True):
        now, before = weights[one.niter], weights[one.since]
        change = now - before
        left = change - now @ np.linalg.lstsq(now, change)[0]
        assert one.value == pytest.approx(np.sqrt((change**2).mean()), rel=1e-6)
        assert other.value == pytest.approx(np.sqrt((left**2).mean()), rel=1e-6)


def test_it_is_judged_by_its_doublings(run_dir):
    found = analyze_run(run_dir, device="cpu").verdict.doublings["probe_weights"]
    (last,) = found.points[-1:]
    names = [run_dir / f"product.{niter:06d}.h5" for niter in (last.niter, last.since)]
    with h5py.File(names[0]) as one, h5py.File(names[1]) as other:
        now, before = one["opr_weights"][()], other["opr_weights"][()]
    left = now - before - now @ np.linalg.lstsq(now, now - before)[0]
    expected = (
        100 * np.sqrt((left**2).mean()) / np.sqrt(((now - now.mean(0)) ** 2).mean()) / np.log2(last.niter / last.since)
    )
    assert last.relative == pytest.approx(expected, rel=1e-5)
    assert (found.unit, found.tolerance) == ("%", 5.0)


def test_the_probe_is_the_mean_over_positions(run_dir):
    path = run_dir / "product.000080.h5"
    with h5py.File(path) as file:
        probe, weights = file["probe"][()], file["opr_weights"][()]
    at_each = np.einsum("nk,kyx->nyx", weights, probe[:, 0])
    with open_checkpoint(path) as checkpoint:
        read = checkpoint.read("probe", Region(0, 1, 0, 1))
    assert np.allclose(read[0], at_each.mean(0), rtol=1e-5, atol=1e-9)
    assert np.array_equal(read[1:], probe[0, 1:])


def test_other_modes_with_other_weights_are_no_change():
    weights = weights_at(10, 50)
    left, removed = align_weights(weights @ mixed(1), weights)
    assert np.abs(left).max() < 1e-12
    assert removed.share == pytest.approx(1)


def test_one_mode_alone_has_no_weights():
    analysis = analyze_run(engines.ENGINES / "ptychodus", device="cpu")
    assert "probe_weights" not in analysis.points
    assert not [text for text in analysis.warnings if "probe_weights" in text]


def test_weights_that_stay_the_same_are_not_followed(tmp_path):
    folder = shutil.copytree(engines.ENGINES / "ptychodus", tmp_path / "run")
    for path in folder.glob("product*.h5"):
        with h5py.File(path, "r+") as file:
            probe, count = file["probe"][()], len(file["probe_position_x_m"])
            attrs = dict(file["probe"].attrs)
            del file["probe"], file["opr_weights"]
            file["probe"], file["opr_weights"] = np.concatenate([probe, probe]), np.ones((count, 2))
            file["probe"].attrs.update(attrs)
    analysis = analyze_run(folder, device="cpu")
    assert "probe_weights is not analyzed: the probe weights are the same in all checkpoints." in analysis.warnings


@pytest.mark.parametrize(
    ("folder", "name"), [("fold_slice/GPU_MS", "outputs/probe_evolution"), ("pear", "opr_mode_weights")]
)
def test_other_engines_have_them_too(tmp_path, folder, name):
    run_dir = shutil.copytree(engines.ENGINES / folder, tmp_path / "run")
    paths = [path for path in run_dir.rglob("*") if path.suffix in (".mat", ".h5")]
    for path in paths:
        with h5py.File(path, "r+") as file:
            probe = file["probe"][()]
            probe = probe[0] if probe.ndim == 4 else probe
            count = max(file["outputs/probe_positions"].shape if "outputs" in file else file["positions_px"].shape)
            weights = weights_at(int(re.findall(r"\d+", path.stem)[-1]), count)
            del file["probe"]
            file["probe"] = np.stack([probe] * MODES)
            if name in file:
                del file[name]
            file[name] = weights.T if "outputs" in file else weights
    last = analyze_run(paths[0], device="cpu").points["probe_weights"][-1]
    change = weights_at(last.niter, count) - weights_at(last.since, count)
    assert last.value == pytest.approx(np.sqrt((change**2).mean()), rel=1e-6)


def spoilt(folder, weights_of, every=1):
    """A run with two position-dependent modes, and weights that `weights_of` makes for the number of positions."""
    folder = shutil.copytree(engines.ENGINES / "ptychodus", folder)
    for place, path in enumerate(sorted(folder.glob("product*.h5"))):
        with h5py.File(path, "r+") as file:
            probe, count = file["probe"][()], len(file["probe_position_x_m"])
            attrs = dict(file["probe"].attrs)
            del file["probe"], file["opr_weights"]
            file["probe"] = np.concatenate([probe, probe])
            file["probe"].attrs.update(attrs)
            if place % every == 0:
                file["opr_weights"] = weights_of(place, count)
    return folder


BAD = {
    "of other modes": lambda place, count: np.ones((count, 3)),
    "of other positions": lambda place, count: np.full((4, 2), place),
    "a list": lambda place, count: np.ones(count),
    "texts": lambda place, count: np.full((count, 2), b"x"),
    "other shapes": lambda place, count: np.ones((count, 2 + place % 2)),
    "none at all": lambda place, count: np.ones((count, 0)),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_with_them_is_no_matter_unless_they_are_asked_for(tmp_path, kind, ptyconv):
    analysis = analyze_run(spoilt(tmp_path / "run", BAD[kind]), device="cpu")
    expected = analyze_run(engines.ENGINES / "ptychodus", device="cpu")
    assert analysis.points["objp_fg"] == expected.points["objp_fg"]
    assert len(analysis.checkpoints) == len(expected.checkpoints)
    assert [text for text in analysis.warnings if "weights" in text]
    if kind != "of other modes":
        result = ptyconv("check", tmp_path / "run", "-t", "weights")
        assert (result.exit_code, result.stderr[:7]) == (1, "Error: ")


def test_weights_in_some_files_only_are_not_followed(tmp_path):
    analysis = analyze_run(spoilt(tmp_path / "run", lambda place, count: weights_at(place + 1, count)[:, :2], 2))
    assert "probe_weights is not analyzed: some files have none." in analysis.warnings
    assert [text for text in analysis.warnings if "has no weights for its 2 position-dependent probe modes" in text]


def test_a_header_in_the_cache_is_read_again_where_weights_are_asked_for(tmp_path, ptyconv):
    run = spoilt(tmp_path / "run", BAD["a list"])
    assert ptyconv("analyze", run, "-t", "phase", "--no-plot").exit_code == 0
    for arguments in ([], ["--fresh"]):
        result = ptyconv("analyze", run, "-t", "weights", "--no-plot", *arguments)
        assert result.exit_code == 1
        assert "opr_weights: expected real (N, OPR mode)" in " ".join(result.stderr.split())


def test_their_change_is_measured_by_how_they_vary_over_the_positions():
    weights = np.array([[1.0, 0.3], [1.0, -0.3], [1.2, 0.3], [0.8, -0.3]])
    assert quantity_of("weights").contrast(weights) == pytest.approx(np.sqrt((0.04 * 2 / 4 + 0.09) / 2))


def test_large_weights_are_no_zero():
    weights = np.full((4, 2), 1e30, np.float32) * np.arange(8, dtype=np.float32).reshape(4, 2)
    assert 1e30 < quantity_of("weights").contrast(weights) < 1e31


def test_there_is_no_map_of_them(tmp_path, ptyconv):
    run = spoilt(tmp_path / "run", lambda place, count: weights_at(place + 1, count)[:, :2])
    result = ptyconv("maps", run, "-t", "weights", "-o", tmp_path / "maps.png")
    assert result.exit_code == 1
    assert "there is no map of probe_weights; choose from objp, obja, probe" in " ".join(result.stderr.split())


@pytest.mark.parametrize("shape", [(30,), (30, 2, 2), (30, 0), (0, 3)])
def test_a_live_monitor_does_without_weights_that_are_none(shape):
    model = ToyModel()
    model.optimizable_tensors["probe_weights"] = torch.zeros(shape)
    monitor = ConvergenceMonitor({"aligned": True}, model)
    monitor.step(model, 1)
    assert "probe_weights" not in monitor.verdict().doublings
    with pytest.raises(ValueError, match=r"probe_weights: expected \(N, OPR mode\), found "):
        ConvergenceMonitor({"tensors": ["weights"]}, model)


def test_a_live_monitor_follows_them_where_the_model_has_them():
    model = ToyModel()
    assert "probe_weights" not in ConvergenceMonitor({}, model).settings.tensors
    count = len(model.crop_pos)
    model.optimizable_tensors["probe_weights"] = torch.from_numpy(weights_at(1, count))
    model.convergence_iters = {}
    monitor = ConvergenceMonitor({"aligned": True}, model)
    for niter in (2, 4, 8):
        model.optimizable_tensors["probe_weights"] = torch.from_numpy(weights_at(niter, count) @ mixed(niter))
        monitor.step(model, niter)
    (at, aligned) = model.convergence_aligned_iters["probe_weights"][-1]
    now, before = (weights_at(niter, count) @ mixed(niter) for niter in (8, 4))
    left = now - before - now @ np.linalg.lstsq(now, now - before)[0]
    assert (at, aligned) == (8, pytest.approx(np.sqrt((left**2).mean()), rel=1e-6))
    assert "probe_weights" in monitor.verdict().doublings
