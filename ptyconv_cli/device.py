"""Which device the arithmetic runs on."""

import torch

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.settings import check_device_name


def choose_device(name: str) -> torch.device:
    """Return the device called `name`: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises ValueError for another name, PtyconvError where this machine lacks the device.
    """
    check_device_name(name)
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if has_cuda else "mps" if has_mps else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= (torch.cuda.device_count() if has_cuda else 0):
        raise PtyconvError(f"there is no device {name} that PyTorch can use here: try --device auto")
    if device.type == "mps" and not has_mps:
        raise PtyconvError("there is no MPS device that PyTorch can use here: try --device auto")
    return device
