"""Fixtures that several test files use."""

import shutil

import pytest
import runs
from click.testing import CliRunner, Result
from toy import write_run

from ptyconv_cli import analyze_run
from ptyconv_cli.checkpoints import headers
from ptyconv_cli.cli.main import main


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Don't wait for the newest checkpoint to become whole: in the tests nobody is writing it."""
    monkeypatch.setattr(headers, "PATIENCE", (0.0,))


@pytest.fixture
def ptyconv():
    """The command line, in this process; an exception other than an orderly exit fails the test."""

    def run(*arguments) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)

    return run


@pytest.fixture(scope="session")
def analysis():
    """The analysis of the sample run."""
    return analyze_run(runs.SAMPLE, device="cpu")


@pytest.fixture(scope="session")
def analyzed(tmp_path_factory):
    """Results of the clipped run, which has every kind of panel, and an empty mask."""
    folder = tmp_path_factory.mktemp("results")
    CliRunner().invoke(main, ["analyze", str(runs.ALL["clipped"]), "-o", str(folder), "--no-plot"])
    return folder


@pytest.fixture
def output_folder(tmp_path):
    """Three runs below a folder, of which one cannot be analyzed, beside what is no run."""
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
    return analyze_run(runs.SAMPLE, device="cpu").convergence_iters
