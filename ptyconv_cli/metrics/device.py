"""Chooses the device to compute on, and copies arrays there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.settings import check_device_name


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
        raise PtyconvError(f"PyTorch finds no device {name} here; try --device auto")
    if device.type == "mps" and not has_mps:
        raise PtyconvError("PyTorch finds no device mps here; try --device auto")
    return device


def precise(device: torch.device) -> torch.dtype:
    """Return the type to sum in: float64 where the device has it (MPS has not)."""
    return torch.float32 if device.type == "mps" else torch.float64


@contextmanager
def one_thread_an_operation() -> Iterator[None]:
    """Run each of PyTorch's CPU operations in the thread that calls it, here and in threads started here.

    While the cores are busy reading and comparing, PyTorch's own threads, which wait for each other after every
    operation, cost more than they gain.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def to_device(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    """Return arrays as tensors on a device: on the CPU they share memory, elsewhere the copies are complete."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if device.type == "cpu":
        return tensors
    if device.type == "mps":  # which has no double precision
        single = {torch.float64: torch.float32, torch.complex128: torch.complex64}
        tensors = {name: tensor.to(single.get(tensor.dtype, tensor.dtype)) for name, tensor in tensors.items()}
    copies = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return copies


def memory_to_read_into(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, np.ndarray]:
    """Return memory to read arrays like these into: pinned for CUDA, which copies from it without the CPU."""
    if device.type != "cuda":
        return dict(arrays)
    return {
        name: array if tensor.is_pinned() else torch.empty_like(tensor, pin_memory=True).numpy()
        for name, array in arrays.items()
        for tensor in [torch.from_numpy(array)]
    }


@contextmanager
def too_much_for(device: torch.device) -> Iterator[None]:
    """Raise PtyconvError where the device runs out of memory inside the `with` block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # PyTorch has an error of its own for CUDA, and none for the CPU and MPS.
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        other = "" if device.type == "cpu" else "--device cpu, or "
        raise PtyconvError(f"{device}: not enough memory; try {other}fewer tensors (-t)") from error
