"""Reads a run's checkpoints from the last to the first, as they are in the frame of the first."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial

import numpy as np

from ptyconv_cli.analysis.compare import Arrays, Prefetch
from ptyconv_cli.analysis.registration import FileSource, brought
from ptyconv_cli.analysis.run_parts import Comparable
from ptyconv_cli.checkpoints.headers import Header, put_aside
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.metrics.arrays import Array
from ptyconv_cli.metrics.device import too_much_for
from ptyconv_cli.metrics.registration import InFrame, level
from ptyconv_cli.metrics.snapshot import Snapshot, intensity
from ptyconv_cli.metrics.translation import moved
from ptyconv_cli.quantities import drawn_as, of_object
from ptyconv_cli.quantities.quantity import INTENSITY
from ptyconv_cli.quantities.registration import Registration
from ptyconv_cli.quantities.snapshots import framed
from ptyconv_cli.results.run_analysis import Region


@dataclass(frozen=True)
class Read:
    """A checkpoint that was read: its snapshot, the intensities of the probe's modes, and the memory they are in."""

    header: Header
    snapshot: Snapshot
    modes: np.ndarray
    memory: Arrays

    def shares(self) -> list[float]:
        """Return the share of the probe's intensity in each of its modes, NaN where there is no intensity."""
        of_each = self.modes.sum((1, 2), dtype=float)
        with np.errstate(all="ignore"):
            return list((of_each / of_each.sum()).tolist())


class Reader:
    """Reads checkpoints of a part of a run in the order they were asked for; those done with give their memory.

    Files that cannot be read are left out of the `run`, or, if `strict`, raise CheckpointError.

    `bringing`: what brings them into the frame of the part's `first` one, None where that is not known. `units` of the
    first checkpoint that is read, the part's last one, by part of the object (plane).
    """

    def __init__(
        self,
        reading: Prefetch,
        device: str,
        run: Comparable,
        strict: bool,
        region: Region,
        bringing: Registration,
        first: InFrame | None,
    ) -> None:
        self._reading, self.device, self._run, self._strict = reading, device, run, strict
        self._region, self._bringing, self._first = region, bringing, first
        self._before: InFrame | None = None
        self.units: dict[str, np.ndarray] = {}
        self._free: list[Arrays] = []

    def read(self, header: Header, aside: bool = False) -> Read | None:
        """Return the next checkpoint, None where it cannot be read; the one after it is laid on it, if not `aside`."""
        memory: Arrays = {}
        try:
            memory = self._reading.next()
            with too_much_for(self.device), np.errstate(all="ignore"):
                found = self._brought(header, memory, aside)
        except CheckpointError as error:
            self._reading.reuse(memory)
            if self._strict:
                raise
            put_aside(header, error, self._run.left_out)
            return None
        # Not earlier, for the one that it was laid on may be in that memory.
        self._reading.reuse(self._free.pop() if self._free else {})
        return found

    def done_with(self, read: Sequence[Read]) -> None:
        """Let the memory of these be filled again."""
        self._free += [one.memory for one in read]

    def _brought(self, header: Header, memory: Arrays, aside: bool) -> Read:
        tensors = self._run.tensors
        if self._before is None:
            bring = partial(self._begin, header.phase_wraps)
        else:
            bring = partial((copy(self._bringing) if aside else self._bringing).bring, before=self._before)
        snapshot = brought(header, memory, tensors, self._region, self.device, bring)
        in_frame = snapshot.in_frame
        assert in_frame is not None
        self._before = self._before if aside and self._before else in_frame
        self.units = self.units or {name: framed(name, snapshot).units for name in of_object() if name in tensors}
        shift = in_frame.frame.probe.shift
        probe = next((memory[one.key] for one in drawn_as(INTENSITY) if one.key in tensors), np.empty((0, 0, 0)))
        probe = moved(level(probe, in_frame.frame.tilt), shift) if any(shift) else probe
        modes = [intensity(mode[None]) for mode in probe]
        return Read(header, snapshot, np.stack(modes) if modes else np.empty((0, 0, 0)), memory)

    def _begin(self, wraps: bool, values: Mapping[str, Array], source: FileSource) -> InFrame:
        """Bring the part's last one where the first one has it; from here on one is laid on the next.

        Where it cannot be read, the one before it is brought so.
        """
        found = copy(self._bringing).bring(values, source, self._first).frame
        bringing = Registration(self._bringing.lit, wraps)
        expected = bringing.expect(values, source)._replace(object=found.object, probe=found.probe)
        in_frame = bringing.bring(values, source, None, expected)
        self._bringing = bringing
        return in_frame


def brought_first(
    bringing: Registration,
    first: Header,
    tensors: tuple[str, ...],
    region: Region,
    beside: tuple[str, ...],
    device: str,
) -> InFrame | None:
    """Bring the first checkpoint of a part, in whose frame the others are to be; None where it cannot be read."""
    with Prefetch([first], tensors, region, turns=1, beside=beside) as reading, suppress(CheckpointError):
        memory = reading.next()
        with too_much_for(device), np.errstate(all="ignore"):
            return brought(first, memory, tensors, region, device, partial(bringing.bring, before=None)).in_frame
    return None
