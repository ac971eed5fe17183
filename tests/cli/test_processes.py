"""The runs of a study by processes of this machine, which nobody else can reach: as one process makes it."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import killing
import psutil
import pytest
import runs
from dask_processes import PATIENCE, Watched, wait_until
from outputs import contents, results_in
from processes import started
from study import write_study

from ptyconv_cli import PtyconvError
from ptyconv_cli.cli import processes
from ptyconv_cli.cli.processes import map_runs
from ptyconv_cli.cli.worker import NO_ANSWER

QUICK = ("--no-plot", "--device", "cpu")


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path / "study")


@pytest.fixture
def watched(tmp_path):
    """The folder through which processes are watched that are started with its `environment`."""
    found = Watched(tmp_path / "watched")
    found.preload.rename(found.folder / "sitecustomize.py")  # which each Python runs first
    return found


def analyzing(study: Path, *options: object, watched: Watched | None = None):
    """Start an analysis by two processes, in a group of its own, as a shell starts it."""
    command = [sys.executable, "-m", "ptyconv_cli", "analyze", study, *QUICK, "--workers", "2", *options]
    path = [str(watched.folder)] if watched else []
    environment = {**(watched.environment() if watched else os.environ)}
    environment["PYTHONPATH"] = os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])])
    return started(command, stderr=subprocess.PIPE, start_new_session=True, env=environment)


@contextmanager
def held(study: Path, watched: Watched, *names: str):
    """Start an analysis, and yield its process once those runs have begun, which wait."""
    for name in names:
        watched.hold(name)
    with analyzing(study, watched=watched) as process:
        for name in names:
            watched.wait_for(name)
        yield process


@pytest.mark.parametrize("command", ["module", "script"])
@pytest.mark.long
def test_all_is_as_one_process_makes_it(ptyconv, study, command):
    expected = ptyconv("analyze", study, *QUICK)
    written = contents(study)
    script = [Path(sys.executable).parent / "ptyconv"] if command == "script" else [sys.executable, "-m", "ptyconv_cli"]
    result = subprocess.run(
        [*script, "analyze", study, *QUICK, "--fresh", "--workers", "2"], capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr, result.returncode) == (expected.stdout, expected.stderr, 1)
    assert contents(study) == written


def test_relative_paths_are_as_they_were_given(ptyconv, study, monkeypatch):
    monkeypatch.chdir(study.parent)
    expected = ptyconv("analyze", "study", *QUICK, "-o", "out")
    written = contents(study.parent / "out")
    shutil.rmtree("out")
    result = ptyconv("analyze", "study", *QUICK, "-o", "out", "--workers", "3")
    assert (result.stdout, result.stderr, result.exit_code) == (expected.stdout, expected.stderr, 1)
    assert contents(study.parent / "out") == written


def sockets_of(process: psutil.Process) -> list[str]:
    """What sockets a process and all that it started have open (Linux)."""
    found = []
    for one in [process, *process.children(recursive=True)]:
        for link in Path(f"/proc/{one.pid}/fd").iterdir():
            with suppress(OSError):
                found.append(str(link.readlink()))
    return [target for target in found if target.startswith("socket:")]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_there_is_no_socket_that_another_user_could_open(study, watched):
    with held(study, watched, "a", "b") as process:
        assert len(psutil.Process(process.pid).children(recursive=True)) >= 2
        assert sockets_of(psutil.Process(process.pid)) == []
        for name in ("a", "b"):
            watched.let_go(name)
        process.communicate(timeout=PATIENCE)


@pytest.mark.long
def test_a_run_whose_process_is_killed_is_done_again(ptyconv, study, watched):
    expected = ptyconv("analyze", study, *QUICK)
    watched.hold("b")
    with analyzing(study, "--fresh", watched=watched) as process:
        os.kill(watched.wait_for("b"), signal.SIGKILL)
        watched.wait_for("b", 2)
        watched.let_go("b")
        assert process.communicate(timeout=PATIENCE) == (expected.stdout, expected.stderr)
    assert len(watched.begun("b")) == 2


@pytest.mark.long
def test_a_process_that_hangs_is_said_and_waited_for(ptyconv, study, watched):
    """As one does that reads from a file system which has gone away."""
    expected = ptyconv("analyze", study, *QUICK)
    watched.hold("b")
    with analyzing(study, "--fresh", watched=watched) as process:
        stuck = watched.wait_for("b")
        os.kill(stuck, signal.SIGSTOP)
        said = [process.stderr.readline() for _ in range(2)]
        os.kill(stuck, signal.SIGCONT)
        watched.let_go("b")
        assert process.communicate(timeout=PATIENCE) == (expected.stdout, expected.stderr)
    assert said == ["\n", f"{study / 'b'}: its process {NO_ANSWER}\n"]
    assert "has not answered for 10 s" in said[1]


@pytest.mark.long
def test_a_run_is_done_again_twice_at_most(study, watched):
    watched.hold("b")
    with analyzing(study, watched=watched) as process:
        for count in (1, 2, 3):
            os.kill(watched.wait_for("b", count), signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert f"Error: {study / 'b'}: given up after 3 workers died of it" in err
    assert (study / "a" / "convergence_report.json").exists()
    assert not (study / ".ptyconv-workers").exists()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_results_are_whole_whenever_processes_are_killed(ptyconv, tmp_path, watched, seed):
    root, random = tmp_path / "study", Random(seed)
    for number in range(8):
        shutil.copytree(runs.SAMPLE, root / f"t{number}")
    options = ("-t", "probe")
    expected = ptyconv("analyze", root, *QUICK, *options)
    written = results_in(root)
    with analyzing(root, "--fresh", *options, watched=watched) as process:
        for _ in range(2):
            until = len(watched.opened()) + random.randint(1, 20)
            wait_until(lambda until=until: len(watched.opened()) > until)
            for child in psutil.Process(process.pid).children():
                if "spawn_main" in " ".join(child.cmdline()):
                    child.kill()
            assert results_in(root) == written
        assert process.communicate(timeout=PATIENCE) == (expected.stdout, expected.stderr)
    assert results_in(root) == written


@pytest.mark.long
def test_ctrl_c_leaves_nothing_behind(study, watched):
    with held(study, watched, "b", "damaged") as process:
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert (out, err) == ("", "\ninterrupted\n")
    assert (study / "a" / "convergence_report.json").exists()
    for name in ("b", "damaged", "mix", "short"):
        assert not (study / name / "convergence_report.json").exists()
    assert not (study / ".ptyconv-workers").exists()
    assert not psutil.wait_procs(children, timeout=PATIENCE)[1]


@pytest.mark.long
def test_where_the_first_process_is_killed_the_others_end(study, watched):
    with held(study, watched, "b") as process:
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        watched.let_go("b")
        assert not psutil.wait_procs(children, timeout=PATIENCE)[1]


def jobs_in(folder: Path, *names: str) -> list[killing.Job]:
    found = []
    for name in names:
        (folder / name).mkdir(parents=True)
        found.append(killing.Job(folder / name, folder / name))
    return found


def test_runs_that_kill_their_process_cost_no_other_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(killing.__file__).parent), prepend=os.pathsep)
    jobs = jobs_in(tmp_path / "study", "innocent0", "kills0", "innocent1", "innocent2")
    found = dict(map_runs(killing.work, jobs, 2, tmp_path / "study"))
    assert "given up after 3 workers died of it" in str(found.pop(1))
    assert found == {0: "innocent0", 2: "innocent1", 3: "innocent2"}
    assert not list((tmp_path / "study").glob(".ptyconv*"))


def test_processes_that_cannot_begin_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(killing.__file__).parent), prepend=os.pathsep)
    monkeypatch.setattr(processes, "MOST_LOST", 2)
    with pytest.raises(PtyconvError, match="the processes die before they begin; is there enough memory"):
        list(map_runs(killing.Unloadable(), jobs_in(tmp_path / "study", "a"), 1, tmp_path / "study"))


def test_what_a_run_raises_comes_here_and_ends_all(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(killing.__file__).parent), prepend=os.pathsep)
    jobs = jobs_in(tmp_path / "study", "a", "b")
    with pytest.raises(RuntimeError, match=r"(?s)stumbled over .*ZeroDivisionError"):
        list(map_runs(killing.stumble, jobs, 2, tmp_path / "study"))
    assert not list((tmp_path / "study").glob(".ptyconv*"))
