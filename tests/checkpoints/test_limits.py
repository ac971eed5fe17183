"""Memory and time are bounded by what a file holds: of files of 2 MB that claim to hold far more."""

import resource
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import claims
import pytest
import runs
from rarely import long_but

from ptyconv_cli import analyze_run
from ptyconv_cli.checkpoints.formats.hdf5 import Hdf5Tree
from ptyconv_cli.checkpoints.formats.limits import MOST_TEXT
from ptyconv_cli.checkpoints.formats.zarr_files import _in_frame_of_zstd
from ptyconv_cli.checkpoints.formats.zarr_tree import ZarrTree
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
    ".pt, a nested key",
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
def test_what_is_wrong_with_a_chunk_is_said(tmp_path, codec):
    pytest.importorskip("zarr")
    tree = ZarrTree(claims.make(f"quantem, a large chunk by {codec}", tmp_path))
    with closing(tree), pytest.raises(CheckpointError, match=r"a chunk of \d+ bytes claims to have (\d+)"):
        tree.read("_iter_losses/values")


def test_a_text_is_cut(tmp_path):
    """Which is a version, and would be said of each file."""
    path = claims.make("PtyRAD, a long version", tmp_path)
    with closing(Hdf5Tree(path)) as tree:
        assert len(tree.text("ptyrad_version")) == MOST_TEXT
    _, _, said = measured(tmp_path, "ls", path)
    assert "PtyRAD xxxxxxx…" in said
