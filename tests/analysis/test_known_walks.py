"""The change per doubling of runs whose object walks, against what is left of it when every shift was tried."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import brute_walks
import h5py
import numpy as np
import pytest
import runs

from ptyconv_cli.results.run_analysis import RunAnalysis

TRUTH = runs.DATA / "walks"
OF_PY4DSTEM = "ptychographic_reconstruction_root/ptychographic_reconstruction"


class State(NamedTuple):
    """Of a run, at an iteration; `corners` of the probe's windows, None where the file knows none."""

    transmission: np.ndarray
    probe: np.ndarray
    corners: np.ndarray | None


def of_ptypy(name: str, niter: int) -> State:
    (path,) = (TRUTH / name).rglob(f"*_{niter:04d}.ptyr")
    with h5py.File(path) as file:
        transmission, probe = (file[f"content/{kind}/SMFG00/data"][()] for kind in ("obj", "probe"))
    return State(transmission[:, None], probe, None)


def of_py4dstem(name: str, niter: int) -> State:
    with h5py.File(TRUTH / name / f"{name}.h5") as file:
        stored = file[OF_PY4DSTEM]
        middles = stored["metadatabundle/preprocess_metadata/positions_px"][()]
        labels = stored["_object_iterations_emd/dim2"].asstr()[()].tolist()
        label = f"iteration_{niter - 1:03d}"
        if label in labels:
            place = labels.index(label)
            transmission, probe = (stored[f"_{kind}_iterations_emd/data"][place] for kind in ("object", "probe"))
        else:
            transmission, probe = stored["_object_emd/data"][()], np.fft.fftshift(stored["_probe_emd/data"][()])
    return State(transmission[None, None], probe[None], middles - np.array(probe.shape) // 2)


def of_ptychodus(name: str, niter: int) -> State:
    with h5py.File(TRUTH / name / f"product.{niter:06d}.h5") as file:
        stored, probe = file["object"], file["probe"][0]
        positions = [
            (file[f"probe_position_{axis}_m"][()] - stored.attrs[f"center_{axis}_m"]) / stored.attrs[f"pixel_{side}_m"]
            for axis, side in (("y", "height"), ("x", "width"))
        ]
        room = np.array(stored.shape[-2:]) - probe.shape[-2:]
        return State(stored[()][None], probe, np.stack(positions, 1) + room / 2)


class Walk(NamedTuple):
    """Of a run, from an iteration to about twice that.

    `left`: the change per doubling of phase, amplitude and probe in % that is left of it; `shift` and `probe_shift` in
    px, which are not the same: where positions are refined, the object may walk with them, and the probe stay.
    """

    read: Callable[[str, int], State]
    niters: tuple[int, int]
    left: tuple[float, float, float]
    shift: tuple[float, float]
    probe_shift: tuple[float, float]


WALKS = {
    "ptypy_dm_hi": Walk(of_ptypy, (200, 400), (27.96, 18.73, 32.48), (1.43, -5.34), (0.91, -5.59)),
    "py4d_gd_hi_pos": Walk(of_py4dstem, (161, 320), (21.91, 9.73, 2.85), (-0.79, -0.94), (0.0, -0.01)),
    "dm_diverges": Walk(of_ptychodus, (150, 300), (91.63, 44.46, 34.75), (-0.09, 3.26), (-0.08, 3.22)),
    "lsqml_spiral_particle": Walk(of_ptychodus, (70, 140), (16.2, 4.71, 0.78), (0.01, 0.0), (0.0, -0.01)),
}


def where(analysis: RunAnalysis) -> np.ndarray:
    """By how much, in px, the last checkpoint's object is elsewhere than the first one's, in whose place all is."""
    return np.sum([removed.shift for _, removed in analysis.removed["objp"]], 0) / analysis.dx


@cache
def by_brute_force(name: str) -> brute_walks.Change:
    walk = WALKS[name]
    earlier, later = (walk.read(name, niter) for niter in walk.niters)
    analysis, shape = runs.analysis_of(TRUTH / name), later.transmission.shape[-2:]
    first = walk.read(name, analysis.checkpoints[0].niter)
    region, lit = tuple(analysis.region), np.ones(shape, bool)
    if first.corners is not None:
        lit = brute_walks.lit_by(first.probe, first.corners, shape, region)
    back = brute_walks.moved(brute_walks.continued(later.transmission), -where(analysis), brute_walks.MARGIN)
    return brute_walks.change((earlier.transmission, back), (earlier.probe, later.probe), walk.niters, region, lit)


@pytest.mark.parametrize("name", WALKS)
def test_what_is_left_of_a_walk_is_known(name):
    walk, found = WALKS[name], by_brute_force(name)
    np.testing.assert_allclose((found.phase, found.amplitude, found.probe), walk.left, rtol=5e-3)
    np.testing.assert_allclose(found.shift + where(runs.analysis_of(TRUTH / name)), walk.shift, atol=0.03)
    np.testing.assert_allclose(found.probe_shift, walk.probe_shift, atol=0.02)


@pytest.mark.parametrize("name", WALKS)
def test_a_doubling_is_what_is_left_after_every_shift_was_tried(name):
    doublings, found = runs.analysis_of(TRUTH / name).verdict.doublings, by_brute_force(name)
    expected = {"objp": found.phase, "obja": found.amplitude, "probe": found.probe}
    last = {key: doublings[key].points[-1] for key in expected}
    assert {(point.since, point.niter) for point in last.values()} == {WALKS[name].niters}
    assert {key: point.relative for key, point in last.items()} == pytest.approx(expected, rel=0.03)


def test_trying_shifts_finds_one_that_was_made():
    """With a ramp of more than a turn, other factors of both, and noise, of which as much is left as was put in."""
    state, rng = of_ptypy("ptypy_dm_hi", 400), np.random.default_rng(1)
    earlier = brute_walks.continued(state.transmission)
    region, shift, noise = (23, 90, 23, 90), np.array([1.37, -2.41]), 0.01
    y, x = np.mgrid[:114, :114] / 114
    later = -0.3 * np.exp(2j * np.pi * (2.4 * y - 1.3 * x)) * brute_walks.moved(earlier, shift, brute_walks.MARGIN)
    later *= np.exp(noise * (rng.normal(size=later.shape) + 1j * rng.normal(size=later.shape)))
    probes = state.probe, 7 * brute_walks.moved(state.probe.astype(complex), -shift)
    found = brute_walks.change((earlier, later), probes, (10, 20), region, np.ones((114, 114), bool))
    np.testing.assert_allclose(found.shift, shift, atol=0.02)
    np.testing.assert_allclose(found.probe_shift, -shift, atol=0.02)
    np.testing.assert_allclose([found.phase, found.amplitude], 100 * noise / found.contrast, rtol=0.05)
    assert found.probe < 0.5
