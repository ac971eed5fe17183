"""Threads to work in, which a Ctrl-C cannot leave waiting for each other."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Hold back what a Ctrl-C does until the block has ended; a second one is not held back.

    Python's threads tell each other that they are ready by locks that are taken and given back in Python code. Where
    KeyboardInterrupt is raised in the midst of that, a lock stays taken, and the program never ends.
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
    """So many threads that do what is submitted; what has not begun at the end of a `with` block is not done."""

    def submit(self, work: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Let a thread call `work` as soon as one is free."""
        with ctrl_c_waits():
            return super().submit(work, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """Drop what has not begun, and wait for what has."""
        with ctrl_c_waits():
            super().shutdown(wait, cancel_futures=cancel_futures)


def result_of(future: Future[Result]) -> Result:
    """Wait for what a thread works on, and return it; raises what it raised."""
    with ctrl_c_waits():
        return future.result()
