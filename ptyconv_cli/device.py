"""Which device the arithmetic runs on, and how numbers from the disk get there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

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


@contextmanager
def one_thread_an_operation() -> Iterator[None]:
    """Let each operation of PyTorch on the CPU run in the thread that calls it, here and in threads started here.

    On chunks that fit the cache, waiting for each other at the end of every operation costs PyTorch's own threads more
    than they gain; where a thread reads from the disk meanwhile, they take twice as long as one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class HostBuffers:
    """Memory of the host, by shape, for float32 on its way from the disk to `device`; not for several threads at once.

    Pinned for CUDA, which then fetches the numbers by itself.
    """

    def __init__(self, device: torch.device) -> None:
        self._pinned = device.type == "cuda"
        self._buffers: dict[tuple[int, ...], Tensor] = {}

    def get(self, shape: Sequence[int]) -> Tensor:
        """Return the buffer of a shape; what was in it is lost."""
        key = tuple(shape)
        if key not in self._buffers:
            self._buffers[key] = torch.empty(key, pin_memory=self._pinned)
        return self._buffers[key]

    def send(self, buffer: Tensor, target: Tensor) -> None:
        """Copy a buffer to the device; when this returns, the buffer may be filled again."""
        target.copy_(buffer, non_blocking=self._pinned)
        if self._pinned:
            torch.cuda.current_stream(target.device).synchronize()


def host_buffers_for(device: torch.device) -> HostBuffers | None:
    """Return buffers on the way to a device, None for the CPU, whose memory the disk can be read into straight away."""
    return None if device.type == "cpu" else HostBuffers(device)
