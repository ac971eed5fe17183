"""Walks over the checkpoints of a run and compares each with the one before."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from ptyconv_cli.change import tensor_changes
from ptyconv_cli.checkpoints.ahead import Arrays, ReadAhead
from ptyconv_cli.checkpoints.run import Header
from ptyconv_cli.device import choose_device, memory_to_read_into, one_thread_an_operation, to_device
from ptyconv_cli.history import Point
from ptyconv_cli.snapshot import Snapshot, snapshot_of

Progress = Callable[[int, int], None]


def walk(
    headers: Sequence[Header],
    reading: ReadAhead,
    percentile_range: tuple[float, float],
    device_name: str,
    progress: Progress,
) -> tuple[dict[str, list[Point]], str]:
    """Return the changes between consecutive checkpoints, by series key, and the device that computed them.

    While two checkpoints are compared, the next one is got ready and the one after it is read; their memory takes
    turns. Parameters as of `analyze.analyze_run`.
    """
    device = choose_device(device_name)

    def get_ready(header: Header) -> tuple[Snapshot, Arrays]:
        arrays = reading.next()
        return snapshot_of(to_device(arrays, device), header.dx), arrays

    points: dict[str, list[Point]] = {}
    comparers = ThreadPoolExecutor(2 if device.type == "cpu" else 1)  # one tensor keeps a GPU busy
    with one_thread_an_operation(), comparers:
        (previous, memory), upcoming = get_ready(headers[0]), get_ready(headers[1])
        progress(1, len(headers))
        for done, (before, header) in enumerate(pairwise(headers), start=2):
            current, current_memory = upcoming
            comparing = [
                comparers.submit(tensor_changes, name, current, previous, percentile_range) for name in current.values
            ]
            if done < len(headers):
                upcoming = get_ready(headers[done])
            for found in comparing:
                for key, change in found.result().items():
                    points.setdefault(key, []).append(Point(header.niter, before.niter, change.value, change.voxels))
            reading.reuse(memory_to_read_into(memory, device))
            previous, memory = current, current_memory
            progress(done, len(headers))
    return points, str(device)
