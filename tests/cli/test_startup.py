"""What is loaded: --help and plot stay quick because they don't load torch."""

import subprocess
import sys

import pytest
import runs

REPORT_LOADED = """
import sys
from ptyconv_cli.cli.main import main
try:
    main({arguments!r})
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *sorted({{"torch", "h5py", "matplotlib", "matplotlib.pyplot"}} & set(sys.modules)))
"""


def loaded_by(*arguments) -> set[str]:
    code = REPORT_LOADED.format(arguments=[str(argument) for argument in arguments])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.rsplit("loaded:", 1)[1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["plot", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments):
    assert loaded_by(*arguments) == set()


def test_plot_loads_no_torch_and_no_h5py(analyzed, tmp_path):
    assert loaded_by("plot", analyzed, "-o", tmp_path / "convergence.png") == {"matplotlib"}


def test_analyze_loads_matplotlib_only_to_draw(tmp_path):
    assert loaded_by("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot") == {"torch", "h5py"}
    assert loaded_by("analyze", runs.SAMPLE, "-o", tmp_path) == {"torch", "h5py", "matplotlib"}


def test_the_live_class_needs_no_command_line():
    code = "import sys; from ptyconv_cli.convergence import ConvergenceMonitor; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"click", "h5py", "matplotlib"} & set(loaded)


def test_the_table_of_readers_loads_nothing_that_only_one_of_them_needs():
    code = "import sys; from ptyconv_cli.checkpoints.readers import known_readers; known_readers(); "
    code += "print(sorted({'torch', 'h5py', 'zarr'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "[]\n", result.stderr
