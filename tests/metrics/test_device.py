"""Where the arithmetic is done, and what happens where that cannot be."""

import numpy as np
import pytest
import runs
import torch
from fake_gpu import Gpu
from ptyrad_names import TENSORS

from ptyconv_cli import PtyconvError
from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.maps import maps_of_run
from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.metrics import device, snapshot
from ptyconv_cli.metrics.device import Chosen, NoRoom
from ptyconv_cli.quantities import snapshots

ASKED = Selection(TENSORS, every=None, select=None, strict=False)
BUSY = "CUDA error: all CUDA-capable devices are busy or unavailable\nCUDA kernel errors might be asynchronously ..."
UNSUPPORTED = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be ..."


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU, by its driver and by PyTorch."""
    monkeypatch.setattr(device, "cuda_devices", lambda: ["one"])
    gpu = Gpu()
    with gpu.there():
        yield gpu


@pytest.mark.parametrize(
    ("gpus", "mps", "chosen"),
    [
        (0, False, {"auto": "cpu", "cpu": "cpu", "cuda": None, "cuda:0": None, "mps": None}),
        (2, False, {"auto": "cuda", "cpu": "cpu", "cuda": "cuda", "cuda:1": "cuda:1", "cuda:2": None, "mps": None}),
        (0, True, {"auto": "cpu", "cpu": "cpu", "mps": "mps", "cuda": None}),  # not by itself: nobody has tried
    ],
)
def test_devices_that_are_there_are_chosen_and_others_refused(monkeypatch, gpus, mps, chosen):
    monkeypatch.setattr(device, "cuda_devices", lambda: ["one"] * gpus)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    monkeypatch.setattr("torch.ones", lambda count, device: np.ones(count))
    for name, found in chosen.items():
        if found is None:
            with pytest.raises(PtyconvError, match=r"PyTorch finds no device .* here; try --device auto"):
                device.choose_device(name)
        else:
            notice = device.MPS_NOTICE if name == "mps" else ""
            assert device.choose_device(name) == (found, notice)
            assert device.likely_device(name) == found


def test_a_gpu_that_pytorch_cannot_use_is_no_device(monkeypatch, tmp_path):
    """As where PyTorch is a build for CPUs: all is computed on the CPU, and known the next time."""
    monkeypatch.setattr(device, "cuda_devices", lambda: ["one"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert (device.likely_device("auto"), device.choose_device("auto")) == ("cuda", Chosen("cpu"))
    cache = Cache(tmp_path)
    once = analyze_run(runs.SAMPLE, cache=cache)
    cache.keep()
    again = analyze_run(runs.SAMPLE, cache=Cache(tmp_path))
    assert (once.device, once.known, again.device, again.known) == ("cpu", 0, "cpu", 12)
    assert not once.warnings


@pytest.mark.parametrize("name", ["auto", "cuda"])
@pytest.mark.parametrize("text", [BUSY, UNSUPPORTED, "CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has ..."])
def test_a_gpu_that_is_busy_full_or_not_supported_is_replaced_by_the_cpu_with_a_notice(gpu, name, text, whole):
    gpu.fails["ones"] = torch.OutOfMemoryError(text) if "memory" in text else RuntimeError(text)
    chosen, first_sentence = device.choose_device(name), text.splitlines()[0].split(".")[0]
    assert chosen == ("cpu", f"cuda cannot be used now ({first_sentence}): computed on the CPU.")
    analysis = analyze_run(runs.SAMPLE, device=name)
    assert (analysis.device, analysis.warnings[0], analysis.convergence_iters) == ("cpu", chosen.notice, whole)


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1.0 GB, other allocations: 2 MB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("CUDA error: misaligned address"), False),
        (ValueError("memory"), False),
    ],
)
def test_which_errors_mean_too_little_memory(error, is_it):
    assert device.is_out_of_memory(error) is is_it
    with pytest.raises(NoRoom if is_it else type(error)) as raised, device.too_much_for("cuda"):
        raise error
    if is_it:
        assert str(raised.value) == "cuda: not enough memory; try --device cpu, or fewer tensors (-t)"


def test_a_gpu_that_runs_out_of_memory_on_the_way_is_replaced_by_the_cpu_with_a_notice(
    monkeypatch, gpu, tmp_path, whole
):
    def runs_out(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "to_device", lambda arrays, on: arrays if on == "cpu" else runs_out())
        cache = Cache(tmp_path)
        analysis = analyze_run(runs.SAMPLE, cache=cache)
        maps = maps_of_run(runs.SAMPLE, ASKED, percentile_range=(15, 85))
    cache.keep()
    assert (analysis.device, analysis.convergence_iters) == ("cpu", whole)
    assert analysis.warnings[0] == maps.warnings[0] == "cuda ran out of memory: computed on the CPU."
    assert "empty_cache" in gpu.ops
    assert analyze_run(runs.SAMPLE, device="cpu", cache=Cache(tmp_path)).known == 12


def test_while_the_cpu_does_it_instead_the_gpu_is_free(gpu, whole):
    used = []
    gpu.fails["sort"] = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
    analysis = analyze_run(runs.SAMPLE, device="cuda", progress=lambda *_: used.append(gpu.live))
    assert (analysis.device, analysis.convergence_iters) == ("cpu", whole)
    assert analysis.warnings[0] == "cuda ran out of memory: computed on the CPU."
    assert used[0] > 0
    assert used[-11:] == [0] * 11


def test_the_numbers_of_two_gpus_are_not_mixed(monkeypatch):
    monkeypatch.setattr(device, "cuda_devices", lambda: ["A", "B"])
    first, second = device.arithmetic_of("cuda:0"), device.arithmetic_of("cuda:1")
    assert first == device.arithmetic_of("cuda")
    assert first != second
    assert "torch" not in " ".join(device.arithmetic_of("cpu"))


def test_copies_are_complete_before_their_source_may_go(gpu):
    """A copy that does not wait reads memory that is released: seen on Apple's GPUs."""
    copies = snapshots.snapshot_of({"objp": np.ones(5000), "probe_pos_shifts": np.ones((3, 2))}, 1.0, "cuda").values
    assert (gpu.waits, gpu.late) == (["copy to device"], 0)
    assert isinstance(copies["probe_pos_shifts"], np.ndarray)  # few: they stay on the host


def test_where_no_memory_can_be_pinned_copies_wait(gpu, monkeypatch):
    assert device.upload(np.arange(3000.0), "cuda:0").tolist() == np.arange(3000.0).tolist()
    assert gpu.waits == ["copy to host"]

    def fails(_):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.Tensor, "pin_memory", fails)
    assert device.upload(np.arange(3000.0), "cuda:0").tolist() == np.arange(3000.0).tolist()
    assert gpu.waits == ["copy to host", "copy to device", "copy to host"]
    assert gpu.late == 0


def test_more_voxels_than_torch_counts_are_refused_on_a_gpu(monkeypatch, gpu):
    monkeypatch.setattr(snapshot, "MOST_VOXELS", 10)
    with pytest.raises(PtyconvError, match=r"obja: .* voxels are too many for a GPU; use --device cpu"):
        analyze_run(runs.SAMPLE, device="cuda")
    with pytest.raises(PtyconvError, match=r"obja: .* voxels are too many for a GPU; use --device cpu"):
        maps_of_run(runs.SAMPLE, ASKED, percentile_range=(15, 85), device="cuda")
    assert analyze_run(runs.SAMPLE, device="cpu").points
