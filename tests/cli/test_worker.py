"""What a worker does with a run, in one process: whom it trusts, and that it works alone."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from ptyconv_cli.cli import worker
from ptyconv_cli.cli.worker import Expected, NotDone, Unfit, work_on
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.workers import at_once

HOLD = """
import sys, time
from pathlib import Path
from ptyconv_cli.cli.worker import _alone
with _alone(Path(sys.argv[1]), "study") as starts:
    print(starts, flush=True)
    time.sleep(600)
"""


class OneRun(NamedTuple):
    folder: Path
    place: Path


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return OneRun(tmp_path / "run", tmp_path / "run")


@pytest.fixture
def expected(tmp_path):
    marker = tmp_path / ".ptyconv-workers" / "study"
    marker.parent.mkdir()
    marker.touch()
    return Expected(worker.versions(), marker, None)


def test_the_result_comes_back_and_nothing_is_left(run, expected):
    assert work_on(lambda run: run.folder.name, expected, run) == "run"
    assert list(expected.marker.parent.iterdir()) == [expected.marker]


def test_a_worker_computes_in_one_thread_as_there_are_others(run, expected):
    assert at_once(2) == 2
    assert work_on(lambda run: at_once(2), expected, run) == 1
    assert at_once(2) == 2


@pytest.mark.parametrize("package", ["ptyconv", "numpy", "torch", "matplotlib"])
def test_other_versions_are_said(run, expected, package):
    with pytest.raises(Unfit, match=rf"\(process {os.getpid()}\) has {package} .*, not 0 as here: install the same"):
        work_on(None, expected._replace(versions={**expected.versions, package: "0"}), run)


def test_the_build_of_torch_is_no_other_version(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name}1.0+cu128")
    worker.versions.cache_clear()
    assert worker.versions()["torch"] == "torch1.0"
    worker.versions.cache_clear()


@pytest.mark.parametrize("missing", ["directory", "place", "marker"])
def test_files_that_are_not_seen_are_said(run, expected, tmp_path, missing):
    elsewhere = tmp_path / "elsewhere"
    where = {
        "directory": expected._replace(directory=elsewhere),
        "place": expected._replace(marker=elsewhere / ".ptyconv-workers" / "study"),
        "marker": expected._replace(marker=expected.marker.with_name("other")),
    }[missing]
    with pytest.raises(Unfit, match="all workers must share the file system") as raised:
        work_on(None, where, run)
    assert f"does not see {where.marker if missing == 'marker' else elsewhere}: " in str(raised.value)


def test_a_run_that_is_not_seen_is_not_done(run, expected):
    run.folder.rmdir()
    with pytest.raises(NotDone, match=rf"does not see {run.folder}$"):
        work_on(None, expected, run)


def test_what_goes_wrong_can_travel(run, expected):
    class Odd(Exception):
        pass

    def fail(error):
        def function(run):
            raise error

        return function

    with pytest.raises(RuntimeError, match=r"stumbled over .*run:\n(.*\n)*.*Odd: here"):
        work_on(fail(Odd("here")), expected, run)
    with pytest.raises(CheckpointError, match="is damaged"):
        work_on(fail(CheckpointError("is damaged")), expected, run)
    with pytest.raises(NotDone, match=r"cannot work on .*run \(.*No room") as raised:
        work_on(fail(OSError(28, "No room")), expected, run)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    assert list(expected.marker.parent.iterdir()) == [expected.marker]


def test_relative_paths_are_those_of_who_hands_out(run, expected, tmp_path, monkeypatch):
    (tmp_path / "of_worker").mkdir()
    monkeypatch.chdir(tmp_path / "of_worker")
    of_run = OneRun(Path("run"), Path("run"))
    seen = work_on(lambda run: (run.folder.exists(), Path.cwd()), expected._replace(directory=tmp_path), of_run)
    assert seen == (True, tmp_path)
    assert Path.cwd() == tmp_path / "of_worker"


def test_a_worker_with_several_threads_does_one_run_at_a_time(run, expected):
    at_once, most, barrier = [], [], threading.Barrier(4)

    def function(run):
        at_once.append(run)
        most.append(len(at_once))
        threading.Event().wait(0.01)
        at_once.pop()

    def work():
        barrier.wait()
        work_on(function, expected, run)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no locks")
def test_processes_wait_for_each_other_and_those_that_died_are_counted(run, expected, monkeypatch):
    """Three begin and are killed, one after the other; each waits for the one before."""
    lock = expected.marker.parent / worker._digest(run.place)
    processes = []
    for start in (1, 2, 3):
        command = [sys.executable, "-c", HOLD, str(lock)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        if start > 1:
            processes[-2].send_signal(signal.SIGKILL)
            processes[-2].communicate()
        assert processes[-1].stdout.readline() == f"{start}\n"
        assert lock.read_text() == f"study {start}"
    monkeypatch.setattr(worker, "PATIENCE", 0.0)
    with pytest.raises(NotDone, match="another process has kept this locked"):
        work_on(lambda run: "done", expected, run)
    processes[-1].kill()
    processes[-1].communicate()
    with pytest.raises(NotDone, match="run: given up after 3 workers died of it"):
        work_on(lambda run: "done", expected, run)
    assert not lock.exists()
    assert work_on(lambda run: "done", expected, run) == "done", "it is counted anew"


def test_what_another_study_left_is_not_counted(run, expected):
    lock = expected.marker.parent / worker._digest(run.place)
    for left in ("other 3", "study x", "", "study 2"):
        lock.write_text(left)
        assert work_on(lambda run: "done", expected, run) == "done"


def test_a_file_system_without_locks_will_do(run, expected, monkeypatch):
    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert work_on(lambda run: "done", expected, run) == "done"
