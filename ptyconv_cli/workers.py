"""Worker threads that a Ctrl-C cannot leave in a deadlock."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

_ALONE: ContextVar[bool] = ContextVar("alone", default=True)
"""Whether this process has the cores of the machine for itself."""


@contextmanager
def cores_shared() -> Iterator[None]:
    """Within the block, compute in one thread: other processes like this one have the other cores."""
    token = _ALONE.set(False)
    try:
        yield
    finally:
        _ALONE.reset(token)


def at_once(threads: int) -> int:
    """Return in how many threads to compute where there is work for so many."""
    return threads if _ALONE.get() else 1


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Delay a Ctrl-C until the block has ended; a second one is not delayed.

    Python's threads signal each other with locks that are taken and released in Python code. A KeyboardInterrupt raised
    in the middle of that leaves a lock taken, and the program never ends.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield  # Ctrl-C is ignored, ends the process at once, or does not come to this thread
        return
    held: list[FrameType | None] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(frame)
        if len(held) > 1:
            handler(number, frame)

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if len(held) == 1:
            handler(signal.SIGINT, held[0])


class Workers(ThreadPoolExecutor):
    """A thread pool; work that has not begun at the end of a `with` block is dropped."""

    def submit(self, work: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Call `work` in a thread as soon as one is free."""
        with ctrl_c_waits():
            return super().submit(work, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """Drop the work that has not begun, and wait for the rest.

        One of the pool's own threads, which may come here when it collects garbage, does not wait: it never would end.
        """
        with ctrl_c_waits():
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            if wait and threading.current_thread() not in self._threads:  # which is complete only now
                super().shutdown(wait=True)


def result_of(future: Future[Result]) -> Result:
    """Wait for the work of a thread and return its result; raises what it raised."""
    with ctrl_c_waits():
        return future.result()
