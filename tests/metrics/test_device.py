"""Where the arithmetic is done."""

import pytest
import runs

from ptyconv_cli import PtyconvError
from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.metrics import device


@pytest.mark.parametrize(
    ("gpus", "mps", "chosen"),
    [
        (0, False, {"auto": "cpu", "cpu": "cpu", "cuda": None, "cuda:0": None, "mps": None}),
        (2, False, {"auto": "cuda", "cpu": "cpu", "cuda": "cuda", "cuda:1": "cuda:1", "cuda:2": None, "mps": None}),
        (0, True, {"auto": "mps", "cpu": "cpu", "mps": "mps", "cuda": None}),
    ],
)
def test_devices_that_are_there_are_chosen_and_others_refused(monkeypatch, gpus, mps, chosen):
    monkeypatch.setattr(device, "cuda_devices", lambda: ["one"] * gpus)
    monkeypatch.setattr(device, "has_apple_chip", lambda: mps)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    for name, found in chosen.items():
        if found is None:
            with pytest.raises(PtyconvError, match=r"PyTorch finds no device .* here; try --device auto"):
                device.choose_device(name)
        else:
            assert device.choose_device(name) == device.likely_device(name) == found


def test_a_gpu_that_pytorch_cannot_use_is_no_device(monkeypatch, tmp_path):
    """As where PyTorch is a build for CPUs: all is computed on the CPU, and known the next time."""
    monkeypatch.setattr(device, "cuda_devices", lambda: ["one"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert (device.likely_device("auto"), device.choose_device("auto")) == ("cuda", "cpu")
    cache = Cache(tmp_path)
    once = analyze_run(runs.SAMPLE, cache=cache)
    cache.keep()
    again = analyze_run(runs.SAMPLE, cache=Cache(tmp_path))
    assert (once.device, once.known, again.device, again.known) == ("cpu", 0, "cpu", 12)


def test_the_numbers_of_two_gpus_are_not_mixed(monkeypatch):
    monkeypatch.setattr(device, "cuda_devices", lambda: ["A", "B"])
    first, second = device.arithmetic_of("cuda:0"), device.arithmetic_of("cuda:1")
    assert first == device.arithmetic_of("cuda")
    assert first != second
    assert "torch" not in " ".join(device.arithmetic_of("cpu"))
