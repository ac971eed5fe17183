"""What a snapshot holds, against explicit arrays and a dense solver in float64."""

import math

import numpy as np
import pytest
from both import array
from phantoms import atoms
from prefixes import object_contrast

from ptyconv_cli.metrics.snapshot import Snapshot
from ptyconv_cli.quantities.snapshots import contrasts, framed

pytestmark = pytest.mark.usefixtures("library")


def contrasts_of(**tensors) -> dict[str, float]:
    snapshot = Snapshot({name: array(values) for name, values in tensors.items()}, 1.0)
    return contrasts({name: framed(name, snapshot) for name in tensors})


SHAPES = [(1, 1, 9, 12), (1, 3, 14, 11), (2, 2, 10, 13), (3, 1, 8, 1), (1, 1, 1, 7)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_objects_contrast_is_the_brute_force_one(shape):
    random = np.random.default_rng(0)
    phase = (0.3 * atoms(shape, 1) + random.normal(0, 0.02, shape) + 5 + 0.1 * np.arange(shape[-1])).astype(np.float32)
    amplitude = (1 - 0.1 * atoms(shape, 2) + random.normal(0, 0.01, shape)).astype(np.float32)
    found = contrasts_of(obja=1 - amplitude, objp=phase)
    expected = object_contrast(amplitude.astype(float), phase.astype(float))
    assert found == {"obja": pytest.approx(expected, rel=1e-5), "objp": pytest.approx(expected, rel=1e-5)}


def test_a_ramp_and_an_offset_of_each_slice_are_no_contrast():
    y, x = np.mgrid[:20, :30]
    phase = np.stack([[3 + 0.1 * y - 0.2 * x, np.full((20, 30), -7.0)]] * 2).astype(np.float32)
    assert contrasts_of(objp=phase)["objp"] == pytest.approx(0, abs=1e-5)


def test_a_radian_weighs_as_much_as_an_amplitude_of_1():
    even = np.array([1, -1, 1, -1, -1, 1, -1, 1], np.float32)  # about the middle, so that no ramp is in it
    signs = np.outer(even, np.ones(8, np.float32)).reshape(1, 1, 8, 8)
    flat = np.zeros_like(signs)
    for phase, amplitude in ((0.3 * signs, flat), (flat, 0.3 * signs)):
        found = contrasts_of(obja=amplitude, objp=phase)
        assert found["objp"] == pytest.approx(0.3)


def test_the_probes_contrast():
    intensity = np.array([[1.0, 3.0], [0.0, 4.0]], np.float32)
    expected = math.sqrt((1 + 9 + 16) / 4) / 2
    assert contrasts_of(probe=intensity)["probe"] == pytest.approx(expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_has_no_contrast(bad):
    phase = np.zeros((1, 1, 4, 4))
    phase[0, 0, 1, 2] = bad
    assert not math.isfinite(contrasts_of(objp=phase)["objp"])
