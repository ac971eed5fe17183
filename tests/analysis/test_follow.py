"""Following a run that is being written: what is taken, when it ends, what it shows, what it costs."""

import fcntl
import gc
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import unicodedata
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import runs
import writer
from processes import started
from toy import ToyModel, write_hdf5, write_run

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis.follow import SURE, Ends, Look, follow
from ptyconv_cli.checkpoints.prefetch import Prefetch
from ptyconv_cli.checkpoints.watch import RETRY, Watch
from ptyconv_cli.cli.live_table import live_line, live_table, pace_of, progress_line
from ptyconv_cli.errors import CheckpointError, SeveralRuns
from ptyconv_cli.results.run_analysis import CheckpointInfo
from ptyconv_cli.results.series import TENSORS

PTYCONV = [sys.executable, "-m", "ptyconv_cli"]


@pytest.fixture(scope="module")
def analysis():
    return analyze_run(runs.SAMPLE, device="cpu")


def settled_run(folder: Path, count: int) -> None:
    """Every tensor jitters about a fixed point, after a few large steps."""
    random = np.random.default_rng(1)
    model, folder = ToyModel(), Path(folder)
    folder.mkdir(exist_ok=True)
    start = {name: tensor.detach().clone() for name, tensor in model.optimizable_tensors.items()}
    for k in range(count):
        size = 1e-3 + 0.3 * (k < 3)
        for name, tensor in model.optimizable_tensors.items():
            tensor.data = start[name] + size * start[name].new_tensor(random.normal(size=tensor.shape))
        write_hdf5(folder / f"model_iter{5 * k + 5:04d}.hdf5", model, 5 * k + 5)


# --- end to end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_the_end_is_that_of_one_analysis(tmp_path, seed):
    run_dir, planned = tmp_path / "run", 60
    command = ["analyze", "--follow", run_dir, "-o", tmp_path / "followed", "--poll", "0.3", "--device", "cpu"]
    with started([*PTYCONV, *command]) as follower:
        writing = [sys.executable, writer.__file__, runs.SAMPLE, run_dir, str(planned), "0.8", str(seed)]
        subprocess.run(list(map(str, writing)), check=True, timeout=120)
        said, _ = follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert f"the run reached its planned last iteration, {planned}" in said
    subprocess.run([*PTYCONV, "analyze", run_dir, "-o", tmp_path / "at_once", "--device", "cpu", "-q"], check=True)
    for name in (
        *("convergence_iters.json", "convergence_report.json", "convergence.csv"),
        *("convergence.png", "trajectory.png"),
    ):
        assert (tmp_path / "followed" / name).read_bytes() == (tmp_path / "at_once" / name).read_bytes()


def test_it_really_goes_along(tmp_path):
    """There are results while the run is being written, and each new checkpoint is in them."""
    run_dir, out = tmp_path / "run", tmp_path / "out"
    command = ["analyze", "--follow", run_dir, "-o", out, "--poll", "0.1", "--no-plot", "--device", "cpu"]
    with started([*PTYCONV, *command]) as follower:
        assert follower.stdout.readline() == "run: waiting for the folder\n"
        run_dir.mkdir()
        for niter in (10, 20, 30, 40):
            shutil.copy(runs.SAMPLE / f"model_iter{niter:04d}.hdf5", run_dir)
            line = follower.stdout.readline()
            if niter == 10:
                assert line == "run: waiting for two complete checkpoints; 1 file seen\n"
                line = follower.stdout.readline()
                assert "holds 1 checkpoint; a change needs at least two" in line
            else:
                assert re.match(rf"\d\d:\d\d:\d\d iteration {niter}; verdict: insufficient .*; {niter} of 120 ", line)
                report = json.loads((out / "convergence_report.json").read_text())
                assert [found["niter"] for found in report["checkpoints"]] == list(range(10, niter + 1, 10))
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 130


def test_until_settled(tmp_path):
    settled_run(tmp_path / "run", 40)
    command = ["analyze", "--follow", tmp_path / "run", "--until", "settled", "--poll", "0.05", "--no-plot"]
    result = subprocess.run([*PTYCONV, *map(str, command)], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "ended: the run has settled\n" in result.stdout
    assert "verdict: settled" in result.stdout


def test_until_settled_of_what_does_not_settle(ptyconv, tmp_path):
    shutil.copytree(runs.SAMPLE, tmp_path / "run")
    result = ptyconv("analyze", "--follow", tmp_path / "run", "--until", "settled", "--poll", "0.05", "--no-plot")
    assert result.exit_code == 3
    assert "ended: the run reached its planned last iteration, 120\n" in result.stdout


def test_idle(ptyconv, tmp_path):
    shutil.copytree(runs.SAMPLE, tmp_path / "run", ignore=shutil.ignore_patterns("*01?0*"))
    (tmp_path / "run" / "model_iter0100.hdf5").write_bytes(b"half")
    command = ["analyze", "--follow", tmp_path / "run", "--idle", "0.01", "--poll", "0.1", "--no-plot"]
    result = ptyconv(*command)
    assert result.exit_code == 0
    assert "ended: no new checkpoint for 0.01 minutes\n" in result.stdout
    assert "9 checkpoints, iterations 10 to 90" in result.stdout
    assert "model_iter0100.hdf5" in result.stderr, "what never became whole is warned of"


def test_nothing_ever_comes(ptyconv, tmp_path):
    result = ptyconv("analyze", "--follow", tmp_path / "run", "--idle", "0.005", "--poll", "0.05")
    assert result.exit_code == 1
    assert result.stderr == f"Error: {tmp_path / 'run'}: there is no such folder\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--until", "settled"], "--until, --idle and --poll need --follow"),
        (["--idle", "5"], "--until, --idle and --poll need --follow"),
        (["--follow", "--until", "settled", "--no-aligned"], "--until settled needs the aligned changes"),
        (["--follow", "--idle", "0"], "0.0 is not in the range x>0"),
        (["--follow", "--until", "improving"], "'improving' is not 'settled'"),
    ],
)
def test_what_is_not_allowed(ptyconv, arguments, said):
    result = ptyconv("analyze", runs.SAMPLE, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_study_is_not_followed(ptyconv):
    result = ptyconv("analyze", "--follow", runs.DATA / "resume")
    assert result.exit_code == 1
    assert "holds no checkpoint; its subfolders do: first" in result.stderr
    assert "--follow is for one run" in result.stderr


def test_several_runs_in_the_folder_end_it(ptyconv, tmp_path):
    result = ptyconv(
        "analyze", "--follow", runs.DATA / "resume" / "mixed_in_one_folder", "-o", tmp_path, "--poll", "0.05"
    )
    assert result.exit_code == 1
    assert "its checkpoints belong to 2 runs" in result.stderr


def test_a_log_says_what_is_waited_for(tmp_path):
    """Once each: a folder that isn't there, files that lack a tensor."""
    run_dir = tmp_path / "run"
    command = ["analyze", "--follow", run_dir, "--poll", "0.05", "--idle", "0.02", "--device", "cpu", "--no-plot"]
    with started([*PTYCONV, *command]) as follower:
        assert follower.stdout.readline() == "run: waiting for the folder\n"
        write_run(tmp_path / "aside", [2, 4])
        for path in (tmp_path / "aside").iterdir():
            with h5py.File(path, "r+") as file:
                del file["optimizable_tensors/probe_pos_shifts"]
        (tmp_path / "aside").rename(run_dir)
        rest = follower.stdout.read()
        assert follower.wait(10) == 1
    assert (
        rest.count("model_iter0004.hdf5: has no tensor probe_pos_shifts; it has obja, objp, probe (choose with -t)")
        == 1
    )


@pytest.mark.parametrize("closed", ["stdout", "both"])
def test_without_a_place_to_talk_to(tmp_path, closed):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    redirection = ">&-" if closed == "stdout" else ">&- 2>&-"
    command = f"{sys.executable} -m ptyconv_cli analyze --follow {run_dir} --poll 0.05 --no-plot {redirection}"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in result.stderr
    assert (run_dir / "convergence_report.json").exists()


def test_a_file_is_not_followed(ptyconv, tmp_path):
    result = ptyconv("analyze", "--follow", runs.SAMPLE / "model_iter0010.hdf5", "-o", tmp_path)
    assert result.exit_code == 1
    assert "is a file; give the folder it is in" in result.stderr


def test_fresh_is_for_the_first_analysis(tmp_path, monkeypatch, ptyconv):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run", ignore=shutil.ignore_patterns("*01?0*"))
    ptyconv("analyze", run_dir, "--no-plot", "--device", "cpu")
    read, seen = Prefetch._read, []

    def reading(self, header, into):
        seen.append(header.niter)
        return read(self, header, into)

    monkeypatch.setattr(Prefetch, "_read", reading)
    added = iter([0, 1, 1])

    def sleep(_):
        if next(added, None) == 0:
            return
        if len(list(run_dir.glob("*.hdf5"))) == 9:
            shutil.copy2(runs.SAMPLE / "model_iter0100.hdf5", run_dir)

    monkeypatch.setattr("ptyconv_cli.analysis.follow.time.sleep", sleep)
    ptyconv("analyze", "--follow", run_dir, "--fresh", "--idle", "0.001", "--no-plot", "--device", "cpu")
    assert seen == [*range(10, 100, 10), 90, 100]


# --- what is taken ----------------------------------------------------------------------------------------------------


def names(files) -> list[str]:
    return sorted(path.name for path in files)


def test_a_file_is_taken_when_it_has_been_the_same_twice(tmp_path):
    watch = Watch(tmp_path / "run", TENSORS)
    assert watch.look() == {}
    write_run(tmp_path / "run", [2, 4])
    assert (names(watch.look()), watch.unchanged) == ([], 0)
    assert (names(watch.look()), watch.unchanged) == (["model_iter0002.hdf5", "model_iter0004.hdf5"], 1)
    with h5py.File(tmp_path / "run" / "model_iter0004.hdf5", "r+") as file:
        file.attrs["provenance_json"] = "{}" * 1000
    assert (names(watch.look()), watch.unchanged) == (["model_iter0002.hdf5"], 0)
    assert (watch.growing, watch.problems) == ([tmp_path / "run" / "model_iter0004.hdf5"], {})
    assert len(watch.look()) == 2
    shutil.rmtree(tmp_path / "run")
    assert (watch.look(), watch.problems, watch.trouble) == ({}, {}, "waiting for the folder")


def test_a_file_is_not_taken_before_all_is_in_it(tmp_path):
    write_run(tmp_path, [2, 4])
    path = tmp_path / "model_iter0004.hdf5"
    whole = path.read_bytes()
    watch = Watch(tmp_path, TENSORS)
    for content in (b"", whole[:4000]):
        path.write_bytes(content)
        watch.look()
        assert names(watch.look()) == ["model_iter0002.hdf5"]
        assert watch.problems[path]
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        del file["optimizable_tensors/probe_pos_shifts"]
    watch.look()
    assert names(watch.look()) == ["model_iter0002.hdf5"]
    assert watch.problems[path].startswith("has no tensor probe_pos_shifts")
    watch = Watch(tmp_path, ["objp"])
    watch.look()
    assert len(watch.look()) == 2, "it is whole for those who don't ask for positions"


def test_a_lock_that_is_let_go_is_noticed(tmp_path):
    """Size and time stay what they were."""
    write_run(tmp_path, [2])
    watch = Watch(tmp_path, TENSORS)
    with (tmp_path / "model_iter0002.hdf5").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for _ in range(3):
            assert watch.look() == {}
        assert "lock" in watch.problems[tmp_path / "model_iter0002.hdf5"]
    assert any(watch.look() for _ in range(RETRY))


def test_other_files_and_dead_links_are_nothing(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "model_iter0002.hdf5").symlink_to(tmp_path / "gone")
    watch = Watch(tmp_path, TENSORS)
    watch.look()
    assert (watch.look(), watch.files) == ({}, {})


# --- the loop ---------------------------------------------------------------------------------------------------------


class Looks:
    """Does something to the folder at each look in place of waiting, and notes what is shown."""

    def __init__(self, monkeypatch, *deeds):
        self._deeds = iter(deeds)
        self.seen = []
        monkeypatch.setattr("ptyconv_cli.analysis.follow.time.sleep", self)

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


def test_a_renamed_file_does_not_end_it(tmp_path):
    """Its name says that the planned iteration is reached, the file doesn't."""
    for niter in range(10, 90, 10):
        named = 200 if niter == 80 else niter
        shutil.copy(runs.SAMPLE / f"model_iter{niter:04d}.hdf5", tmp_path / f"model_iter{named:04d}.hdf5")
    looked = Watch(tmp_path, TENSORS)
    with pytest.raises(KeyboardInterrupt):
        follow(looked, lambda files: analyze_run(tmp_path, files=files, device="cpu"), Ends(), interrupt_at(12), 0)
    assert looked.unchanged > SURE


def interrupt_at(looks):
    seen = []

    def show(look):
        seen.append(look)
        if len(seen) == looks:
            raise KeyboardInterrupt

    return show


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


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_it_idles_at_under_one_percent_of_a_core(tmp_path, monkeypatch, analysis):
    """And its memory stays flat, over 1,000 looks at a folder with 200 checkpoints."""
    write_run(tmp_path, [2])
    for niter in range(4, 402, 2):
        (tmp_path / f"model_iter{niter:04d}.hdf5").hardlink_to(tmp_path / "model_iter0002.hdf5")
    watch, count = Watch(tmp_path, TENSORS), itertools.count()
    unplanned = replace(analysis, engine=replace(analysis.engine, planned=None))
    used, held = [], []

    def sleep(seconds):
        number = next(count)
        assert seconds == 5
        if number in (10, 1010):
            gc.collect()
            used.append(time.process_time())
            held.append(tracemalloc.get_traced_memory()[0])
            if number == 1010:
                raise KeyboardInterrupt
        elif number == 9:
            tracemalloc.start()

    shown = []

    def show(look):
        shown[:] = live_table(look, "run", time.time())

    monkeypatch.setattr("ptyconv_cli.analysis.follow.time.sleep", sleep)
    try:
        with pytest.raises(KeyboardInterrupt):
            follow(watch, lambda files: unplanned, Ends(idle=1e9), show, 5)
    finally:
        tracemalloc.stop()
    assert len(shown) == 10
    assert len(watch.files) == 200
    assert (used[1] - used[0]) / (1000 * 5) < 0.01
    assert abs(held[1] - held[0]) < 100_000


def test_the_process_does_not_grow(tmp_path):
    """The whole process, by what the system says of it, with a checkpoint taken between the looks."""
    run_dir = tmp_path / "run"
    shutil.copytree(runs.SAMPLE, run_dir, ignore=shutil.ignore_patterns("*01?0*"))
    command = ["analyze", "--follow", run_dir, "--poll", "0.05", "--device", "cpu", "--no-plot"]
    with started([*PTYCONV, *command]) as follower:
        follower.stdout.readline()
        sizes = []
        for _ in range(2):
            time.sleep(2)
            pages = Path(f"/proc/{follower.pid}/statm").read_text().split()[1]
            sizes.append(int(pages) * os.sysconf("SC_PAGE_SIZE"))
        follower.send_signal(signal.SIGINT)
        follower.wait(10)
    assert sizes[1] - sizes[0] < 5e6


# --- what it shows ----------------------------------------------------------------------------------------------------


def with_times(analysis, times, planned):
    found = [replace(c, modified=int(t * 1e9)) for c, t in zip(analysis.checkpoints, times, strict=True)]
    return replace(analysis, checkpoints=found, engine=replace(analysis.engine, planned=planned))


def timed(analysis, *pairs, seconds=()):
    """An analysis with checkpoints at iterations that were written at times."""
    found = [CheckpointInfo("f", niter, {}, 1, int(at * 1e9)) for niter, at in pairs]
    return replace(analysis, checkpoints=found, engine=replace(analysis.engine, seconds=list(seconds)))


def test_the_pace_is_that_of_the_last_checkpoints(analysis):
    assert pace_of(timed(analysis, (10, 0), (20, 100))) == pytest.approx(0.1)
    slow_start = [(10 * k, 1000 * k) for k in range(5)] + [(50 + 10 * k, 5000 + 10 * k) for k in range(9)]
    assert pace_of(timed(analysis, *slow_start)) == pytest.approx(1)
    assert pace_of(timed(analysis, (10, 5), (20, 5))) is None
    assert pace_of(timed(analysis, (10, 5), (20, 4))) is None


def test_the_pace_of_copies_is_that_of_the_compute(analysis):
    """Files that were copied are all of one moment, which no computer is quick enough for."""
    seconds = [(10, 100.0), (20, 300.0)]
    assert pace_of(timed(analysis, (10, 0), (20, 0.001), seconds=seconds)) == pytest.approx(10 / 200)
    assert pace_of(timed(analysis, (10, 0), (20, 1000), seconds=seconds)) == pytest.approx(10 / 1000)
    assert pace_of(timed(analysis, (10, 5), (20, 4), seconds=[(10, np.nan), (20, np.nan)])) is None


def test_the_expected_end(analysis, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    start = 1_800_000_000  # 08:00 of a Friday, UTC
    running = with_times(analysis, [start + 360 * k for k in range(12)], 200)
    now = start + 360 * 11 + 60
    assert progress_line(running, now) == ("120 of 200 iterations, 100 iterations/hour, expected end 09:54 (in 47 min)")
    assert "expected end 09:54 (overdue)" in progress_line(running, start + 360 * 11 + 3600)
    slow = with_times(analysis, [start + 36000 * k for k in range(12)], 200)
    assert "1 iterations/hour, expected end Sat 23 Jan 06:00 (in 3.3 days)" in progress_line(slow, start + 396000)
    for planned in (10**12, 10**18):
        endless = progress_line(with_times(analysis, [start + 360 * k for k in range(12)], planned), now)
        assert endless == f"120 of {planned} iterations, 100 iterations/hour"
    unknown = replace(analysis, engine=replace(analysis.engine, seconds=[]))
    assert progress_line(with_times(unknown, [start] * 12, None), now) == ""
    assert progress_line(with_times(unknown, [start] * 12, 120), now) == "120 of 120 iterations"


def test_the_table_fits_and_says_it_all(analysis):
    times = [1.8e9 + 360 * k for k in range(12)]
    look = Look(with_times(analysis, times, 100_000), True, 13, growing="model_iter0130.hdf5")
    lines = [line for line, _ in live_table(look, "run", times[-1] + 60)]
    assert max(map(len, lines)) <= 80
    assert lines[0] == "ptyrad-1.0: 12 checkpoints, iterations 10 to 120"
    assert lines[1].split() == ["series", "unit", "last", "change", "over", "iterations", "(log)", "verdict", "since"]
    assert re.fullmatch(r"objp_fg          rad     0.000194  [▁-█]{11} {14}improving        90", lines[5])
    assert lines[-1] == "model_iter0130.hdf5 is being written"
    assert "verdict: improving since iteration 90 (obja_fg the worst); loss 0.1721" in lines


def test_the_table_before_there_is_anything():
    (line,) = live_table(Look(None, False, 0), "run", 0)
    assert line == ("run: waiting for two complete checkpoints", "")
    lines = live_table(Look(None, False, 1, "model_iter0002.hdf5: " + "x" * 300, "f" * 100), "a" * 200, 0)
    assert all(len(line) <= 80 for line, _ in lines)
    assert len(lines) <= 5


def on_a_terminal(tmp_path, columns, rows, lines) -> str:
    """What a screen shows in the end when lines are drawn twice: the second time without the last one."""
    code = (
        "import json, sys\nfrom ptyconv_cli.cli.console import Screen\n"
        "screen, lines = Screen(), json.loads(sys.argv[1])\n"
        "screen.draw(lines)\nscreen.draw(lines[:-1])\n"
    )
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": str(rows), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", code, json.dumps([[line, ""] for line in lines])]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def shown_by(output: str, columns: int) -> list[str]:
    """What stands on a screen that knows line ends, cursor up, and erase below."""
    screen, row = [""], 0
    for piece in re.split(r"(\n|\x1b\[\d+A|\x1b\[J)", output):
        if piece == "\n":
            row += 1
        elif piece.endswith("A") and piece.startswith("\x1b"):
            row -= int(piece[2:-1])
        elif piece == "\x1b[J":
            del screen[row:]
        else:
            screen += [""] * (row + 1 - len(screen))
            width = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in piece)
            assert width <= columns, "it would wrap"
            screen[row] += piece
    return [line for line in screen if line]


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (50, 24), (20, 5), (7, 2)])
def test_a_table_is_drawn_over_the_one_before(tmp_path, columns, rows):
    lines = ["run: 12 checkpoints " * 4, "超" * 60, "", "short", "x" * 79, "last"]
    output = on_a_terminal(tmp_path, columns, rows, lines)
    shown = shown_by(output, columns)
    assert len(shown) == len([line for line in lines[:-1][: rows - 1] if line])
    assert shown[0] == lines[0][:columns]
    assert "last" not in shown


def test_the_line_for_a_log_file(analysis):
    times = [1.8e9 + 360 * k for k in range(12)]
    line = live_line(Look(with_times(analysis, times, 200), True, 12), times[-1])
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d iteration 120; verdict: improving since iteration 90 \(obja_fg the worst\); loss 0.1721; "
        r"120 of 200 iterations, 100 iterations/hour, expected end \d\d:\d\d \(in 48 min\)",
        line,
    )
