"""Files that are damaged, half-written, of other runs, or made to do harm: what is said of each, what is written."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing

import h5py
import numpy as np
import pytest
import runs
from damage import MIDDLE, NEWEST, OBJP, edit, put
from processes import started
from rarely import long_after, long_but
from toy import write_run

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.checkpoints import headers as checkpoint_headers
from ptyconv_cli.checkpoints.formats.hdf5 import Hdf5Tree
from ptyconv_cli.checkpoints.opening import TICK, fingerprint
from ptyconv_cli.errors import CheckpointError, SeveralRuns

pytestmark = pytest.mark.usefixtures("blank_pictures")


def external_storage(file, name):
    file.create_dataset(name, (1, 2, 56, 60), "f4", external=[("/etc/passwd", 0, 4 * 6720)])


def virtual(file, name):
    layout = h5py.VirtualLayout((1, 2, 56, 60), "f4")
    layout[:] = h5py.VirtualSource("model_iter0050.hdf5", name, (1, 2, 56, 60))
    file.create_virtual_dataset(name, layout)


def link_through_another_file(file, name):
    file["elsewhere"] = h5py.ExternalLink("model_iter0050.hdf5", "/optimizable_tensors")
    file[name] = h5py.SoftLink("/elsewhere/objp")


def in_a_circle(file, name):
    file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")
    file[name] = h5py.SoftLink("/a")


def ten_terabytes(file, name):
    space, late = h5py.h5s.create_simple((1, 2, 56, 2 * 10**10)), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    late.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, space, late)


def ten_terabytes_compressed(file, name):
    file.create_dataset(name, (1, 2, 56, 2 * 10**10), "f4", chunks=(1, 1, 56, 1000), compression="gzip")


def odd_numbers(file, name):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(100)
    h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple((1, 2, 56, 60)))
    file[name].id.write(h5py.h5s.ALL, h5py.h5s.ALL, np.zeros((1, 2, 56, 60), np.float32), h5py.h5t.NATIVE_FLOAT)


NOT_READ = {
    "truncated": (lambda path: os.truncate(path, path.stat().st_size // 2), "HDF5 cannot read the file (Unable to"),
    "no bytes": (lambda path: os.truncate(path, 0), "is empty (0 bytes)"),
    "text": (lambda path: path.write_text("no HDF5"), "HDF5 cannot read the file (Unable to"),
    "no tensor": (
        lambda path: edit(path, OBJP, lambda *_: None),
        "has no tensor objp; it has obja, probe, probe_pos_shifts",
    ),
    "no niter": (lambda path: edit(path, "niter", lambda *_: None), "has no dataset niter (expected one integer"),
    "rank": (lambda path: edit(path, OBJP, put(np.zeros((7, 8), "f4"))), "expected real (omode, slice, y, x), found"),
    "type": (lambda path: edit(path, OBJP, put(np.zeros((1, 2, 56, 60), "i4"))), "expected real (omode, slice, y, x)"),
    "complex": (lambda path: edit(path, "optimizable_tensors/probe", put(np.zeros((2, 32, 32)))), "expected complex"),
    "no positions": (
        lambda path: edit(path, "model_attributes/crop_pos", put(np.zeros((0, 2), "i4"))),
        "found int32 (0",
    ),
    "group": (lambda path: edit(path, OBJP, lambda file, name: file.create_group(name)), "has no tensor objp"),
    "many groups": (
        lambda path: edit(path, OBJP, lambda file, name: file.create_group(name + 64 * "/g")),
        "no tensor objp",
    ),
    "nowhere": (
        lambda path: edit(path, OBJP, put(h5py.SoftLink("/nowhere"))),
        "a link to something that does not exist",
    ),
    "circle": (lambda path: edit(path, OBJP, in_a_circle), "optimizable_tensors/objp is a link in a circle"),
    "other file": (
        lambda path: edit(path, OBJP, put(h5py.ExternalLink("x", "/y"))),
        "a link to another file, which is not",
    ),
    "through": (
        lambda path: edit(path, OBJP, link_through_another_file),
        "a link to another file, which is not followed",
    ),
    "external": (lambda path: edit(path, OBJP, external_storage), "its numbers are in other files, which are not read"),
    "virtual": (lambda path: edit(path, OBJP, virtual), "its numbers are in other files, which are not read"),
    "10 TB": (lambda path: edit(path, OBJP, ten_terabytes), "needs 8960000000000 bytes, but the file holds 0 of it"),
    "10 TB zip": (
        lambda path: edit(path, OBJP, ten_terabytes_compressed),
        "needs 8960000000000 bytes, but the file holds",
    ),
    "odd numbers": (lambda path: edit(path, OBJP, odd_numbers), "its numbers have an unusual format"),
    "dangling": (lambda path: (path.unlink(), path.symlink_to("gone")), "is a link to a file that does not exist"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "is a folder"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is not a regular file"),
    "forbidden": (lambda path: path.chmod(0), "cannot be read (Permission denied)"),
}


OFTEN = ("truncated", "no tensor", "pipe", "dangling", "rank", "other file", "10 TB", "virtual", "folder", "forbidden")


@pytest.fixture(params=NOT_READ)
def spoil(request):
    """Something that makes a file unreadable, and what is said of it."""
    if request.param == "forbidden" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    return NOT_READ[request.param]


@pytest.mark.parametrize("spoil", long_but(NOT_READ, *OFTEN), indirect=True)
def test_a_file_that_cannot_be_read_is_left_out(ptyconv, sample, tmp_path, whole, spoil):
    make, said = spoil
    make(sample / MIDDLE)
    result = ptyconv("analyze", sample, "-o", tmp_path / "out", "--no-plot", "--no-aligned")
    assert result.exit_code == 0
    warning = " ".join(result.stderr.split())
    assert f"warning: {MIDDLE} was left out: " in warning
    assert said in warning
    assert "The change at iteration 70 is since iteration 50." in warning
    found = json.loads((tmp_path / "out" / "convergence_iters.json").read_text())
    for key, curve in whole.items():
        expected, got = dict(curve), dict(found[key])
        assert set(got) == set(expected) - {60}
        assert {niter: value for niter, value in got.items() if niter != 70} == pytest.approx(
            {niter: value for niter, value in expected.items() if niter not in (60, 70)}, rel=1e-12
        )
    (left_out,) = json.loads((tmp_path / "out" / "convergence_report.json").read_text())["left_out"]
    assert left_out["file"] == MIDDLE
    assert said in left_out["reason"]


def test_strict_stops_at_a_file_that_cannot_be_read(ptyconv, sample, tmp_path, spoil):
    make, said = spoil
    make(sample / MIDDLE)
    result = ptyconv("analyze", sample, "-o", tmp_path / "out", "--strict")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {sample / MIDDLE}: ")
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("spoil", long_but(NOT_READ, *OFTEN[:4]), indirect=True)
def test_the_newest_file_may_still_be_being_written(ptyconv, sample, tmp_path, spoil):
    make, said = spoil
    make(sample / NEWEST)
    result = ptyconv("analyze", sample, "-o", tmp_path / "out", "--no-plot", "--no-aligned")
    assert result.exit_code == 0
    assert said in " ".join(result.stderr.split())
    if "no tensor" not in said:
        assert "(the newest checkpoint: is it still being written?)" in " ".join(result.stderr.split())
    assert "11 checkpoints, iterations 10 to 110" in result.stdout


def test_the_newest_file_is_waited_for(sample, monkeypatch):
    content = (sample / NEWEST).read_bytes()
    (sample / NEWEST).write_bytes(content[:5000])
    monkeypatch.setattr(checkpoint_headers, "PATIENCE", (1.5, 2.5))
    waited, really_sleep = [], time.sleep

    def sleep(seconds):
        if seconds <= TICK:
            return really_sleep(seconds)
        waited.append(seconds)
        if len(waited) == 2:
            (sample / NEWEST).write_bytes(content)

    monkeypatch.setattr(time, "sleep", sleep)
    analysis = analyze_run(sample, device="cpu")
    assert waited == [1.5, 2.5]
    assert analysis.left_out == []
    assert analysis.checkpoints[-1].niter == 120


def test_a_locked_file_is_left_out(sample):
    code = (
        f"import h5py, time; f = h5py.File({str(sample / MIDDLE)!r}, 'r+'); print('ready', flush=True); time.sleep(600)"
    )
    with started([sys.executable, "-c", code]) as writer:
        assert writer.stdout.readline() == "ready\n"
        (left_out,) = analyze_run(sample, device="cpu").left_out
    assert left_out.reason == "is locked by another process, which is writing it"


def test_too_few_that_can_be_read(tmp_path):
    write_run(tmp_path, [2, 4])
    os.truncate(tmp_path / "model_iter0002.hdf5", 0)
    said = r"holds 1 checkpoint that can be used \(model_iter0002.hdf5: is empty \(0 bytes\)\); a change needs"
    with pytest.raises(PtyconvError, match=said):
        analyze_run(tmp_path, device="cpu")
    os.truncate(tmp_path / "model_iter0004.hdf5", 0)
    with pytest.raises(PtyconvError, match="is empty"):
        analyze_run(tmp_path, device="cpu")


def test_a_file_that_changes_while_it_is_analyzed_is_left_out(sample, whole, monkeypatch):
    read_headers = checkpoint_headers.read_headers

    def then_rewrite(*arguments):
        found = read_headers(*arguments)
        shutil.copyfile(sample / "model_iter0010.hdf5", sample / MIDDLE)
        return found

    monkeypatch.setattr("ptyconv_cli.checkpoints.chain.read_headers", then_rewrite)
    analysis = analyze_run(sample, device="cpu")
    assert [(file.file, file.reason) for file in analysis.left_out] == [(MIDDLE, "was rewritten during the analysis")]
    values = dict(analysis.convergence_iters["objp_fg"])
    assert 60 not in values
    assert values[120] == dict(whole["objp_fg"])[120]
    shutil.copyfile(runs.SAMPLE / MIDDLE, sample / MIDDLE)
    with pytest.raises(PtyconvError, match="was rewritten during"):
        analyze_run(sample, device="cpu", strict=True)


@pytest.mark.parametrize("bad", [[2], [4], [2, 4]])
def test_damage_that_shows_only_when_the_numbers_are_read(tmp_path, bad):
    """A compressed dataset whose numbers don't unpack: its description is whole."""
    model = write_run(tmp_path, [2, 4])
    for niter in bad:
        path = tmp_path / f"model_iter{niter:04d}.hdf5"
        edit(path, OBJP, lambda file, name: file.create_dataset(name, data=model.arrays()["objp"], compression="gzip"))
        with h5py.File(path) as file:
            place = file[OBJP].id.get_chunk_info(0).byte_offset
        content = bytearray(path.read_bytes())
        content[place : place + 50] = bytes(50)
        path.write_bytes(content)
    with pytest.raises(
        PtyconvError, match=r"holds [01] checkpoints? that can be used \(model_iter000.*HDF5 cannot read"
    ):
        analyze_run(tmp_path, device="cpu")


LOCKING_FAILS = """
#include <errno.h>
#include <stdlib.h>
int flock(int file, int how) { (void)file; (void)how; errno = atoi(getenv("PTYCONV_TEST_ERRNO")); return -1; }
"""


@pytest.fixture(scope="module")
def locking_fails(tmp_path_factory):
    """A library that makes each attempt to lock a file fail, as the file systems do that have no locks."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if sys.platform != "linux" or not compiler:
        pytest.skip("needs Linux and a compiler of C")
    source = tmp_path_factory.mktemp("shim") / "shim.c"
    source.write_text(LOCKING_FAILS)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", source.with_suffix(".so"), source], check=True)
    return source.with_suffix(".so")


NO_LOCKS = {
    "NFS": errno.ENOLCK,
    "read-only": errno.EROFS,
    "unknown": errno.ENOSYS,
    "Lustre": errno.ENOTSUP,
    "Linux": 524,
}


@pytest.mark.parametrize("name", long_but(NO_LOCKS, "NFS", "read-only"))
def test_a_file_system_without_locks(sample, whole, locking_fails, tmp_path, name):
    command = [sys.executable, "-m", "ptyconv_cli", "analyze", sample, "--no-plot", "--device", "cpu", "-o", tmp_path]
    variables = {**os.environ, "LD_PRELOAD": f"./{locking_fails.name}", "PTYCONV_TEST_ERRNO": str(NO_LOCKS[name])}
    # From its folder, for a path with a blank in it would be two.
    there = locking_fails.parent
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=variables, cwd=there)
    assert done.returncode == 0
    found = json.loads((tmp_path / "convergence_iters.json").read_text())
    assert found == json.loads(json.dumps(whole))
    if name != "unknown":  # after which HDF5 goes on by itself, and says nothing
        assert "file system has no locks, so files were read without them" in " ".join(done.stderr.split())


REWRITE = """
import random, sys, time, h5py
path, whole = sys.argv[1:]
content = open(whole, "rb").read()
print("ready", flush=True)
while True:
    with open(path, "wb") as file:  # as the engine does: in place, in pieces
        for start in range(0, len(content), 50_000):
            file.write(content[start:start + 50_000])
            file.flush()
            time.sleep(0.001)
    try:
        with h5py.File(path, "r+") as file:
            file.attrs["provenance"] = "x"
    except OSError:
        pass  # locked by the reader
    time.sleep(random.random() / 2)
"""


@pytest.mark.parametrize("times", [1, pytest.param(100, marks=pytest.mark.long)])
def test_reading_while_the_newest_file_is_rewritten(sample, whole, monkeypatch, times):
    """Until it was found half-written, and found whole, so many times."""
    monkeypatch.setattr(checkpoint_headers, "PATIENCE", (0.01, 0.02, 0.05))
    command = [sys.executable, "-c", REWRITE, str(sample / NEWEST), str(runs.SAMPLE / NEWEST)]
    times_left_out = times_used = 0
    with started(command) as writer:
        assert writer.stdout.readline() == "ready\n"
        while min(times_left_out, times_used) < times:
            assert writer.poll() is None
            try:
                analysis = analyze_run(sample, device="cpu")
            except SeveralRuns:  # it had lost its version at that moment: an error, and no wrong number
                continue
            times_left_out += len(analysis.left_out)
            times_used += not analysis.left_out
            for key, curve in analysis.convergence_iters.items():
                assert curve == whole[key][: len(curve)]
                assert len(curve) >= 10


def test_a_file_that_is_being_written_is_looked_at_a_little_later(tmp_path, monkeypatch):
    """A system notes the time before it writes, and in steps: what is written right then would not be noticed."""
    path = tmp_path / "written"
    path.write_text("half")
    slept = []

    def write_the_rest(seconds):
        slept.append(seconds)
        if len(slept) == 1:
            os.utime(path, ns=(0, 10**9))

    monkeypatch.setattr(time, "time", lambda: path.stat().st_mtime + 0.005 * (not slept) + len(slept))
    monkeypatch.setattr(time, "sleep", write_the_rest)
    assert fingerprint(path).modified == 10**9
    assert slept == [pytest.approx(TICK - 0.005, abs=1e-6)]


@pytest.mark.parametrize("dx", long_after(2, [np.inf, np.nan, 0.0, -0.2]))
def test_a_pixel_size_that_is_none(sample, dx):
    edit(sample / MIDDLE, "model_attributes/dx", put(np.float32(dx)))
    (left_out,) = analyze_run(sample, device="cpu").left_out
    assert left_out.reason == f"the pixel size model_attributes/dx is {dx:g} Å"


def test_numbers_that_are_only_shown_cost_their_place(ptyconv, sample):
    edit(sample / NEWEST, "params/recon_params/convergence_monitor/percentile_range", put([np.nan, np.inf]))
    edit(sample / NEWEST, "lr_iters/probe", put(np.full(120, np.nan)))
    for path in sample.iterdir():
        edit(path, "loss_iters", put(np.array([[0.2, 1], [0.7, 2]])))
    result = ptyconv("analyze", sample, "--no-plot")
    assert result.exit_code == 0
    assert "percentile_range: expected two numbers. It is left out." in " ".join(result.stderr.split())
    assert "dataset loss_iters: expected one value for each iteration" in " ".join(result.stderr.split())
    assert ptyconv("plot", sample).exit_code == 0


def test_positions_that_fit_neither_the_object_nor_each_other(sample, tmp_path):
    far = shutil.copytree(sample, tmp_path / "far")
    for path in far.iterdir():
        edit(path, "model_attributes/crop_pos", put(np.array(120 * [[0, 30]], "i4")))
    with pytest.raises(PtyconvError, match=r"\(crop_pos\) lie outside obja, whose shape is \(1, 2, 56, 60\)"):
        analyze_run(far, device="cpu")
    for path in sample.iterdir():
        edit(path, "model_attributes/crop_pos", put(np.array([[0, 0], [5, 5]], "i4")))
    with pytest.raises(PtyconvError, match=r"2 scan positions \(crop_pos\), but the shape of probe_pos_"):
        analyze_run(sample, device="cpu")


def test_a_small_file_that_holds_too_many_positions(sample):
    size = (sample / MIDDLE).stat().st_size
    zeros = np.zeros((10_000_000, 2), "i4")
    packed = {"data": zeros, "chunks": (10**6, 2), "compression": "gzip"}
    edit(sample / MIDDLE, "model_attributes/crop_pos", lambda file, name: file.create_dataset(name, **packed))
    assert (sample / MIDDLE).stat().st_size < size + zeros.nbytes / 500
    (left_out,) = analyze_run(sample, device="cpu").left_out
    reason = "dataset model_attributes/crop_pos: (10000000, 2) is larger than any run needs"
    assert left_out.reason == f"{reason}, or than what there can be of it in the file"


@pytest.mark.parametrize("how", ["dataset", "list", "packed list", "attribute", "behind a user block"])
@pytest.mark.parametrize("zeros", [16, 24, 40])
def test_texts_in_a_damaged_heap_are_not_read_for_ever(tmp_path, how, zeros):
    """HDF5 would: the size of what is left of the heap is 0 there."""
    path = tmp_path / "file.h5"
    with h5py.File(path, "w", userblock_size=512 if "user" in how else 0) as file:
        if how == "attribute":
            file.attrs["text"] = "PtyRAD"
        elif "list" in how:
            packed = {"chunks": (2,), "compression": "gzip"} if "packed" in how else {}
            file.create_dataset("text", data=["PtyRAD", "phaser"], dtype=h5py.string_dtype(), **packed)
        else:
            file["text"] = "PtyRAD"

    def read():
        with closing(Hdf5Tree(path)) as tree:
            return tree.texts("text") if "list" in how else tree.text("text")

    assert read() == (["PtyRAD", "phaser"] if "list" in how else "PtyRAD")
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 16 + zeros] = bytes(zeros)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="a heap of texts is damaged"):
        read()


@pytest.mark.parametrize("niter", [-5, 2**53 + 1, -(2**63), np.uint64(2**64 - 1)])
def test_an_iteration_that_is_none_is_refused_by_name(ptyconv, sample, niter):
    edit(sample / MIDDLE, "niter", put(niter))
    (left_out,) = analyze_run(sample, device="cpu").left_out
    assert left_out.reason == f"its iteration is {niter}; expected a whole number from 0 to 2^53"
    result = ptyconv("ls", sample)
    assert (result.exit_code, left_out.reason in " ".join(result.stdout.split())) == (0, True)


def test_the_largest_iteration_is_one(sample):
    edit(sample / NEWEST, "niter", put(2**53))
    assert analyze_run(sample, device="cpu").checkpoints[-1].niter == 2**53


def test_what_is_not_asked_for_does_not_matter(sample, whole):
    edit(sample / MIDDLE, "optimizable_tensors/obja", put(np.zeros((7, 8), "i4")))
    analysis = analyze_run(sample, device="cpu", tensors=["objp"])
    assert analysis.left_out == []
    assert analysis.convergence_iters["objp_fg"] == whole["objp_fg"]
    os.truncate(sample / "model_iter0050.hdf5", 0)
    analysis = analyze_run(sample, device="cpu", tensors=["objp"], every=20, strict=True)
    assert analysis.left_out == []
    assert [checkpoint.niter for checkpoint in analysis.checkpoints] == [20, 40, 60, 80, 100, 120]


def test_the_parent_may_be_among_copies(tmp_path):
    """The file that a resumed run names is the one that is kept."""
    first, second = tmp_path / "first", tmp_path / "second"
    for run in (first, second):
        write_run(run, [2, 4])
    shutil.move(first / "model_iter0004.hdf5", first / "model_iter0009.hdf5")
    shutil.copy(first / "model_iter0009.hdf5", first / "model_iter0004.hdf5")
    for path in second.iterdir():
        with h5py.File(path, "r+") as file:
            file["params/init_params/obj_params"] = "first/model_iter0009.hdf5"
            file["loss_iters"][:, 1] += 1
    analysis = analyze_run(second, chain="auto", device="cpu")
    assert [c.file for c in analysis.checkpoints][:2] == [f"../first/model_iter000{n}.hdf5" for n in (2, 9)]


def test_what_is_said_of_many_files_is_said_once(sample):
    for niter in range(10, 60, 10):
        with h5py.File(sample / f"model_iter{niter:04d}.hdf5", "r+") as file:
            del file["loss_iters"]
    for niter in range(70, 130, 10):
        with h5py.File(sample / f"model_iter{niter:04d}.hdf5", "r+") as file:
            del file["optimizable_tensors/slice_thickness"]
            file["optimizable_tensors/slice_thickness"] = np.zeros((2, 2))
    for niter in (20, 40):
        os.truncate(sample / f"model_iter{niter:04d}.hdf5", 0)
    some, others = (f"model_iter{niter:04d}.hdf5" for niter in (10, 70))
    assert analyze_run(sample, device="cpu").warnings == [
        f"3 files ({some}, model_iter0030.hdf5, model_iter0050.hdf5) have no loss history, by which files of another "
        "run would be noticed.",
        f"6 files, such as {sample / others}: dataset optimizable_tensors/slice_thickness: expected one real number, "
        "found float64 (2, 2). It is left out.",
        "2 files were left out (model_iter0020.hdf5, model_iter0040.hdf5): is empty (0 bytes). The changes at "
        "iterations 30, 50 are over longer intervals.",
    ]
