"""Hands out many runs to processes on this machine, through pipes: nobody else can reach them. See docs/runs.md."""

import multiprocessing
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ptyconv_cli.cli.console import say
from ptyconv_cli.cli.worker import (
    MOST_STARTS,
    NO_ANSWER,
    AnyRun,
    Expected,
    NotDone,
    Result,
    Silence,
    begun,
    died,
    forget,
    marked,
    relative_to,
    versions,
    work_on,
)
from ptyconv_cli.errors import PtyconvError

MOST_LOST = 20
"""How many processes may die, one after the other, of which none had begun with its run."""

OFTEN = 1.0
"""Seconds between two times that a process says that it is there."""

HERE = b""
"""What it says."""

LAST_MOMENTS = 5.0
"""Seconds that a process has to end when it is told to."""


def map_runs(
    function: Callable[[AnyRun], Result], runs: Sequence[AnyRun], count: int, place: Path
) -> Iterator[tuple[int, Result | NotDone]]:
    """Have `count` processes call `function` with each run; yield its number and the result as they come, in any order.

    `function` and its results are pickled. A run whose process died is begun again by another, twice at most; where it
    could not be done, there is a NotDone instead of its result. `place`: the folder below which results are written; it
    is made if need be.

    When the iterator is closed, or interrupted, all processes are ended. Raises PtyconvError where they cannot be
    started, or die of nothing that they do; and what `function` raises.
    """
    with marked(place.absolute()) as marker:
        expected = Expected(versions(), marker, relative_to(runs))
        try:
            with _processes(min(count, len(runs)), partial(work_on, function, expected)) as processes:
                yield from _results(processes, runs, expected)
        finally:
            forget(expected, runs)


class _Process:
    """A process that does one run after the other; started anew where it died.

    `busy`: the number of its run; `answers` is ready where there is an answer, or the process has died.
    """

    def __init__(self, task: bytes) -> None:
        self._task = task
        self.busy: int | None = None
        self._start()

    def _start(self) -> None:
        self.silence = Silence()
        context = multiprocessing.get_context("spawn")  # without what this process has loaded, and its threads
        tasks, self._tasks = context.Pipe(duplex=False)  # one way each, for both ways it would be a socket
        self.answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(self._task, tasks, answers), daemon=True)
        try:
            with _no_ctrl_c_for_children():
                self._process.start()
        except OSError as error:
            raise PtyconvError(f"--workers: a process cannot be started ({error})") from error
        for end in (tasks, answers):  # which are its own now
            end.close()

    def begin(self, number: int, run: Any) -> None:
        """Have it do a run."""
        self.busy = number
        with suppress(OSError):  # it has died, which its answer tells
            self._tasks.send_bytes(pickle.dumps(run))

    def answer(self) -> tuple[bool, Any] | None:
        """Return whether the run was done, and its result, or what was raised; raise EOFError where it has died.

        None where it only says that it is there.
        """
        self.silence.broken()
        try:
            content = self.answers.recv_bytes()
            if content == HERE:
                return None
            self.busy = None
            found: tuple[bool, Any] = pickle.loads(content)  # of a process of our own
        except (OSError, EOFError) as error:
            self.busy = None
            raise EOFError from error
        return found

    def again(self) -> None:
        """Start another one in its place."""
        self.end()
        self._start()

    def end(self) -> None:
        """End it, whatever it does: results are whole at all times."""
        self._process.terminate()
        self._process.join(LAST_MOMENTS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        for end in (self._tasks, self.answers):
            end.close()


def _serve(task: bytes, tasks: Connection, answers: Connection) -> None:
    """Do the runs that come, until none can come any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever hands out the runs ends this
    work, one_at_a_time = pickle.loads(task), threading.Lock()
    threading.Thread(target=_say_it_is_here, args=(answers, one_at_a_time), daemon=True).start()
    while True:
        try:
            run = pickle.loads(tasks.recv_bytes())
        except EOFError:  # the other process has gone
            return
        try:
            answer = True, work(run)
        except Exception as error:
            answer = False, error
        with suppress(OSError), one_at_a_time:
            answers.send_bytes(pickle.dumps(answer))


def _say_it_is_here(answers: Connection, one_at_a_time: threading.Lock) -> None:
    """Tell the other process every second that this one is there: it cannot where it waits for a file for ever."""
    with suppress(OSError):  # the other process has gone
        while True:
            time.sleep(OFTEN)
            with one_at_a_time:
                answers.send_bytes(HERE)


@contextmanager
def _processes(count: int, task: Callable[[Any], Any]) -> Iterator[list[_Process]]:
    """Yield so many processes that do a task; all of them are ended in the end."""
    found, packed = list[_Process](), pickle.dumps(task)
    try:
        for _ in range(count):
            found.append(_Process(packed))
        yield found
    finally:
        for process in found:
            process.end()


@contextmanager
def _no_ctrl_c_for_children() -> Iterator[None]:
    """Have processes that are started in the block not be told of a Ctrl-C, which waits until its end."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # it would undo that
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _results(
    processes: Sequence[_Process], runs: Sequence[AnyRun], expected: Expected
) -> Iterator[tuple[int, Any | NotDone]]:
    """Yield the results of all runs, with their numbers, as they come."""
    coming, lost = deque(range(len(runs))), 0
    while coming or any(process.busy is not None for process in processes):
        for process in processes:
            if process.busy is None and coming:
                number = coming.popleft()
                process.begin(number, runs[number])
        busy = {process.answers: process for process in processes if process.busy is not None}
        for ready in wait(list(busy), OFTEN):
            process = busy[ready]  # type: ignore[index]
            number = process.busy or 0
            try:
                answer = process.answer()
            except EOFError:
                process.again()
                starts = begun(expected, runs[number])
                lost = 0 if starts else lost + 1
                if lost > MOST_LOST:
                    message = "--workers: the processes die before they begin; is there enough memory?"
                    raise PtyconvError(message) from None
                if starts >= MOST_STARTS:
                    yield number, died(runs[number])
                else:
                    coming.appendleft(number)
                continue
            if answer is None:
                continue
            done, result = answer
            if not done and not isinstance(result, NotDone):
                raise result
            yield number, result
        for process in processes:
            if process.busy is not None and process.silence.is_long():
                say(f"\n{runs[process.busy].folder}: its process {NO_ANSWER}", err=True)
