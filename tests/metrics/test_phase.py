"""A phase that is continued from the one before."""

import math

import numpy as np
import pytest
from both import array

from ptyconv_cli.metrics.snapshot import unwrap

pytestmark = pytest.mark.usefixtures("library")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unwrapping(dtype):
    way = np.linspace(0, 40, 200)[:, None] * np.array([1.0, -0.7, 0.0])
    before = None
    for step in way:
        phase = array(np.angle(np.exp(1j * step)), dtype)
        unwrap(phase, before)
        before = phase
    assert before.tolist() == pytest.approx([40, -28, 0], abs=1e-4 if dtype is np.float32 else 1e-12)


def test_the_first_phase_is_continuous_about_its_mean():
    phase = array([3.1, -3.1, 3.0, -3.0], np.float64)
    unwrap(phase, None)
    assert float(phase.max() - phase.min()) == pytest.approx(2 * (math.pi - 3))


def test_where_the_phase_is_not_known_the_last_known_one_is_followed():
    unwrap(phase := array([0.1, 0.2]), None)
    broken = array([math.nan, 0.3])
    followed = unwrap(broken, phase)
    assert np.isnan(np.asarray(broken)).tolist() == [True, False]
    assert followed.tolist() == pytest.approx([0.1, 0.3])
    assert unwrap(array([math.nan, 0.1]), None).tolist()[1] == pytest.approx(0.1)
