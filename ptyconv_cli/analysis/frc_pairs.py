"""Which checkpoints are compared by Fourier ring correlation. See docs/frc.md."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ptyconv_cli.analysis.comparable import left_out_text
from ptyconv_cli.analysis.parts import region_of_run
from ptyconv_cli.checkpoints.chain import (
    Run,
    Selection,
    chained_histories,
    comparable_parts,
    on_one_axis,
    read_chain,
)
from ptyconv_cli.checkpoints.headers import Header, read_headers
from ptyconv_cli.checkpoints.opening import snapshots_in
from ptyconv_cli.checkpoints.parents import is_file
from ptyconv_cli.checkpoints.readers import counts_as_file
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.region import Region
from ptyconv_cli.verdict.segments import half_of, segment_begins

NEAREST = 0.05
"""How far, as a share, iterations of two runs may lie apart to be compared."""

SAME_PIXEL = 1e-3
"""By which share two pixel sizes may differ that count as equal."""

MOST, MEMORY = 64, 2e9
"""Doublings of one run at most, and bytes of their pictures: of more every second, fourth ... is shown."""


class Shown(NamedTuple):
    """A checkpoint whose picture is compared, and the region of the object that was scanned."""

    header: Header
    region: Region


class Pair(NamedTuple):
    """Two checkpoints that are compared: of one run `now` and the one at half of its iterations, or of two runs."""

    now: Shown
    other: Shown


class Pairs(NamedTuple):
    """What is compared: the `pairs`, in order of the iteration, of `runs`; `warnings` for the user."""

    runs: list[Path]
    pairs: list[Pair]
    warnings: list[str]


def doublings_of_run(run_dir: Path, asked: Selection, earlier: Sequence[Path] | str) -> Pairs:
    """Return the checkpoints of a run that have one at half of their iterations, with that.

    Iterations count as for the verdict: from where the settings changed. Raises PtyconvError where there are none.
    """
    runs = read_chain(run_dir, asked, earlier)
    engine, _ = chained_histories(runs)
    runs = on_one_axis(runs)
    parts, boundaries = comparable_parts([header for run in runs for header in run.headers], asked.wanted)
    begins = segment_begins(asked.wanted[0], engine, [boundary.niter for boundary in boundaries])
    found = []
    for part in parts:
        region, niters = region_of_run(part[0], asked.wanted), [header.niter for header in part]
        for place, header in enumerate(part):
            half = half_of(niters, begins, place)
            if half is not None:
                found.append(Pair(Shown(header, region), Shown(part[half], region)))
    if not found:
        first = ", ".join(str(header.niter) for part in parts for header in part[:12])
        raise PtyconvError(
            f"{run_dir}: no checkpoint has about twice the iterations of another, since the settings last changed: "
            f"iterations {first}"
        )
    step, picture = 1, math.prod(found[-1].now.region.shape_in(found[-1].now.header.shapes[asked.wanted[0]])[-2:])
    while len(found) > min(MOST, max(MEMORY / (4 * picture), 1)) * step:
        step *= 2
    return Pairs([run_dir], found[::-step][::-1], _warnings(runs))


def pairs_of_two(run_a: Path, run_b: Path, asked: Selection) -> Pairs:
    """Return the checkpoints of two runs at the same iterations: to each of A the nearest of B within 5 %.

    A file with one checkpoint is compared with the other file, or with each checkpoint of the run. Raises PtyconvError
    where there are none, or the pixel sizes differ.
    """
    if _is_single(run_a) and not _is_single(run_b):
        run_a, run_b = run_b, run_a
    of_a, warnings = _shown(run_a, asked)
    of_b, warnings_b = _shown(run_b, asked)
    pairs = [Pair(one, of_b[0]) for one in of_a] if _is_single(run_b) else _nearest(of_a, of_b)
    if not pairs:
        listed = " and ".join(f"{of[0].header.niter} to {of[-1].header.niter}" for of in (of_a, of_b))
        raise PtyconvError(
            f"{run_a} and {run_b}: have no iteration in common, within {NEAREST:.0%}: iterations {listed}"
        )
    pairs = [pair for pair in pairs if not _same_file(pair)]
    if not pairs:
        raise PtyconvError(f"{run_a} and {run_b}: are the same run; compare two, or give one for its doublings")
    fitting = [pair for pair in pairs if abs(pair.now.header.dx / pair.other.header.dx - 1) <= SAME_PIXEL]
    if not fitting:
        sizes = " and ".join(f"{one.header.dx:.6g} Å" for one in pairs[-1])
        raise PtyconvError(
            f"{run_a} and {run_b}: their pixel sizes differ: {sizes}; reconstruct both with the same one"
        )
    if len(fitting) < len(pairs):
        niters = ", ".join(str(pair.now.header.niter) for pair in pairs if pair not in fitting)
        warnings.append(f"Not compared, because the pixel sizes differ there: iterations {niters}.")
    return Pairs([run_a, run_b], fitting, list(dict.fromkeys([*warnings, *warnings_b])))


def worth_trying(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Yield pairs in the order in which to try where two runs lie on each other.

    The last one first, in which there is most to see, unless noise has taken over; then the middle and the first one.
    """
    first = dict.fromkeys((len(pairs) - 1, (len(pairs) - 1) // 2, 0))
    yield from (pairs[k] for k in dict.fromkeys([*first, *range(len(pairs))]))


def _is_single(path: Path) -> bool:
    return (is_file(path) or counts_as_file(path)) and len(snapshots_in(path)) == 1


def _same_file(pair: Pair) -> bool:
    one, other = (shown.header for shown in pair)
    return (one.real_path, one.source.name) == (other.real_path, other.source.name)


def _shown(path: Path, asked: Selection) -> tuple[list[Shown], list[str]]:
    """Return the checkpoints at a path, a run's or one, in order; and warnings."""
    if _is_single(path):
        headers, _ = read_headers(snapshots_in(path), asked.wanted, strict=True)
        return [Shown(header, region_of_run(header, asked.wanted)) for header in headers], []
    runs = on_one_axis(read_chain(path, asked, ()))
    parts, _ = comparable_parts([header for run in runs for header in run.headers], asked.wanted)
    return [Shown(h, region_of_run(part[0], asked.wanted)) for part in parts for h in part], _warnings(runs)


def _nearest(of_a: Sequence[Shown], of_b: Sequence[Shown]) -> list[Pair]:
    """Pair each checkpoint of a run with the nearest of another, of several with the same one only the nearest."""
    found: dict[int, Pair] = {}

    def apart(pair: Pair) -> int:
        return abs(pair.now.header.niter - pair.other.header.niter)

    for one in of_a:
        pair = min((Pair(one, other) for other in of_b), key=apart)
        niter = pair.other.header.niter
        if apart(pair) <= NEAREST * one.header.niter and (niter not in found or apart(pair) < apart(found[niter])):
            found[niter] = pair
    return list(found.values())


def _warnings(runs: Sequence[Run]) -> list[str]:
    remarks = [remark for run in runs for remark in run.remarks]
    return [*remarks, *(left_out_text(file) for run in runs for file in run.left_out)]
