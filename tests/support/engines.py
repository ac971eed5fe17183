"""Series of other engines, and what section 1 of the formulas says of them, in float64 by hand."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from runs import DATA

from ptyconv_cli.results.run_analysis import RunAnalysis

ENGINES = DATA / "engines"


class Snapshot(NamedTuple):
    """What a test reads of a snapshot without ptyconv's readers: no tensor that the engine has not.

    `phase` in rad and `amplitude` (omode, slice, y, x), `probe` complex (mode, y, x), `positions` (N, 2) in px, y
    first, of which only the differences count; `corners` of the windows (N, 2) in px, not rounded.
    """

    niter: int
    phase: np.ndarray
    amplitude: np.ndarray | None
    probe: np.ndarray
    positions: np.ndarray | None
    corners: np.ndarray


def of_transmission(niter, transmission, probe, positions, corners) -> Snapshot:
    """A snapshot with a complex object (slice, y, x), or (y, x)."""
    transmission = np.asarray(transmission, complex).reshape(1, -1, *transmission.shape[-2:])
    return Snapshot(niter, np.angle(transmission), np.abs(transmission), probe, positions, corners)


def region_of(first: Snapshot) -> tuple[int, int, int, int]:
    """The scanned region (y from, y to, x from, x to), clamped to the object."""
    corners = np.floor(np.asarray(first.corners, float) + 0.5).astype(int)
    centres = corners + np.array(first.probe.shape[-2:]) // 2
    (top, left), (bottom, right) = np.maximum(centres.min(0) - 1, 0), np.minimum(centres.max(0), first.phase.shape[-2:])
    return int(top), int(bottom), int(left), int(right)


def series(snapshots: Sequence[Snapshot], dx: float, wraps: bool = True) -> dict[str, list[tuple[int, float]]]:
    """The raw changes by key, as (niter, value); `wraps`: whether the phase goes on where it jumps by full turns."""
    top, bottom, left, right = region_of(snapshots[0])

    def inside(array):
        return np.asarray(array[..., top:bottom, left:right], float)

    phases = np.stack([inside(one.phase) for one in snapshots])
    phases = np.unwrap(phases, axis=0) if wraps else phases
    found: dict[str, list[tuple[int, float]]] = {}
    for place, (before, now) in enumerate(pairwise(snapshots), 1):
        changed = {"objp": (phases[place], phases[place - 1])}
        if now.amplitude is not None:
            changed["obja"] = 1 - inside(now.amplitude), 1 - inside(before.amplitude)
        values = {}
        for name, (current, previous) in changed.items():
            low, high = np.percentile(current, (15, 85))
            change = np.abs(current - previous)
            values[f"{name}_bg"], values[f"{name}_fg"] = change[current < low].mean(), change[current > high].mean()
        intensities = [(np.abs(np.asarray(one.probe, complex)) ** 2).sum(0) for one in (before, now)]
        values["probe"] = np.abs(intensities[1] - intensities[0]).sum() / (intensities[0].sum() + 1e-8)
        if now.positions is not None:
            moved = np.asarray(now.positions, float) - np.asarray(before.positions, float)
            values["probe_pos_shifts"] = dx * np.sqrt((moved**2).sum(-1).mean())
        for key, value in values.items():
            found.setdefault(key, []).append((now.niter, float(value)))
    return found


def check(analysis: RunAnalysis, snapshots: Sequence[Snapshot], dx: float, wraps: bool = True) -> None:
    """Compare an analysis with what the snapshots give: iterations, shapes, pixel size, region and all raw changes."""
    assert [found.niter for found in analysis.checkpoints] == [one.niter for one in snapshots]
    for found, one in zip(analysis.checkpoints, snapshots, strict=True):
        assert found.shapes["objp"] == one.phase.shape
        assert found.shapes["probe"] == one.probe.shape
    assert abs(analysis.dx / dx - 1) < 1e-12
    assert tuple(analysis.region) == region_of(snapshots[0])
    expected = series(snapshots, dx, wraps)
    assert set(analysis.points) == set(expected)
    for key, points in expected.items():
        assert [point.niter for point in analysis.points[key]] == [niter for niter, _ in points]
        values = [point.value for point in analysis.points[key]]
        np.testing.assert_allclose(values, [value for _, value in points], rtol=1e-5, err_msg=key)


def check_command(ptyconv, command: str, place: Path, found: str) -> None:
    """Run a command on a drifting run, given as its folder or as a file in it; after analyze draw its results."""
    result = ptyconv(command, place)
    assert result.exit_code == (3 if command == "check" else 0), result.stderr
    if command == "analyze":
        assert f"{place.name}: {found}" in result.stdout
        assert ptyconv("plot", place if place.is_dir() else place.parent).exit_code == 0
