"""Where to compute: the device, what to do where its memory is short, and waiting for it."""

import gc
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ctypes import CDLL, byref, c_int, create_string_buffer
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy import __version__ as numpy_version

from ptyconv_cli.errors import PtyconvError

if TYPE_CHECKING:
    from ptyconv_cli.metrics.arrays import Array

AMD_DRIVER = Path("/dev/kfd")
"""What the kernel's driver for AMD's GPUs makes."""

LONGEST_NAME = 256
"""Bytes."""


def cuda_devices() -> list[str]:
    """Return the names of the GPUs that PyTorch would call cuda:0, cuda:1 ..., none where there is no GPU or driver.

    NVIDIA's, or else, on Linux, AMD's. The drivers leave out what CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES hides.
    """
    nvidia = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    found = _devices(nvidia, "cuInit", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName")
    for amd in [] if found else _libraries_of_amd():
        found = found or _devices(amd, "hipInit", "hipGetDeviceCount", "hipDeviceGet", "hipDeviceGetName")
    return found


def _libraries_of_amd() -> list[str]:
    """Return where AMD's library may be: in the system's folders, or in PyTorch's own, which brings it along."""
    if not AMD_DRIVER.exists():
        return []
    torch = find_spec("torch")  # which is not loaded by that
    places = (torch and torch.submodule_search_locations) or []
    return ["libamdhip64.so", *(str(Path(place) / "lib" / "libamdhip64.so") for place in places)]


def _devices(library_name: str, *functions: str) -> list[str]:
    """Return the names of a driver's devices; `functions` that begin, count, find a device by its number, name it."""
    try:
        library: Any = CDLL(library_name)
        begin, count_of, device_at, name_of = (getattr(library, name) for name in functions)
    except (OSError, AttributeError):  # there is no such library, or one of another kind
        return []
    count = c_int()
    if begin(0) or count_of(byref(count)):  # they return 0 where all is well
        return []
    names = []
    for ordinal in range(count.value):
        device, text = c_int(), create_string_buffer(LONGEST_NAME)
        failed = device_at(byref(device), ordinal) or name_of(text, LONGEST_NAME, device)
        names.append("unknown" if failed else text.value.decode(errors="replace"))
    return names


TRIAL = 1 << 18
"""Numbers, 1 MB, that a device must have room for, and add up, before it is used."""

OUT_OF_MEMORY = (
    "CUDA error: out of memory",
    "HIP error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
    "can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
)
"""What errors say for which PyTorch has no class. An "illegal memory access" is something else."""

MPS_NOTICE = "Computed on Apple's GPU, on which ptyconv has not been tried: compare with --device cpu."


class Chosen(NamedTuple):
    """The device to compute on, and what is to be told about it, "" where there is nothing."""

    device: str
    notice: str = ""


class Unusable(PtyconvError):
    """A device cannot be used; `notice`: what is to be told where the CPU is used instead, "" for nothing."""

    def __init__(self, text: str, notice: str) -> None:
        super().__init__(text)
        self.notice = notice


class NoRoom(Unusable):
    """A device ran out of memory."""


Result = TypeVar("Result")


def or_on_cpu(work: Callable[[str], Result], device: str) -> tuple[Result, str]:
    """Return what `work` does on a device, or, where that is Unusable, on the CPU, with the notice of that, else "".

    `device`: a name as of `choose_device`.
    """
    try:
        return work(device), ""
    except Unusable as error:
        if likely_device(device) == "cpu":
            raise
        notice = error.notice
    give_back()  # not where the error still holds what was on the device
    return work("cpu"), notice


def check_device_name(name: str) -> str:
    """Return `name`; raise ValueError unless it is auto, cpu, cuda, cuda:N or mps."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise ValueError(f"unknown device {name!r}: choose auto, cpu, cuda, cuda:N or mps")
    return name


def choose_device(name: str) -> Chosen:
    """Return the device called `name`: `auto` (CUDA, else CPU), `cpu`, `cuda`, `cuda:N` or `mps`.

    The driver says whether there is a GPU; torch, which takes a second to load, only whether it can use it. One that is
    there, but busy, full or not supported, is replaced by the CPU, with a notice. Raises ValueError for another name,
    PtyconvError where this machine lacks the device.
    """
    check_device_name(name)
    if likely_device(name) == "cpu":
        return Chosen("cpu")
    import torch

    cuda_count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto" and not cuda_count:
        return Chosen("cpu")
    device = "cuda" if name == "auto" else name
    is_there = device == "mps" and torch.backends.mps.is_available()
    if not is_there and (torch.device(device).index or 0) >= (cuda_count if kind_of(device) == "cuda" else 0):
        raise PtyconvError(f"PyTorch finds no device {name} here; try --device auto")
    try:
        float(torch.ones(TRIAL, device=device).sum())
    except RuntimeError as error:  # PyTorch's own errors of devices are all of this kind
        return Chosen("cpu", f"{device} cannot be used now ({_gist(error)}): computed on the CPU.")
    return Chosen(device, MPS_NOTICE if device == "mps" else "")


def _gist(error: Exception) -> str:
    """Return the first sentence of an error, without its full stop."""
    return str(error).strip().splitlines()[0].split(". ")[0].rstrip(".") if str(error).strip() else "no reason given"


def likely_device(name: str) -> str:
    """Return what `choose_device` will return, as far as the driver knows, which is asked without loading torch."""
    if name != "auto":
        return name
    return "cuda" if cuda_devices() else "cpu"


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


def to_device(arrays: Mapping[str, np.ndarray], device: str) -> "dict[str, Array]":
    """Return arrays on a device: on the CPU themselves, elsewhere as tensors, whose copies are complete."""
    if device == "cpu":
        return dict(arrays)
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if kind_of(device) == "mps":  # which has no double precision
        single = {torch.float64: torch.float32, torch.complex128: torch.complex64}
        tensors = {name: tensor.to(single.get(tensor.dtype, tensor.dtype)) for name, tensor in tensors.items()}
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def beside(numbers: np.ndarray, values: "Array") -> "Array":
    """Return numbers where an array of values is; see `upload`."""
    return numbers if isinstance(values, np.ndarray) else upload(numbers, values.device)


def upload(values: np.ndarray, device: Any) -> "Array":
    """Return numbers as a tensor on a device of torch, without waiting for a CUDA device to be done with the rest."""
    import torch

    tensor = torch.from_numpy(values)
    if torch.device(device).type == "cuda":
        with suppress(RuntimeError):  # no memory that may be pinned
            tensor = tensor.pin_memory()
            return tensor.to(device, non_blocking=True)  # torch keeps the pinned memory until it is copied
    return tensor.to(device)


def wait_for(device: str) -> None:
    """Wait until a device has done what this thread asked of it: another thread's work does not wait for that."""
    if kind_of(device) == "cuda":
        import torch

        torch.cuda.current_stream(device).synchronize()


def give_back() -> None:
    """Give memory of GPUs that is not in use any more back to other programs."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    gc.collect()  # what an exception held
    torch.cuda.empty_cache()  # which does nothing where CUDA is not in use
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that a device, or the host, ran out of memory."""
    torch = sys.modules.get("torch")
    of_torch = torch is not None and isinstance(error, torch.OutOfMemoryError)
    return isinstance(error, MemoryError) or of_torch or any(text in str(error) for text in OUT_OF_MEMORY)


@contextmanager
def too_much_for(device: str) -> Iterator[None]:
    """Raise NoRoom where the device runs out of memory inside the `with` block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        other = "" if device == "cpu" else "--device cpu, or "
        raise NoRoom(
            f"{device}: not enough memory; try {other}fewer tensors (-t)",
            f"{device} ran out of memory: computed on the CPU.",
        ) from error
