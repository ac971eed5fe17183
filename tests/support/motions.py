"""Invented ways of a quantity through the iterations, whose truth is known, and how they moved."""

import math

import numpy as np

from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results.run_analysis import Doublings
from ptyconv_cli.verdict.evidence import Motion, doublings_of, still_since
from ptyconv_cli.verdict.segments import Counting, half_of

CONTRAST = 1.0


def rms(vector: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(vector))))


def motion_of(vectors: np.ndarray, niters: list[int], counting=None) -> Motion:
    """How vectors (K, numbers) at iterations moved."""
    last, counting = len(niters) - 1, counting or Counting()
    halves = [half_of(niters[: k + 1], counting) for k in range(1, len(niters))]
    doubled = [
        (niters[k], niters[half], rms(vectors[k] - vectors[half]))
        for k, half in enumerate(halves, 1)
        if half is not None
    ]
    moves = [rms(vectors[k] - vectors[k - 1]) for k in range(1, len(niters))]
    lag = min(8, len(niters) // 2)
    drift = rms(vectors[last] - vectors[last - lag]) / moves[-1] if lag > 1 and moves[-1] else math.nan
    return Motion(
        niter=niters[last],
        contrasts=dict.fromkeys(niters, CONTRAST),
        doubled=doubled,
        to_last=[(niters[k], rms(vectors[last] - vectors[k])) for k in range(last)],
        drift_ratio=drift,
        lag=lag,
        counting=counting,
        stopped_since=still_since(niters, [move / (rms(vectors[last]) or 1) for move in moves]),
    )


def judged(vectors, niters, tolerance: float = 5.0, counting=None, rates=(), loss=()) -> Doublings:
    return doublings_of(motion_of(vectors, niters, counting), quantity_of("objp"), tolerance, list(rates), list(loss))


def direction(rng: np.random.Generator, numbers: int) -> np.ndarray:
    """A random direction whose numbers have an RMS of 1."""
    found = rng.normal(size=numbers)
    return found / rms(found)


def along(sizes: np.ndarray, rng: np.random.Generator, numbers: int = 300) -> np.ndarray:
    """Vectors that are so far along a random way, which bends a little."""
    bent = rng.uniform(0, 0.5) * np.abs(sizes) ** 1.5
    return sizes[:, None] * direction(rng, numbers) + bent[:, None] * direction(rng, numbers)
