"""The way of a GPU on one that is none (see `fake_gpu`): the same numbers, and what it would cost."""

import gc
import math
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import runs
import torch
import torchgen
from brute_force import aligned_change
from fake_gpu import Gpu
from fake_models import large_on
from frames import frames_in, seen_in
from phantoms import atoms
from ptyrad_names import SERIES
from rarely import long_after

from ptyconv_cli.analysis.maps import maps_of_run
from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.convergence import ConvergenceMonitor
from ptyconv_cli.metrics import device, percentiles_gpu, planes_gpu
from ptyconv_cli.metrics.snapshot import Snapshot
from ptyconv_cli.quantities.snapshots import changes

KINDS = ["cuda", "xpu"]
"""With float64 and without."""

MIXED_PRECISION = {
    "mm",
    "bmm",
    "addmm",
    "baddbmm",
    "addbmm",
    "mv",
    "addmv",
    "matmul",
    "einsum",
    "linear",
    "convolution",
}
"""What torch does in TF32, or in half precision under autocast, where an engine asks for it."""


@pytest.fixture(autouse=True, scope="module")
def _driver():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(device, "cuda_devices", lambda: ["one"])
        yield


@pytest.fixture
def _pieces(monkeypatch):
    """Work on a small object in as many pieces as on one of 23 million voxels."""
    monkeypatch.setattr(percentiles_gpu, "CHUNK", 1 << 17)
    monkeypatch.setattr(planes_gpu, "BLOCK", 1 << 17)


RUNS = {**runs.ALL, "phaser": runs.DATA / "phaser" / "gradient"}

SHAPE, CACHE = (1, 10, 408, 408), int(6.7 * (1 << 20))
"""An object in such pieces, and a cache that is to them what 50 MB are to pieces of 2^20 voxels."""


def step_on(gpu, aligned, clipped, shape=SHAPE):
    """Do two steps, and return the monitor, its model, and what the GPU did in the second one."""
    model = large_on(gpu, shape, clipped)
    monitor = ConvergenceMonitor({"aligned": aligned}, model)
    for niter in (1, 2):
        model.update()
        gc.collect()
        gc.disable()  # so that what is freed, and when, is the same each time
        try:
            gpu.reset()
            monitor.step(model, niter)
        finally:
            gc.enable()
    return monitor, model


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize(
    ("aligned", "most_bytes", "most_waits", "clipped"),
    long_after(1, [(True, 67, 17, True), (True, 67, 17, False), (False, 26, 6, True), (False, 26, 6, False)]),
)
def test_a_step_is_close_to_one_read_of_the_data(aligned, most_bytes, most_waits, clipped):
    gpu = Gpu(CACHE)
    with gpu.there():
        monitor, model = step_on(gpu, aligned, clipped)
        voxels = monitor.last.values["obja"].numel()
        idle = gpu.live
        assert gpu.from_memory / (2 * voxels) < most_bytes
        assert (gpu.peak - idle) / (4 * voxels) < 2.5
        assert len(gpu.waits) == most_waits, gpu.waits
        assert gpu.late == 0
        assert not MIXED_PRECISION & set(gpu.ops)
        assert all(math.isfinite(curve[-1][1]) for curve in model.convergence_iters.values())
        at_clip = [voxels for key, voxels in _mask_sizes(monitor, model).items() if key.startswith("objp")]
        assert (0 in at_clip) == clipped


def _mask_sizes(monitor, model):
    before = Snapshot(dict(monitor.last.values), 0.25)
    return {key: change.voxels for key, change in changes(before, before, (15, 85), aligned=False).items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["objp", "obja"])
@pytest.mark.parametrize("small", [1 << 20, 0], ids=["small", "large"])
def test_the_same_as_in_float64_on_the_cpu(monkeypatch, kind, name, small):
    """Also where the device has no float64."""
    monkeypatch.setattr(planes_gpu, "SMALL", small)
    gpu, shape = Gpu(kind=kind), (2, 3, 60, 70)
    previous = 0.2 * atoms(shape)
    current = previous + 1e-3 * atoms(shape, seed=1) + 0.01
    pair = [values.astype(np.float32) for values in (current, previous)]
    on_cpu = changes(*(Snapshot({name: values}, 0.2) for values in pair), (15, 85), aligned=True)
    with gpu.there():
        found = changes(*(Snapshot({name: gpu.put(values)}, 0.2) for values in pair), (15, 85), aligned=True)
    exact = aligned_change(name, *(values.astype(float) for values in pair), 0.2)
    for key, change in found.items():
        assert change.voxels == on_cpu[key].voxels
        assert change.value == pytest.approx(on_cpu[key].value, rel=1e-6)
        assert change.aligned == pytest.approx(exact[key], rel=1e-5)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_as_on_the_cpu_in_many_pieces(kind):
    shape, gpu, random = (1, 3, 500, 420), Gpu(kind=kind), np.random.default_rng(0)
    previous = np.clip(random.normal(size=shape), -1, 2)
    current = np.clip(previous + 0.01 * random.normal(size=shape) + 0.003, -1, 2)
    pair = [values.astype(np.float32) for values in (current, previous)]
    for name in ("obja", "objp"):
        on_cpu = changes(*(Snapshot({name: values}, 0.2) for values in pair), (10, 90), aligned=True)
        with gpu.there():
            found = changes(*(Snapshot({name: gpu.put(values)}, 0.2) for values in pair), (10, 90), aligned=True)
        for key, change in found.items():
            assert change.voxels == on_cpu[key].voxels
            assert change.value == pytest.approx(on_cpu[key].value, rel=1e-6)
            assert change.aligned == pytest.approx(on_cpu[key].aligned, rel=1e-6)


@pytest.fixture(scope="module")
def analyzed_there():
    """An analysis of a run on a GPU, and what that has done."""

    @cache
    def analyzed(name):
        gpu = Gpu()
        with gpu.there():
            return analyze_run(RUNS[name], device="cuda"), gpu

    return analyzed


@pytest.mark.parametrize("name", long_after(1, ["sample", "clipped"]))
def test_values_are_the_engines_and_the_cpus(analyzed_there, name):
    """All series, raw and aligned: the engine agreement at 1e-6, and both ways within 1e-6 of each other."""
    on_cpu, expected = runs.analysis_of(runs.ALL[name]), runs.engine_values(name)
    found, _ = analyzed_there(name)
    assert found.device == "cuda"
    assert list(found.points) == list(found.aligned_points) == [series.key for series in SERIES]
    for points, others in ((found.points, on_cpu.points), (found.aligned_points, on_cpu.aligned_points)):
        for key, curve in points.items():
            for point, other in zip(curve, others[key], strict=True):
                assert (point.niter, point.voxels) == (other.niter, other.voxels)
                assert point.value == pytest.approx(other.value, rel=1e-6, abs=1e-12)
    for key, curve in found.convergence_iters.items():
        assert dict(curve) == pytest.approx({niter: expected[key][niter] for niter, _ in curve}, rel=1e-6, abs=1e-12)
    assert found.verdict.state == on_cpu.verdict.state


def test_phases_that_wrap_and_maps_are_the_cpus(analyzed_there):
    found, _ = analyzed_there("phaser")
    for key, points in runs.analysis_of(RUNS["phaser"]).aligned_points.items():
        assert [point.value for point in found.aligned_points[key]] == pytest.approx([point.value for point in points])
    asked, gpu = Selection(("objp",), every=None, select=None, strict=False), Gpu()
    with gpu.there():
        maps = maps_of_run(RUNS["phaser"], asked, percentile_range=(15, 85), device="cuda")
    on_cpu = maps_of_run(RUNS["phaser"], asked, percentile_range=(15, 85), device="cpu")
    assert np.allclose(maps.objects["objp"].change, on_cpu.objects["objp"].change, rtol=1e-6, atol=0)


@pytest.mark.long
@pytest.mark.parametrize("name", ["phaser", "sample"])
def test_frames_to_look_at_are_the_cpus(name):
    run_dir, gpu = RUNS.get(name, runs.SAMPLE), Gpu()
    expected = seen_in(frames_in(run_dir))
    with gpu.there():
        found = seen_in(frames_in(run_dir), "cuda")
    assert list(found) == list(expected)
    for niter, (_, images) in found.items():
        for kind, of_kind in images.items():
            assert of_kind.keys() == expected[niter][1][kind].keys()
            for layer, image in of_kind.items():
                assert np.allclose(image, expected[niter][1][kind][layer], atol=2e-6), (niter, kind, layer)
    assert gpu.peak > 0


def test_an_analysis_gives_its_memory_back(analyzed_there):
    """To others, too, as between two looks of --follow: empty_cache gives them what torch keeps."""
    _, gpu = analyzed_there("sample")
    assert gpu.peak > 0
    assert gpu.live == 0
    assert gpu.ops["empty_cache"] >= 1


def test_what_is_compared_in_threads_is_complete_before(analyzed_there):
    """A thread's work does not wait for another's: of each checkpoint the device is waited for."""
    assert analyzed_there("sample")[1].waits.count("synchronize") == 12


@pytest.mark.usefixtures("_pieces")
def test_bits_repeat():
    random = np.random.default_rng(0)
    pair = [random.normal(size=(1, 2, 300, 310)).astype(np.float32) for _ in range(2)]
    found = []
    for _ in range(2):
        gpu = Gpu()
        with gpu.there():
            snapshots = [Snapshot({"objp": gpu.put(values)}, 0.2) for values in pair]
            found.append(changes(*snapshots, (15, 85), aligned=True))
    assert found[0] == found[1]


def test_where_torch_lacks_an_operation_that_does_not_wait_another_serves():
    random, gpu = np.random.default_rng(0), Gpu()
    pair = [random.normal(size=(1, 2, 300, 310)).astype(np.float32) for _ in range(2)]
    found, waits = [], []
    for fails in ({}, {"nonzero_static": NotImplementedError("Could not run 'aten::nonzero_static'")}):
        gpu.fails = fails
        gpu.reset()
        with gpu.there():
            snapshots = [Snapshot({"objp": gpu.put(values)}, 0.2) for values in pair]
            found.append(changes(*snapshots, (15, 85), aligned=True))
        waits.append(gpu.waits)
    assert found[0] == found[1]
    assert [wait for wait in waits[1] if wait != "nonzero"] == waits[0]
    assert set(waits[0]) == {"copy to host"}
    assert waits[1].count("nonzero") == 2  # of the raw masks, and of those in the frame


def kernels_for(kind: str) -> dict[str, bool]:
    """Return, by torch's own list of its operations, which of them a kind of device can do."""
    listing = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    found, delegates = {}, {}
    for block in re.split(r"^- func: ", listing.read_text(), flags=re.MULTILINE)[1:]:
        name = block.partition("(")[0].removesuffix(".default")
        delegate = re.search(r"structured_delegate: (\S+)", block)
        if delegate:
            delegates[name] = delegate[1]
        dispatch = re.findall(r"^    ([\w, ]+): \w+", block.partition("  dispatch:")[2], re.MULTILINE)
        keys = {key for line in dispatch for key in line.split(", ")}
        found[name] = not keys or bool(keys & {kind, "CompositeImplicitAutograd", "CompositeExplicitAutograd"}) or any(
            key.startswith("CompositeExplicitAutogradNon") for key in keys
        )  # fmt: skip
    return found | {name: found[other] for name, other in delegates.items()}


def test_apples_gpus_have_all_operations(analyzed_there):
    """As torch's list says; nobody has tried them."""
    can = kernels_for("MPS")
    assert can["sub.out"]
    assert not can["take"]  # with which every object tensor failed
    gpu = Gpu(kind="xpu")  # without float64, too
    with gpu.there():
        step_on(gpu, aligned=True, clipped=True, shape=(1, 2, 300, 310))
    used = gpu.kernels.union(*(analyzed_there(name)[1].kernels for name in ("sample", "phaser")))
    assert [name for name in sorted(used) if not can.get(name, False)] == []


@pytest.mark.parametrize("width", [1, 2, 3, 7])
@pytest.mark.parametrize("height", [1, 2, 3, 7])
def test_gradients_at_the_edges_are_numpys(height, width):
    values = np.random.default_rng(0).normal(size=(2, height, width))
    for rows in (slice(0, height), slice(0, 2), slice(height // 2, height)):
        for axis, twice in ((1, planes_gpu.twice_gradient_y), (2, planes_gpu.twice_gradient_x)):
            part = values[:, rows]
            expected = 2 * np.gradient(values, axis=axis) if values.shape[axis] > 1 else 0 * values
            block = (slice(0, 2), slice(rows.start, min(rows.stop, height)))
            found = twice(torch.from_numpy(values), block, torch.full(part.shape, math.nan, dtype=torch.float64))
            assert np.allclose(found, expected[:, rows], rtol=0, atol=1e-12)
