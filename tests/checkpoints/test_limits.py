"""Memory and time are bounded by what a file holds: of files of 2 MB that claim to hold far more."""

import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import claims
import h5py
import numpy as np
import pytest
import runs
from rarely import long_but

from ptyconv_cli import analyze_run
from ptyconv_cli.checkpoints.formats.hdf5 import Hdf5Tree
from ptyconv_cli.checkpoints.formats.limits import MOST_TEXT
from ptyconv_cli.checkpoints.formats.zarr_files import _in_frame_of_zstd, check_unpacked
from ptyconv_cli.checkpoints.formats.zarr_tree import ZarrTree
from ptyconv_cli.checkpoints.opening import open_checkpoint
from ptyconv_cli.errors import CheckpointError

MEMORY = 300 << 20
"""Bytes that `ls` may use."""

FOR_EVER = 20
"""Seconds of a core after which one that would go on for minutes is ended; none takes two."""

QUICK = (
    "PtyRAD, a large chunk of positions",
    "PtyRAD, zeros for positions",
    "ptychodus, zeros for distances",
    "ptychodus, chunks that are not there",
    "ptypy, many iterations",
    "py4DSTEM, one text in a list",
    "quantem, a long description",
    "quantem, a module of zeros",
    "quantem, a large chunk by zstd",
    "quantem, an entry that lies",
    ".pt, two tables",
)
"""Those that are tried each time."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures as Linux does")


MEASURED = """
import atexit, re, sys
from pathlib import Path
from ptyconv_cli.cli.main import main
used = Path(sys.argv.pop(1))
atexit.register(lambda: used.write_text(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))
main()
"""
"""What the process that starts another one uses counts as that one's, where the system measures it."""


def measured(folder: Path, *command: object) -> tuple[int, int, str]:
    """Run ptyconv in a process of its own; return its exit code, the bytes that it used at most, and what it said."""
    used = folder / "used.txt"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (FOR_EVER, FOR_EVER + 1))

    done = subprocess.run(
        [sys.executable, "-c", MEASURED, used, *map(str, command)], capture_output=True, text=True, preexec_fn=limit
    )
    said = done.stdout + done.stderr
    assert used.exists(), f"ended with {done.returncode}: {said}"
    return done.returncode, int(used.read_text()) << 10, said


@pytest.mark.parametrize("name", long_but(claims.CLAIMS, *QUICK))
def test_a_file_that_claims_too_much(tmp_path, name):
    path = claims.make(name, tmp_path)
    code, used, said = measured(tmp_path, "ls", path)
    assert code in (0, 1), said
    assert "Traceback" not in said
    assert used < MEMORY, f"{used >> 20} MB"


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [name for name in claims.CLAIMS if name.startswith("PtyRAD") and "version" not in name]
)
def test_in_a_run_it_is_left_out_or_does_not_matter(tmp_path, whole, name):
    path = claims.make(name, tmp_path)
    for number in (20, 30, 40):
        (tmp_path / f"model_iter{number:04d}.hdf5").symlink_to(runs.SAMPLE / f"model_iter{number:04d}.hdf5")
    code, used, said = measured(tmp_path, "analyze", tmp_path, "-o", tmp_path / "out", "--no-plot", "--device", "cpu")
    assert code == 0, said
    assert used < 2 * MEMORY, f"{used >> 20} MB"
    found = analyze_run(tmp_path, device="cpu")
    assert [file.niter for file in found.left_out] in ([], [10])
    assert all(pairs[-1] == whole[key][2] for key, pairs in found.convergence_iters.items())
    assert path.name in {file.file for file in found.left_out} or len(found.checkpoints) == 4


@pytest.mark.parametrize("size", [0, 200, 256, 60_000, 70_000, 1 << 20])
def test_the_size_that_a_frame_of_zstd_says(size):
    zstd = pytest.importorskip("numcodecs").Zstd()
    assert _in_frame_of_zstd(zstd.encode(bytes(size)) + b"more") == (size, b"more")


@pytest.mark.parametrize("content", [b"", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x00\x58\x01\x00\x00", bytes(20)])
def test_a_frame_of_zstd_that_does_not_say_it(content):
    with pytest.raises(Exception, match=r"does not say how large|unpack_from requires"):
        _in_frame_of_zstd(content)


@pytest.mark.parametrize("codec", ["blosc", "zstd", "gzip"])
def test_what_is_wrong_with_a_chunk_is_said(codec):
    numcodecs = pytest.importorskip("numcodecs")
    packer = {"blosc": numcodecs.Blosc(cname="zstd"), "zstd": numcodecs.Zstd(), "gzip": numcodecs.GZip()}[codec]
    check_unpacked(packer.encode(bytes(888)), ["bytes", codec], 888)
    with pytest.raises(ValueError, match="a chunk of 888 bytes claims to have "):
        check_unpacked(packer.encode(bytes(5000)), ["bytes", codec], 888)
    with pytest.raises(ValueError, match="a chunk of 888 bytes has 50000 in the file"):
        check_unpacked(bytes(50_000), ["bytes", codec], 888)
    if codec != "blosc":
        with pytest.raises(ValueError, match="there is more behind a chunk"):
            check_unpacked(packer.encode(bytes(888)) + packer.encode(bytes(888)), ["bytes", codec], 888)
        check_unpacked(packer.encode(bytes(888)) + b"sums", ["bytes", codec, "crc32c"], 888)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_in_an_archive_is_not_waited_for(tmp_path):
    pytest.importorskip("zarr")
    with zipfile.ZipFile(claims.QUANTEM) as archive:
        archive.extractall(tmp_path / "run")
    (tmp_path / "run" / "_iter_losses" / "values" / "c" / "0").unlink()
    os.mkfifo(tmp_path / "run" / "_iter_losses" / "values" / "c" / "0")
    with pytest.raises(CheckpointError, match="c/0: is not a regular file"):
        ZarrTree(tmp_path / "run")


@pytest.mark.parametrize("count", [2000, 100_000])
def test_a_history_that_was_appended_to_is_read(tmp_path, count):
    """To which h5py gives a chunk for every value."""
    with h5py.File(tmp_path / "file.h5", "w") as file:
        made = file.create_dataset("values", (1,), "f8", maxshape=(None,))
        made.resize((count,))
        made[...] = np.arange(count)
    with closing(Hdf5Tree(tmp_path / "file.h5")) as tree:
        assert tree.read("values").tolist() == list(range(count))


def test_a_large_probe_is_read(tmp_path):
    path = shutil.copy(claims.PTYRAD, tmp_path)
    with h5py.File(path, "r+") as file:
        del file["optimizable_tensors/probe"]
        file["optimizable_tensors/probe"] = np.zeros((5, 2048, 2048), "c8")
    with open_checkpoint(Path(path)) as checkpoint:
        assert checkpoint.shape_of("probe") == (5, 2048, 2048)


def test_many_snapshots_are_looked_through_once(tmp_path, monkeypatch):
    """And not for each of them again."""
    pytest.importorskip("zarr")
    from quantem_archives import write

    drawn = np.random.default_rng(0).normal(size=(2, 40, 2, 16, 17))
    objects, probes = np.exp(1j * drawn[0]), drawn[1, ..., :8, :8] + 1j
    path = write(tmp_path / "run.zip", objects, probes, niters=list(range(1, 41)))
    parsed, loads = [], json.loads
    counting = lambda *text, **how: [parsed.append(1), loads(*text, **how)][1]  # noqa: E731
    monkeypatch.setattr("ptyconv_cli.checkpoints.formats.zarr_tree.json.loads", counting)
    analyze_run(path, device="cpu")
    assert len(parsed) < 40 * 40


def test_a_text_is_cut(tmp_path):
    """Which is a version, and would be said of each file."""
    path = claims.make("PtyRAD, a long version", tmp_path)
    with closing(Hdf5Tree(path)) as tree:
        assert len(tree.text("ptyrad_version")) == MOST_TEXT
    _, _, said = measured(tmp_path, "ls", path)
    assert "PtyRAD xxxxxxx…" in said
