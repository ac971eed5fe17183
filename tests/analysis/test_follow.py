"""Following a run that is being written: when it ends, what it costs."""

import gc
import itertools
import shutil
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import runs
from ptyrad_names import TENSORS
from toy import write_run

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis import report
from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.compare import Prefetch
from ptyconv_cli.analysis.follow import SURE, Ends, Watch, follow
from ptyconv_cli.analysis.steps import Curves
from ptyconv_cli.checkpoints import headers
from ptyconv_cli.cli.outputs import write_numbers
from ptyconv_cli.cli.running_job import live_table
from ptyconv_cli.errors import CheckpointError, SeveralRuns


class Looks:
    """Does something to the folder at each look in place of waiting, and notes what is shown."""

    def __init__(self, monkeypatch, *deeds):
        self._deeds = iter(deeds)
        self.seen = []
        clock = SimpleNamespace(sleep=self, monotonic=time.monotonic)  # of `follow` alone
        monkeypatch.setattr("ptyconv_cli.analysis.follow.time", clock)

    def __call__(self, _):
        deed = next(self._deeds, None)
        if deed is None:
            raise KeyboardInterrupt
        deed()

    def show(self, look):
        found = look.analysis.checkpoints[-1].niter if look.analysis else None
        self.seen.append((found, look.new, look.problem))


def nothing():
    pass


def test_too_few_is_waited_out(tmp_path, monkeypatch):
    """Two files are there, but one can't be used: a third makes an analysis."""
    write_run(tmp_path / "all", [2, 4, 6])
    run_dir = tmp_path / "run"
    run_dir.mkdir()

    def bring(*niters):
        for niter in niters:
            shutil.copy2(tmp_path / "all" / f"model_iter{niter:04d}.hdf5", run_dir)

    def spoil():
        with h5py.File(run_dir / "model_iter0004.hdf5", "r+") as file:
            file["model_attributes/dx"][...] = np.nan

    looks = Looks(monkeypatch, lambda: bring(2, 4), spoil, nothing, lambda: bring(6), nothing, nothing)
    with pytest.raises(KeyboardInterrupt):
        follow(
            Watch(run_dir, TENSORS),
            lambda files: analyze_run(run_dir, files=files, device="cpu"),
            Ends(),
            looks.show,
            0,
        )
    assert [found for found, _, _ in looks.seen] == [None] * 5 + [6, 6]
    assert [new for _, new, _ in looks.seen] == [False] * 5 + [True, False]
    assert "the pixel size" in looks.seen[-1][2]


def test_other_errors_end_it(tmp_path, monkeypatch):
    looks = Looks(monkeypatch, nothing, nothing)
    run_dir = runs.DATA / "resume" / "mixed_in_one_folder"
    with pytest.raises(SeveralRuns):
        follow(Watch(run_dir, TENSORS), lambda files: analyze_run(run_dir, files=files), Ends(), looks.show, 0)


def test_the_planned_end_is_that_of_the_chain(tmp_path, monkeypatch):
    """A resumed run is planned to go on for 8 iterations; on the joint axis it ends with 18."""
    looks = Looks(monkeypatch, *[nothing] * 10)
    run_dir = runs.DATA / "resume" / "resumed"
    analysis, why = follow(
        Watch(run_dir, TENSORS),
        lambda files: analyze_run(run_dir, files=files, chain="auto", device="cpu"),
        Ends(),
        looks.show,
        0,
    )
    assert why == "the run reached its planned last iteration, 8"
    assert analysis.engine.planned == 18
    assert len(looks.seen) == 1 + SURE


def test_every_and_select_leave_files_aside_but_the_end_is_seen(tmp_path, monkeypatch):
    looks = Looks(monkeypatch, *[nothing] * 10)
    analysis, _ = follow(
        Watch(runs.SAMPLE, TENSORS),
        lambda files: analyze_run(runs.SAMPLE, files=files, every=50, device="cpu"),
        Ends(),
        looks.show,
        0,
    )
    assert [checkpoint.niter for checkpoint in analysis.checkpoints] == [50, 100]


def test_what_comes_during_a_long_analysis_is_seen(tmp_path, monkeypatch):
    """Though the analysis took longer than `--idle`."""
    write_run(tmp_path / "all", [2, 4, 6])
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for niter in (2, 4):
        shutil.copy2(tmp_path / "all" / f"model_iter{niter:04d}.hdf5", run_dir)
    clock = [0.0]
    monkeypatch.setattr("ptyconv_cli.analysis.follow.time.monotonic", lambda: clock[0])

    def wait():
        clock[0] += 1

    def slowly(files):
        clock[0] += 100
        analysis = analyze_run(run_dir, files=files, device="cpu")
        if clock[0] == 101:  # the first time
            shutil.copy2(tmp_path / "all" / "model_iter0006.hdf5", run_dir)
        return analysis

    looks = Looks(monkeypatch, *[wait] * 50)
    analysis, why = follow(Watch(run_dir, TENSORS), slowly, Ends(idle=10), looks.show, 0)
    assert why == "no new checkpoint for 0.167 minutes"
    assert [checkpoint.niter for checkpoint in analysis.checkpoints] == [2, 4, 6]
    assert 13 <= len(looks.seen) <= 17, "ten seconds after the last file was taken"


def test_files_of_another_run_are_not_the_planned_end(tmp_path, monkeypatch):
    looks = Looks(monkeypatch, *[nothing] * 10)
    run_dir = tmp_path / "run"
    shutil.copytree(runs.DATA / "resume" / "mixed_in_one_folder", run_dir)
    (run_dir / "model_iter0006.hdf5").unlink()
    with pytest.raises(KeyboardInterrupt):
        follow(
            Watch(run_dir, TENSORS),
            lambda files: analyze_run(run_dir, files=files, select="1", device="cpu"),
            Ends(),
            looks.show,
            0,
        )
    assert looks.seen[-1][0] == 4


def test_a_file_that_could_not_be_read_for_a_while_is_in_the_end(tmp_path, monkeypatch):
    """It was whole at the look, but then the mount had gone for a moment."""
    looks = Looks(monkeypatch, *[nothing] * 10)
    read, failed = Prefetch._read, []

    def reading(self, header, into):
        if header.niter == 50 and not failed:
            failed.append(1)
            raise CheckpointError(f"{header.path}: cannot be read (Stale file handle)")
        return read(self, header, into)

    monkeypatch.setattr(Prefetch, "_read", reading)
    analysis, _ = follow(
        Watch(runs.SAMPLE, TENSORS),
        lambda files: analyze_run(runs.SAMPLE, files=files, device="cpu"),
        Ends(),
        looks.show,
        0,
    )
    assert (failed, analysis.left_out, len(analysis.checkpoints)) == ([1], [], 12)


def test_a_resumed_run_is_shown_from_its_first_checkpoint_on(tmp_path, monkeypatch):
    chain = shutil.copytree(runs.DATA / "resume", tmp_path / "resume")
    for path in sorted((chain / "resumed").glob("*.hdf5"))[1:]:
        path.unlink()
    looks = Looks(monkeypatch, nothing, nothing)
    with pytest.raises(KeyboardInterrupt):
        follow(
            Watch(chain / "resumed", TENSORS),
            lambda files: analyze_run(chain / "resumed", files=files, chain="auto", device="cpu"),
            Ends(),
            looks.show,
            0,
        )
    assert looks.seen[-1][0] == 12


def test_no_file_that_can_be_read_is_waited_out(tmp_path, monkeypatch):
    """All were whole at the look, and none can be read when they are analyzed."""
    looks = Looks(monkeypatch, nothing, nothing)

    def analyze(files):
        raise CheckpointError("model_iter0002.hdf5: cannot be read (Stale file handle)")

    with pytest.raises(KeyboardInterrupt):
        follow(Watch(runs.SAMPLE, TENSORS), analyze, Ends(), looks.show, 0)
    assert looks.seen[-1] == (None, False, "model_iter0002.hdf5: cannot be read (Stale file handle)")


def test_a_look_that_finds_nothing_new_opens_no_file(tmp_path, monkeypatch, analysis, opened):
    """It asks once for each file's size and time; and a hundred such looks keep no memory."""
    write_run(tmp_path, [2])
    for niter in range(4, 102, 2):
        (tmp_path / f"model_iter{niter:04d}.hdf5").hardlink_to(tmp_path / "model_iter0002.hdf5")
    watch, count = Watch(tmp_path, TENSORS), itertools.count()
    unplanned = replace(analysis, engine=replace(analysis.engine, planned=None))
    asked, status = itertools.count(), Path.stat
    monkeypatch.setattr(
        Path, "stat", lambda path, **how: [path.suffix == ".hdf5" and next(asked), status(path, **how)][1]
    )
    files, questions, memory = [], [], []

    def sleep(seconds):
        number = next(count)
        assert seconds == 5
        if number == 9:
            tracemalloc.start()
        elif number in (10, 110):
            gc.collect()
            files.append(len(opened))
            questions.append(next(asked))
            memory.append(tracemalloc.get_traced_memory()[0])
            if number == 110:
                raise KeyboardInterrupt

    shown = []

    def show(look):
        shown[:] = live_table(look, "run", time.time())

    clock = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)  # of `follow` alone
    monkeypatch.setattr("ptyconv_cli.analysis.follow.time", clock)
    try:
        with pytest.raises(KeyboardInterrupt):
            follow(watch, lambda files: unplanned, Ends(idle=1e9), show, 5)
    finally:
        tracemalloc.stop()
    assert shown[0][0].startswith("sample: 12 checkpoints")
    assert len(watch.files) == 50
    assert files == [50, 50], "each was opened once, when it was new"
    assert questions[1] - questions[0] == 100 * 50 + 1
    assert abs(memory[1] - memory[0]) < 100_000


def test_a_new_checkpoint_costs_the_same_however_many_there_are(tmp_path, monkeypatch, opened):
    """Files opened, arrays compared, steps gathered, and items of the report put into text."""
    write_run(tmp_path / "run", range(1, 41))
    counts = {"compared": 0, "gathered": 0, "put into text": 0}

    def counted(where, name, what):
        do = getattr(where, name)

        def doing(*arguments, **options):
            counts[what] += 1
            return do(*arguments, **options)

        monkeypatch.setattr(where, name, doing)

    counted(headers.np, "array_equal", "compared")
    counted(Curves, "_add", "gathered")
    for name in ("_checkpoint", "_point", "_removed", "_pair"):
        counted(report, name, "put into text")
    files, cache, costs = sorted((tmp_path / "run").iterdir()), Cache(tmp_path / "out"), {}
    for count in (18, 19, 20, 38, 39, 40):
        counts.update(dict.fromkeys(counts, 0))
        opened.clear()
        analysis = analyze_run(tmp_path / "run", files=files[:count], cache=cache, device="cpu")
        write_numbers(analysis, tmp_path / "out", cache.pieces)
        cache.keep()
        costs[count] = {"opened": len(opened), **counts}
    assert [len(found.niters) for found in analysis.trajectories.values()] == [40] * 4
    for count in (20, 40):  # each of 64 checkpoints at most has its distance to the last one
        costs[count]["put into text"] -= 2 * 4 * count
    assert costs[40] == costs[20]
    assert costs[20]["gathered"] == 1
    # Of the checkpoint itself, changes, ambiguities, the loss, and drift ratios.
    assert costs[20]["put into text"] == 1 + (6 + 6) + 4 + 1 + 2 * 4
