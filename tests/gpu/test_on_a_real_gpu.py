"""What only a GPU can tell: `make test-gpu`. Prints what it measures, for docs/performance.md; skips without CUDA."""

import math
import threading
import time
import warnings
from collections import Counter
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import runs
import torch
from fake_models import large_on
from toy import ToyModel, write_hdf5

from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.convergence import ConvergenceMonitor
from ptyconv_cli.metrics import device as devices
from ptyconv_cli.metrics import percentiles_gpu, planes_gpu
from ptyconv_cli.metrics.percentiles import mean_change_outside
from ptyconv_cli.metrics.snapshot import Snapshot
from ptyconv_cli.quantities.snapshots import changes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand"),
]

LARGE = (1, 20, 1088, 1088)
"""Of which 1072 × 1072 px are scanned: 23 million voxels."""

DX = 0.25


class Gpu:
    """As `fake_gpu.Gpu`, but a real one."""

    @staticmethod
    def put(values):
        return (torch.from_numpy(values) if isinstance(values, np.ndarray) else values.detach()).to("cuda")


def say(capsys, text):
    with capsys.disabled():
        print(f"\n  {text}", flush=True)


@pytest.fixture(scope="module")
def pair():
    """A phase at two iterations, on the CPU."""
    random = np.random.default_rng(0)
    before = random.normal(size=(1, 4, 700, 720)).astype(np.float32)
    return before + np.float32(0.01) * random.standard_normal(before.shape, np.float32) + np.float32(0.003), before


def compared(pair, aligned=True, name="objp"):
    snapshots = [Snapshot({name: Gpu.put(values)}, DX) for values in pair]
    return changes(*snapshots, (15, 85), aligned)


def in_a_thread(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def steps(aligned, clipped=False, count=3, shape=LARGE):
    """Return a monitor and its model after a few steps, with all that is allocated only once behind them."""
    model = large_on(Gpu(), shape, clipped)
    monitor = ConvergenceMonitor({"aligned": aligned}, model)
    for niter in range(1, count):
        model.update()
        monitor.step(model, niter)
    model.update()
    torch.cuda.synchronize()
    return monitor, model


def milliseconds(work, count=5):
    """Return the median of the times that the host needs, until the device is done."""
    found = []
    for _ in range(count):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        found.append(1000 * (time.perf_counter() - begin))
    return sorted(found)[count // 2]


@contextmanager
def pieces_of(voxels):
    before = percentiles_gpu.CHUNK, planes_gpu.BLOCK
    percentiles_gpu.CHUNK = planes_gpu.BLOCK = voxels
    try:
        yield
    finally:
        percentiles_gpu.CHUNK, planes_gpu.BLOCK = before


def assert_close(found, expected, objects=1e-6, others=1e-3):
    for key, points in expected.items():
        for point, other in zip(found[key], points, strict=True):
            rel = objects if key.startswith("obj") else others
            assert (point.niter, point.voxels) == (other.niter, other.voxels)
            assert point.value == pytest.approx(other.value, rel=rel, abs=1e-12), key


@pytest.mark.parametrize("run", [lambda work: work(), in_a_thread], ids=["main thread", "another thread"])
def test_1_live_equals_post_hoc_bit_for_bit(tmp_path, run):
    model = ToyModel(device="cuda")
    monitor = ConvergenceMonitor({"aligned": True}, model)
    for niter in range(1, 5):
        model.update()
        run(lambda niter=niter: monitor.step(model, niter))
        write_hdf5(tmp_path / f"model_iter{niter:04d}.hdf5", model, niter)
    analysis = analyze_run(tmp_path, device="cuda")
    assert analysis.convergence_iters == {key: curve[1:] for key, curve in model.convergence_iters.items()}
    aligned = {key: [(p.niter, p.value) for p in points] for key, points in analysis.aligned_points.items()}
    assert aligned == {key: curve[1:] for key, curve in model.convergence_aligned_iters.items()}


@pytest.mark.parametrize("percentile_range", [(15.0, 85.0), (0.0, 100.0), (49.9, 50.1), (1e-3, 99.999)])
def test_2_masked_means_are_those_of_the_cpu(capsys, percentile_range):
    random, worst = np.random.default_rng(0), 0.0
    values = random.standard_normal(3_000_017, np.float32)
    before = random.standard_normal(len(values), np.float32)
    for now in (values, np.clip(values, -0.5, 0.5), np.round(3 * values), np.full_like(values, 0.1), np.sort(values)):
        expected = mean_change_outside(now, before, percentile_range)
        found = mean_change_outside(Gpu.put(now), Gpu.put(before), percentile_range)
        for one, other in zip(found, expected, strict=True):
            assert one.voxels == other.voxels
            worst = max(worst, abs(one.mean / other.mean - 1) if other.mean else one.mean)
    say(capsys, f"masked means, CUDA against CPU, {percentile_range}: {worst:.1e}")
    assert worst < 1e-7


@pytest.mark.parametrize("name", ["sample", "clipped"])
def test_3_the_sample_is_as_on_the_cpu(name):
    on_cpu, found = (analyze_run(runs.ALL[name], device=device) for device in ("cpu", "cuda"))
    assert found.device == "cuda"
    assert_close(found.points, on_cpu.points)
    assert_close(found.aligned_points, on_cpu.aligned_points)


def test_4_equal_steps_give_equal_bits(pair):
    once = compared(pair)
    for repeat in range(20):
        if repeat == 10:
            torch.cuda.empty_cache()
        assert (in_a_thread(lambda: compared(pair)) if repeat % 2 else compared(pair)) == once


@pytest.mark.parametrize(("aligned", "most"), [(False, 8), (True, 8)])
def test_5_the_host_waits_twice_a_tensor_at_most(capsys, aligned, most):
    monitor, model = steps(aligned, shape=(1, 4, 600, 600))
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            monitor.step(model, 10)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    where = Counter(f"{wait.filename.rpartition('/')[2]}:{wait.lineno}" for wait in waits)
    say(capsys, f"waits in a step{', aligned' * aligned}: {len(waits)} {dict(where)}")
    assert len(waits) <= most


@pytest.mark.parametrize("clipped", [False, True], ids=["", "clipped"])
@pytest.mark.parametrize("aligned", [False, True], ids=["", "aligned"])
def test_6_memory_beyond_the_model(capsys, aligned, clipped):
    monitor, model = steps(aligned, clipped)
    idle, one = torch.cuda.memory_allocated(), 4 * monitor.last.values["objp"].numel()
    torch.cuda.reset_peak_memory_stats()
    monitor.step(model, 10)
    peak = (torch.cuda.max_memory_allocated() - idle) / one
    say(
        capsys,
        f"peak{', aligned' * aligned}{', clipped' * clipped}: {peak:.2f} object tensors beside the kept snapshot",
    )
    assert peak < 2.5


@pytest.mark.parametrize("aligned", [False, True], ids=["", "aligned"])
def test_7_the_time_of_a_step_beside_bytes_over_bandwidth(capsys, aligned):
    monitor, model = steps(aligned)
    voxels, source = 2 * monitor.last.values["objp"].numel(), torch.ones(1 << 28, device="cuda")
    bandwidth = 2 * 4 * len(source) / milliseconds(source.clone)  # bytes a millisecond
    source = None
    least = voxels * (36 if aligned else 20) / bandwidth
    say(capsys, f"{torch.cuda.get_device_name()}: {bandwidth / 1e9:.2f} TB/s; a step{', aligned' * aligned}:")
    for bits in (19, 20, 21, 22):
        with pieces_of(1 << bits):
            took = milliseconds(lambda: monitor.step(model, 10))
        say(capsys, f"  in pieces of 2^{bits} voxels {took:.2f} ms; the bytes alone {least:.2f} ms")


def test_8_where_the_time_goes(capsys):
    monitor, model = steps(aligned=True)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        monitor.step(model, 10)
        torch.cuda.synchronize()
    events = profile.key_averages()
    total = sum(event.self_device_time_total for event in events)
    for event in sorted(events, key=lambda event: -event.self_device_time_total)[:8]:
        share = event.self_device_time_total / max(total, 1)
        say(capsys, f"  {share:5.0%} {event.self_device_time_total / 1000:.2f} ms {event.count} × {event.key[:70]}")
    assert not [event.key for event in events if "gemm" in event.key.lower()]


@pytest.mark.parametrize("aligned", [False, True], ids=["", "aligned"])
def test_9_half_of_the_voxels_at_a_clip_value(capsys, aligned):
    took = []
    for clipped in (False, True):
        monitor, model = steps(aligned, clipped)
        took.append(milliseconds(lambda monitor=monitor, model=model: monitor.step(model, 10)))
    say(capsys, f"a step{', aligned' * aligned}: {took[0]:.2f} ms, of a clipped object {took[1]:.2f} ms")


def test_10_a_stream_of_the_users_is_waited_for():
    expected = analyze_run(runs.SAMPLE, device="cuda").convergence_iters
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(1 << 30)
        assert analyze_run(runs.SAMPLE, device="cuda").convergence_iters == expected


def test_11_pinned_against_pageable(capsys):
    """Copies are from pageable memory: does pinning it, which takes time, too, pay?"""
    source = torch.ones(1 << 25)
    pageable = milliseconds(lambda: source.to("cuda"))
    begin = time.perf_counter()
    pinned = source.pin_memory()
    pinning = 1000 * (time.perf_counter() - begin)
    took = milliseconds(lambda: pinned.to("cuda"))
    rates = [4 * len(source) / one / 1e6 for one in (pageable, took)]
    say(capsys, f"128 MB pageable {rates[0]:.1f} GB/s, pinned {rates[1]:.1f} GB/s, pinning once {pinning:.0f} ms")


def test_12_a_full_gpu(monkeypatch):
    monitor, model = steps(aligned=True, count=2)
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated() / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(held)
    try:
        monitor.step(model, 10)
        assert all(math.isfinite(curve[-1][1]) for curve in model.convergence_iters.values())
        monkeypatch.setattr(devices, "TRIAL", 1 << 28)
        analysis = analyze_run(runs.SAMPLE)
        assert analysis.device == "cpu"
        assert analysis.warnings[0].startswith("cuda cannot be used now (CUDA out of memory")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    model.update()
    monitor.step(model, 11)
    assert monitor.last.values["objp"].device.type == "cuda"


def _high_precision_products():
    torch.set_float32_matmul_precision("high")
    return nullcontext()


def _deterministic():
    torch.use_deterministic_algorithms(True)
    return nullcontext()


@pytest.mark.parametrize(
    "setting",
    [
        _high_precision_products,
        lambda: torch.autocast("cuda", torch.float16),
        lambda: torch.device("cuda"),  # as set_default_device
        torch.inference_mode,
        _deterministic,
    ],
    ids=["high", "autocast", "default device", "inference mode", "deterministic"],
)
def test_13_an_engines_settings_change_no_bit(pair, setting):
    once = compared(pair)
    probe = [np.abs(values[0, 0, :64, :64]) for values in pair]
    of_probe = compared(probe, name="probe")
    try:
        with setting():
            assert compared(pair) == once
            assert compared(probe, name="probe") == of_probe
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.use_deterministic_algorithms(False)


def test_14_very_large_objects(capsys):
    room = torch.cuda.get_device_properties(0).total_memory
    if room < 12e9:
        pytest.skip("needs 12 GB")
    random = np.random.default_rng(0)
    before = random.standard_normal(230_000_000, np.float32).reshape(1, 10, 4600, 5000)
    now = before + np.float32(0.01) * np.roll(before, 1)
    found, expected = compared((now, before)), changes(
        *(Snapshot({"objp": values}, DX) for values in (now, before)), (15, 85), aligned=True
    )  # fmt: skip
    for key, change in expected.items():
        assert found[key].voxels == change.voxels
        assert found[key].value == pytest.approx(change.value, rel=1e-6)
        assert found[key].aligned == pytest.approx(change.aligned, rel=1e-5)
    model = large_on(Gpu(), (1, 1, 100, 100))
    model.optimizable_tensors["objp"] = torch.empty(1, 1, 46400, 46400, device="cuda")
    model.crop_pos = torch.tensor([[1, 1], [46360, 46360]])
    with pytest.raises(ValueError, match="are too many for a GPU"):
        ConvergenceMonitor({"tensors": ["objp"]}, model)
    say(capsys, "230 million voxels: as on the CPU")


def test_15_a_narrow_region_and_snapshots_on_the_host():
    random = np.random.default_rng(0)
    before = random.standard_normal((1, 1, 100_000, 40), np.float32)
    now = before + np.float32(0.01) * random.standard_normal(before.shape, np.float32)
    expected = changes(*(Snapshot({"obja": values}, DX) for values in (now, before)), (15, 85), aligned=True)
    for key, change in compared((now, before), name="obja").items():
        assert change.voxels == expected[key].voxels
        assert change.aligned == pytest.approx(expected[key].aligned, rel=1e-5)
    model = large_on(Gpu(), (1, 3, 300, 300))
    record, monitors = [], [ConvergenceMonitor({"snapshot_device": place}, model) for place in (None, "cpu")]
    model.update()
    for monitor in monitors:
        model.convergence_iters = {}
        monitor.step(model, 1)
        record.append({key: curve[0][1] for key, curve in model.convergence_iters.items()})
    assert record[0] == pytest.approx(record[1], rel=1e-5)
