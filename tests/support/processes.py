"""Other processes that a test starts."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def started(command: Sequence[object], **options) -> Iterator[subprocess.Popen]:
    """Start a process, its standard output a text pipe; it is killed at the end, so that no test waits for ever."""
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()
