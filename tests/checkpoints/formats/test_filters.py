"""Compressed datasets, chunks that were never written, and what a file can hold."""

import re
import shutil
import sys
from importlib import import_module

import h5py
import numpy as np
import pytest
import runs
from damage import OBJP
from rarely import long_but

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.checkpoints.formats import hdf5
from ptyconv_cli.checkpoints.formats.hdf5 import Hdf5Tree
from ptyconv_cli.errors import CheckpointError

hdf5plugin = pytest.importorskip("hdf5plugin")

LOSSLESS = {
    "blosc": hdf5plugin.Blosc(cname="zstd"),
    "blosc2": hdf5plugin.Blosc2(),
    "lz4": hdf5plugin.LZ4(),
    "bitshuffle": hdf5plugin.Bitshuffle(),
    "bitshuffle-zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "zstd": hdf5plugin.Zstd(),
    "bzip2": hdf5plugin.BZip2(),
    "gzip": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"compression": "lzf"},
    "chunked": {},
}
TENSORS = ("obja", "objp", "probe", "probe_pos_shifts")


def repacked(folder, how):
    for path in sorted(runs.SAMPLE.glob("*.hdf5")):
        shutil.copy(path, folder)
        with h5py.File(folder / path.name, "r+") as file:
            for name in TENSORS:
                values = file[f"optimizable_tensors/{name}"][()]
                del file[f"optimizable_tensors/{name}"]
                file.create_dataset(f"optimizable_tensors/{name}", data=values, chunks=values.shape, **how)
    return folder


@pytest.mark.parametrize("called", long_but(LOSSLESS, "blosc", "gzip", "chunked"))
def test_every_filter_reads(tmp_path, whole, called):
    analysis = analyze_run(repacked(tmp_path, LOSSLESS[called]), device="cpu")
    assert analysis.convergence_iters == whole
    assert analysis.warnings == []


def test_zfp_loses_nothing_of_note(tmp_path):
    values = np.random.default_rng(0).normal(size=(2, 30, 30)).astype("f4")
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.create_dataset("values", data=values, **hdf5plugin.Zfp(accuracy=1e-3))
    assert Hdf5Tree(tmp_path / "file.h5").read("values") == pytest.approx(values, abs=1e-3)


@pytest.fixture
def without_plugins(monkeypatch):
    """A function to call once the files are written."""

    def hide():
        monkeypatch.setitem(sys.modules, "hdf5plugin", None)
        monkeypatch.setattr(hdf5.h5z, "filter_avail", lambda number: number < 305 or number == 32000)

    return hide


@pytest.mark.parametrize(
    ("called", "named"),
    [("blosc", 32001), ("lz4", 32004), ("bitshuffle", 32008), ("zstd", 32015), ("blosc2", 32026), ("bzip2", 307)],
)
def test_without_the_plugin_the_filter_is_named(tmp_path, without_plugins, called, named):
    said = f"optimizable_tensors/probe: is compressed with a filter that is not installed here ({called}, HDF5 filter "
    repacked(tmp_path, LOSSLESS[called])
    without_plugins()
    with pytest.raises(PtyconvError, match=re.escape(f"{said}{named}); pip install hdf5plugin")):
        analyze_run(tmp_path, device="cpu")


def test_the_plugin_is_imported_only_where_it_is_needed(tmp_path, monkeypatch):
    imported = []
    monkeypatch.setattr(hdf5, "import_module", lambda name: imported.append(name) or import_module(name))
    analyze_run(repacked(tmp_path, LOSSLESS["gzip"]), device="cpu")
    assert imported == []
    monkeypatch.setattr(hdf5.h5z, "filter_avail", lambda number: bool(imported))
    analyze_run(tmp_path, device="cpu")
    assert imported[0] == "hdf5plugin"


def test_a_filter_that_no_package_has_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5.h5z, "filter_avail", lambda number: False)
    monkeypatch.setattr(hdf5, "_filters", lambda dataset: [305])
    with pytest.raises(CheckpointError, match=r"\(lzo, HDF5 filter 305\); write it again with another one, such as gz"):
        Hdf5Tree(runs.SAMPLE / "model_iter0010.hdf5").find(OBJP)


@pytest.mark.parametrize("how", [{}, {"compression": "gzip"}, LOSSLESS["blosc"]], ids=["plain", "gzip", "blosc"])
@pytest.mark.parametrize("written", [0, 1])
def test_chunks_that_were_never_written_are_the_fill_value(tmp_path, how, written):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        values = file.create_dataset("values", (1, 8, 600, 600), "f4", chunks=(1, 1, 100, 100), fillvalue=1, **how)
        values[:, :written, :100, :100] = 3
    found = Hdf5Tree(tmp_path / "file.h5").find("values")[()]
    assert found[0, 0, 0, 0] == (3 if written else 1)
    assert found.mean() == pytest.approx(1 + 2 * written / (8 * 36))


@pytest.mark.parametrize("called", [name for name in LOSSLESS if name != "chunked"])
def test_what_compresses_best_is_still_believed(tmp_path, called):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.create_dataset("values", data=np.zeros((4, 1000, 1000), "f4"), chunks=(4, 1000, 1000), **LOSSLESS[called])
    assert not Hdf5Tree(tmp_path / "file.h5").find("values")[()].any()


def test_what_no_filter_can_compress_so_far_is_damage(tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        values = file.create_dataset("values", (1000, 1000), "f4", chunks=(1000, 1000), compression="lzf")
        values.id.write_direct_chunk((0, 0), b"x" * 1000)  # at best 90 times as much
    with pytest.raises(CheckpointError, match=r"its shape \(1000, 1000\) needs 4000000 bytes, but the file holds 1000"):
        Hdf5Tree(tmp_path / "file.h5").find("values")
