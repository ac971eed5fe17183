"""What no diffraction pattern can tell apart changes nothing that is said of a run."""

import math
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from zlib import crc32

import numpy as np
import pytest
import runs
from ambiguities import KINDS, MARGIN, SHIFTS, Ambiguity, Reading, Run, State, drawn, kinds_of
from brute_walks import moved
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from phantoms import atoms, two_mode_run
from rarely import long_but

from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.results.run_analysis import Region, RunAnalysis

FOLDERS = {
    **runs.ALL,
    **{name: runs.DATA / name for name in ("ptyrad-v2/pixel", "ptyrad-v2/aberration", "resume/first")},
    **{f"phaser/{name}": runs.DATA / "phaser" / name for name in ("lsqml", "gradient", "epie_resize")},
    "ptychodus": runs.DATA / "engines" / "ptychodus",
    "pear": runs.DATA / "engines" / "pear" / "S0001" / "Ndp48_LSQML_c44_gaussian_p2_cp_mm_Ns2",
    "fold_slice": runs.DATA / "engines" / "fold_slice" / "GPU_MS",
    "ptypy": runs.DATA / "engines" / "ptypy" / "autosave",
    "cdtools": runs.DATA / "engines" / "cdtools",
    "ptylab": runs.DATA / "engines" / "ptylab",
    "py4DSTEM": runs.DATA / "engines" / "py4DSTEM" / "single_complex",
    "quantem": runs.DATA / "engines" / "quantem" / "snapshots_complex",
    **{f"walks/{path.name}": path for path in sorted((runs.DATA / "walks").iterdir())},
    "two modes": Path(),
}
"""Of every reader; that of two object modes is written by the test."""

QUICK = ("sample", "pt_numpy2", "ptyrad-v2/pixel", "phaser/lsqml", "ptychodus", "cdtools", "ptypy", "two modes")

ROUNDING: dict[str, float] = {"objp": 2e-6, "obja": 1e-6, "probe": 1e-5, "probe_pos_shifts": 1e-5}
"""What single precision does: in rad, of the mean amplitude, of the mean intensity, in px."""


class Allowed(NamedTuple):
    """A relative difference, and a share of what a quantity is measured by, beside what rounding does.

    Of a mean over a mask: how many voxels at its edge may be taken in, or left out, each of which makes as much.
    """

    relative: float
    of_contrast: float
    voxels: int


EXACT, INTERPOLATED = Allowed(1e-3, 0, 1), Allowed(0.02, 0.04, 5)
"""Of what is the same, and of what was moved by a fraction of a pixel: of one that is less than 0.05 px gradients are
removed, which leaves 1 % of the contrast, and what is fine is lost where a real picture is interpolated.
"""

WALKING = (
    "two modes",
    "quantem",
    "py4DSTEM",
    "ptypy",
    "cdtools",
    "ptylab",
    "walks/ptypy_dm_hi",
    "walks/py4d_gd_hi_pos",
    "walks/dm_diverges",
)
"""Runs that are moved by fractions of a pixel as they are."""


class Untouched:
    """A run, and what is said of it as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.reading = folder, Reading()
        self.analysis = self.analyze(Ambiguity(()))
        self.reading.niters = [checkpoint.niter for checkpoint in self.analysis.checkpoints]
        shapes = self.analysis.checkpoints[-1].shapes
        begins = [boundary.niter for boundary in self.analysis.boundaries if boundary.difference]
        self.run = Run(
            count=len(self.reading.niters),
            first=sum(niter <= begins[-1] for niter in self.reading.niters) if begins else 0,
            phase=shapes["objp"],
            modes=shapes["probe"][0],
            region=self.analysis.region,
            has_amplitude="obja" in shapes,
            has_positions="probe_pos_shifts" in self.analysis.points,
            has_weights="probe_weights" in shapes,
        )

    def analyze(self, ambiguity: Ambiguity) -> RunAnalysis:
        self.reading.ambiguity = ambiguity
        with self.reading.instead():
            return analyze_run(self.folder, device="cpu")

    def differences(self, ambiguity: Ambiguity, allowed: Allowed) -> list[str]:
        """All that is said otherwise of the run with an ambiguity, in a line each."""
        changed = self.analyze(ambiguity)
        about = 0.1 if allowed is EXACT else math.inf  # numbers are compared by themselves
        return [
            *numbers_that_differ(self.analysis, changed, allowed),
            *words_that_differ(self.analysis, changed, about),
        ]


def numbers_that_differ(untouched: RunAnalysis, changed: RunAnalysis, allowed: Allowed) -> Iterator[str]:
    expected, found = numbers_of(untouched), numbers_of(changed)
    shape = untouched.checkpoints[-1].shapes["objp"]
    mask = 0.15 * math.prod(untouched.region.shape_in(shape))
    contrasts = {name: doublings.contrast for name, doublings in untouched.verdict.doublings.items()}
    for key in expected.keys() | found.keys():
        one, other = (values.get(key, (math.nan, 0.0)) for values in (expected, found))
        size = contrasts.get(re.sub("_[bf]g$", "", key.split(" ")[0]), 0.0)
        floor = one[1] + allowed.of_contrast * (100.0 if key.startswith("doubling") else size)
        if re.search("_[bf]g at ", key):
            floor += allowed.voxels / mask * one[0]
        same = math.isclose(one[0], other[0], rel_tol=allowed.relative, abs_tol=floor)
        if not (same or (math.isnan(one[0]) and math.isnan(other[0]))):
            yield f"{key}: expected {one[0]:.6g}, found {other[0]:.6g}"


def numbers_of(analysis: RunAnalysis) -> dict[str, tuple[float, float]]:
    """All aligned numbers, each with the size of what is rounding."""
    found = {}
    for key, points in analysis.aligned_points.items():
        rounding = rounding_of(key, analysis.dx)
        found |= {f"{key} at {point.niter}": (point.value, rounding) for point in points}
    for name, trajectory in analysis.trajectories.items():
        niters = trajectory.niters
        found |= {
            f"{name} from {niters[column]} to {niters[row]}": (distance, rounding_of(name, analysis.dx))
            for row, distances in enumerate(trajectory.aligned.between)
            for column, distance in enumerate(distances)
        }
    for name, doublings in analysis.verdict.doublings.items():
        found[f"contrast of {name}"] = doublings.contrast, rounding_of(name, analysis.dx)
        rounding = 100 * rounding_of(name, analysis.dx) / doublings.contrast
        found |= {f"doubling of {name} to {point.niter}": (point.relative, rounding) for point in doublings.points}
    return found


def rounding_of(key: str, dx: float) -> float:
    name = re.sub("_[bf]g$", "", key)
    return ROUNDING.get(name, 0.0) * (dx if name == "probe_pos_shifts" else 1)


def words_that_differ(untouched: RunAnalysis, changed: RunAnalysis, about: float = 0.1) -> Iterator[str]:
    expected, found = words_of(untouched), words_of(changed)
    for key in expected.keys() | found.keys():
        if is_probe_interpolated(key, expected.get(key), about):
            continue
        if not is_same_text(expected.get(key, ""), found.get(key, ""), about):
            yield f"{key}: expected {expected.get(key)!r}, found {found.get(key)!r}"


def words_of(analysis: RunAnalysis) -> dict[str, str]:
    verdict = analysis.verdict
    said = {"state": verdict.state, "sentence": verdict.sentence, "advice": verdict.advice, "worst": verdict.worst}
    return said | {f"state of {name}": doublings.state for name, doublings in verdict.doublings.items()}


def is_probe_interpolated(key: str, expected: str | None, about: float) -> bool:
    """Whether it is said of a probe that hardly changes, if at all: what an interpolation adds is no less than that."""
    return about == math.inf and key == "state of probe" and expected in ("not optimised", "converged")


NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def is_same_text(one: str, other: str, about: float) -> bool:
    """Whether two texts have the same words, and numbers that are `about` the same: they are rounded to two digits."""
    numbers = zip(NUMBER.findall(one), NUMBER.findall(other), strict=False)
    same_words = NUMBER.sub("#", one) == NUMBER.sub("#", other)
    return same_words and all(math.isclose(float(a), float(b), rel_tol=about) for a, b in numbers)


_folders: list[TemporaryDirectory[str]] = []


@cache
def untouched(name: str) -> Untouched:
    folder = FOLDERS[name]
    if name == "two modes":
        _folders.append(TemporaryDirectory())
        folder = two_mode_run(Path(_folders[-1].name))
    return Untouched(folder)


seeds = st.integers(0, 2**32 - 1)

few = settings(
    max_examples=max(settings.default.max_examples // 40, 1),
    derandomize=True,  # each run and kind is drawn the same every time: what is met is looked at, not met by chance
    phases=[Phase.generate],  # a smaller seed is no simpler example, and each takes long
    suppress_health_check=[*HealthCheck],
)


def check(name: str, kinds: list[str], seed: int) -> None:
    run = untouched(name)
    ambiguity = drawn(kinds, run.run, [seed, crc32(f"{name} {kinds}".encode())])
    also_moved = name in WALKING and (set(kinds) & {*SHIFTS, "ramp"} or name == "two modes")
    by_fractions = also_moved or any(one % 1 for one in (*ambiguity.shift, *ambiguity.probe_shift))
    allowed = INTERPOLATED if by_fractions else EXACT
    differences = run.differences(ambiguity, allowed)
    if differences:
        pytest.fail(
            "\n".join([f"{name}, {ambiguity}:", *differences[:12], f"{len(differences)} in all"]), pytrace=False
        )


@pytest.mark.parametrize("name", long_but(FOLDERS, *QUICK))
def test_checkpoints_that_are_read_for_this_test_are_as_they_are(name):
    """But for what is beyond the scanned region, where there may be nothing."""
    as_read = analyze_run(untouched(name).folder, device="cpu")
    allowed = INTERPOLATED if name in WALKING else EXACT
    assert not [*numbers_that_differ(as_read, untouched(name).analysis, allowed)]
    assert not [*words_that_differ(as_read, untouched(name).analysis)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", long_but(FOLDERS, *QUICK))
@given(seed=seeds)
@few
def test_an_ambiguity_changes_nothing(name, kind, seed):
    if kind in kinds_of(untouched(name).run):
        check(name, [kind], seed)


@pytest.mark.parametrize("name", long_but(FOLDERS))
@given(seed=seeds, data=st.data())
@few
def test_several_ambiguities_at_once_change_nothing(name, seed, data):
    possible = [kind for kind in kinds_of(untouched(name).run) if kind != SHIFTS[0]]
    check(name, data.draw(st.lists(st.sampled_from(possible), min_size=2, unique=True)), seed)


def patterns(state: State, corners: Iterable[tuple[int, int]]) -> np.ndarray:
    """What is measured of a single slice, at positions that are counted from the corners of windows."""
    transmission = (state.obja * np.exp(1j * state.objp))[:, 0]
    height, width = state.probe.shape[-2:]
    found = []
    for (top, left), position in zip(corners, state.probe_pos_shifts, strict=True):
        window = moved(transmission, -position, MARGIN)[..., top : top + height, left : left + width]
        waves = np.fft.fft2(state.probe[:, None] * window)
        found.append((np.abs(waves) ** 2).sum((0, 1)))
    return np.array(found)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds)
@settings(few, max_examples=10)
def test_an_ambiguity_changes_no_pattern(kind, seed):
    rng = np.random.default_rng(0)
    corners = [(12, 12), (15, 20), (22, 17)]
    wave = atoms((2, 24, 24), 3) * np.exp(-(np.hypot(*np.mgrid[-12:12, -12:12]) ** 2) / 18)
    state = State(
        wraps=bool(seed % 2),
        objp=0.3 * atoms((2, 1, 60, 64), 1),
        obja=1 - 0.1 * atoms((2, 1, 60, 64), 2),
        probe=wave * [[[1]], [[1j]]] + 0.5 * wave[::-1],
        probe_pos_shifts=rng.uniform(-1, 1, (3, 2)),
    )
    run = Run(2, 0, state.objp.shape, 2, Region(20, 40, 20, 44), True, True, False)
    changed = drawn([kind], run, [seed])
    found = patterns(changed.of(state, changed.places[0]), corners)
    expected = patterns(state, corners)
    assert np.abs(found - expected).max() < 2e-3 * expected.max()  # a window is interpolated
