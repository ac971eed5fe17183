"""The states of a quantity: on invented ways whose truth is known, and rule by rule."""

import math
from dataclasses import replace

import numpy as np
import pytest
from motions import along, direction, judged, motion_of
from rarely import long_after

from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results.run_analysis import Doubling
from ptyconv_cli.verdict.evidence import doublings_of, still_since
from ptyconv_cli.verdict.loss import LossSoFar
from ptyconv_cli.verdict.rules import RULES, STATES, Evidence, has_converged, judge
from ptyconv_cli.verdict.segments import Counting

NITERS = list(range(10, 1601, 10))
AT = np.array(NITERS, float)
PREFIXES = (100, 160, 200, 320, 400, 640, 800)
TOLERANCE = 5.0
OF = (quantity_of("objp"), TOLERANCE, [])


RESTART = 300
"""Nobody can know of it before: it is judged from then on."""

SIZES = {
    "exponential approach": lambda size, random: size * np.exp(-AT / 10 ** random.uniform(1, 2.7)),
    **{
        f"power law {power}": lambda size, random, power=power: size * (AT / 10) ** -power
        for power in (0.3, 0.5, 1.0, 2.0)
    },
    "straight travel": lambda size, random: size * AT / 400,
    "restart": lambda size, random: size * 10 / np.where(AT <= RESTART, AT, np.maximum(AT - RESTART, 10)),
    "learning rate to 0": lambda size, random: size * np.clip(1 - AT / AT[-1] / random.uniform(0.5, 1), 0, 1) ** 2,
}


def way(kind, random, numbers=200):
    """Vectors along an invented way; its size is anything from far below the tolerance to twice the contrast."""
    size = 10 ** random.uniform(-2, 0.3)
    if kind == "random walk":
        return (0.05 * size * random.normal(size=(len(NITERS), numbers))).cumsum(0)
    if kind == "jitter":
        return 0.1 * size * random.normal(size=(len(NITERS), numbers))
    return along(SIZES[kind](size, random), random, numbers)


def noisy(vectors, random):
    """With noise of 0 to 20 %: of the tolerance, or of how far each is from the end."""
    share = random.choice([0, 0.05, 0.1, 0.2])
    left = np.sqrt(np.mean((vectors - vectors[-1]) ** 2, 1, keepdims=True))
    scale = share * (TOLERANCE / 100 if random.integers(2) else left)
    return vectors + scale * random.normal(size=vectors.shape)


@pytest.mark.parametrize("kind", long_after(2, [*SIZES, "random walk", "jitter"]))
def test_what_is_called_converged_moves_on_in_at_most_2_percent(kind):
    random, calls, false = np.random.default_rng(0), 0, 0
    for _ in range(40):
        vectors = noisy(way(kind, random), random)
        for niter in PREFIXES:
            count = NITERS.index(niter) + 1
            foreseeable = kind != "restart" or not niter <= RESTART < 2 * niter
            if foreseeable and has_converged(judged(vectors[:count], NITERS[:count])):
                calls += 1
                count = NITERS.index(2 * niter) + 1
                later = judged(vectors[:count], NITERS[:count]).points[-1].relative
                false += later > 2 * TOLERANCE
    assert calls > 30  # the test can fail
    assert false <= 0.02 * calls


@pytest.mark.parametrize("share", [0, 0.05, 0.1, 0.2])
def test_a_true_stop_is_found_by_twice_its_iteration(share):
    random, found = np.random.default_rng(1), 0
    for _ in range(40):
        stop = random.choice(AT[9:60])
        sizes = random.uniform(0.2, 2) * np.clip(1 - AT / stop, 0, 1) ** random.choice([1, 2])
        vectors = along(sizes, random)
        vectors = vectors + share * TOLERANCE / 100 * random.normal(size=vectors.shape)
        count = NITERS.index(int(2 * stop)) + 1
        verdict = judged(vectors[:count], NITERS[:count])
        found += has_converged(verdict) or verdict.state == "not optimised"
    assert found >= 0.9 * 40


def test_jitter_is_told_from_travel_and_from_a_random_walk():
    random = np.random.default_rng(2)
    for kind, state in (
        ("jitter", "jittering"),
        ("straight travel", "drifting"),
        ("random walk", "moving or drifting"),
    ):
        states = []
        for _ in range(20):
            vectors = way(kind, random)
            vectors *= 0.3 / np.sqrt(np.mean((vectors[-1] - vectors[len(vectors) // 2]) ** 2))  # well beyond tolerance
            states.append(judged(vectors, NITERS).state)
        assert sum(found in state for found in states) >= 18, (kind, states)


def test_the_size_of_jitter_is_its_scatter_about_the_point():
    random = np.random.default_rng(3)
    verdict = judged(0.2 * random.normal(size=(80, 4000)), NITERS[:80])
    assert verdict.state == "jittering"
    assert verdict.size == pytest.approx(20, rel=0.03)
    assert not has_converged(verdict)
    assert has_converged(judged(0.2 * random.normal(size=(80, 4000)), NITERS[:80], tolerance=25.0))


def test_what_falls_with_each_doubling_is_converging():
    vectors = (AT / 10)[:, None] ** -0.5 * direction(np.random.default_rng(4), 200)
    verdict = judged(vectors[:40], NITERS[:40])
    assert verdict.points[-1].relative == pytest.approx(100 * (20**-0.5 - 40**-0.5))
    assert (verdict.state, verdict.growth) == ("converging", pytest.approx(2**-0.5))
    slow = judged(along(2 * (AT / 10) ** -0.01, np.random.default_rng(5))[:40], NITERS[:40], tolerance=1e-3)
    assert slow.state == "moving", "it falls by one in a hundred"


def test_a_growing_object_is_measured_by_what_it_holds_itself():
    """It grows by a tenth with each doubling, and each doubling changes it by 3 % of what it holds then."""
    doubled = [(2**k, 2 ** (k - 1), 0.03 * 1.1**k) for k in range(1, 8)]
    contrasts = {2**k: 1.1**k for k in range(8)}
    motion = motion_of(np.zeros((2, 3)), [64, 128])
    found = doublings_of(replace(motion, contrasts=contrasts, doubled=doubled, to_last=[], stopped_since=None), *OF)
    assert [point.relative for point in found.points] == pytest.approx([3] * 7)
    assert found.contrast == pytest.approx(1.1**7)


def points_of(*relative, contrast=()):
    """Doublings up to iteration 800 that changed it so much, of what it held."""
    niters = [800 // 2**k for k in range(len(relative))][::-1]
    held = contrast or [1.0] * len(relative)
    return [Doubling(n, n // 2, one / 100, one, c) for n, one, c in zip(niters, relative, held, strict=True)]


FALLS, HARDLY, RISES = (LossSoFar(800, share) for share in (0.3, 0.01, -0.1))


@pytest.mark.parametrize(
    ("relative", "loss", "state"),
    [
        ((20, 15, 10), None, "converging"),
        ((10, 10, 9.6), None, "moving"),
        ((10, 10, 12.4), None, "moving"),
        ((10, 10, 12.6), None, "drifting"),
        ((10, 10, 12.6), HARDLY, "drifting"),
        ((10, 10, 30), FALLS, "moving"),
        ((10, 10, 30), RISES, "drifting"),
        ((10, 16, 14), HARDLY, "converging"),
        ((8, 10, 11), HARDLY, "drifting"),
        ((12.6,), None, "insufficient"),
        ((1.0, 2.0, 4.9), None, "moving"),  # by its trend beyond the tolerance, but not yet
    ],
)
def test_what_moves_by_how_it_grows_and_what_the_loss_does(relative, loss, state):
    assert judge(Evidence(800, TOLERANCE, points_of(*relative), loss=loss)).state == state


def test_of_what_was_not_there_yet_the_change_says_nothing():
    grown = points_of(2, 10, 12, contrast=(0.4, 0.9, 1.0))
    assert judge(Evidence(800, TOLERANCE, grown)).state == "moving"
    there = points_of(2, 10, 12, contrast=(0.6, 0.9, 1.0))
    assert judge(Evidence(800, TOLERANCE, there)).state == "drifting"


def test_checkpoints_that_scatter_by_more_than_half_scatter_about_no_point():
    at = {"to_last": [(niter, 90.0) for niter in range(400, 800, 50)], "drift_ratio": 1.0, "lag": 8}
    assert judge(Evidence(800, TOLERANCE, points_of(90, 90, 90), **at)).state == "jittering"
    assert judge(Evidence(800, TOLERANCE, points_of(90, 90, 90), widest=50.0, **at)).state == "moving"


def test_every_state_has_a_rule_and_the_last_one_always_fits():
    assert sorted(rule.state for rule in RULES) == sorted(STATES)
    assert RULES[-1].holds(Evidence(800, TOLERANCE, points_of(1, 1, 1)))


def test_step_limited_is_what_falls_only_with_its_learning_rate():
    """Steps of 1e-2 times the learning rate in one direction; the rate goes smoothly to a hundredth."""
    rates = [(niter, 10.0 ** (-2 * niter / 1600)) for niter in range(1, 1601)]
    sizes = 2e-3 * np.cumsum([rate for _, rate in rates])[np.array(NITERS) - 1]
    vectors = along(sizes - sizes[-1], np.random.default_rng(6))
    assert judged(vectors, NITERS, tolerance=50.0, rates=rates).state == "step-limited"
    assert judged(vectors, NITERS, tolerance=50.0, rates=[(n, 1.0) for n, _ in rates]).state == "converged"
    assert judged(vectors, NITERS, tolerance=50.0).state == "converged", "no rates are known"


def test_converged_since_the_first_iteration_from_which_all_are_near():
    sizes = np.where(AT < 200, 0.3, 0.0) + 1e-3 * np.sin(AT)
    verdict = judged(along(sizes, np.random.default_rng(7)), NITERS)
    assert (verdict.state, verdict.since) == ("converged", 200)
    assert verdict.quietest is None, "it does not drift"


def test_a_creep_that_grows_is_not_called_converged():
    """Within the tolerance, but each doubling brings three times as much: the next will be beyond it."""
    sizes = 0.04 * (AT / 1600) ** 1.6
    verdict = judged(along(sizes, np.random.default_rng(8)), NITERS)
    assert verdict.points[-1].relative < TOLERANCE
    assert verdict.state == "moving"


def test_the_forecast_is_the_last_doubling_with_its_interval():
    verdict = judged(along(AT / 400, np.random.default_rng(9)), NITERS)
    forecast, last = verdict.forecast, verdict.points[-1].relative
    assert (forecast.niter, forecast.relative) == (3200, last)
    assert (forecast.low, forecast.high) == (last / 3, 3 * last)
    motion = motion_of(along(AT / 400, np.random.default_rng(9)), NITERS)
    assert doublings_of(motion, quantity_of("tilt"), 0.1, []).forecast is None


def test_nothing_is_foretold_where_the_schedule_of_the_learning_rate_ended():
    """What comes depends on the next schedule: of a rate that only falls, as before, it is known."""
    vectors = along(AT / 400, np.random.default_rng(9))
    to_zero = [(niter, 1 + math.cos(math.pi * niter / 1600)) for niter in range(1, 1601)]
    assert judged(vectors, NITERS, rates=to_zero).forecast is None
    assert judged(vectors, NITERS, rates=[(niter, 0.999**niter) for niter in range(1, 1601)]).forecast is not None


@pytest.mark.parametrize(
    ("change", "is_known"), [(700, True), (800, False), (1000, False), (1599, False), (1600, True)]
)
def test_nothing_is_foretold_where_the_settings_changed_in_the_last_doubling(change, is_known):
    counting = Counting(changes=(change,))
    vectors = along(AT / 400, np.random.default_rng(9))
    moved = 100 * np.sqrt(np.mean((vectors - vectors[-1]) ** 2, 1))
    verdict = judged(vectors, NITERS, counting=counting)
    assert (verdict.forecast is not None) == is_known
    assert (verdict.changed is None) == is_known
    if not is_known:
        assert verdict.changed.niter == change
        first = next(niter for niter in NITERS if niter >= change)
        expected = dict(zip(NITERS, moved, strict=True))[first] if first < 1600 else math.nan
        assert verdict.changed.relative == pytest.approx(expected, nan_ok=True)


def test_iterations_count_from_where_it_was_first_optimised():
    """At 800: it approaches from there as another did from the begin."""
    sizes = np.where(AT <= 800, 10 / AT, 10 / np.maximum(AT - 800, 10))
    vectors = along(sizes, np.random.default_rng(10))
    apart = judged(vectors, NITERS, counting=Counting((0, 800)))
    alone = judged(vectors[80:], NITERS[:80])
    assert apart.state == alone.state
    assert apart.points[-1].relative == pytest.approx(alone.points[-1].relative)
    assert apart.points[-1].since == 1200
    assert {point.niter for point in apart.points if point.since > 800} == {800 + point.niter for point in alone.points}
    assert judged(vectors[:81], NITERS[:81], counting=Counting((0, 800))).state == "insufficient"


SAVED = ([100, 200, 300, 400, 500, 600], [20, 60, 180, 540], [50, 60, 70, 80, 90, 100], [10, 14, 20], [1, 2, 4])


@pytest.mark.parametrize("niters", SAVED)
def test_however_it_is_saved_there_is_a_verdict(niters):
    vectors = along(1 / np.array(niters), np.random.default_rng(0))
    states = [judged(vectors[:count] * 10, niters[:count]).state for count in range(1, len(niters) + 1)]
    known = states.index(next(state for state in states if state != "insufficient"))
    assert "insufficient" not in states[known:], "once there is one, there is always one"


def test_checkpoints_at_equal_phases_of_a_cycle_are_compared():
    """Every 50 iterations it restarts, and scatters widely meanwhile; at equal phases it hardly moves."""
    phase = AT % 50
    vectors = along(0.5 * phase / 50 + 1 / AT, np.random.default_rng(11))
    assert judged(vectors, NITERS).state != "converged"
    apart = judged(vectors, NITERS, counting=Counting(cycle=50))
    assert apart.state == "converged"
    assert {(point.niter - point.since) % 50 for point in apart.points if point.niter >= 200} == {0}


@pytest.mark.parametrize("niters", [[10, 300], [100, 110, 120, 130]])
def test_without_a_checkpoint_near_half_nothing_is_said(niters):
    verdict = judged(along(np.array(niters, float), np.random.default_rng(0)), niters)
    assert (verdict.state, verdict.points) == ("insufficient", [])


def test_broken_and_stopped_come_before_all_else():
    points = [Doubling(200, 100, 0.1, 1.0), Doubling(400, 200, 0.1, 1.0)]
    assert judge(Evidence(400, 5.0, points)).state == "converged"
    assert judge(Evidence(400, 5.0, points, stopped_since=100)).state == "not optimised"
    assert judge(Evidence(400, 5.0, points, stopped_since=100, broken_since=300)).state == "broken"
    lost = [points[0], Doubling(400, 200, math.nan, math.nan)]
    assert judge(Evidence(400, 5.0, lost)).state == "insufficient"


@pytest.mark.parametrize(
    ("moves", "since"),
    [
        ([0, 0, 0], 10),
        ([1, 0, 0], 20),
        ([1, 1, 0], None),
        ([1, 1, 1], None),
        ([0, 0, 1], None),
        ([0], 10),
        ([1], None),
        ([1, 3e-7, 0], 20),
        ([], None),
    ],
)
def test_standing_still(moves, since):
    """Over two intervals at least, where there are two; what rounding moves stands still."""
    niters = [10 * k for k in range(1, len(moves) + 2)]
    assert still_since(niters, moves) == since


def test_a_direction_has_the_size_that_is_asked_for():
    assert np.sqrt(np.mean(direction(np.random.default_rng(0), 50) ** 2)) == pytest.approx(1)
