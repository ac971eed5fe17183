"""The verdict: calibrated on simulated curves, and true of the real runs."""

import json
import math
import shutil
from itertools import pairwise

import h5py
import numpy as np
import pytest
import runs
from toy import ToyModel, write_hdf5

from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.convergence import ConvergenceMonitor
from ptyconv_cli.results.history import EngineHistories, Point
from ptyconv_cli.results.series import SERIES
from ptyconv_cli.verdict.evidence import STATES, conclude, evidence_of_run
from ptyconv_cli.verdict.rules import Evidence, _judge_now, judge
from ptyconv_cli.verdict.segments import last_segment
from ptyconv_cli.verdict.trend import theil_sen

TRIALS = 200
LENGTHS = (15, 30, 100)


def falling(count: int) -> dict[str, np.ndarray]:
    """Changes per iteration that still fall at the end."""
    k = np.arange(1, count + 1)
    return {
        "exponential, e^-1.5 in all": np.exp(-1.5 * k / count),
        "exponential, e^-3": np.exp(-3 * k / count),
        "exponential, e^-6": np.exp(-6 * k / count),
        "power law, exponent 0.5": k**-0.5,
        "power law, exponent 1": 1 / k,
        "power law, exponent 2": k**-2.0,
    }


def plateau(count: int, level: float = 0.03) -> np.ndarray:
    return np.exp(-np.arange(1, count + 1) / (0.06 * count)) + level


def restarted(count: int, after: int = 5) -> tuple[np.ndarray, int]:
    """Flat, then from some point on halved every five; cut `after` points behind that."""
    begin = int(0.6 * count)
    flat = np.exp(-np.arange(1, count + 1) / (0.05 * count)) + 0.03
    curve = np.where(np.arange(count) < begin, flat, flat[begin - 1] * 0.5 ** ((np.arange(count) - begin + 1) / 5))
    return curve[: begin + after], begin


def noisy(curve: np.ndarray, size: float, correlated: bool, random: np.random.Generator) -> np.ndarray:
    noise = random.standard_normal(len(curve))
    for k in range(1, len(noise) if correlated else 0):
        noise[k] = 0.5 * noise[k - 1] + math.sqrt(0.75) * noise[k]
    return curve * np.exp(size * noise)


def evidence(curve, interval: int = 10, drift_ratio: float = 1.0, **more) -> Evidence:
    """Of changes per iteration; jitter by default, so that nothing but the curve speaks against having settled."""
    points = [Point(interval * (k + 1), interval * k, interval * float(value)) for k, value in enumerate(curve)]
    drift = [(point.niter, drift_ratio) for point in points]
    return Evidence(**{"points": points, "drift_ratios": drift, "lag": 8, **more})


def share_settled(curve, size, correlated, seed, trials=TRIALS) -> float:
    random = np.random.default_rng(seed)
    settled = [judge_state(evidence(noisy(curve, size, correlated, random))) == "settled" for _ in range(trials)]
    return sum(settled) / trials


def judge_state(of_series: Evidence) -> str:
    return _judge_now(of_series).state  # without the search for its iteration, which takes long


NOISE = pytest.mark.parametrize(("size", "correlated"), [(s, c) for s in (0.05, 0.1, 0.2) for c in (False, True)])


@NOISE
@pytest.mark.parametrize("count", LENGTHS)
def test_what_still_falls_is_hardly_ever_settled(count, size, correlated):
    for seed, (name, curve) in enumerate(falling(count).items()):
        assert share_settled(curve, size, correlated, seed) <= 0.02, name


@NOISE
@pytest.mark.parametrize("count", LENGTHS)
def test_what_falls_again_is_hardly_ever_settled(count, size, correlated):
    for after in (5, 6, 12):
        assert share_settled(restarted(count, after)[0], size, correlated, after) <= 0.02


@pytest.mark.parametrize("count", LENGTHS)
def test_nor_where_the_restart_is_a_known_boundary(count):
    curve, begin = restarted(count)
    whole = evidence(curve)
    rates = [(n, 1e-3 if n <= 10 * begin else 1e-2) for n in range(1, 10 * len(curve) + 1)]
    points, optimised = last_segment(whole.points, "objp", EngineHistories(learning_rates={"objp": rates}))
    assert optimised
    assert [point.niter for point in points] == [10 * (begin + k) for k in range(1, 6)]
    assert judge(Evidence(points)).state == "insufficient"


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("level", [0.01, 0.03, 0.05])
@pytest.mark.parametrize(("count", "found"), [(30, 0.6), (100, 0.95)])
def test_true_plateaus_are_found(count, found, level, correlated):
    for size in (0.05, 0.1):
        assert share_settled(plateau(count, level), size, correlated, 9, 1000) >= found


@pytest.mark.parametrize(
    ("of_series", "state"),
    [
        (evidence(plateau(40)), "settled"),
        (evidence(plateau(40), drift_ratio=7.5), "drifting"),
        (evidence(plateau(40), drift_ratios=[]), "insufficient"),
        (evidence(plateau(40, 0.5)), "insufficient"),  # flat, and far from low
        (evidence(0.001 * np.arange(1, 41.0)), "rising"),
        (evidence([*plateau(37), 0.2, 0.25, 0.3]), "rising"),
        (evidence(1 / np.arange(1, 41)), "improving"),
        (evidence(plateau(7)), "insufficient"),
        (evidence([]), "insufficient"),
        (evidence(np.zeros(20)), "not optimised"),
        (evidence(plateau(40), optimised=False), "not optimised"),
        (evidence([*plateau(39), math.nan]), "unusable"),
        (Evidence([Point(10 * k, 10 * k - 10, 0.0, 0) for k in range(1, 20)]), "unusable"),
        (Evidence([Point(1000 + k, 999 + k, 1.0) for k in range(20)]), "insufficient"),  # no factor of 2
    ],
)
def test_states(of_series, state):
    verdict = judge(of_series)
    assert verdict.state == state
    assert verdict.reason


def test_a_change_that_follows_its_learning_rate_is_step_limited():
    cosine = [(n, 0.5e-3 * (1 + math.cos(math.pi * n / 401))) for n in range(1, 401)]
    change = np.array([np.mean([rate for n, rate in cosine if 10 * k < n <= 10 * k + 10]) for k in range(40)])
    assert judge(evidence(change, learning_rates=cosine)).state == "step-limited"
    assert judge(evidence(change)).state == "improving"
    assert judge(evidence(change / np.arange(1, 41) ** 2, learning_rates=cosine)).state == "improving"


def test_a_tolerance_replaces_the_relative_rule():
    for travelled, tolerance, state in ((1e-3, 2e-3, "settled"), (3e-3, 2e-3, "drifting")):
        of_series = evidence(plateau(40, 0.5), tolerance=tolerance)
        moved = [(point.niter, travelled) for point in of_series.points]
        assert judge(Evidence(**{**vars(of_series), "travelled": moved})).state == state


def test_since_when():
    verdict = judge(evidence(plateau(100)))
    assert verdict.state == "settled"
    shorter = evidence(plateau(100)).until(verdict.since - 10)
    assert judge(shorter).state != "settled"
    assert judge(evidence(plateau(100)).until(verdict.since)).state == "settled"


def test_one_outlier_one_gap_and_uneven_spacing_do_not_matter():
    curve = noisy(plateau(40), 0.05, False, np.random.default_rng(1))
    for at in (25, 36, 39):
        spiked = curve.copy()
        spiked[at] *= 5
        assert judge_state(evidence(spiked)) == "settled", at
    points = evidence(curve).points
    gap = [*points[:29], Point(points[30].niter, points[29].since, 2 * points[30].value), *points[31:]]
    assert judge(Evidence(**{**vars(evidence(curve)), "points": gap})).state == "settled"
    ends = np.cumsum(np.random.default_rng(2).integers(5, 20, 40)).tolist()
    uneven = [
        Point(end, begin, float(value) * (end - begin))
        for begin, end, value in zip([0, *ends], ends, curve, strict=False)
    ]
    drift = [(point.niter, 1.0) for point in uneven]
    assert judge(Evidence(uneven, drift_ratios=drift, lag=8)).state == "settled"


def test_the_half_life_and_the_iteration_of_a_tenth():
    verdict = judge(evidence(0.5 ** (np.arange(1, 41) / 20)))  # halves every 20 changes, that is 200 iterations
    assert verdict.half_life == pytest.approx(200)
    verdict = judge(evidence(np.arange(1, 21) ** -0.7))  # reaches a tenth of its first value at 10^(1/0.7) changes
    assert verdict.state == "improving"
    # The level is the median of the last five, at 18 of 20 changes, and is taken for that of the last.
    assert verdict.reaches[0] == pytest.approx(10 * 10 ** (1 / 0.7), rel=0.15)


def test_theil_sen():
    x = np.arange(20.0)
    assert theil_sen(x, 3 * x + 1) == (pytest.approx(3), pytest.approx(3), pytest.approx(3))
    spoilt = 3 * x + 1
    spoilt[7] = 1000
    assert theil_sen(x, spoilt).median == pytest.approx(3)
    assert theil_sen(np.arange(1000.0), 2 * np.arange(1000.0)).median == pytest.approx(2)
    random = np.random.default_rng(0)
    inside = [s.low <= 2 <= s.high for s in (theil_sen(x, 2 * x + random.normal(size=20)) for _ in range(500))]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.04)


COSINE = [(n, 1 + math.cos(math.pi * n / 101)) for n in range(1, 101)]


def points_to(niter: int, every: int = 10) -> list[Point]:
    return [Point(n, n - every, 1.0) for n in range(every, niter + 1, every)]


@pytest.mark.parametrize(
    ("engine", "first", "optimised"),
    [
        (EngineHistories(), 10, True),
        (EngineHistories(learning_rates={"objp": [(n, 1e-3 if n <= 50 else 1e-4) for n in range(1, 101)]}), 60, True),
        (EngineHistories(learning_rates={"objp": [(n, 1e-3 * 0.98**n) for n in range(1, 101)]}), 10, True),
        (
            EngineHistories(learning_rates={"objp": [(n, 1 + math.cos(math.pi * n / 101)) for n in range(1, 101)]}),
            10,
            True,
        ),
        (EngineHistories(learning_rates={"objp": [(n, 0.0) for n in range(1, 101)]}), 10, False),
        (EngineHistories(optimised={"objp": (31, None)}), 40, True),
        (EngineHistories(optimised={"objp": (1, 50)}), 60, False),
        (EngineHistories(optimised={"objp": (1, 500)}), 10, True),
        (EngineHistories(optimised={"objp": (None, None)}), 10, False),
        (EngineHistories(optimised={"probe": (31, None)}), 10, True),
    ],
)
def test_segments(engine, first, optimised):
    points, found = last_segment(points_to(100), "objp", engine)
    assert points[0].niter == first
    assert found == optimised


def test_real_runs():
    """As the distances to the last snapshot say: none of them is flat at its end, and all drift ratios say travel."""
    expected = {
        "sample": ["improving"] * 6,
        "constant_lr": ["improving"] * 4 + ["drifting"] * 2,
        "cosine_lr": ["rising"] * 4 + ["step-limited"] * 2,
        "clipped": ["improving", "improving", "unusable", "improving", "improving", "drifting"],
    }
    for name, states in expected.items():
        verdict = analyze_run(runs.ALL[name], device="cpu").verdict
        assert [found.state for found in verdict.series.values()] == states, name
        assert verdict.state == min(states, key=STATES.index)
    old = analyze_run(runs.SAMPLE_PT, device="cpu").verdict
    assert old.state == "unusable"
    assert old.remark.startswith("No learning rates are recorded")
    assert verdict.remark == ""


@pytest.mark.parametrize("name", ["sample", "constant_lr", "cosine_lr", "clipped"])
def test_a_run_cut_short_does_not_waver(name):
    """From settled to improving and back at most once, as checkpoints are added."""
    analysis = analyze_run(runs.ALL[name], device="cpu")
    whole = evidence_of_run(analysis.aligned_points, analysis.trajectories, analysis.engine, [], {})
    for of_series in whole.values():
        states = [judge_state(of_series.until(point.niter)) == "settled" for point in of_series.points]
        assert sum(one and not other for one, other in pairwise(states)) <= 1


def test_the_worst_series_is_the_runs_verdict():
    good, bad = evidence(plateau(40)), evidence(1 / np.arange(1, 41))
    verdict = conclude({"objp_fg": good, "probe": bad, "obja_bg": evidence(np.zeros(20))})
    assert (verdict.state, verdict.worst) == ("improving", "probe")
    others = {"obja_fg": evidence(1 / np.arange(20, 61)), "objp_fg": bad}
    since = {key: judge(of_series).since for key, of_series in others.items()}
    assert len(set(since.values())) == 2
    verdict = conclude(others)
    assert (verdict.worst, verdict.since) == min(since.items(), key=lambda pair: pair[1])
    verdict = conclude({"objp_fg": good, "obja_bg": evidence(np.zeros(20))})
    assert verdict.state == "settled"
    assert verdict.since == judge(good).since


def test_a_live_monitor_gives_the_same_verdict(tmp_path):
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True}, model)
    assert monitor.verdict().state == "insufficient"
    rates = {name: [] for name in ("obja", "objp", "probe", "probe_pos_shifts")}
    for niter in range(1, 25):
        model.update()
        monitor.step(model, niter)
        write_hdf5(tmp_path / f"model_iter{niter:04d}.hdf5", model, niter)
    live, post_hoc = monitor.verdict(rates), analyze_run(tmp_path, device="cpu").verdict
    assert {key: found.state for key, found in live.series.items()} == {
        key: found.state for key, found in post_hoc.series.items()
    }
    assert live.reason == post_hoc.reason
    within = monitor.verdict(tolerances={series.tensor: 1e3 for series in SERIES})
    assert within.state == "settled"
    with pytest.raises(ValueError, match="aligned"):
        ConvergenceMonitor({}, model).verdict()


def test_check_says_it_with_its_exit_code(ptyconv):
    run = runs.SAMPLE
    assert ptyconv("check", run).exit_code == 3
    wide = [f"--tol={name}=1" for name in ("obja", "objp", "probe", "probe_pos_shifts")]
    result = ptyconv("check", run, *wide)
    assert result.exit_code == 0
    assert result.output.startswith("verdict: settled since iteration")
    assert "not that it is right" in result.output
    result = ptyconv("check", runs.SAMPLE_PT)
    assert result.exit_code == 4
    assert "No learning rates are recorded" in result.output
    assert ptyconv("check", run / "absent").exit_code == 1
    assert ptyconv("check", run, "--tol", "objp").exit_code == 2
    result = ptyconv("check", run, "--json")
    verdict = json.loads(result.stdout)
    assert verdict["state"] == "improving"
    assert list(verdict["series"]) == [series.key for series in SERIES]
    assert verdict["series"]["probe"]["half_life"] > 0


def test_analyze_ends_with_the_verdict(ptyconv, tmp_path):
    result = ptyconv("analyze", runs.ALL["clipped"], "-o", tmp_path)
    lines = result.stdout.splitlines()
    begin = next(k for k, line in enumerate(lines) if line.startswith("verdict: "))
    assert "loss 0.1" in lines[begin]
    assert max(len(line) for line in lines[begin : lines.index("", begin)]) <= 80
    report = json.loads((tmp_path / "convergence_report.json").read_text())
    assert report["verdict"]["series"]["objp_bg"]["state"] == "unusable"
    assert "\x1b" not in result.output


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.5])
def test_a_damaged_first_iteration_costs_only_itself(ptyconv, tmp_path, value):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    with h5py.File(run_dir / "model_iter0120.hdf5", "r+") as file:
        del file["model_attributes/start_iter/objp"]
        file["model_attributes/start_iter/objp"] = value
    result = ptyconv("check", run_dir)
    assert result.exit_code == 3
    assert "expected an iteration" in " ".join(result.stderr.split())


def test_colours_are_for_terminals_that_want_them(monkeypatch, tmp_path):
    from click.testing import CliRunner

    from ptyconv_cli.cli.main import main

    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = CliRunner().invoke(main, ["check", str(runs.SAMPLE)]).output
    assert "\x1b" not in plain
    assert "\x1b[33mverdict: improving" in CliRunner().invoke(main, ["check", str(runs.SAMPLE)], color=True).output
    monkeypatch.setenv("NO_COLOR", "1")
    assert CliRunner().invoke(main, ["check", str(runs.SAMPLE)], color=True).output == plain


def test_a_verdict_asked_for_at_every_step_remembers_since_when():
    model = ToyModel()
    monitor = ConvergenceMonitor({"aligned": True}, model)
    tolerances = {series.tensor: 1e3 for series in SERIES}
    for niter in range(1, 25):
        model.update()
        monitor.step(model, niter)
        verdict = monitor.verdict(tolerances=tolerances)
    assert verdict.state == "settled"
    assert verdict.since <= 12
