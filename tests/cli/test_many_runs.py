"""What it costs to find the runs of a large study: counted, for it must grow as they do, and be little for each."""

import json
import os
import subprocess
import sys

import pytest
from rarely import long_after
from toy import write_run

from ptyconv_cli.cli.listing import NOT_OPENED

FEW, MANY = 60, 90

COUNTED = """
import json, sys
from pathlib import Path
from ptyconv_cli.analysis.study_rows import units_of
from ptyconv_cli.checkpoints.formats.hdf5 import Hdf5Tree
from ptyconv_cli.cli.outputs import runs_at
from ptyconv_cli.cli.listing import list_runs

command, root = sys.argv[1:]
counts = {"listings": 0, "files": 0, "checkpoints": 0}

def hook(event, arguments):
    kind = {"os.listdir": "listings", "os.scandir": "listings", "open": "files"}.get(event)
    if kind and str(arguments[0]).startswith(root):
        counts[kind] += 1

def opening(self, open_file=Hdf5Tree._open):
    counts["checkpoints"] += 1
    return open_file(self)

Hdf5Tree._open = opening
sys.addaudithook(hook)
if command == "ls":
    list_runs([root], standalone_mode=False)
else:
    found = runs_at(Path(root), None)
    print(len(units_of(Path(root), found.runs, None)), "runs")
print(json.dumps(counts))
"""


def study_of(root, count, niters=(2, 4)):
    """Runs of some checkpoints each, which are links to the same files."""
    root.mkdir(parents=True)
    write_run(root.parent / "one", list(niters))
    for number in range(count):
        folder = root / f"t{number:04d}"
        folder.mkdir(parents=True)
        for path in (root.parent / "one").iterdir():
            os.link(path, folder / path.name)
    return root


def counts_of(command, root):
    ended = subprocess.run([sys.executable, "-c", COUNTED, command, root], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert f"{len(list(root.iterdir()))} runs" in ended.stdout
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("command", "most"),
    [
        ("ls", {"listings": 3, "files": 3, "checkpoints": 4}),
        ("analyze", {"listings": 1, "files": 1, "checkpoints": 0}),
    ],
)
def test_each_run_costs_as_much_as_any_other(tmp_path, command, most):
    """Of `analyze`: before the first run is handed out."""
    few = counts_of(command, study_of(tmp_path / "few" / "study", FEW))
    many = counts_of(command, study_of(tmp_path / "many" / "study", MANY))
    for kind, count in most.items():
        assert many[kind] - few[kind] <= (MANY - FEW) * count, kind
        assert few[kind] <= FEW * count + 5, kind
    assert few["listings"] > FEW


@pytest.mark.long
@pytest.mark.parametrize("command", long_after(1, ["ls", "analyze"]))
def test_it_costs_no_more_where_runs_have_many_checkpoints(tmp_path, command):
    few = counts_of(command, study_of(tmp_path / "few" / "study", FEW))
    long = counts_of(command, study_of(tmp_path / "long" / "study", FEW, range(1, 13)))
    assert long == few


def test_what_was_not_opened_is_said(ptyconv, tmp_path, monkeypatch):
    monkeypatch.setattr("ptyconv_cli.cli.listing.MANY", 2)
    root = study_of(tmp_path / "study", 3, (2, 4, 6))
    (root / "t0001" / "model_iter0004.hdf5").unlink()
    (root / "t0001" / "model_iter0004.hdf5").write_bytes(b"no checkpoint")
    result = ptyconv("ls", root)
    assert result.output.endswith(f"\n{NOT_OPENED}\n")
    assert "no checkpoint" not in result.output
    assert result.output.count("2 to 6") == 3
    alone = ptyconv("ls", root / "t0001").output
    assert "model_iter0004.hdf5" in alone
    assert NOT_OPENED not in alone
