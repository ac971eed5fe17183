"""Where segments begin, and which checkpoint stands at half of the iterations."""

import pytest

from ptyconv_cli.results.history import EngineHistories
from ptyconv_cli.verdict.segments import half_of, segment_begins, stopped_since


def rates(*pieces):
    """Learning rates: each piece a rate and the last iteration that it holds for."""
    found, start = [], 1
    for rate, end in pieces:
        found += [(niter, rate) for niter in range(start, end + 1)]
        start = end + 1
    return EngineHistories(learning_rates={"objp": found})


@pytest.mark.parametrize(
    ("engine", "begins"),
    [
        (EngineHistories(), [0]),
        (rates((1e-3, 100)), [0]),
        (rates((1e-3, 50), (1e-4, 100)), [0, 50]),
        (rates((1e-3, 50), (6e-4, 100)), [0]),
        (rates((1e-3, 50), (0.0, 100)), [0]),
        (rates((0.0, 50), (1e-3, 100)), [0, 50]),
        (EngineHistories(learning_rates={"objp": [(n, 0.5**n) for n in range(1, 50)]}), [0]),  # smooth
        (EngineHistories(optimised={"objp": (31, None)}), [0, 30]),
        (EngineHistories(optimised={"objp": (1, 60)}), [0]),
        (EngineHistories(optimised={"objp": (None, None)}), [0]),
    ],
)
def test_segments_begin_where_the_settings_change(engine, begins):
    assert segment_begins("objp", engine) == begins
    assert segment_begins("objp", engine, [40]) == sorted({*begins, 40})


@pytest.mark.parametrize(
    ("engine", "since"),
    [
        (EngineHistories(), None),
        (EngineHistories(optimised={"objp": (None, None)}), 0),
        (EngineHistories(optimised={"objp": (200, None)}), 0),
        (EngineHistories(optimised={"objp": (1, 60)}), 60),
        (EngineHistories(optimised={"objp": (1, 95)}), None),  # it moved since the last checkpoint but one
        (EngineHistories(optimised={"objp": (1, 90)}), 90),
        (rates((1e-3, 100)), None),
        (rates((1e-3, 70), (0.0, 100)), 70),
        (rates((1e-3, 95), (0.0, 100)), None),
        (rates((0.0, 100)), 0),
    ],
)
def test_what_is_not_optimised(engine, since):
    assert stopped_since("objp", engine, before=90, last=100) == since


@pytest.mark.parametrize(
    ("niters", "begins", "place"),
    [
        ([10], (0,), None),
        ([10, 20], (0,), 0),
        ([10, 20, 30], (0,), None),  # 10 is too early, 20 too late
        ([16, 40], (0,), 0),
        ([15, 40], (0,), None),
        ([25, 40], (0,), 0),
        ([26, 40], (0,), None),
        ([18, 22, 40], (0,), 0),  # of two as near the earlier
        ([10, 20, 30, 40, 50, 60, 70, 80], (0,), 3),
        ([10, 20, 30, 40, 50, 60, 70, 80], (0, 60), 6),
        ([10, 20, 30, 40, 50, 60, 70, 80], (0, 70), None),
        ([10, 20, 30, 40], (0, 20, 60), 2),
    ],
)
def test_half(niters, begins, place):
    assert half_of(niters, begins) == place


def test_half_is_the_nearest_of_all():
    niters = [7 * k * k for k in range(1, 40)]
    for count in range(2, 40):
        place = half_of(niters[:count], (0,))
        last = niters[count - 1]
        nearest = min(range(count - 1), key=lambda k, last=last: (abs(2 * niters[k] - last), k))
        assert place == (nearest if 0.8 <= 2 * niters[nearest] / last <= 1.25 else None)
