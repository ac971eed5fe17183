"""What is to be said of an analysis: what it looked at, how it compares with the engine's own record, and warnings.

What holds for many files is said once. See docs/files.md.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np

from ptyconv_cli.analysis.run_parts import shape_compared
from ptyconv_cli.checkpoints.discovery import not_recognised_text
from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.metrics.light import stray
from ptyconv_cli.quantities import all_series, of_object, quantity_of
from ptyconv_cli.quantities.quantity import Series
from ptyconv_cli.quantities.settings import DEFAULT_PERCENTILES
from ptyconv_cli.results.history import Curve, EngineHistories, Point, points_since
from ptyconv_cli.results.run_analysis import SIZE, SLICES, Agreement, LeftOut, RunAnalysis, RunBoundary
from ptyconv_cli.results.text import few, length_unit, listed, rounded
from ptyconv_cli.verdict.evidence import faint

SMALLEST = 1e-12
"""Values below this are compared in absolute terms, because a relative difference would mean nothing."""

FAR = 0.01
"""The engine's record and the checkpoints cannot be of the same tensors beyond this relative difference.

The engine's own approximations are below: 1e-4 from sampling 16 million voxels of larger objects, 1e-3 from rounding
the intensity on another device where a probe hardly changes.
"""


NEARLY_ALL = 0.95
"""Share of the scanned region that is lit from which on nothing is said of that."""


def compare_with_live(
    points: dict[str, list[Point]], engine: EngineHistories, percentile_range: tuple[float, float]
) -> dict[str, Agreement]:
    """Compare the series that the engine recorded too, at the points that are over the same interval."""
    found = {}
    for series in all_series():
        if series.key not in points or not engine.convergence.get(series.key):
            continue
        same_masks = not series.mask or (engine.live_percentiles or DEFAULT_PERCENTILES) == percentile_range
        # Its first snapshot was taken before the first update, at iteration 0.
        live = points_since(0, engine.convergence[series.key]) if same_masks else []
        found[series.key] = _agreement(points[series.key], live)
    return found


def _agreement(points: list[Point], live: list[Point]) -> Agreement:
    recorded = {(point.niter, point.since): point.value for point in live}
    pairs = [(point.value, recorded.get((point.niter, point.since), math.nan)) for point in points]
    differences = [abs(ours - theirs) / max(abs(theirs), SMALLEST) for ours, theirs in pairs]
    differences = [difference for difference in differences if math.isfinite(difference)]
    return Agreement(len(differences), max(differences, default=None))


def checkpoints_words(analysis: RunAnalysis) -> str:
    """Return how many checkpoints were used, and their iterations: "12 checkpoints, iterations 10 to 120"."""
    niters = [checkpoint.niter for checkpoint in analysis.checkpoints]
    return f"{len(niters)} checkpoints, iterations {niters[0]} to {niters[-1]}"


def region_words(analysis: RunAnalysis) -> str:
    """Return the size of the scanned region: "15 × 19 px (7.75 × 9.81 Å)"."""
    region = analysis.region
    height, width = region.y_stop - region.y_start, region.x_stop - region.x_start
    in_unit, unit = length_unit(max(height, width) * analysis.dx)
    size = f"{rounded(height * analysis.dx / in_unit)} × {rounded(width * analysis.dx / in_unit)} {unit}"
    return f"{height} × {width} px ({size}){_lit_words(analysis)}"


def _lit_words(analysis: RunAnalysis) -> str:
    """Return how much of the region the scan lit, where that is not nearly all."""
    for name in of_object():
        if name in analysis.trajectories:
            voxels = math.prod(analysis.region.shape_in(analysis.checkpoints[-1].shapes[name]))
            share = analysis.trajectories[name].all_voxels / voxels
            return f", {share:.0%} of it lit" if share < NEARLY_ALL else ""
    return ""


def boundaries_words(analysis: RunAnalysis) -> list[str]:
    """Return where resumed runs, or other settings, begin, and where the object grew: again and again in one line."""
    said = []
    for again_and_again, group in groupby(analysis.boundaries, lambda one: one.growth == SIZE):
        found = list(group)
        if again_and_again and len(found) > 1:
            begin, end = found[0].what.rpartition(" to ")[0], found[-1].what.rpartition(" to ")[2]
            niters = f"{found[0].niter} to {found[-1].niter}"
            said.append(f"{len(found)} run boundaries after {niters}: {begin} to {end}")
            continue
        for boundary in found:
            across = " (not compared across)" if boundary.difference else ""
            said.append(f"run boundary after {boundary.niter}: {boundary.what}{across}")
    return said


def record_words(analysis: RunAnalysis) -> str:
    """Return whether the engine's own record of changes matches, "" where it has none."""
    if not analysis.live_agreement:
        return ""
    found = [a for a in analysis.live_agreement.values() if a.max_relative_difference is not None]
    if not found:
        return f"Not compared with the engine's own record{_why_not_compared(analysis)}."
    largest = max(agreement.max_relative_difference or 0.0 for agreement in found)
    says = "Matches" if largest <= FAR else "Does not match"
    return f"{says} the engine's own record (largest relative difference {largest:.1e})."


def _why_not_compared(analysis: RunAnalysis) -> str:
    """Return in which way the engine's own record is of something else."""
    recorded = {b - a for curve in analysis.engine.convergence.values() for (a, _), (b, _) in pairwise(curve)}
    ours = {point.interval for points in analysis.points.values() for point in points if point.interval is not None}
    if len(recorded) != 1 or not ours or recorded & ours:
        return ": its intervals or percentiles differ"
    apart = f"{min(ours)} to {max(ours)}" if len(ours) > 1 else f"{min(ours)}"
    every = "iteration" if recorded == {1} else f"{recorded.pop()} iterations"
    return f", which has a value every {every}: these checkpoints are {apart} apart"


def notices_on_files(used: Sequence[Header], unrecognised: Iterable[Sequence[Path]]) -> list[str]:
    """Say which files were not recognised, of each folder, and what is odd about those that were used."""
    found = []
    for paths in filter(None, unrecognised):
        said = not_recognised_text(paths)
        found.append(f"{said[0].upper()}{said[1:]}.")
    return [*found, *_on_loss(used), *_on_names(used), *_on_remarks(used)]


def _on_loss(used: Sequence[Header]) -> list[str]:
    def damaged(header: Header) -> bool:
        return any("loss_iters" in remark for remark in header.remarks)

    begun = [header for header in used if header.niter > header.before]  # before the first iteration there is no loss
    without = [header.path.name for header in begun if not len(header.loss) and not damaged(header)]
    if not without or not any(len(header.loss) for header in used):
        return []
    which = f"{without[0]} has" if len(without) == 1 else f"{len(without)} files ({few(without)}) have"
    return [f"{which} no loss history, by which files of another run would be noticed."]


def _on_names(used: Sequence[Header]) -> list[str]:
    inside = [(header.source, header.niter - header.before) for header in used]
    renamed = [(source.path.name, niter) for source, niter in inside if niter != source.niter]
    if len(renamed) > 1:
        listed = few(f"{name} ({niter})" for name, niter in renamed)
        said = "give another iteration than their names, which is used"
        return [f"{len(renamed)} files {said}: {listed}. Were they renamed?"]
    return [f"{name}: the file says iteration {niter}, which is used. Was it renamed?" for name, niter in renamed]


def _on_remarks(used: Sequence[Header]) -> list[str]:
    """Return the readers' remarks on files: of those that differ in the file's path alone, only the first."""
    same: dict[str, list[str]] = {}
    for header in used:
        for remark in header.remarks:
            same.setdefault(remark.removeprefix(f"{header.path}: "), []).append(remark)
    return [
        f"{len(remarks)} files, such as {remarks[0]}" if len(set(remarks)) > 1 else remarks[0]
        for remarks in same.values()
    ]


EMPTY = (
    "A mask is empty where many voxels share one value: a constraint clips the object (obja_thresh, objp_postiv), or "
    "the object is constant. Such a 0 says nothing about convergence; try other --percentiles."
)


def notices_on_points(points: dict[str, list[Point]], percentile_range: tuple[float, float]) -> list[str]:
    """Say where a mask was empty."""
    empty = []
    for series in all_series():
        at = points.get(series.key, [])
        of_series = [point for point in at if point.voxels == 0]
        if of_series:
            empty.append(f"{series.key} is 0 {_where(of_series, at)} {_why_empty(series, percentile_range)}.")
    return [" ".join([*empty, *([EMPTY] if any("its mask" in text for text in empty) else [])])] if empty else []


def intervals_words(points: Mapping[str, list[Point]]) -> str:
    """Say that the intervals differ, where raw or aligned changes are shown; "" where they do not."""
    intervals = {point.interval for at in points.values() for point in at if point.interval is not None}
    if len(intervals) < 2:
        return ""
    return (
        f"The checkpoints are {min(intervals)} to {max(intervals)} iterations apart, and a longer interval gives a "
        "larger change: compare values per iteration only (ptyconv plot --per-iteration)."
    )


def notices_on_boundaries(boundaries: list[RunBoundary]) -> list[str]:
    """Say across which boundaries nothing is compared."""
    said = []
    for begin in filter(lambda one: one.difference, boundaries):
        after = f"After iteration {begin.niter} {begin.what}"
        why = after if begin.what.startswith("the object") else f"{after}, and {begin.difference}"
        sums = " Their sums can be compared: ptyconv frc." if begin.growth == SLICES else ""
        said.append(f"{why}: no change is computed across it.{sums}")
    return said


FADED = 1e-2
"""Of the largest intensity of a probe: below it that is said."""

LEAST_SHARE = 0.01
"""In percent, of what is said of it."""

NONE_LEFT = 1e-9
"""Of the largest intensity of a probe: below it there is none, and a change of it is 0 / 0."""


def notices_on_vanished(niters: Sequence[int], totals: Sequence[Mapping[str, float]]) -> list[str]:
    """Say where an intensity is none; `totals`: of each, by key, at each iteration."""
    found = []
    for name in totals[-1]:
        of_one = {niter: of_all.get(name, math.nan) for niter, of_all in zip(niters, totals, strict=True)}
        gone, faded = faint(of_one, NONE_LEFT), faint(of_one, FADED)
        if faded and not gone and faded[-1] == niters[-1]:
            known = {niter: intensity for niter, intensity in of_one.items() if math.isfinite(intensity)}
            most = max(known, key=lambda niter: known[niter])
            share = 100 * known[niters[-1]] / known[most]
            words = rounded(share) if share >= LEAST_SHARE else f"less than {LEAST_SHARE}"
            found.append(
                f"The {quantity_of(name).label} fades: at iteration {niters[-1]} its intensity is {words} % of what it "
                f"was at iteration {most}. Its changes are relative to its intensity, and don't show that."
            )
        if gone:
            found.append(
                f"The {quantity_of(name).label} has vanished: it holds no intensity {_at(gone, niters)}. A change "
                "relative to nothing (0/0) is not known: it is null in the JSON."
            )
    return found


def notices_on_stray_positions(first: Header, tensors: Iterable[str]) -> list[str]:
    """Say how many scan positions are far from the scan, so that the scanned region is larger than what was scanned."""
    if not first.knows_positions or not set(tensors) & set(of_object()):
        return []
    count = int(stray(first.crop_pos).sum())
    if not count:
        return []
    return [
        f"{first.path.name}: {count} of {len(first.crop_pos)} scan positions {'is' if count == 1 else 'are'} far from "
        "the others, and the scanned region reaches there. Aligned changes are of what the scan lit."
    ]


def notices_on_region(first: Header, tensors: Iterable[str]) -> list[str]:
    """Say that scan positions lie beyond the object; `first`: the first checkpoint of a part."""
    shape = next((first.shapes[name][-2:] for name in tensors if name in of_object()), None)
    centres = first.crop_pos + np.array(first.probe_shape) // 2
    outside = shape is not None and ((centres < 0) | (centres >= shape)).any(1).sum()
    if not outside:
        return []
    return [
        f"{outside} of {len(centres)} scan positions lie beyond the object, which wraps around or is padded: the "
        "scanned region is what of theirs is inside it."
    ]


def notices_on_loss(loss: Curve) -> list[str]:
    """Say where the engine's loss is not a number."""
    bad = [niter for niter, value in loss if not math.isfinite(value)]
    if not bad:
        return []
    return [f"The loss is NaN or infinity {_at(bad, [niter for niter, _ in loss])}: has the run diverged?"]


def notices_on_too_few(first: Header, tensors: Iterable[str]) -> list[str]:
    """Say of which tensors there is too little for an aligned change; `first`: the first checkpoint of a part."""
    few_of = [name for name in tensors if quantity_of(name).too_few_to_align(shape_compared(name, first))]
    if not few_of:
        return []
    return [
        f"{', '.join(few_of)}: too few to align, as of a single scan position, or a region of one pixel. Whatever they "
        "do could be an ambiguity, so that no aligned change is known (null in the JSON); the raw one is."
    ]


def _at(some: Sequence[int], niters: Sequence[int]) -> str:
    """Say at which of the iterations something is so."""
    if some == list(niters)[-len(some) :]:
        return f"from iteration {some[0]} on"
    return f"at {'iteration' if len(some) == 1 else 'iterations'} {few(map(str, some))}"


def notices_on_not_finite(not_finite: dict[str, list[int]], niters: list[int]) -> list[str]:
    """Say from which iteration on, of the analyzed ones, tensors held NaN or infinity."""
    too_large = [tensor for tensor, bad in not_finite.items() if not bad]
    found = [
        f"{tensor} changed by more than a float can hold: the values are null in the JSON." for tensor in too_large
    ]
    alike: dict[str, list[str]] = {}
    for tensor, bad in not_finite.items():
        if bad:
            alike.setdefault(_at(bad, niters), []).append(tensor)
    for where, tensors in alike.items():
        holds, its = ("holds", "its") if len(tensors) == 1 else ("hold", "their")
        found.append(
            f"{listed(tensors)} {holds} NaN or infinity in the scanned region {where}: {its} changes there are not "
            "known (null in the JSON)."
        )
    return found


def notices_on_left_out(left_out: list[LeftOut], points: dict[str, list[Point]]) -> list[str]:
    """Say which files were left out, and which intervals became longer by it."""
    reasons: dict[str, list[LeftOut]] = {}
    for file in left_out:
        reasons.setdefault(file.reason, []).append(file)
    found = []
    for reason, files in reasons.items():
        names = [file.file for file in files]
        which = f"{names[0]} was" if len(names) == 1 else f"{len(names)} files were"
        listed = "" if len(names) == 1 else f" ({few(names)})"
        found.append(f"{which} left out{listed}: {reason}.{_longer(files, points)}")
    return found


def _longer(left_out: list[LeftOut], points: dict[str, list[Point]]) -> str:
    niters = [file.niter for file in left_out if file.niter is not None]
    longer = [
        point
        for point in next(iter(points.values()), [])
        if point.since is not None and any(point.since < niter < point.niter for niter in niters)
    ]
    if len(longer) < 2:
        return "".join(f" The change at iteration {point.niter} is since iteration {point.since}." for point in longer)
    return f" The changes at iterations {few(str(point.niter) for point in longer)} are over longer intervals."


def notices_on_live_record(agreement: dict[str, Agreement]) -> list[str]:
    """Say where the engine's own record differs too much to be of the same tensors."""
    far = [
        f"{key} by up to {found.max_relative_difference:.1%}"
        for key, found in agreement.items()
        if found.max_relative_difference is not None and found.max_relative_difference > FAR
    ]
    if not far:
        return []
    return [f"The engine's own record differs ({', '.join(far)}): were the checkpoints changed or mixed with others?"]


def _why_empty(series: Series, percentile_range: tuple[float, float]) -> str:
    below = series.mask == "background"
    percentile = percentile_range[0] if below else percentile_range[1]
    if percentile == (0 if below else 100):
        return f"because no voxel can lie {'below' if below else 'above'} percentile {percentile:g}"
    return (
        f"because its mask is empty: no voxel lies strictly {'below' if below else 'above'} percentile {percentile:g}"
    )


def _where(some: Iterable[Point], all_points: list[Point]) -> str:
    niters = [point.niter for point in some]
    if len(niters) == len(all_points):
        return "throughout"
    if len(niters) == 1:
        return f"at iteration {niters[0]}"
    return f"at {len(niters)} of {len(all_points)} points, iterations {niters[0]} to {niters[-1]}"
