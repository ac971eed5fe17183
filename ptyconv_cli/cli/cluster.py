"""Hands out many runs to the workers of Dask. Only here is that used. See docs/runs.md."""

import asyncio
import logging
import pickle
import signal
import sys
import time
import uuid
import warnings
from asyncio import TimeoutError
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from multiprocessing import resource_tracker
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import dask
from distributed import Client, Future, LocalCluster, Security, rpc
from distributed.scheduler import KilledWorker

from ptyconv_cli.cli.console import say
from ptyconv_cli.cli.options import Where
from ptyconv_cli.cli.worker import (
    MOST_STARTS,
    AnyRun,
    Expected,
    NotDone,
    Result,
    begun,
    complaint,
    died,
    versions,
    work_on,
)
from ptyconv_cli.errors import PtyconvError

LOCKS_NAME = ".ptyconv-dask"
"""The folder, beside the table of all runs, through which the workers know of each other; it is gone at the end."""

ANSWERS = 5.0
"""Seconds that a scheduler has to answer at first."""

LOOK = 1.0
"""Seconds between two looks whether there are any workers."""

BORN_AGAIN = 30.0
"""Seconds in which a process of `--workers` that died must have been started again."""

MOST_LOST = 20
"""How often a run is handed out again that waited for a worker which died of another."""

HANDED_OUT = 1000
"""Runs that the scheduler knows of at a time; it needs a millisecond for each."""

NOISY = ("distributed", "tornado", "asyncio", "bokeh")


def map_runs(
    function: Callable[[AnyRun], Result], runs: Sequence[AnyRun], where: Where, place: Path
) -> Iterator[tuple[int, Result | NotDone]]:
    """Have workers call `function` with each run; yield the run's number and the result as they come, in any order.

    `function` and its results travel, so they must be small, and known by name on the workers. A run whose worker died
    is begun again by another, twice at most. Where a run could not be done, there is a NotDone instead of its result.
    `place`: the folder, shared by all, below which results are written; it is made if need be. Where workers are waited
    for, standard error says so.

    When the iterator is closed, or interrupted, what has not begun is dropped. Raises PtyconvError where the scheduler
    cannot be reached, or goes away, and where a worker cannot be used; and what `function` raises.
    """
    relative = not all(path.is_absolute() for run in runs for path in (run.folder, run.place))
    with _silenced(), _connected(where) as client:
        waiting = partial(_wait_for_worker, client, where)
        waiting()
        with _marked(place.absolute()) as marker:
            expected = Expected(versions(), marker, Path.cwd() if relative else None)
            _check_all(client, expected)
            yield from _results(client, partial(work_on, function, expected), runs, expected, waiting)


@contextmanager
def _marked(place: Path) -> Iterator[Path]:
    """Make a file by which workers show that they see the same folder, and remove it in the end."""
    folder, made = place / LOCKS_NAME, not place.exists()
    marker = folder / uuid.uuid4().hex
    try:
        _make(marker)
        yield marker
    finally:
        with suppress(OSError):
            marker.unlink(missing_ok=True)
            folder.rmdir()  # unless a worker still has a lock there
            if made:
                place.rmdir()  # unless anything was written


def _make(marker: Path) -> None:
    """Make an empty file in a folder, which another process may remove as soon as it is empty."""
    for _ in range(MOST_LOST):
        with suppress(FileNotFoundError):
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
            return
    raise PtyconvError(f"{marker.parent}: is removed again and again")


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep what Dask logs, and warns of, to itself: what matters is said in other words."""
    for name in [*NOISY, *(name for name in logging.root.manager.loggerDict if name.startswith(NOISY))]:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [logging.NullHandler()], False
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="distributed")
        yield


@contextmanager
def _connected(where: Where) -> Iterator[Client]:
    """Yield a client of the scheduler that was asked for, or of one with workers on this machine."""
    if where.address is None:
        with local(where.workers or 1) as address, _client(address) as client:
            yield client
        return
    _check_answers(where.address)
    with _client(where.address) as client:
        yield client


@contextmanager
def local(count: int) -> Iterator[str]:
    """Yield the address of a scheduler in this process with `count` workers on this machine."""
    options = {
        **{"n_workers": count, "threads_per_worker": 1, "processes": True, "host": "127.0.0.1"},
        **{"dashboard_address": None, "silence_logs": logging.CRITICAL},
        "memory_limit": 0,  # a single process has none either
    }
    with _no_ctrl_c_for_children(), dask.config.set({"distributed.worker.profile.enabled": False}):
        try:
            cluster = LocalCluster(**options)
        except Exception as error:  # of many kinds, as a process or a socket cannot be had
            raise PtyconvError(f"--workers {count}: the processes cannot be started ({_reason(error)})") from error
    with cluster:
        yield cluster.scheduler_address


@contextmanager
def _no_ctrl_c_for_children() -> Iterator[None]:
    """Have processes and threads that are started in the block not be told of a Ctrl-C, which waits until its end."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # it would undo that
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _client(address: str) -> Iterator[Client]:
    try:
        client = Client(address, timeout=ANSWERS, set_as_default=False)
    except Exception as error:  # of many kinds, according to what answers there
        raise PtyconvError(_no_scheduler(address, error)) from error
    try:
        yield client
    finally:
        client.close(timeout=ANSWERS)


def _check_answers(address: str) -> None:
    """Raise PtyconvError where no scheduler answers at an address: a client would leave threads behind that try on."""

    async def ask() -> Any:
        security = Security().get_connection_args("client")  # as Dask is set up, with TLS for example
        async with rpc(address, timeout=ANSWERS, connection_args=security) as scheduler:
            return await asyncio.wait_for(scheduler.identity(), 2 * ANSWERS)

    try:
        kind = asyncio.run(ask())["type"]
    except Exception as error:  # as in `_client`
        raise PtyconvError(_no_scheduler(address, error)) from error
    if kind != "Scheduler":
        raise PtyconvError(f"{address}: is the address of a {kind.lower()} of Dask; give that of its scheduler")


def _no_scheduler(address: str, error: Exception) -> str:
    return f"{address}: no scheduler of Dask answers there ({_reason(error)}); start one with: dask scheduler"


def _reason(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())


def _wait_for_worker(client: Client, where: Where) -> None:
    """Wait until the scheduler has a worker; if that takes a while, say so.

    Raises PtyconvError where that is a process on this machine, and it is not started again.
    """
    looks = 0
    while not _has_workers(client):
        time.sleep(LOOK)
        looks += 1
        if where.address is None and looks * LOOK > BORN_AGAIN:
            raise PtyconvError(f"{where} {where.workers}: the processes died, and do not start again; is there memory?")
        if where.address is not None and looks == round(ANSWERS / LOOK):
            say(f"\nwaiting for a worker of the scheduler at {client.scheduler.address}", err=True)


def _has_workers(client: Client) -> bool:
    try:
        return bool(client.nthreads())
    except Exception as error:  # of the connection, of many kinds
        raise PtyconvError(_gone(client)) from error


def _gone(client: Client) -> str:
    return (
        f"{client.scheduler.address}: the scheduler has gone away. What was done is kept: the same command goes on "
        "from there"
    )


def _check_all(client: Client, expected: Expected) -> None:
    """Raise PtyconvError where a worker cannot do the work; those that come later look themselves."""
    for address, found in client.run(complaint, expected, on_error="return").items():
        if isinstance(found, Exception) and not isinstance(found, (OSError, TimeoutError)):
            raise PtyconvError(f"the worker at {address} lacks this version of ptyconv ({found}): install it there")
        if isinstance(found, str) and found:  # else it died meanwhile
            raise PtyconvError(found)


class _Called:
    """What is a call of a function when it is unpickled.

    It travels as bytes: a worker that lacks the function fails then like any task, instead of dying of the message, and
    the scheduler need not know it.
    """

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self._function, self._arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self._function, self._arguments


def _results(
    client: Client,
    task: Callable[[AnyRun], Result],
    runs: Sequence[AnyRun],
    expected: Expected,
    waiting: Callable[[], None],
) -> Iterator[tuple[int, Result | NotDone]]:
    """Yield the results of a task, with the number of the run, as they come; `waiting` waits for a worker."""
    done: SimpleQueue[Future] = SimpleQueue()
    numbers: dict[Future, int] = {}
    lost: Counter[int] = Counter()
    coming = iter(range(len(runs)))

    def submit(number: int) -> None:
        call = pickle.dumps(_Called(task, runs[number]))
        key = f"ptyconv-{expected.marker.name}-{number}-{lost[number]}"
        future = client.submit(pickle.loads, call, key=key)
        numbers[future] = number
        future.add_done_callback(done.put)

    def hand_out(count: int) -> None:
        for number in islice(coming, count):
            submit(number)

    hand_out(HANDED_OUT)
    while numbers:
        try:
            future = done.get(timeout=LOOK)
            result = _result(client, future)
        except Empty:
            waiting()
            continue
        except KilledWorker:  # Dask counts also those that died of another run while this one waited for them
            number = numbers.pop(future)
            lost[number] += 1
            if begun(expected, runs[number]) >= MOST_STARTS or lost[number] > MOST_LOST:
                yield number, died(runs[number])
                hand_out(1)
            else:
                submit(number)
            continue
        except TimeoutError:
            future.add_done_callback(done.put)  # its worker died, and with that the result
            continue
        yield numbers.pop(future), result
        hand_out(1)


def _result(client: Client, future: Future) -> Any:
    try:
        return future.result(timeout=ANSWERS)
    except TimeoutError:  # which is an OSError
        raise
    except NotDone as error:
        return error
    except (CancelledError, OSError) as error:  # OSError is of the connection
        raise PtyconvError(_gone(client)) from error
    except (ImportError, AttributeError) as error:  # of unpickling: others come as a RuntimeError
        raise PtyconvError(f"a worker lacks this version of ptyconv ({error}): install it there") from error
