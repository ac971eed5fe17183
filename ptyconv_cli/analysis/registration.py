"""Brings checkpoints into the frame of their run: reads what that takes. See docs/metrics.md."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.checkpoints.opening import open_checkpoint
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.metrics.arrays import Array
from ptyconv_cli.metrics.device import to_device
from ptyconv_cli.metrics.light import lit
from ptyconv_cli.metrics.registration import InFrame
from ptyconv_cli.metrics.snapshot import Snapshot, intensity
from ptyconv_cli.metrics.translation import Beyond
from ptyconv_cli.quantities import of_object
from ptyconv_cli.quantities.registration import POSITIONS, PROBE, Registration
from ptyconv_cli.quantities.snapshots import snapshot_of
from ptyconv_cli.quantities.transmission import AMPLITUDE
from ptyconv_cli.results.run_analysis import Region


def read_beside(headers: Sequence[Header], tensors: Iterable[str]) -> tuple[str, ...]:
    """Return the tensors that are read besides the followed ones: those that say where the object is."""
    tensors = set(tensors)
    if not tensors & set(of_object()):
        return ()
    return tuple(
        name for name in (PROBE, POSITIONS) if name not in tensors and all(name in one.shapes for one in headers)
    )


def registration_of(first: Header, region: Region, tensors: Iterable[str]) -> Registration:
    """Return what brings the checkpoints of a part of a run, whose `first` this is, into one frame."""
    found, parts = None, [name for name in of_object() if name in tensors]
    if parts and first.knows_positions:
        shape = first.shapes[parts[0]]
        region, around = region.within(shape), (shape[-2], shape[-1]) if first.windows_may_exceed else None
        with suppress(CheckpointError), open_checkpoint(first.path, first.source.name) as checkpoint:
            found = lit(first.crop_pos, intensity(checkpoint.read(PROBE, region)).astype(float), region, around)
    return Registration(found, first.phase_wraps)


class FileSource:
    """What else there is of a checkpoint's snapshot: see `quantities.registration.Source`.

    `arrays` that were read of it, by tensor; of the object the `region`, which is that of the first checkpoint.
    """

    def __init__(self, header: Header, arrays: Mapping[str, np.ndarray], region: Region, device: str) -> None:
        self._header, self._arrays, self._device = header, arrays, device
        self._region = region.moved(header.away, 0)

    def part(self, name: str, away: tuple[int, int], margin: int) -> tuple[Array, Beyond] | None:
        """As `quantities.registration.Source.part`; None where it cannot be read."""
        if name not in self._header.shapes:
            return None
        shape = self._header.shapes[name]
        wanted = self._region.within(shape).moved(away, margin)
        inside = wanted.inside(shape)
        if not inside.holds_any():
            return None
        with open_checkpoint(self._header.path, self._header.source.name) as checkpoint:
            read = checkpoint.read(name, inside)
            known = np.isfinite(read[0, 0])  # what is not known is not so of all planes
            if self._header.phase_wraps and AMPLITUDE in self._header.shapes:  # a complex 0 is nothing
                known &= (checkpoint.read(AMPLITUDE, inside) != 0).any((0, 1))
        (top, bottom), (left, right) = _edges(known)
        height, width = known.shape
        inner = Region(inside.y_start + top, inside.y_stop - bottom, inside.x_start + left, inside.x_stop - right)
        inner_part = np.ascontiguousarray(read[..., top : height - bottom, left : width - right])
        values = snapshot_of({name: inner_part}, self._header.dx, self._device).values[name]
        return values, wanted.beyond(inner)

    def holds(self, away: tuple[int, int]) -> bool:
        """As `quantities.registration.Source.holds`."""
        shapes = [self._header.shapes[name] for name in of_object() if name in self._header.shapes]
        return all(self._region.is_held_by(shape, away) for shape in shapes)

    def modes(self) -> Array | None:
        """As `quantities.registration.Source.modes`."""
        found = self._arrays.get(PROBE)
        return None if found is None else to_device({PROBE: found}, self._device)[PROBE]

    def positions(self) -> np.ndarray | None:
        """As `quantities.registration.Source.positions`."""
        return self._arrays.get(POSITIONS)


def _edges(known: np.ndarray) -> list[tuple[int, int]]:
    """Return in how many rows, and columns, at both ends nothing is known (y, x), so that the object ends there."""
    found = []
    for axis in (1, 0):
        lines = np.flatnonzero(known.any(axis))
        size = known.shape[1 - axis]
        found.append((int(lines[0]), int(size - 1 - lines[-1])) if lines.size else (0, 0))
    return found


def brought(
    header: Header,
    arrays: Mapping[str, np.ndarray],
    tensors: Iterable[str],
    region: Region,
    device: str,
    bring: Callable[[Mapping[str, Array], FileSource], InFrame],
) -> Snapshot:
    """Make a snapshot of `arrays` that were read of a checkpoint, and let `bring` bring it into its frame.

    Raises CheckpointError where what that takes cannot be read: the object may lie elsewhere, where more is read of it.
    """
    snapshot = snapshot_of({name: arrays[name] for name in tensors}, header.dx, device)
    with np.errstate(all="ignore"):  # what is not finite gives NaN, which tells
        return replace(snapshot, in_frame=bring(snapshot.values, FileSource(header, arrays, region, device)))
