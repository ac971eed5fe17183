"""Hands out many runs to the workers of Dask. Only here is that used. See docs/runs.md."""

import asyncio
import logging
import pickle
import time
import warnings
from asyncio import TimeoutError
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client, Future, Security, rpc
from distributed.scheduler import KilledWorker

from ptyconv_cli.cli.console import say, warnings_text
from ptyconv_cli.cli.worker import (
    MOST_STARTS,
    NO_ANSWER,
    AnyRun,
    Expected,
    NotDone,
    Result,
    Silence,
    begun,
    complaint,
    died,
    marked,
    relative_to,
    versions,
    work_on,
)
from ptyconv_cli.errors import PtyconvError

ANSWERS = 5.0
"""Seconds that a scheduler has to answer at first."""

LOOK = 1.0
"""Seconds between two looks whether there are any workers."""

MOST_LOST = 20
"""How often a run is handed out again that waited for a worker which died of another."""

HANDED_OUT = 1000
"""Runs that the scheduler knows of at a time; it needs a millisecond for each."""

ENCRYPTED = ("tls://", "wss://")
"""What addresses begin with to which only those get who have a certificate."""

OPEN = (
    "The scheduler at {address} asks nobody who they are. Whoever reaches that address, as other users of the machine "
    "or the network, can run programs as you on its workers. docs/runs.md says how to close it, with TLS."
)

NOISY = ("distributed", "tornado", "asyncio", "bokeh")


def map_runs(
    function: Callable[[AnyRun], Result], runs: Sequence[AnyRun], address: str, place: Path
) -> Iterator[tuple[int, Result | NotDone]]:
    """Have the workers of a scheduler at an address call `function` with each run.

    Yields the run's number and the result as they come, in any order.

    `function` and its results travel, so they must be small, and known by name on the workers. A run whose worker died
    is begun again by another, twice at most. Where a run could not be done, there is a NotDone instead of its result.
    `place`: the folder, shared by all, below which results are written; it is made if need be. Where workers are waited
    for, standard error says so.

    When the iterator is closed, or interrupted, what has not begun is dropped. Raises PtyconvError where the scheduler
    cannot be reached, or goes away, and where a worker cannot be used; and what `function` raises.
    """
    with _silenced(), _connected(address) as client:
        waiting = partial(_wait_for_worker, client)
        waiting()
        with marked(place.absolute()) as marker:
            expected = Expected(versions(), marker, relative_to(runs))
            _check_all(client, expected)
            yield from _results(client, partial(work_on, function, expected), runs, expected, waiting)


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
def _connected(address: str) -> Iterator[Client]:
    """Yield a client of the scheduler at an address; where that is open to others, standard error says so."""
    _check_answers(address)
    if not address.startswith(ENCRYPTED):
        say(warnings_text([OPEN.format(address=address)]), err=True)
    with _client(address) as client:
        yield client


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


def _wait_for_worker(client: Client) -> None:
    """Wait until the scheduler has a worker; if that takes a while, say so."""
    looks = 0
    while not _has_workers(client):
        time.sleep(LOOK)
        looks += 1
        if looks == round(ANSWERS / LOOK):
            say(f"\nwaiting for a worker of the scheduler at {client.scheduler.address}", err=True)


def _has_workers(client: Client) -> bool:
    try:
        return bool(client.nthreads())
    except Exception as error:  # of the connection, of many kinds
        raise PtyconvError(_gone(client)) from error


class _Silences:
    """Says of workers that the scheduler has not heard of for long."""

    def __init__(self, client: Client) -> None:
        self._client, self._next = client, time.monotonic()
        self._seen: dict[str, tuple[float, Silence]] = {}

    def look(self) -> None:
        """Ask the scheduler, once in a while."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK
        try:
            seen = {address: float(one["last_seen"]) for address, one in _workers(self._client).items()}
        except Exception:  # of the connection, of many kinds, which is spoken of where a result is asked for
            return
        self._seen = {address: self._heard(address, last) for address, last in seen.items()}
        for address, (_, silence) in self._seen.items():
            if silence.is_long():
                say(f"\nthe worker at {address} {NO_ANSWER}", err=True)

    def _heard(self, address: str, last: float) -> tuple[float, Silence]:
        before, silence = self._seen.get(address, (0.0, Silence()))
        if last != before:
            silence.broken()
        return last, silence


def _workers(client: Client) -> dict[str, dict[str, Any]]:
    """Return what the scheduler knows of all its workers."""
    try:
        found = client.scheduler_info(n_workers=-1)  # some versions show five if they are not told
    except TypeError:
        found = client.scheduler_info()
    return dict(found["workers"])


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
    silences = _Silences(client)
    while numbers:
        silences.look()
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
        except TimeoutError:  # its worker died, and with that the result, which is worked out again
            waiting()
            future.add_done_callback(done.put)  # at once where it is lost, so without that look nothing would be said
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
