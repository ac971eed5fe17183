"""Pictures don't depend on the user's settings of matplotlib, nor change them."""

import os
import re
import subprocess
import sys

import matplotlib as mpl
import pytest
import runs
from rarely import long_after

from ptyconv_cli.cli.outputs import PICTURE_NAME, TRAJECTORY_NAME
from ptyconv_cli.pictures.mpl import defaults

MATPLOTLIBRC = """
text.usetex: True
font.family: Arial
font.size: 30
backend: QtAgg
savefig.bbox: tight
savefig.dpi: 30
axes.grid: True
figure.facecolor: black
lines.linewidth: 9
"""


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory):
    from click.testing import CliRunner

    from ptyconv_cli.cli.main import main

    folder = tmp_path_factory.mktemp("results")
    CliRunner().invoke(main, ["analyze", str(runs.SAMPLE), "-o", str(folder), "-t", "objp,probe", "--no-plot"])
    return folder


DASHBOARD, TRAJECTORY = ([], PICTURE_NAME), (["--trajectory"], TRAJECTORY_NAME)


@pytest.mark.parametrize(
    ("options", "name", "backend"),
    long_after(
        1,
        [
            (*DASHBOARD, "module://nowhere"),
            (*TRAJECTORY, "nonsense"),
            (*DASHBOARD, None),
            (*TRAJECTORY, "module://nowhere"),
            (*DASHBOARD, "nonsense"),
            (*TRAJECTORY, None),
        ],
    ),
)
def test_the_users_settings_reach_no_picture(analyzed, tmp_path, options, name, backend):
    (tmp_path / "matplotlibrc").write_text(MATPLOTLIBRC)
    environment = {**os.environ, "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "MPLBACKEND": backend}
    if backend is None:
        del environment["MPLBACKEND"]
    plain = {key: value for key, value in os.environ.items() if key not in ("MATPLOTLIBRC", "MPLBACKEND")}
    drawn = []
    for settings in (environment, plain):
        command = [sys.executable, "-m", "ptyconv_cli", "plot", analyzed, *options, "-o", tmp_path / name]
        result = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr) == (0, "")
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]


def test_there_is_one_door_to_matplotlib():
    """Any other way in would fail where MPLBACKEND names no backend."""
    folder = runs.ROOT / "ptyconv_cli"
    importing = re.compile(r"^\s*(from|import) matplotlib", re.MULTILINE)
    assert [path.name for path in folder.rglob("*.py") if importing.search(path.read_text())] == ["mpl.py"]


@pytest.mark.parametrize("backend", long_after(1, ["svg", "nonsense"]))
def test_what_the_caller_chose_stays(backend):
    code = (
        "import os, sys\n"
        "from ptyconv_cli.pictures import mpl\n"
        "import matplotlib\n"
        "print(os.environ['MPLBACKEND'], dict.__getitem__(matplotlib.rcParams, 'backend'))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    environment = {**os.environ, "MPLBACKEND": backend}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    kept, pyplot = result.stdout.splitlines()
    assert kept.split()[0] == backend
    assert (kept.split()[1] == "svg") is (backend == "svg")
    assert pyplot == "False"


def test_settings_of_the_caller_are_as_before():
    with mpl.rc_context({"font.size": 30, "text.usetex": True}):
        before = dict(mpl.rcParams.copy())
        with defaults():
            assert (mpl.rcParams["font.size"], mpl.rcParams["text.usetex"]) == (10, False)
        assert dict(mpl.rcParams.copy()) == before
