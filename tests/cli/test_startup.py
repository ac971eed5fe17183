"""What is loaded: --help and plot stay quick because they don't load torch."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import runs
from engines import ENGINES
from rarely import long_after

import ptyconv_cli
from ptyconv_cli.checkpoints.discovery import find_runs
from ptyconv_cli.checkpoints.readers import OWN

COMMANDS = {"analyze", "listing", "pictures", "report_page"}

REPORT_LOADED = """
import sys
from pathlib import Path
from ptyconv_cli.cli.main import main
try:
    main({arguments!r})
except SystemExit as end:
    assert (end.code or 0) == {code}, end.code
print("loaded:", *sys.modules)
"""


PACKAGE = Path(ptyconv_cli.__file__).parent

HEAVY = {"torch", "h5py", "matplotlib", "matplotlib.pyplot", "jinja2"}


def test_help_of_all_loads_nothing_heavy():
    assert loaded_by("--help") == set()


def loaded_by(*arguments) -> set[str]:
    """The heavy packages that a command loads."""
    return HEAVY & modules_of(*arguments)


def modules_of(*arguments, code: int = 0) -> set[str]:
    script = REPORT_LOADED.format(arguments=[str(argument) for argument in arguments], code=code)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.rsplit("loaded:", 1)[1].split())


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["--version"], None),
        (["ls", runs.SAMPLE], "listing"),
        (["plot", "--help"], "pictures"),
        (["check", "--help"], "analyze"),
        (["analyze", "--help"], "analyze"),
        (["report", "--help"], "report_page"),
    ],
)
def test_only_the_command_that_is_asked_for_is_loaded_and_for_its_help_nothing_heavy(arguments, command):
    loaded = modules_of(*arguments)
    assert not HEAVY & loaded or "ls" in arguments
    assert {name for name in COMMANDS if f"ptyconv_cli.cli.{name}" in loaded} == {command} - {None}


def test_analyze_of_one_run_loads_nothing_for_others(tmp_path):
    loaded = modules_of("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot")
    of_others = {
        *("ptyconv_cli.cli.study", "ptyconv_cli.analysis.study", "ptyconv_cli.cli.running_job"),
        *("ptyconv_cli.analysis.follow", "click._termui_impl"),
    }
    assert not of_others & loaded
    assert not {name for name in loaded if name.startswith("ptyconv_cli.pictures.")}


def test_plot_loads_no_torch_and_no_h5py(analyzed, tmp_path):
    assert loaded_by("plot", analyzed, "-o", tmp_path / "convergence.png") == {"matplotlib"}


def test_analyze_loads_matplotlib_only_to_draw(tmp_path):
    assert loaded_by("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot") == {"h5py"}
    assert loaded_by("analyze", runs.SAMPLE, "-o", tmp_path) == {"matplotlib"}, "all else is known"


@pytest.mark.long
def test_afresh_it_loads_both(tmp_path):
    assert loaded_by("analyze", runs.SAMPLE, "-o", tmp_path, "--fresh") == {"h5py", "matplotlib"}


NEEDED_TO_COMPUTE = {
    *("ptyconv_cli.analysis.compare", "ptyconv_cli.workers"),
    *("ptyconv_cli.metrics.arrays", "ptyconv_cli.metrics.aligned", "ptyconv_cli.metrics.sketch"),
}

MOST_MODULES = 47
"""Of our own: what finds the files, knows them again, judges and prints. Folders don't count."""


@pytest.mark.parametrize("options", long_after(1, [[], ["--no-plot"], ["--tol", "objp=1%", "--no-plot"]]))
def test_with_nothing_new_only_what_reads_and_judges_is_loaded(drawn_sample, options):
    loaded = modules_of("analyze", runs.SAMPLE, "-o", drawn_sample, "--device", "cpu", *options)
    assert not HEAVY & loaded
    assert not NEEDED_TO_COMPUTE & loaded
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    own = sorted(modules & loaded)  # folders have other names: ptyconv_cli.cli.__init__
    assert len(own) <= MOST_MODULES, own


def renamed(folder):
    """A run of PtyRAD whose files are known by their content."""
    folder.mkdir()
    for path in runs.SAMPLE.glob("*.hdf5"):
        shutil.copy2(path, folder / path.name.replace("model_iter", "state_"))
    return folder


@pytest.mark.parametrize("name", long_after(1, ["renamed", "ptychodus", "pear", "fold_slice"]))
def test_so_also_of_files_that_are_known_by_their_content(ptyconv, blank_pictures, tmp_path, name):
    run_dir = renamed(tmp_path / "renamed") if name == "renamed" else find_runs(ENGINES / name).runs[0]
    assert ptyconv("analyze", run_dir, "-o", tmp_path / "out", "--device", "cpu").exit_code == 0
    for command, where, code in (("analyze", "-o", 0), ("check", "--results", 3)):
        loaded = modules_of(command, run_dir, where, tmp_path / "out", "--device", "cpu", code=code)
        assert not (HEAVY | NEEDED_TO_COMPUTE) & loaded


@pytest.mark.parametrize("options", long_after(1, [[], ["-o", "out"]]))
def test_so_also_of_a_run_that_is_found_below_a_folder(ptyconv, blank_pictures, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ENGINES / "ptychodus", "root/run")
    assert ptyconv("analyze", "root", "--device", "cpu", *options).exit_code == 0
    assert not HEAVY & modules_of("analyze", "root", "--device", "cpu", *options)


@pytest.mark.long
def test_dask_is_loaded_only_where_it_is_asked_for(tmp_path):
    for name in ("a", "b"):
        shutil.copytree(ENGINES / "ptychodus", tmp_path / name)
    loaded = modules_of("analyze", tmp_path, "--device", "cpu", "--no-plot")
    assert not {"dask", "distributed", "tornado", "ptyconv_cli.cli.cluster", "ptyconv_cli.cli.worker"} & loaded
    loaded = modules_of("analyze", tmp_path / "a", "--device", "cpu", "--no-plot", "--workers", "2")
    assert "distributed" not in loaded, "one run is analyzed here"


@pytest.mark.long
def test_so_also_of_several_runs(ptyconv, blank_pictures, tmp_path):
    for name in ("ptychodus", "pear/S0001"):
        shutil.copytree(ENGINES / name, tmp_path / "root" / name)
    arguments = "analyze", tmp_path / "root", "-o", tmp_path / "out", "--device", "cpu"
    assert ptyconv(*arguments).exit_code == 0
    assert not HEAVY & modules_of(*arguments)


def test_other_packages_readers_are_looked_for_without_reading_what_packages_are(drawn_sample):
    assert "importlib.metadata" not in modules_of("analyze", runs.SAMPLE, "-o", drawn_sample, "--device", "cpu")


@pytest.mark.parametrize(
    "run_dir", long_after(1, [runs.SAMPLE_PT, runs.DATA / "phaser" / "lsqml"]), ids=["pt", "phaser"]
)
def test_so_it_is_with_other_formats(ptyconv, run_dir, tmp_path):
    assert ptyconv("analyze", run_dir, "-o", tmp_path, "--device", "cpu", "--no-plot").exit_code == 0
    assert not HEAVY & modules_of("analyze", run_dir, "-o", tmp_path, "--device", "cpu", "--no-plot")


def test_a_check_of_an_analyzed_run_loads_no_more(drawn_sample):
    loaded = modules_of("check", runs.SAMPLE, "--results", drawn_sample, "--device", "cpu", code=3)
    assert not HEAVY & loaded
    assert not NEEDED_TO_COMPUTE & loaded


@pytest.mark.long
def test_the_live_class_needs_no_command_line():
    code = "import sys; from ptyconv_cli.convergence import ConvergenceMonitor; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"click", "h5py", "matplotlib"} & set(loaded)


FORMATS = "ptyconv_cli.checkpoints.formats."


def test_readers_load_nothing_that_only_some_of_their_files_need():
    code = "import sys; from ptyconv_cli.checkpoints.readers import OWN; [known.reader for known in OWN]; "
    code += "print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert f"{FORMATS}ptyrad" in loaded
    assert not {"torch", "h5py", "zarr"} & set(loaded)


@pytest.mark.parametrize("name", ["ptychodus", "pear", "fold_slice"])
def test_of_the_readers_only_those_are_loaded_that_a_file_may_be_for(name, tmp_path):
    run_dir = find_runs(ENGINES / name).runs[0]
    loaded = modules_of("analyze", run_dir, "-o", tmp_path, "--device", "cpu", "--no-plot")
    ours = {known.module: known for known in OWN}
    suffixes = {path.suffix for path in run_dir.iterdir()}
    assert f"{FORMATS}{name}" in loaded
    assert all(suffixes & set(ours[module].suffixes) for module in loaded & set(ours))


def test_no_reader_is_loaded_where_all_is_known(drawn_sample):
    loaded = modules_of("analyze", runs.SAMPLE, "-o", drawn_sample, "--device", "cpu")
    assert not {module for module in loaded if module.startswith(FORMATS)}
