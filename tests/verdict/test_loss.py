"""What the loss says of a run."""

import math

import pytest

from ptyconv_cli.verdict.loss import loss_so_far


def history(values):
    return list(enumerate(values, 1))


def so_far(values, niter=None):
    niter = niter or len(values)
    return loss_so_far(history(values), niter, niter / 2)


def test_the_share_of_its_whole_fall_over_the_last_doubling():
    """From 10 at iteration 3 to 0 in equal steps: over the last doubling it falls by as much as half of 100 steps."""
    found = so_far([10.0] * 3 + [10 - 0.1 * k for k in range(1, 101)])
    assert found.share == pytest.approx(0.5, abs=0.02)
    assert (found.lowest_at, found.rose, found.still_falls) == (103, 0.0, True)
    assert so_far([10.0] * 3 + [10 - 0.1 * k for k in range(1, 101)], 60).share == pytest.approx(0.5, abs=0.05)


def test_first_values_that_are_many_times_the_rest_do_not_count():
    flat = [math.exp(-k / 3) + 1 for k in range(200)]
    assert so_far(flat).share == pytest.approx(so_far([50_000.0, 300.0, *flat[2:]]).share)
    assert so_far(flat).still_falls is False


def test_a_loss_that_rose_is_said_from_a_tenth_of_its_fall_on():
    falls = [10 - k / 10 for k in range(101)]
    assert so_far([*falls, *[0.5] * 20]).rose == 0, "a twentieth of its fall"
    found = so_far([v + 1 for v in [*falls, *[1.5] * 30]])
    assert found.lowest_at == 101
    assert found.rose == pytest.approx(1.5)
    assert found.falls


def test_first_values_that_are_less_than_all_later_ones_do_not_count_either():
    found = so_far([1.0, 2.0, *(50 - 0.1 * k for k in range(100))])
    assert (found.lowest_at, found.rose) == (102, 0.0)


def test_a_single_batch_does_not_count():
    noisy = [10 - 0.05 * k for k in range(150)]
    noisy[149] = 9.0
    assert so_far(noisy).share == pytest.approx(so_far([10 - 0.05 * k for k in range(150)]).share, abs=0.02)


def test_what_never_fell_says_nothing():
    found = so_far([0.4 + 0.001 * k for k in range(40)])
    assert math.isnan(found.share)
    assert (found.still_falls, found.falls, found.left) == (False, True, None)
    assert found.rose > 0


@pytest.mark.parametrize(
    ("after", "left"),
    [
        ([10.0 * 2**k for k in range(1, 20)], 102),  # above forty from the third on: left after the second
        ([39.0] * 5, None),  # ten times its fall above the least, but not four times that
        ([41.0] * 5, 100),
        ([math.nan] * 3, 100),
        ([math.nan], None),  # of an iteration that was not finished
        ([1e9, 1e9, 10.0], None),  # it came back
        ([math.inf], None),  # a single one
        ([math.inf] * 2, 100),
        ([1e9], None),
        ([25.0, 1e9], 101),  # it was on its way
    ],
)
def test_a_run_diverges_where_its_loss_leaves_for_good(after, left):
    falls = [12 - 0.02 * k for k in range(100)]
    falls[-1] = 10.0
    if left == 102:
        after = [20.0, 39.0, *after[2:]]
    assert so_far([*falls, *after]).left == left


def test_nan_between_what_is_recorded_now_and_then_is_no_leave():
    sparse = [12 - 0.02 * k if k % 7 == 0 else math.nan for k in range(100)]
    assert [so_far(sparse, niter).left for niter in range(92, 101)] == [None] * 9
    assert so_far([*sparse[:99], *[math.nan] * 12]).left == 99


def test_a_loss_of_any_sign():
    falls = [-k / 10 for k in range(100)]
    assert so_far(falls).left is None
    assert so_far([*falls, *[200.0] * 3]).left == 100


def test_where_nothing_is_recorded_nothing_is_said():
    assert loss_so_far([], 100, 50) is None
    assert loss_so_far(history([math.nan] * 5), 5, 2.5) is None
    assert loss_so_far([(10, 5.0), (20, 4.0), (30, 3.0)], 25, 12.5).lowest_at == 20, "what came later is not known yet"


def test_with_restarts_whole_cycles_are_compared():
    """Its fall within a cycle of 50 is many times that from cycle to cycle."""
    loss = history([100 / (1 + (n % 50)) + 50 / (1 + n / 100) for n in range(1000)])
    shares = [loss_so_far(loss, niter, niter / 2, cycle=50).share for niter in range(900, 950, 10)]
    assert max(shares) - min(shares) < 0.01
    apart = [loss_so_far(loss, niter, niter / 2).share for niter in range(900, 950, 10)]
    assert max(apart) - min(apart) > max(shares) - min(shares)
