"""Which checkpoint to keep."""

import pytest
from motions import CONTRAST

from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.verdict.evidence import Motion, doublings_of
from ptyconv_cli.verdict.keep import keep_of
from ptyconv_cli.verdict.loss import LossSoFar
from ptyconv_cli.verdict.rules import has_converged

NITERS = [25, 50, 100, 200, 400, 800]
FALLS, HARDLY, RISES = (LossSoFar(800, share) for share in (0.3, 0.01, -0.1))


def part(*relative, key="objp", held=(), **motion):
    """A part of the object whose changes per doubling, up to 800, are these, of what it held."""
    niters = NITERS[-len(relative) :]
    contrasts = dict(zip(niters, held or [CONTRAST] * len(niters), strict=True))
    doubled = [(n, n // 2, one / 100 * contrasts[n]) for n, one in zip(niters, relative, strict=True)]
    return doublings_of(Motion(800, contrasts, doubled, **motion), quantity_of(key), 5.0, [])


def kept(*relative, loss=HARDLY, **other):
    return keep_of({"objp": part(*relative, **other)}, NITERS, loss).niter


@pytest.mark.parametrize(
    ("relative", "loss", "niter"),
    [
        ((20, 12, 10, 4), HARDLY, 800),  # within the tolerance
        ((20, 12, 10, 30), FALLS, 800),  # the loss still falls
        ((20, 18, 12, 10), HARDLY, 800),  # each doubling brings less
        ((20, 18, 12, 10), None, 800),
        ((20, 18, 12, 10), RISES, 800),
        ((20, 18, 10, 9.8), HARDLY, 800),  # a little less
        ((20, 18, 10, 9.8), RISES, 800),  # it is the quietest
        ((20, 9, 10, 9.8), RISES, 200),  # but not less by much, and the loss has risen
        ((20, 12, 10, 30), HARDLY, 200),
        ((14, 12, 10, 30), HARDLY, 100),
        ((20, 16, 10, 30), None, 400),
        ((10, 11, 12, 14), HARDLY, 100),
    ],
)
def test_the_rule(relative, loss, niter):
    assert kept(*relative, loss=loss) == niter


def test_what_is_called_converged_is_kept():
    """It jitters by less than the tolerance, though two checkpoints differ by more."""
    near = {"to_last": [(400, 0.06), (500, 0.06), (600, 0.06), (700, 0.06)], "drift_ratio": 1.0, "lag": 8}
    jitters = part(3, 4, 6, 6.5, **near)
    assert has_converged(jitters)
    assert keep_of({"objp": jitters}, NITERS, HARDLY).niter == 800


def test_early_changes_do_not_count_where_there_was_no_object_yet():
    assert kept(2, 9, 11, 30, held=(0.3, 0.8, 0.9, 1.0)) == 200
    assert kept(2, 9, 11, 30, held=(0.6, 0.8, 0.9, 1.0)) == 100


def test_both_parts_must_be_within_the_tolerance_and_the_phase_says_when():
    phase, amplitude = part(12, 4, 4), part(6, 8, 12, key="obja")
    assert keep_of({"objp": phase, "obja": amplitude}, NITERS, HARDLY).niter == 400
    calm = part(6, 5, 4, key="obja")
    assert keep_of({"objp": phase, "obja": calm}, NITERS, HARDLY).niter == 800
    assert keep_of({"obja": amplitude}, NITERS, HARDLY).niter == 200


def test_of_a_run_that_diverged_one_from_before():
    left = LossSoFar(lowest_at=120, share=-50, left=300)
    found = keep_of({"objp": part(20, 30, 90)}, NITERS, left)
    assert found.niter == 100
    assert found.because == "the loss was lowest at iteration 120, before the run diverged"
    assert keep_of({"objp": part(20, 30, 90)}, NITERS, LossSoFar(3, -50, left=10)) is None, "none is from before"
    broken = part(20, 12, 10, broken_since=400)
    assert keep_of({"objp": broken}, NITERS, HARDLY).niter == 200
    assert keep_of({"objp": part(20, 12, 10, broken_since=25)}, NITERS, HARDLY) is None


def test_where_nothing_can_be_compared_it_is_the_last():
    early = doublings_of(Motion(800, {800: 1.0}, []), quantity_of("objp"), 5.0, [])
    assert keep_of({"objp": early}, NITERS, None).niter == 800
    assert keep_of({"probe": part(4, 3, 2, key="probe")}, NITERS, None) is None


def test_of_what_stopped_early_it_is_said_what_it_was_until_then():
    """It stopped at 400 of 800: its last doubling ends there, and every later checkpoint is the same."""
    doubled = [(200, 100, 0.12), (400, 200, 0.1)]
    until = doublings_of(Motion(400, {200: 1.0, 400: 1.0}, doubled), quantity_of("objp"), 5.0, [])
    found = keep_of({"objp": until}, NITERS, HARDLY)
    assert (found.niter, found.because) == (
        800,
        "it is the last, and the object changes less than before",
    )


def test_it_says_why():
    assert "loss still falls" in keep_of({"objp": part(20, 30, 60)}, NITERS, FALLS).because
    quiet = keep_of({"objp": part(14, 12, 10, 30)}, NITERS, HARDLY).because
    assert quiet == (
        "it is the first whose change per doubling (14 %) is near the least (10 %, at 400); later ones moved the "
        "object, while over the last doubling the loss hardly fell"
    )
    assert "loss" not in keep_of({"objp": part(14, 12, 10, 30)}, NITERS, None).because


def test_it_says_what_changes_less_and_what_is_not_known():
    grows = {"objp": part(40, 20, 10), "obja": part(3, 6, 9, key="obja")}
    assert keep_of(grows, NITERS, HARDLY).because == "it is the last, and the object phase changes less than before"
    unknown = doublings_of(Motion(800, {800: CONTRAST}, []), quantity_of("objp"), 5.0, [])
    half_known = {"objp": unknown, "obja": part(3, 2, 1, key="obja")}
    assert keep_of(half_known, NITERS, HARDLY) == (800, "it is the last, and it is too early to tell")
