"""What no diffraction pattern can tell apart changes no map, no picture of a page, and no ring correlation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from ambiguities import KINDS, Ambiguity, Reading, Run, kinds_of
from frames import frames_in, seen_in
from maps import maps_in
from rarely import long_but

from ptyconv_cli import frc
from ptyconv_cli.analysis.frames import HALF, IMAGE, LAST, Layer
from ptyconv_cli.analysis.maps import Maps
from ptyconv_cli.results.frc import Frc

FOLDERS = {
    "sample": runs.SAMPLE,
    "ptypy": runs.DATA / "engines" / "ptypy" / "autosave",
    "cdtools": runs.DATA / "engines" / "cdtools",
    "phaser": runs.DATA / "phaser" / "lsqml",
    **{name: runs.DATA / "walks" / name for name in ("ptypy_dm_hi", "py4d_gd_hi_pos")},
}
QUICK = ("sample", "ptypy_dm_hi", "cdtools")
EXACT = tuple(kind for kind in KINDS if kind != "fraction")
WALKING = ("ptypy_dm_hi", "py4d_gd_hi_pos", "ptypy", "cdtools")
"""Runs whose object and probe walk by fractions of a pixel, so that they are interpolated as they are."""

OF_SAME, OF_MOVED = 1e-3, 0.02
"""What numbers may differ by, relatively, where all is the same, and where fractions of a pixel are interpolated."""

OF_IMAGES = 0.1
"""What images may differ by, in units of what is seen in them, where fractions of a pixel are interpolated: an image is
left where it is if it lies less than 0.05 px elsewhere, and moved if it lies a little farther.
"""

SINGLE, PAIR = (-1,), (-3, -1)
"""Places in a run, from its end, of checkpoints that are changed."""


@cache
def described(folder: Path) -> tuple[Run, list[int]]:
    """What of a run decides which ambiguities it has, and its iterations."""
    analysis = runs.analysis_of(folder)
    niters, shapes = [checkpoint.niter for checkpoint in analysis.checkpoints], analysis.checkpoints[-1].shapes
    run = Run(
        count=len(niters),
        first=0,
        phase=shapes["objp"],
        modes=shapes["probe"][0],
        region=analysis.region,
        has_amplitude="obja" in shapes,
        has_positions="probe_pos_shifts" in analysis.points,
        has_weights="probe_weights" in shapes,
    )
    return run, niters


@contextmanager
def changed(name: str, kind: str = "", places: tuple[int, ...] = (), seed: int = 0) -> Iterator[Path]:
    """A run whose checkpoints at some places, from its end, are read with an ambiguity; none if that has no kind."""
    run, niters = described(FOLDERS[name])
    reading = Reading()
    reading.niters = niters
    if kind:
        drawn = KINDS[kind](np.random.default_rng([seed, len(kind)]), run)
        reading.ambiguity = Ambiguity(tuple(run.count + place for place in places), **drawn)
    with reading.instead():
        yield FOLDERS[name]


def has(name: str, kind: str) -> bool:
    return kind in kinds_of(described(FOLDERS[name])[0])


def allowed_of(name: str) -> float:
    return OF_MOVED if name in WALKING else OF_SAME


def of_images(name: str) -> float:
    return OF_IMAGES if name in WALKING else 2 * OF_SAME


def apart(one: np.ndarray, other: np.ndarray, size: float) -> float:
    """How far two images are from each other, in units of a size; what is not known of one is not of both."""
    assert (np.isnan(one) == np.isnan(other)).all()
    return float(np.sqrt(np.nanmean((one - other) ** 2))) / size


@cache
def known(name: str, what: Callable[[Path], Any]) -> Any:
    """What is said of a run as it is."""
    with changed(name) as folder:
        return what(folder)


def known_and_changed(name: str, what: Callable[[Path], Any], kind: str, places: tuple[int, ...]) -> tuple[Any, Any]:
    """What is said of a run as it is, and with an ambiguity."""
    expected = known(name, what)
    with changed(name, kind, places) as folder:
        return expected, what(folder)


def maps(folder: Path) -> Maps:
    return maps_in(folder, None)


def page(folder: Path) -> dict:
    return seen_in(frames_in(folder))


@pytest.mark.parametrize("places", [SINGLE, PAIR, (-2, -1)])
@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("name", long_but(FOLDERS, *QUICK))
def test_no_map_changes(name, kind, places):
    if not has(name, kind):
        return
    expected, found = known_and_changed(name, maps, kind, places)
    allowed = allowed_of(name)
    for key, one in expected.objects.items():
        other = found.objects[key]
        assert other.relative == pytest.approx(one.relative, rel=allowed)
        assert other.contrast == pytest.approx(one.contrast, rel=allowed)
        assert apart(one.change, other.change, one.contrast) < of_images(name)
        assert apart(one.image, other.image, one.contrast) < of_images(name)
        assert np.allclose(one.by_slice, other.by_slice, rtol=allowed)
        for mask in ("foreground", "background"):
            differing = np.abs(getattr(one, mask) - getattr(other, mask)).mean()
            assert differing < max(0.01, of_images(name) / 2)
    for one, other in zip(expected.small, found.small, strict=True):
        assert apart(one.change, other.change, np.nanmax(one.change)) < of_images(name) / 2
    assert apart(expected.probe, found.probe, np.abs(expected.probe).max()) < of_images(name)
    if expected.displacements is not None:
        assert np.allclose(expected.displacements, found.displacements, atol=1e-5)


@pytest.mark.parametrize("places", [SINGLE, PAIR])
@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("name", long_but(FOLDERS, *QUICK))
def test_no_picture_of_a_page_changes(name, kind, places):
    if not has(name, kind):
        return
    expected, found = known_and_changed(name, page, kind, places)
    last = max(expected)
    sizes = {layer: float(np.ptp(image)) for layer, image in expected[last][1][IMAGE].items()}
    for niter, (_, images) in expected.items():
        for of_kind in (IMAGE, LAST, HALF):
            for layer, image in images[of_kind].items():
                scaled = kind == "scale" and (layer.tensor == "obja" or (layer.tensor, of_kind) == ("probe", IMAGE))
                single = layer.tensor == "probe" and layer.number and kind == "mixture"
                if scaled or single:  # shown as files have it
                    continue
                size = 1.0 if layer.tensor == "probe" and of_kind != IMAGE else sizes[layer]
                other = found[niter][1][of_kind][layer]
                assert apart(image, other, size) < of_images(name), (niter, of_kind, layer)


@pytest.mark.parametrize("places", [SINGLE, (-2,)])
def test_differences_of_amplitudes_are_the_same_share_of_the_last_one_at_any_scale(places):
    expected = known("ptypy_dm_hi", page)
    with changed("ptypy_dm_hi", "scale", places, seed=1) as folder:
        found = page(folder)
    layer, last = Layer("obja"), max(expected)
    means = [seen[last][1][IMAGE][layer].mean() for seen in (expected, found)]
    assert (abs(means[0] / means[1] - 1) > 0.1) == (places == SINGLE)
    for niter, (_, images) in expected.items():
        for of_kind in (LAST, HALF):
            if layer in images[of_kind]:
                one, other = images[of_kind][layer] / means[0], found[niter][1][of_kind][layer] / means[1]
                assert apart(one, other, np.abs(one).max() or 1.0) < 1e-3


@pytest.mark.parametrize("name", long_but(FOLDERS, *QUICK))
def test_a_map_knows_nothing_of_fractions_of_a_pixel(name):
    """But for 1 % of the contrast: a shift of less than 0.05 px is removed to first order."""
    expected, found = known_and_changed(name, maps, "fraction", SINGLE)
    for key, one in expected.objects.items():
        assert found.objects[key].relative == pytest.approx(one.relative, rel=OF_MOVED, abs=0.012)


FRC = ["ptypy_dm_hi", *long_but(["py4d_gd_hi_pos", "ptypy", "cdtools", "phaser"])]


@pytest.mark.parametrize("places", [SINGLE, PAIR])
@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("name", FRC)
def test_no_ring_correlation_changes(name, kind, places):
    if not has(name, kind):
        return
    for of_part in (frc_of_phase, frc_of_amplitude):
        expected, found = known_and_changed(name, of_part, kind, places)
        for one, other in zip(expected.points, found.points, strict=True):
            assert one.overlap == other.overlap
            allowed = OF_SAME if name in QUICK and name != "cdtools" else allowed_of(name)
            coarse = round(0.7 * len(one.frc)) if name == "cdtools" else None  # moved by a fraction, or just not
            assert np.allclose(one.frc[:coarse], other.frc[:coarse], atol=allowed)
            assert one.correlation == pytest.approx(other.correlation, abs=allowed)


@pytest.mark.parametrize("name", FRC)
def test_ring_correlations_know_nothing_of_fractions_of_a_pixel(name):
    """But for the finest detail, of which an interpolation makes something else."""
    expected, found = known_and_changed(name, frc_of_phase, "fraction", SINGLE)
    one, other = expected.points[-1], found.points[-1]
    coarse = round(0.7 * len(one.frc))
    assert one.overlap == other.overlap
    assert np.allclose(one.frc[:coarse], other.frc[:coarse], atol=0.02)
    assert one.correlation == pytest.approx(other.correlation, abs=0.003)


def frc_of_phase(folder: Path) -> Frc:
    return frc(folder, tensor="objp")


def frc_of_amplitude(folder: Path) -> Frc:
    return frc(folder, tensor="obja")


def test_pictures_of_a_run_that_walks_lie_on_each_other():
    """Over the last doubling the object walks by many pixels, and hardly changes."""
    found = frc(FOLDERS["ptypy_dm_hi"])
    assert found.points[-1].correlation > 0.94
    for point in found.points:
        assert point.correlation > 0.9
        assert np.hypot(*point.shift) < found.dx  # what is left of a pixel


def test_a_page_has_no_dipoles_of_a_walk():
    """What is left between the last two checkpoints is what the verdict says, not the walk."""
    folder = FOLDERS["ptypy_dm_hi"]
    verdict = runs.analysis_of(folder).verdict.doublings["objp"]
    images = known("ptypy_dm_hi", page)[400][1]
    rms = np.sqrt((images[HALF][Layer("objp")] ** 2).mean())
    assert rms == pytest.approx(verdict.points[-1].relative / 100 * verdict.contrast, rel=0.01)
