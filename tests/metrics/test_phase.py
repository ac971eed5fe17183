"""A phase that is continued from the one before."""

import math

import pytest
import torch

from ptyconv_cli.metrics.phase import unwrap


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unwrapping(dtype):
    way = torch.linspace(0, 40, 200, dtype=dtype)[:, None] * torch.tensor([1.0, -0.7, 0.0], dtype=dtype)
    before = None
    for step in way:
        phase = torch.polar(torch.ones_like(step), step).angle()
        unwrap(phase, before)
        before = phase
    assert before.tolist() == pytest.approx([40, -28, 0], abs=1e-4 if dtype is torch.float32 else 1e-12)


def test_the_first_phase_is_continuous_about_its_mean():
    phase = torch.tensor([3.1, -3.1, 3.0, -3.0], dtype=torch.float64)
    unwrap(phase, None)
    assert float(phase.max() - phase.min()) == pytest.approx(2 * (math.pi - 3))
