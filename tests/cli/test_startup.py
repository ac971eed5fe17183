"""What is loaded: --help and plot stay quick because they don't load torch."""

import subprocess
import sys

import pytest
import runs

COMMANDS = {"analyze", "check", "listing", "pictures"}

REPORT_LOADED = """
import sys
from ptyconv_cli.cli.main import main
try:
    main({arguments!r})
except SystemExit as end:
    assert (end.code or 0) == {code}, end.code
print("loaded:", *sys.modules)
"""


HEAVY = {"torch", "h5py", "matplotlib", "matplotlib.pyplot"}


def loaded_by(*arguments) -> set[str]:
    """The heavy packages that a command loads."""
    return HEAVY & modules_of(*arguments)


def modules_of(*arguments, code: int = 0) -> set[str]:
    script = REPORT_LOADED.format(arguments=[str(argument) for argument in arguments], code=code)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.rsplit("loaded:", 1)[1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["plot", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments):
    assert loaded_by(*arguments) == set()


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["--version"], None),
        (["ls", runs.SAMPLE], "listing"),
        (["maps", "--help"], "pictures"),
        (["check", "--help"], "check"),
        (["analyze", "--help"], "analyze"),
    ],
)
def test_only_the_command_that_is_asked_for_is_loaded(arguments, command):
    loaded = modules_of(*arguments)
    assert {name for name in COMMANDS if f"ptyconv_cli.cli.{name}" in loaded} == {command} - {None}


def test_analyze_of_one_run_loads_nothing_for_others(tmp_path):
    loaded = modules_of("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot")
    of_others = {
        *("ptyconv_cli.cli.study", "ptyconv_cli.analysis.study", "ptyconv_cli.cli.live_table"),
        *("ptyconv_cli.analysis.follow", "ptyconv_cli.checkpoints.trials", "click._termui_impl"),
    }
    assert not of_others & loaded
    assert not {name for name in loaded if name.startswith("ptyconv_cli.pictures.")}


def test_plot_loads_no_torch_and_no_h5py(analyzed, tmp_path):
    assert loaded_by("plot", analyzed, "-o", tmp_path / "convergence.png") == {"matplotlib"}


def test_analyze_loads_matplotlib_only_to_draw(tmp_path):
    assert loaded_by("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot") == {"h5py"}
    assert loaded_by("analyze", runs.SAMPLE, "-o", tmp_path) == {"matplotlib"}, "all else is known"
    assert loaded_by("analyze", runs.SAMPLE, "-o", tmp_path, "--fresh") == {"h5py", "matplotlib"}


NEEDED_TO_COMPUTE = {"ptyconv_cli.analysis.walk", "ptyconv_cli.metrics.change", "ptyconv_cli.metrics.percentiles"}


@pytest.mark.parametrize("options", [[], ["--no-plot"], ["--tol", "objp=1%", "--no-plot"]])
def test_with_nothing_new_only_what_reads_and_judges_is_loaded(drawn_sample, options):
    loaded = modules_of("analyze", runs.SAMPLE, "-o", drawn_sample, "--device", "cpu", *options)
    assert not HEAVY & loaded
    assert not NEEDED_TO_COMPUTE & loaded


@pytest.mark.parametrize("run_dir", [runs.SAMPLE_PT, runs.DATA / "phaser" / "lsqml"], ids=["pt", "phaser"])
def test_so_it_is_with_other_formats(run_dir, tmp_path):
    modules_of("analyze", run_dir, "-o", tmp_path, "--device", "cpu", "--no-plot")
    assert not HEAVY & modules_of("analyze", run_dir, "-o", tmp_path, "--device", "cpu", "--no-plot")


def test_a_check_of_an_analyzed_run_loads_no_more(drawn_sample):
    loaded = modules_of("check", runs.SAMPLE, "-o", drawn_sample, "--device", "cpu", code=3)
    assert not HEAVY & loaded
    assert not NEEDED_TO_COMPUTE & loaded


def test_the_live_class_needs_no_command_line():
    code = "import sys; from ptyconv_cli.convergence import ConvergenceMonitor; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"click", "h5py", "matplotlib"} & set(loaded)
