"""Headers that an analysis keeps: what the next one takes from there is what it would read."""

import os
import shutil
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest
import runs
from engines import ENGINES
from ptyrad_names import TENSORS
from rarely import long_after
from toy import write_run

from ptyconv_cli.analysis import cached_headers
from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.cached_headers import packed_headers, unpacked_headers
from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.checkpoints import chain
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.checkpoints.discovery import find_checkpoints
from ptyconv_cli.checkpoints.headers import read_headers
from ptyconv_cli.checkpoints.opening import snapshots_in

RUNS = {
    "sample": runs.SAMPLE,
    "pt": runs.SAMPLE_PT,
    "v2": runs.DATA / "ptyrad-v2" / "pixel",
    "phaser": runs.DATA / "phaser" / "epie_resize",
    "ptychodus": ENGINES / "ptychodus",
    "fold_slice": ENGINES / "fold_slice" / "GPU_MS",
}


def headers_of(run_dir: Path):
    paths, _ = find_checkpoints(run_dir)
    sources = [source for path in paths for source in snapshots_in(path)]
    return {header.source: header for header in read_headers(sources, TENSORS, strict=True, optional=True)[0]}


@pytest.mark.parametrize("name", RUNS)
def test_they_come_back_as_they_were(name):
    headers = headers_of(RUNS[name])
    found = unpacked_headers(packed_headers(headers.values()))
    assert found.keys() == headers.keys()
    for source, header in headers.items():
        for field in fields(header):
            one, other = (getattr(of, field.name) for of in (found[source], header))
            if isinstance(other, np.ndarray):
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)
            else:
                assert one == other, field.name
                assert type(one) is type(other), field.name


def test_what_they_share_is_kept_once():
    headers = headers_of(runs.SAMPLE)
    found = list(unpacked_headers(packed_headers(headers.values())).values())
    losses, corners = ([getattr(h, name).__array_interface__["data"][0] for h in found] for name in ("loss", "scan"))
    assert len(set(losses)) == len(set(corners)) == 1


def rewritten(path):
    with h5py.File(path, "r+") as file:
        file["model_attributes/dx"][...] *= 2


def copied_over(path):
    """With the size and the times of the file that was there, in its place."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path):
    shutil.copy2(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def moved_behind_a_link(path):
    path.symlink_to(path.rename(path.parent.parent / path.name))


@pytest.mark.parametrize("change", [rewritten, copied_over, replaced, moved_behind_a_link, Path.unlink])
def test_that_of_a_file_that_changed_is_not_taken(sample, change):
    headers = headers_of(sample)
    content = packed_headers(headers.values())
    changed = sample / "model_iter0050.hdf5"
    change(changed)
    assert {source.path for source in unpacked_headers(content)} == {source.path for source in headers} - {changed}


def test_that_of_a_file_that_changed_after_it_was_read_is_not_kept(sample):
    headers = headers_of(sample)
    changed = sample / "model_iter0050.hdf5"
    rewritten(changed)
    found = unpacked_headers(packed_headers(headers.values()))
    assert {source.path for source in found} == {source.path for source in headers} - {changed}


def test_those_of_another_version_are_not_taken(monkeypatch):
    content = packed_headers(headers_of(runs.SAMPLE).values())
    monkeypatch.setattr(cached_headers, "versions", lambda: ["0.2.0"])
    assert unpacked_headers(content) == {}


@pytest.fixture
def analyze(sample, tmp_path, opened):
    """Analyze a copy of the sample run, and keep it; return the checkpoints that were opened for it."""

    def run(run_dir=sample, cache=None, **settings):
        opened.clear()
        cache = cache or Cache(tmp_path / "out")
        analyze_run(run_dir, cache=cache, tensors=["probe"], device="cpu", **settings)
        cache.keep()
        return [path.name for path in opened]

    run()
    return run


def test_with_nothing_new_no_file_is_opened(analyze):
    assert analyze() == []


def test_of_a_changed_file_the_header_is_read(analyze, sample):
    replaced(sample / "model_iter0120.hdf5")
    assert analyze().count("model_iter0120.hdf5") > 1
    assert analyze() == []


def test_by_another_way_to_the_same_files_they_are_read(analyze, sample, tmp_path, monkeypatch):
    """As what is said of a file names it as the user did."""
    monkeypatch.chdir(tmp_path)
    assert len(set(analyze(Path(sample.name)))) == 12
    assert analyze(Path(sample.name)) == []


def test_fresh_reads_all(analyze, tmp_path):
    assert len(set(analyze(cache=Cache(tmp_path / "out", fresh=True)))) == 12


@pytest.mark.parametrize("damage", long_after(2, [b"", b"00000000 {}", b"\xff" * 100, None]))
def test_damaged_they_are_read(analyze, tmp_path, damage):
    kept = tmp_path / "out" / ".ptyconv" / "headers"
    kept.write_bytes(kept.read_bytes()[:-1] if damage is None else damage)
    assert len(set(analyze())) == 12
    assert analyze() == []


def test_they_are_not_written_again_for_each_of_many(tmp_path):
    """The cost of a new checkpoint must not grow with their number."""
    write_run(tmp_path / "run", range(1, 71))
    files, cache = sorted((tmp_path / "run").iterdir()), Cache(tmp_path / "out")
    written = set()
    for count in (68, 69, 70):
        analyze_run(tmp_path / "run", files=files[:count], cache=cache, tensors=["probe"], aligned=False, device="cpu")
        cache.keep()
        written.add((tmp_path / "out" / ".ptyconv" / "headers").stat().st_ino)
    assert len(written) == 2


@pytest.mark.parametrize("name", ["sample", "pt", "v2", "phaser"])
def test_what_the_engine_recorded_comes_back_as_it_was(name):
    (run,) = chain.read_chain(RUNS[name], Selection(TENSORS, None, None, False), [])[-1:]
    found = cached_headers.read_recorded([run])
    assert cached_headers.unpacked_record(cached_headers.packed_record("key", found)) == ("key", found)


def test_what_was_recorded_is_read_again_where_a_file_changed(analyze, sample):
    copied_over(sample / "model_iter0120.hdf5")
    assert "model_iter0120.hdf5" in analyze()
    assert analyze() == []
    (sample / "model_iter0120.hdf5").unlink()
    assert {"model_iter0010.hdf5", "model_iter0110.hdf5"} <= set(analyze())
    assert analyze() == []


@pytest.mark.parametrize("damage", [b"", b"00000000 []", b"\xff" * 100])
def test_damaged_it_is_read(analyze, tmp_path, damage):
    (tmp_path / "out" / ".ptyconv" / "recorded").write_bytes(damage)
    assert set(analyze()) == {"model_iter0010.hdf5", "model_iter0120.hdf5"}
    assert analyze() == []


def test_the_run_that_one_was_resumed_from_is_looked_for_each_time(tmp_path):
    """It may be there now."""
    for name in ("first", "resumed"):
        shutil.copytree(runs.DATA / "resume" / name, tmp_path / name)
    found = []
    for _ in range(2):
        cache = Cache(tmp_path / "out")
        found.append(analyze_run(tmp_path / "resumed", cache=cache, device="cpu"))
        cache.keep()
        shutil.rmtree(tmp_path / "first", ignore_errors=True)
    assert found[0].parent is not None
    assert found[1].parent is None
    assert found[0].parent_name == found[1].parent_name != ""
