"""What an analysis keeps of files that are known by their content: the next one need not look into them."""

import os
import shutil
from collections import Counter

import engines
import h5py
import pytest
import runs

from ptyconv_cli.analysis import cache
from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.follow import Watch
from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.checkpoints import discovery, opening
from ptyconv_cli.checkpoints.discovery import find_checkpoints
from ptyconv_cli.errors import PtyconvError

SERIES = engines.ENGINES / "ptychodus"


@pytest.fixture
def forget():
    """Forget what this process knows of files, as a new one would."""

    def all_of_it():
        for known in (opening._RECOGNISED, opening._LAST, opening._NAMES, discovery._KNOWN):
            known.clear()

    yield all_of_it
    all_of_it()


@pytest.fixture
def series(tmp_path):
    """A series of ptychodus, beside files of something else."""
    run_dir = shutil.copytree(SERIES, tmp_path / "run")
    for number in range(5):
        with h5py.File(run_dir / f"raw_{number}.h5", "w") as file:
            file["counts"] = [number]
    return run_dir


@pytest.fixture
def analyze(series, tmp_path, opened, forget):
    """Analyze the series, and keep it; return the names of the files that were opened for it."""

    def run(run_dir=series, fresh=False, **settings):
        forget()
        opened.clear()
        cache = Cache(tmp_path / "out", fresh)
        analyze_run(run_dir, cache=cache, tensors=["probe"], device="cpu", **settings)
        cache.keep()
        return {path.name for path in opened}

    return run


@pytest.fixture
def all_names(series):
    """Files that differ only in a number are looked into up to the third."""
    return {path.name for path in series.iterdir()} - {"raw_3.h5", "raw_4.h5"}


def test_with_nothing_new_no_file_is_opened(analyze, all_names):
    assert analyze() == all_names
    assert analyze() == set()


@pytest.fixture
def asked(monkeypatch):
    """How often the status of each file is asked for, which takes long on a network mount."""
    found, stamp = Counter(), opening._stamp
    monkeypatch.setattr(opening, "_stamp", lambda path: [found.update([path.name]), stamp(path)][1])
    return found


def test_with_nothing_new_the_status_of_a_file_is_asked_for_twice(series, forget, asked, ptyconv):
    """To know what it is, and that nothing has changed since it was read."""
    for _ in range(2):
        forget()
        asked.clear()
        assert ptyconv("analyze", series, "-t", "probe", "--no-plot", "--device", "cpu").exit_code == 0
    assert {name: count for name, count in asked.items() if count != 2} == {}
    assert len([name for name in asked if name.startswith("product")]) == 11


def test_a_look_at_a_running_job_asks_once(series, asked):
    watch = Watch(series, ("probe",))
    for _ in range(3):
        watch.look()
    asked.clear()
    assert len(watch.look()) == 11
    assert set(asked.values()) == {1}


def copied_over(path):
    """With the size and the times of the file that was there."""
    status = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path):
    shutil.copy(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize("change", [copied_over, replaced])
@pytest.mark.parametrize("name", ["product.000040.h5", "raw_1.h5"])
def test_a_file_that_changed_is_looked_into(analyze, series, change, name):
    analyze()
    change(series / name)
    assert name in analyze()
    assert analyze() == set()


def test_what_became_a_checkpoint_is_one(analyze, series):
    analyze()
    shutil.copy(series / "product.000080.h5", series / "raw_0.h5")
    analyze()
    assert series / "raw_0.h5" in find_checkpoints(series)[0]


def test_what_is_no_checkpoint_any_more_is_none(analyze, series):
    analyze()
    for path in series.glob("product*.h5"):
        shutil.copy(series / "raw_0.h5", path)
    with pytest.raises(PtyconvError, match="holds no checkpoint"):
        analyze()


def test_what_was_recognised_is_the_same_again(series, forget):
    found = [opening.recognised(path) for path in sorted(series.iterdir())]
    assert sum(one.known is not None for one in found) == 11
    content = cache.packed_content([series])
    forget()
    assert len(cache.recall_content(content)) == len(found)
    assert [one for _, (_, one) in sorted(opening.looked_into([series]).items())] == found


def test_another_reader_looks_into_all(analyze, all_names, monkeypatch):
    analyze()
    monkeypatch.setattr(cache, "versions", lambda: ["0.1.0", "my-package 1.0"])
    assert analyze() >= {"raw_0.h5"}


def test_fresh_looks_into_all(analyze, all_names):
    analyze()
    assert analyze(fresh=True) == all_names


@pytest.mark.parametrize("damage", [b"", b"00000000 {}", b"\xff" * 100])
def test_damaged_it_is_looked_into(analyze, tmp_path, damage):
    analyze()
    (tmp_path / "out" / ".ptyconv" / "content").write_bytes(damage)
    assert analyze() >= {"raw_0.h5"}
    assert analyze() == set()


def test_a_run_under_other_names_than_usual(analyze, tmp_path):
    """Which of its numbers is the iteration is found by opening all."""
    run_dir = tmp_path / "renamed"
    run_dir.mkdir()
    for path in runs.SAMPLE.glob("*.hdf5"):
        shutil.copy2(path, run_dir / path.name.replace("model_iter", "state_"))
    assert len(analyze(run_dir)) == 12
    assert analyze(run_dir) == set()
    replaced(run_dir / "state_0050.hdf5")
    assert "state_0050.hdf5" in analyze(run_dir)
    assert analyze(run_dir) == set()
