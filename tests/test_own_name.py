"""`import ptyconv`: the same names as in `ptyconv_cli`, and what the command says of itself."""

import subprocess
import sys

import pytest
import runs

import ptyconv
import ptyconv_cli
from ptyconv_cli.checkpoints import readers


def test_it_has_the_public_names():
    assert ptyconv.__all__ == ptyconv_cli.__all__
    for name in ptyconv_cli.__all__:
        assert getattr(ptyconv, name) is getattr(ptyconv_cli, name)
    with pytest.raises(AttributeError, match="module 'ptyconv' has no attribute 'nothing'"):
        ptyconv.nothing  # noqa: B018


def test_importing_it_loads_next_to_nothing():
    code = "import sys, ptyconv; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not {"torch", "h5py", "matplotlib", "click", "numpy"} & loaded


@pytest.mark.parametrize("name", ["ptyconv", "ptyconv_cli"])
def test_it_runs_as_a_module(name):
    result = subprocess.run([sys.executable, "-m", name, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith(f"ptyconv {ptyconv.__version__}\n")


def test_the_version_names_the_formats(ptyconv):
    said = " ".join(ptyconv("--version").stdout.split())
    for known in readers.OWN:
        assert f"{known.engine} {known.versions}".strip() in said


def test_the_version_names_readers_of_other_packages(ptyconv, monkeypatch):
    other = readers.Known(None, ("state*.npz",), package="my-package", version="2.0")
    monkeypatch.setattr(readers, "known_readers", lambda: (*readers.OWN, other))
    assert "state*.npz (my-package 2.0)" in " ".join(ptyconv("--version").stdout.split())


def test_the_address_of_the_docs_is_that_of_the_project():
    for place, line in (("pyproject.toml", 'Documentation = "{}"'), ("CITATION.cff", 'url: "{}"')):
        assert line.format(ptyconv_cli.DOCUMENTATION) in (runs.ROOT / place).read_text()
