"""How iterations count, and which checkpoint stands at half of them."""

import math

import pytest

from ptyconv_cli.results.history import EngineHistories
from ptyconv_cli.results.run_analysis import RunBoundary
from ptyconv_cli.verdict.learning_rates import cycle_of, has_ended
from ptyconv_cli.verdict.segments import Counting, counting_of, half_of, stopped_since


def rates(*pieces):
    """Learning rates: each piece a rate and the last iteration that it holds for."""
    found, start = [], 1
    for rate, end in pieces:
        found += [(niter, rate) for niter in range(start, end + 1)]
        start = end + 1
    return EngineHistories(learning_rates={"objp": found})


def cosine(niter, period):
    return 1e-3 * (1 + math.cos(math.pi * ((niter - 1) % period) / period)) / 2


@pytest.mark.parametrize(
    ("engine", "begins", "changes"),
    [
        (EngineHistories(), (0,), ()),
        (rates((1e-3, 100)), (0,), ()),
        (rates((1e-3, 50), (1e-4, 100)), (0,), (50,)),
        (rates((1e-3, 50), (6e-4, 100)), (0,), ()),
        (rates((1e-3, 50), (0.0, 100)), (0,), ()),
        (EngineHistories(learning_rates={"objp": [(n, 0.4**n) for n in range(1, 50)]}), (0,), ()),  # smooth
        (EngineHistories(optimised={"objp": (31, None)}), (0, 30), ()),
        (EngineHistories(optimised={"objp": (1, 60)}), (0,), ()),
        (EngineHistories(optimised={"objp": (None, None)}), (0,), ()),
    ],
)
def test_iterations_count_from_the_begin_unless_there_is_nothing_to_compare(engine, begins, changes):
    assert counting_of("objp", engine) == Counting(begins, 0, changes)
    resumed = [RunBoundary(40, "a resumed run begins")]
    assert counting_of("objp", engine, resumed) == Counting(begins, 0, tuple(sorted({40, *changes})))
    resampled = [RunBoundary(40, "the engine changed", "the pixel size is another one")]
    assert counting_of("objp", engine, resampled).begins == tuple(sorted({40, *begins}))


@pytest.mark.parametrize(
    ("curve", "cycle"),
    [
        ([(n, cosine(n, 50)) for n in range(1, 1001)], 50),
        ([(n, cosine(n, 50)) for n in range(1, 151)], 0),  # begun anew only twice
        ([(n, cosine(n, 1000)) for n in range(1, 1001)], 0),
        ([(n, 0.5 ** (n % 7)) for n in range(1, 100)], 7),
        ([(n, 1e-3) for n in range(1, 100)], 0),
        ([(n, 1e-3 if n < 10 or n > 30 else 1e-5) for n in range(1, 100)], 0),
        ([], 0),
    ],
)
def test_a_schedule_that_begins_anew(curve, cycle):
    assert cycle_of(curve) == cycle
    engine = EngineHistories(learning_rates={"objp": curve})
    assert counting_of("objp", engine).cycle == cycle
    assert not cycle or counting_of("objp", engine).changes == ()


@pytest.mark.parametrize(
    ("curve", "cycle", "ended"),
    [
        ([(n, cosine(n, 1000)) for n in range(1, 1001)], 0, True),
        ([(n, cosine(n, 1000)) for n in range(1, 801)], 0, False),  # 0.096 of what it began with, 0.22 of the mean
        ([(n, cosine(n, 50)) for n in range(1, 1001)], 50, False),
        ([(n, 0.999**n) for n in range(1, 1001)], 0, False),
        ([(n, 1e-3 if n <= 900 else 1e-6) for n in range(1, 1001)], 0, True),
        ([(n, 0.0) for n in range(1, 1001)], 0, False),  # not optimised
        ([(1, 1e-3)], 0, False),
        ([], 0, False),
    ],
)
def test_a_schedule_that_ended(curve, cycle, ended):
    last = curve[-1][0] if curve else 1000
    assert has_ended(curve, last // 2, last, cycle) == ended


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
        (rates((1e-3, 60)), None),  # of a run that was resumed without a record of rates
    ],
)
def test_what_is_not_optimised(engine, since):
    assert stopped_since("objp", engine, before=90, last=100) == since


def test_what_the_run_before_optimised_did_not_begin_with_the_resumed_one():
    first = EngineHistories(optimised={"objp": (1, None), "obja": (None, None), "probe": (5, None)})
    second = EngineHistories(optimised={"objp": (1, None), "obja": (3, None), "probe": (None, None)})
    joined = first.followed_by(second, 100).optimised
    assert joined == {"objp": (1, None), "obja": (103, None), "probe": (5, 100)}


@pytest.mark.parametrize(
    ("niters", "counting", "place"),
    [
        ([10], Counting(), None),
        ([10, 20], Counting(), 0),
        ([10, 14], Counting(), 0),
        ([10, 13], Counting(), None),
        ([10, 40], Counting(), 0),
        ([10, 41], Counting(), None),
        ([10, 20, 30], Counting(), 1),  # 15 times √1.8 and √1.33 away
        ([10, 40, 80], Counting(), 1),
        ([20, 40, 56], Counting(), 0),  # 28 is 1.4 times 20, and 40 is 1.43 times 28
        ([10, 20, 30, 40, 50, 60, 70, 80], Counting(), 3),
        ([10, 20, 30, 40, 50, 60, 70, 80], Counting((0, 60)), 6),
        ([10, 20, 30, 40, 50, 60, 70, 80], Counting((0, 70)), None),
        ([10, 20, 30, 40], Counting((0, 20, 60)), 2),
        ([0, 10, 20], Counting(), 1),
        ([0, 1, 2], Counting(), 1),
        ([100, 110, 120, 130, 140, 150, 210, 260], Counting(cycle=50), 1),
        ([100, 120, 140, 211], Counting(cycle=50), 0),  # none is at the same phase
    ],
)
def test_half(niters, counting, place):
    assert half_of(niters, counting) == place


def test_half_is_the_nearest_of_all():
    niters = [7 * k * k for k in range(1, 40)]
    for count in range(2, 40):
        *before, last = niters[:count]
        allowed = [k for k, niter in enumerate(before) if 1.4 <= last / niter <= 4]
        nearest = min(allowed, key=lambda k, last=last: abs(math.log(2 * niters[k] / last)), default=None)
        assert half_of(niters[:count], Counting()) == nearest
