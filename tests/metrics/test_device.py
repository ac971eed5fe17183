"""Where the arithmetic is done."""

import pytest

from ptyconv_cli import PtyconvError
from ptyconv_cli.metrics.device import choose_device


@pytest.mark.parametrize(
    ("gpus", "mps", "chosen"),
    [
        (0, False, {"auto": "cpu", "cpu": "cpu", "cuda": None, "cuda:0": None, "mps": None}),
        (2, False, {"auto": "cuda", "cpu": "cpu", "cuda": "cuda", "cuda:1": "cuda:1", "cuda:2": None, "mps": None}),
        (0, True, {"auto": "mps", "cpu": "cpu", "mps": "mps", "cuda": None}),
    ],
)
def test_devices_that_are_there_are_chosen_and_others_refused(monkeypatch, gpus, mps, chosen):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    for name, device in chosen.items():
        if device is None:
            with pytest.raises(PtyconvError, match=r"PyTorch finds no device .* here; try --device auto"):
                choose_device(name)
        else:
            assert str(choose_device(name)) == device
