"""Chooses the device to compute on, and copies arrays there. Loads torch only for a GPU."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy import __version__ as numpy_version

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.metrics.arrays import Array
from ptyconv_cli.metrics.gpus import cuda_devices, has_apple_chip
from ptyconv_cli.results.settings import check_device_name


def choose_device(name: str) -> str:
    """Return the device called `name`: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda`, `cuda:N` or `mps`.

    The driver says whether there is a GPU; torch, which takes a second to load, only whether it can use it. Raises
    ValueError for another name, PtyconvError where this machine lacks the device.
    """
    check_device_name(name)
    if likely_device(name) == "cpu":
        return "cpu"
    import torch

    cuda_count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if cuda_count else "mps" if has_mps else "cpu"
    found = (torch.device(name).index or 0) < cuda_count if kind_of(name) == "cuda" else has_mps
    if not found:
        raise PtyconvError(f"PyTorch finds no device {name} here; try --device auto")
    return name


def likely_device(name: str) -> str:
    """Return what `choose_device` will return, as far as the driver knows, which is asked without loading torch."""
    if name != "auto":
        return name
    return "cuda" if cuda_devices() else "mps" if has_apple_chip() else "cpu"


def arithmetic_of(device: str) -> list[str]:
    """Return what the last bits of numbers that are computed on a device depend on: libraries, and which GPU."""
    if device == "cpu":
        return [device, numpy_version]
    from importlib.metadata import version  # slow to load

    number = int(device.partition(":")[2] or 0)
    gpus = cuda_devices() if kind_of(device) == "cuda" else []
    return [kind_of(device), numpy_version, version("torch"), *gpus[number : number + 1]]


def kind_of(device: str) -> str:
    """Return what kind of device one is: cpu, cuda or mps."""
    return device.partition(":")[0]


def to_device(arrays: Mapping[str, np.ndarray], device: str) -> dict[str, Array]:
    """Return arrays on a device: on the CPU themselves, elsewhere as tensors, whose copies are complete."""
    if device == "cpu":
        return dict(arrays)
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if device == "mps":  # which has no double precision
        single = {torch.float64: torch.float32, torch.complex128: torch.complex64}
        tensors = {name: tensor.to(single.get(tensor.dtype, tensor.dtype)) for name, tensor in tensors.items()}
    copies = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
    if kind_of(device) == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return copies


def memory_to_read_into(arrays: Mapping[str, np.ndarray], device: str) -> dict[str, np.ndarray]:
    """Return memory to read arrays like these into: pinned for CUDA, which copies from it without the CPU."""
    if kind_of(device) != "cuda":
        return dict(arrays)
    import torch

    return {
        name: array if tensor.is_pinned() else torch.empty_like(tensor, pin_memory=True).numpy()
        for name, array in arrays.items()
        for tensor in [torch.from_numpy(array)]
    }


@contextmanager
def too_much_for(device: str) -> Iterator[None]:
    """Raise PtyconvError where the device runs out of memory inside the `with` block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # PyTorch has an error of its own for CUDA, and none for the CPU and MPS.
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        other = "" if device == "cpu" else "--device cpu, or "
        raise PtyconvError(f"{device}: not enough memory; try {other}fewer tensors (-t)") from error
