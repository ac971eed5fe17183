"""Is there a GPU? Asked of the drivers' libraries, for loading PyTorch to ask takes a second."""

import sys
from ctypes import CDLL, byref, c_int, create_string_buffer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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
