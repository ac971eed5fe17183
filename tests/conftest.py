"""Fixtures that several test files use."""

import gc
import os
import shutil
import signal
import sys

# Before PyTorch is loaded, here and in processes that a test starts: both cores have tests to do, and threads that wait
# for each other at the end of every operation would take most of the time.
os.environ["OMP_NUM_THREADS"] = "1"

# What is said is broken into lines as wide as the terminal: here always as where there is none.
os.environ["COLUMNS"] = "80"

import blank
import pytest
import runs
from click.testing import CliRunner, Result
from hypothesis import settings

from ptyconv_cli.checkpoints import headers
from ptyconv_cli.checkpoints.formats.hdf5 import Hdf5Tree
from ptyconv_cli.cli.main import main

# Compiled modules are kept, whatever the shell says: else each of the many processes compiles the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# `make test-long` asks for the long one. The short one draws the same examples every time: whoever changes something
# else should not be the one to meet a rare fault.
settings.register_profile("short", max_examples=40, deadline=None, derandomize=True)
settings.register_profile("long", max_examples=400, deadline=None)
settings.load_profile("short")


def pytest_collection_finish():
    """Have Python no longer look for garbage in the packages that are loaded: they stay."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Don't wait for the newest checkpoint to become whole: in the tests nobody is writing it."""
    monkeypatch.setattr(headers, "PATIENCE", (0.0,))


@pytest.fixture(autouse=True)
def _80_columns(monkeypatch):
    """Print as on a terminal of 80 columns, however wide that is in which the tests are run."""
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Let Ctrl-C interrupt, here and in processes that a test starts: a shell's background jobs have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def ptyconv():
    """The command line, in this process; an exception other than an orderly exit fails the test."""

    def run(*arguments) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)

    return run


@pytest.fixture
def blank_pictures(monkeypatch):
    """Pictures show nothing: for tests to which it does not matter what is in them."""
    blank.patch(monkeypatch)  # with what the test itself replaces, so that it is undone in the reverse order


@pytest.fixture
def opened(monkeypatch):
    """The HDF5 files that are opened, each time: what takes long on a network mount."""
    found, open_file = [], Hdf5Tree._open

    def opening(self):
        found.append(self.path)
        return open_file(self)

    monkeypatch.setattr(Hdf5Tree, "_open", opening)
    return found


@pytest.fixture(scope="session")
def analysis():
    """The analysis of the sample run."""
    return runs.analysis_of(runs.SAMPLE)


@pytest.fixture(scope="session")
def analyzed(tmp_path_factory):
    """Results of the clipped run, which has every kind of panel, and an empty mask."""
    folder = tmp_path_factory.mktemp("results")
    CliRunner().invoke(main, ["analyze", str(runs.ALL["clipped"]), "-o", str(folder), "--no-plot"])
    return folder


@pytest.fixture(scope="session")
def _drawn_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "new" / "out"
    result = CliRunner().invoke(main, ["analyze", str(runs.SAMPLE), "-o", str(folder), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def drawn_sample(_drawn_once, tmp_path_factory):
    """A folder with all that an analysis of the sample run writes, pictures too, which a test may spoil."""
    return shutil.copytree(_drawn_once, tmp_path_factory.mktemp("drawn"), dirs_exist_ok=True)


@pytest.fixture
def output_folder(tmp_path):
    """Three runs below a folder, of which one cannot be analyzed, beside what is no run."""
    from toy import write_run  # with PyTorch, which the process that hands out tests need not load

    root = tmp_path / "output"
    for name in ("b", "deeper/down/a"):
        (root / name).mkdir(parents=True)
        write_run(root / name, [2, 4, 6])
    (root / "single").mkdir()
    write_run(root / "single", [2])
    (root / "pictures").mkdir()
    (root / ".hidden").mkdir()
    write_run(root / ".hidden", [2, 4])
    (root / "circle").symlink_to(root)
    return root


@pytest.fixture
def sample(tmp_path):
    """A copy of the sample run that a test may spoil."""
    return shutil.copytree(runs.SAMPLE, tmp_path / "sample")


@pytest.fixture(scope="session")
def whole():
    """The numbers of the sample run as it is."""
    return runs.analysis_of(runs.SAMPLE).convergence_iters
