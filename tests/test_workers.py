"""Ctrl-C at every place where it could leave threads waiting for each other."""

import re
import signal
import subprocess
import sys
import threading

import pytest
from rarely import long_after
from toy import write_run

from ptyconv_cli.workers import Workers, ctrl_c_waits, result_of

# Analyzes a run again and again, and presses Ctrl-C where the main thread comes to its K-th line of Python's own code
# for threads: 1, 1 + STRIDE, ... until a run has fewer lines than that.
PRESS = """
import signal, sys
from ptyconv_cli.cli.main import main

def interrupted_at(k, arguments):
    count = 0
    def line(frame, event, argument):
        nonlocal count
        if event == "line":
            count += 1
            if count == k:
                signal.raise_signal(signal.SIGINT)
        return line
    def call(frame, event, argument):
        return line if frame.f_code.co_filename.endswith(FILES) else None
    sys.settrace(call)
    try:
        main(arguments)
    except SystemExit as end:
        return end.code
    finally:
        sys.settrace(None)

FILES = ("/threading.py", "/concurrent/futures/thread.py", "/concurrent/futures/_base.py")
arguments, stride = sys.argv[2:], int(sys.argv[1])
assert interrupted_at(0, arguments) == 0
k = 1
while (code := interrupted_at(k, arguments)) == 130:
    k += stride
print(code, "at", k)
"""


@pytest.mark.parametrize("stride", long_after(1, ["97", "29"]))
def test_wherever_it_comes_the_analysis_ends(tmp_path, stride):
    write_run(tmp_path / "run", [2, 4, 6])
    command = [sys.executable, "-c", PRESS, stride, "analyze", tmp_path / "run", "-o", tmp_path / "out", "--no-plot"]
    command += ["--device", "cpu", "--quiet", "--fresh"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, check=False)
    last = re.fullmatch(r"0 at (\d+)\n", result.stdout)
    assert last, result.stdout + result.stderr
    assert int(last[1]) > 300, "few places were tried"
    assert set(result.stderr.split()) == {"interrupted"}


def press():
    signal.raise_signal(signal.SIGINT)


def test_it_waits_for_the_end_of_the_block():
    done = []

    def block():
        with ctrl_c_waits():
            press()
            done.append("block")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_does_not_wait():
    done = []

    def block():
        with ctrl_c_waits():
            press()
            press()
            done.append("block")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == []


def test_it_is_not_lost_where_the_block_fails():
    def block():
        with ctrl_c_waits():
            press()
            raise ValueError

    with pytest.raises(KeyboardInterrupt):
        block()


def test_what_the_program_does_on_ctrl_c_is_still_done():
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with ctrl_c_waits():
            with ctrl_c_waits():
                press()
            assert seen == []
        assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_where_it_is_ignored_it_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ctrl_c_waits():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            press()
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_held_back():
    """Python lets only the main thread set what a signal does, and raises KeyboardInterrupt only there."""
    with Workers(1) as workers:
        assert result_of(workers.submit(lambda: result_of(workers_of_a_thread()))) == "done"


def workers_of_a_thread():
    assert threading.current_thread() is not threading.main_thread()
    with Workers(1) as workers:
        return workers.submit(lambda: "done")


def test_a_thread_of_its_own_can_end_it():
    """As where the last reference to what holds it is dropped in there."""
    workers = Workers(2)
    assert result_of(workers.submit(workers.shutdown)) is None
    with pytest.raises(RuntimeError, match="after shutdown"):
        workers.submit(press)


def test_what_waits_is_not_begun_after_an_error():
    begun, go = [], threading.Event()

    def block():
        with Workers(1) as workers:
            workers.submit(go.wait)
            workers.submit(begun.append, "what waits")
            threading.Timer(0.1, go.set).start()
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        block()
    assert begun == []
