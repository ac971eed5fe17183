"""Whether there is a GPU, asked of stand-ins for the drivers' libraries, which behave as their manuals say."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from ptyconv_cli.metrics import device


class Driver:
    """A library with the devices of these names; `fails`: the function that returns an error, as without hardware."""

    def __init__(self, *devices, fails=""):
        self.devices, self.fails, self.initialised = devices, fails, False

    def init(self, flags):
        assert flags == 0
        self.initialised = True
        return 100 if self.fails == "init" else 0  # CUDA_ERROR_NO_DEVICE

    def count(self, number):
        assert self.initialised
        number._obj.value = len(self.devices)
        return 3 if self.fails == "count" else 0

    def get(self, device, ordinal):
        device._obj.value = 40 + ordinal  # a handle is not its ordinal
        return 0

    def name(self, text, length, device):
        device = getattr(device, "value", device)
        assert len(self.devices[device - 40]) < length
        text.value = self.devices[device - 40].encode()
        return 1 if self.fails == "name" else 0


def nvidia(driver):
    return SimpleNamespace(
        cuInit=driver.init, cuDeviceGetCount=driver.count, cuDeviceGet=driver.get, cuDeviceGetName=driver.name
    )


def amd(driver):
    return SimpleNamespace(
        hipInit=driver.init, hipGetDeviceCount=driver.count, hipDeviceGet=driver.get, hipDeviceGetName=driver.name
    )


@pytest.fixture
def libraries(monkeypatch, tmp_path):
    """The libraries that a machine with AMD's driver has, by name."""
    found = {}

    def load(name):
        if name not in found:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        return found[name]

    monkeypatch.setattr(device, "CDLL", load)
    monkeypatch.setattr(device.sys, "platform", "linux")
    monkeypatch.setattr(device, "AMD_DRIVER", tmp_path)
    return found


def test_without_a_library_there_is_no_gpu(libraries):
    assert device.cuda_devices() == []


def test_nvidia(libraries):
    libraries["libcuda.so.1"] = nvidia(Driver("NVIDIA H100 80GB HBM3", "NVIDIA T400"))
    assert device.cuda_devices() == ["NVIDIA H100 80GB HBM3", "NVIDIA T400"]


def test_nvidia_on_windows(libraries, monkeypatch):
    monkeypatch.setattr(device.sys, "platform", "win32")
    libraries["nvcuda.dll"] = nvidia(Driver("NVIDIA RTX A2000"))
    assert device.cuda_devices() == ["NVIDIA RTX A2000"]


def test_amd(libraries):
    libraries["libamdhip64.so"] = amd(Driver("AMD Instinct MI300X"))
    assert device.cuda_devices() == ["AMD Instinct MI300X"]


def test_amd_with_the_library_that_pytorch_brings(libraries):
    libraries[str(Path(find_spec("torch").origin).parent / "lib" / "libamdhip64.so")] = amd(Driver("AMD Radeon VII"))
    assert device.cuda_devices() == ["AMD Radeon VII"]


def test_without_amds_driver_its_library_is_not_looked_for(libraries, monkeypatch, tmp_path):
    monkeypatch.setattr(device, "AMD_DRIVER", tmp_path / "absent")
    libraries["libamdhip64.so"] = amd(Driver("AMD Instinct MI300X"))
    assert device.cuda_devices() == []


def test_nvidias_driver_without_a_gpu_beside_one_of_amd(libraries):
    libraries["libcuda.so.1"] = nvidia(Driver(fails="init"))
    libraries["libamdhip64.so"] = amd(Driver("AMD Radeon PRO W7900"))
    assert device.cuda_devices() == ["AMD Radeon PRO W7900"]


@pytest.mark.parametrize("fails", ["init", "count"])
def test_a_driver_that_reports_an_error_has_none(libraries, fails):
    libraries["libcuda.so.1"] = nvidia(Driver("NVIDIA T400", fails=fails))
    assert device.cuda_devices() == []


def test_a_gpu_without_a_name_is_one_all_the_same(libraries):
    libraries["libcuda.so.1"] = nvidia(Driver("NVIDIA T400", fails="name"))
    assert device.cuda_devices() == ["unknown"]


def test_a_library_that_lacks_a_function_has_none(libraries):
    libraries["libcuda.so.1"] = SimpleNamespace(cuInit=lambda _: 0)
    assert device.cuda_devices() == []


def test_the_real_libraries_are_asked_without_torch_and_without_other_processes():
    code = (
        "import os, sys, subprocess\n"
        "def refuse(*_, **__): raise AssertionError('started a process')\n"
        "subprocess.Popen = os.system = os.popen = refuse\n"
        "from ptyconv_cli.metrics.device import cuda_devices\n"
        "print(all(isinstance(name, str) for name in cuda_devices()))\n"
        "print('torch' in sys.modules)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == ["True", "False"]
