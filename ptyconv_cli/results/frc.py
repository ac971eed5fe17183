"""Fourier ring correlations over the iterations, what they say, and their JSON. Plain numbers."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.files import or_nan, or_null, read_json
from ptyconv_cli.results.text import detail_unit, few, rounded

NOTHING_TO_SEE = "a picture holds NaN or infinity, or is flat"
"""Why there is no correlation."""

NO_MORE = "what they share is no more than chance gives such pictures"
"""Why a correlation is no more than chance."""

WORSE = 1.25
"""How many times their least disagreement two runs have when they count as less alike than they were."""

COARSEST = 3
"""Rings, from the first on, that have so few pixels that they may lie below a threshold by chance."""

ONE_BIT, HALF_BIT = "one-bit", "half-bit"
"""The thresholds that depend on how many Fourier pixels a ring has; others are numbers."""

CALLED = {"objp": "object phase", "obja": "object amplitude"}


def check_threshold(name: str | float) -> str:
    """Return the name of a threshold; raise ValueError unless it is one-bit, half-bit or a number between 0 and 1."""
    try:
        known = name in (ONE_BIT, HALF_BIT) or 0 < float(name) < 1
    except ValueError:
        known = False
    if not known:
        raise ValueError(
            f"{name!r} is no threshold: choose {ONE_BIT}, {HALF_BIT}, or a number between 0 and 1, as 0.143"
        )
    return str(name)


@dataclass(frozen=True)
class FrcPoint:
    """The correlation of two pictures ring by ring, and what it amounts to.

    `niter`: the iteration of the (later) picture, `other`: that of the one before, or of the other run's. `frc`,
    `threshold`: a number a ring, rings being `ring_width` 1/Å wide, the first at that frequency. `resolution` in Å:
    where the correlation falls below the threshold; where it never does, the `limit`, the last ring's; None where even
    the coarsest rings lie below, or what they have in common is not `beyond_chance`. `area`: the mean over the rings;
    `correlation`: Pearson's, of the pictures. `shift` (y, x) in Å that was taken from the other picture; `overlap`
    (y, x) in px. Formulas: docs/frc.md.
    """

    niter: int
    other: int
    ring_width: float
    frc: list[float]
    threshold: list[float]
    resolution: float | None
    area: float
    correlation: float
    shift: tuple[float, float]
    overlap: tuple[int, int]
    beyond_chance: bool = True

    @property
    def frequencies(self) -> list[float]:
        """The rings' frequencies in 1/Å."""
        return [self.ring_width * ring for ring in range(1, len(self.frc) + 1)]

    @property
    def limit(self) -> float:
        """The finest detail in Å that the pixels can show: that of the last ring."""
        return 1 / self.frequencies[-1]

    @property
    def is_down_to_limit(self) -> bool:
        """Whether the correlation is above the threshold down to the limit."""
        return self.resolution is not None and self.resolution <= self.limit

    @property
    def coarser_below(self) -> list[float]:
        """The sizes in Å, coarser than the resolution, at which a ring lies below the threshold by itself."""
        return [
            1 / at
            for at, one, least in zip(self.frequencies, self.frc, self.threshold, strict=True)
            if not one >= least and self.resolution is not None and 1 / at > self.resolution
        ]

    @property
    def finite(self) -> bool:
        """Whether there is a correlation at all: not where a picture holds NaN, or is flat."""
        return math.isfinite(self.area) and math.isfinite(self.correlation)

    @property
    def says_something(self) -> bool:
        """Whether it is of two different pictures with something in common, and not of what two runs began with."""
        different = min(self.niter, self.other) > 0 and min(self.area, self.correlation) < 1 - 1e-9
        return self.finite and self.beyond_chance and different


@dataclass(frozen=True)
class Frc:
    """Fourier ring correlations over the iterations: of one run, n / 2 against n, or of two runs, at the same n.

    `runs`: their folders; `names` of them; `tensor`: objp or obja, of an object of so many `slices`; `slice_number`
    from 1 on, None for the sum; `threshold`: one-bit, half-bit, or a number; `dx`: pixel size in Å. `points` in order
    of the iteration; `warnings` for the user.
    """

    runs: list[str]
    names: list[str]
    tensor: str
    slices: int
    slice_number: int | None
    threshold: str
    dx: float
    points: list[FrcPoint]
    warnings: list[str] = field(default_factory=list)
    ptyconv_version: str = ""

    @property
    def of_two(self) -> bool:
        """Whether it is of two runs."""
        return len(self.runs) == 2

    @property
    def reference(self) -> str:
        """The name of the one picture that all of a run are compared with, "" where there is none."""
        same = self.of_two and len(self.points) > 1 and len({point.other for point in self.points}) == 1
        return self.names[1] if same else ""

    @property
    def shows(self) -> str:
        """What is compared, in words."""
        if self.slice_number is not None:
            return f"{CALLED[self.tensor]} of slice {self.slice_number}"
        return CALLED[self.tensor] + (", summed over slices" if self.slices > 1 else "")

    @property
    def best_by_area(self) -> FrcPoint | None:
        """The point with the largest area, the earliest of equals; None where there is none."""
        return self._best(lambda point: point.area)

    @property
    def best_by_correlation(self) -> FrcPoint | None:
        """The point with the largest correlation, the earliest of equals; None where there is none."""
        return self._best(lambda point: point.correlation)

    def _best(self, key: Callable[[FrcPoint], float]) -> FrcPoint | None:
        return max(self.that_say_something, key=key, default=None)

    @property
    def that_say_something(self) -> list[FrcPoint]:
        """The points without what two runs began with, and without NaN."""
        return [point for point in self.points if point.says_something]

    @property
    def unit(self) -> tuple[float, str]:
        """How many Å the unit of details and shifts has, and its name."""
        return detail_unit(max((max(point.overlap) for point in self.points), default=0) * self.dx)

    @property
    def answer(self) -> list[str]:
        """The answer, in sentences."""
        return _answer_of_two(self) if self.of_two else _answer_of_one(self)


def some_of(points: Sequence[FrcPoint], most: int) -> list[FrcPoint]:
    """Return some points, spread evenly over the logarithm of the iteration, the first and the last among them."""
    first, last = max(points[0].niter, 1), max(points[-1].niter, 1)
    wanted = [first * (last / first) ** (k / (most - 1)) for k in range(most)]
    nearest = [min(points, key=lambda point: abs(point.niter - niter)) for niter in wanted]
    return sorted({point.niter: point for point in [*nearest, points[-1]]}.values(), key=lambda point: point.niter)


def detail(point: FrcPoint, unit: tuple[float, str]) -> str:
    """Return down to which detail two pictures agree: "0.62 Å", "1.1 Å, the pixels' limit", or "none"."""
    if point.resolution is None:
        return "none"
    return size_of(point.resolution, unit) + (", the pixels' limit" if point.is_down_to_limit else "")


def size_of(angstrom: float, unit: tuple[float, str]) -> str:
    """Return a length in a unit, to three digits, of less than 10 Å to two."""
    size, name = unit
    if angstrom < 9.95 and size == 1:
        return f"{angstrom:#.2g} {name}"
    return f"{rounded(angstrom / size)} {name}"


MOST_SIZES = 4
"""That are listed of rings below the threshold."""


def _on_coarser(point: FrcPoint, unit: tuple[float, str]) -> list[str]:
    """Say which detail is below the threshold, though finer detail is above."""
    sizes = [size_of(size, unit) for size in point.coarser_below]
    return [f"Detail of {few(sizes, MOST_SIZES)} is below the threshold."] if sizes else []


def _answer_of_one(frc: Frc) -> list[str]:
    last = frc.points[-1]
    interval = f"rom iteration {last.other} to {last.niter}"
    if not last.finite:
        return [f"F{interval} nothing can be said: {NOTHING_TO_SEE}."]
    if not last.beyond_chance:
        found = f"F{interval} nothing in common is seen: {NO_MORE}."
    elif last.resolution is None:
        found = f"F{interval} no detail stayed ({frc.threshold})."
    elif last.is_down_to_limit:
        found = f"F{interval} all detail stayed, down to {detail(last, frc.unit)} ({frc.threshold})."
    else:
        found = f"F{interval} detail down to {detail(last, frc.unit)} stayed ({frc.threshold})."
    before = next((point for point in frc.points if point.niter == last.other and point.finite), None)
    beside = (
        [f"The doubling before, from {before.other} to {before.niter}: {detail(before, frc.unit)}."] if before else []
    )
    return [found, *_on_coarser(last, frc.unit), *beside]


def _answer_of_two(frc: Frc) -> list[str]:
    best, alike, last = frc.best_by_area, frc.best_by_correlation, frc.points[-1]
    if best is None or alike is None:
        if not any(point.finite for point in frc.points):
            return [f"Nothing can be said: {NOTHING_TO_SEE}."]
        same = [point for point in frc.points if point.finite and point.beyond_chance]
        if not same:
            return [f"Nothing in common is seen: {NO_MORE}."]
        if last.beyond_chance or not last.finite:
            return ["The pictures are the same."]
        return [f"The pictures are the same up to {same[-1].niter}. {_nothing_at(last)}"]
    if len(frc.points) == 1:
        down_to = f"agree down to {detail(last, frc.unit)}" if last.resolution else "agree in no detail"
        return [f"The two {down_to} ({frc.threshold}): {_how_alike(last)}.", *_on_coarser(last, frc.unit)]
    which = f"iteration {best.niter}"
    if alike.niter != best.niter:
        which = f"iteration {best.niter} by ring correlation, {alike.niter} by that of the pictures"
    who = f"{frc.names[0]} agrees best with {frc.reference}" if frc.reference else "The two runs agree best"
    found = [f"{who} at {which}: {_how_alike(best)}."]
    if not last.finite:
        return [*found, f"At the last, {last.niter}: {NOTHING_TO_SEE}."]
    if not last.beyond_chance:
        return [*found, _nothing_at(last)]
    if not is_worse(last, best, alike):
        if last.niter in (best.niter, alike.niter):
            return [*found, *_on_coarser(last, frc.unit)]
        about = f"At the last, {last.niter}, they agree about as well: {_how_alike(last)}."
        return [*found, about, *_on_coarser(last, frc.unit)]
    times = (1 - last.correlation) / (1 - alike.correlation)
    found += [f"At the last, {last.niter}, they agree less: {_how_alike(last)}, and differ {times:.2g} times as much."]
    if frc.reference:
        return found
    peak = max(best.niter, alike.niter)
    if peak == frc.that_say_something[0].niter:
        return [
            *found,
            "They agree less from the first pair on, and pictures with little in them yet are alike: from which "
            "iteration on it is not reproducible cannot be said.",
        ]
    return [*found, f"What came after iteration {peak} is not reproducible: keep iteration {peak}."]


def _nothing_at(last: FrcPoint) -> str:
    return f"At the last, {last.niter}, nothing in common is seen: {NO_MORE}."


def _how_alike(point: FrcPoint) -> str:
    return f"mean ring correlation {point.area:.3f}, correlation of the pictures {point.correlation:.3f}"


def is_worse(last: FrcPoint, best: FrcPoint, alike: FrcPoint) -> bool:
    """Say whether two runs disagree clearly more at the last point than at their best, by area and by correlation."""
    by_area = 1 - last.area > WORSE * (1 - best.area)
    return by_area and 1 - last.correlation > WORSE * (1 - alike.correlation)


FRC_NAME, FRC_PICTURE_NAME = "frc.json", "frc.png"

KIND, FORMAT = "frc", 2


def frc_json(frc: Frc) -> bytes:
    """Return `frc.json`; null where a number is not finite."""
    best, alike = frc.best_by_area, frc.best_by_correlation
    content = {
        "format": FORMAT,
        "kind": KIND,
        "ptyconv_version": frc.ptyconv_version,
        "runs": frc.runs,
        "names": frc.names,
        "tensor": frc.tensor,
        "slices": frc.slices,
        "slice": frc.slice_number,
        "threshold": frc.threshold,
        "dx_angstrom": frc.dx,
        "points": [_point(point) for point in frc.points],
        "best_by_area": best and best.niter,
        "best_by_correlation": alike and alike.niter,
        "answer": frc.answer,
        "warnings": frc.warnings,
    }
    return (json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode(errors="backslashreplace")


def _point(point: FrcPoint) -> dict[str, Any]:
    return {
        "niter": point.niter,
        "other": point.other,
        "resolution_angstrom": point.resolution,
        "down_to_pixels": point.is_down_to_limit,
        "area": or_null(point.area),
        "correlation": or_null(point.correlation),
        "shift_angstrom": [or_null(part) for part in point.shift],
        "overlap_px": list(point.overlap),
        "ring_width_per_angstrom": point.ring_width,
        "frc": [or_null(value) for value in point.frc],
        "threshold": [or_null(value) for value in point.threshold],
        "beyond_chance": point.beyond_chance,
    }


def holds_frc(path: Path) -> bool:
    """Say whether a file is one that `frc_json` made, of whatever version."""
    try:
        content = read_json(path)
    except PtyconvError:
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


def read_frc(path: Path) -> Frc:
    """Read a `frc.json`; raise PtyconvError where it is none."""
    content = read_json(path)
    if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
        raise PtyconvError(f"{path}: was written by another version of ptyconv; run ptyconv frc again")
    try:
        return _from_content(content)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise PtyconvError(
            f"{path}: holds no ring correlations of ptyconv ({type(error).__name__}: {error})"
        ) from error


def _from_content(content: dict[str, Any]) -> Frc:
    points = [_read_point(found) for found in content["points"]]
    niters = [point.niter for point in points]
    runs, names = ([str(text) for text in content[key]] for key in ("runs", "names"))
    slices, number, dx = int(content["slices"]), content["slice"], float(content["dx_angstrom"])
    if not points or any(one >= other for one, other in pairwise(niters)) or not 0 <= niters[0] <= niters[-1] <= 10**9:
        raise ValueError("the iterations don't rise")
    if len(runs) != len(names) or len(runs) not in (1, 2):
        raise ValueError(f"{len(names)} names of {len(runs)} runs")
    if not 0 < dx < math.inf or not 0 < (1 if number is None else int(number)) <= slices:
        raise ValueError("the pixel size, or the slice, cannot be")
    return Frc(
        runs=runs,
        names=names,
        tensor={name: name for name in CALLED}[content["tensor"]],
        slices=slices,
        slice_number=None if number is None else int(number),
        threshold=check_threshold(content["threshold"]),
        dx=dx,
        points=points,
        warnings=[str(warning) for warning in content["warnings"]],
        ptyconv_version=str(content["ptyconv_version"]),
    )


def _read_point(found: dict[str, Any]) -> FrcPoint:
    (y, x), (height, width) = found["shift_angstrom"], found["overlap_px"]
    resolution, ring_width = found["resolution_angstrom"], float(found["ring_width_per_angstrom"])
    values, threshold = ([or_nan(value) for value in found[key]] for key in ("frc", "threshold"))
    if not 0 < ring_width < math.inf or (resolution is not None and not 0 < float(resolution) < math.inf):
        raise ValueError("the width of a ring, or a resolution, is no length")
    if not values or len(values) != len(threshold) or any(abs(value) > 1 + 1e-9 for value in values):
        raise ValueError("the ring correlations are no correlations")
    return FrcPoint(
        niter=int(found["niter"]),
        other=int(found["other"]),
        ring_width=ring_width,
        frc=values,
        threshold=threshold,
        resolution=None if resolution is None else float(resolution),
        area=or_nan(found["area"]),
        correlation=or_nan(found["correlation"]),
        shift=(or_nan(y), or_nan(x)),
        overlap=(int(height), int(width)),
        beyond_chance=bool(found["beyond_chance"]),
    )
