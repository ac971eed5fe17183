"""What the dashboard shows."""

import numpy as np
import pytest
import runs

from ptyconv_cli import analyze_run
from ptyconv_cli.results.history import EngineHistories, Point
from ptyconv_cli.results.reading import read_results
from ptyconv_cli.results.run_analysis import Results


def lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_eight_panels_with_units_on_every_axis(figure, analyzed):
    panels = figure(read_results(analyzed))
    assert {title: axes.get_ylabel() for title, axes in panels.items()} == {
        "Loss": "loss",
        "Object amplitude": "change",
        "Object phase": "change (rad)",
        "Object tilt": "tilt (mrad)",
        "Learning rate": "learning rate",
        "Probe intensity": "change",
        "Scan positions": "change (Å)",
        "Slice thickness": "thickness (Å)",
    }
    assert {axes.get_xlabel() for axes in panels.values()} == {"iteration"}
    assert list(panels) == [
        *("Loss", "Object amplitude", "Object phase", "Object tilt"),
        *("Learning rate", "Probe intensity", "Scan positions", "Slice thickness"),
    ]


def test_values_live_record_and_empty_masks_are_drawn(figure, analyzed):
    results = read_results(analyzed)
    axes = figure(results)["Object phase"]
    assert axes.get_yscale() == "log"
    drawn = lines(axes)
    foreground = [[point.niter, point.value] for point in results.aligned_points["objp_fg"]]
    assert drawn[f"foreground last {foreground[-1][1]:.3g}"] == foreground
    assert [[point.niter, point.value] for point in results.points["objp_fg"]] in drawn.values()
    assert f"raw (last: {round(100 * results.shares['objp'][-1][1])} % taken out)" in drawn
    niters = [niter for niter, _ in foreground]
    assert [[niter, 0.02] for niter in niters] in drawn.values()
    assert {"exactly 0", "live record"} < set(drawn)
    assert "background last 0 (mask empty)" in drawn
    live = results.engine.convergence["objp_fg"]
    assert [list(pair) for pair in live] in drawn.values()


def test_linear(figure, analyzed):
    panels = figure(read_results(analyzed), linear=True)
    assert {axes.get_yscale() for axes in panels.values()} == {"linear"}
    assert "exactly 0" not in lines(panels["Object phase"])


def test_per_iteration_divides_by_each_interval(figure):
    points = [Point(20, 10, 5.0), Point(40, 20, 5.0)]
    panels = figure(Results("run", {"probe": points}, EngineHistories()), per_iteration=True)
    assert panels["Probe intensity"].get_ylabel() == "change per iteration"
    assert lines(panels["Probe intensity"])["last 0.25"] == [[20, 0.5], [40, 0.25]]


def test_since(figure, analyzed):
    panels = figure(read_results(analyzed), since=40)
    for axes in panels.values():
        drawn = [x for curve in lines(axes).values() for x, _ in curve]
        assert min(drawn) >= 40


def test_since_beyond_the_end_says_so(figure, analyzed):
    panels = figure(read_results(analyzed), since=4000)
    assert {axes.texts[0].get_text() for axes in panels.values()} == {"nothing from iteration 4000 on"}


def test_zoom_starts_each_panel_at_its_bend(figure):
    steep = [Point(n, n - 1, 100.0 if n == 1 else 1 - n / 1000) for n in range(1, 50)]
    straight = [Point(n, n - 1, 5.0 - n / 100) for n in range(1, 50)]
    panels = figure(Results("run", {"probe": steep, "probe_pos_shifts": straight}, None), zoom=True)
    assert panels["Probe intensity"].lines[-1].get_xdata()[0] == 2
    assert panels["Scan positions"].lines[-1].get_xdata()[0] == 1


def test_panels_with_nothing_to_draw_say_why(figure):
    nan, zero = float("nan"), [Point(2, 1, 0.0, 9), Point(4, 2, 0.0, 9)]
    engine = EngineHistories(learning_rates={"obja": [(1, 0.0), (2, 0.0)]})
    results = Results("run", {"probe": [Point(2, 1, nan)], "obja_bg": zero, "obja_fg": zero}, engine)
    panels = figure(results)
    assert panels["Probe intensity"].texts[0].get_text() == "no value is finite"
    assert panels["Object amplitude"].texts[0].get_text() == "exactly 0 throughout"
    assert panels["Learning rate"].texts[0].get_text() == "exactly 0 throughout"
    assert not figure(results, linear=True)["Object amplitude"].texts


def test_the_tensors_of_the_learning_rates_can_be_told_apart(figure):
    rates = {f"tensor {k}": [(1, 1e-3), (2, 0.0)] for k in range(6)}
    axes = figure(Results("run", {}, EngineHistories(learning_rates=rates)))["Learning rate"]
    drawn = [line for line in axes.lines if line.get_label().startswith("tensor")]
    assert len({line.get_color() for line in drawn}) == 6
    assert len({str(line.get_linestyle()) + str(line._unscaled_dash_pattern) for line in drawn}) == 6
    assert [text.get_text() for text in axes.get_legend().get_texts()].count("exactly 0") == 1


@pytest.mark.parametrize(
    ("live", "label"),
    [
        ([(10, 1.0), (20, 1.0), (30, 1.0)], "live record"),
        ([(n, 1.0) for n in range(1, 31)], "live record, each over 1 iteration"),
        ([(4, 1.0), (12, 1.0)], "live record, each over 4 to 8 iterations"),
    ],
)
def test_a_live_record_over_other_intervals_says_so(figure, live, label):
    points = [Point(20, 10, 5.0), Point(30, 20, 5.0)]
    results = Results("run", {"probe": points}, EngineHistories(convergence={"probe": live}))
    assert label in lines(figure(results)["Probe intensity"])
    assert "live record" in lines(figure(results, per_iteration=True)["Probe intensity"])


def test_a_flat_curve_does_not_keep_a_panel_from_zooming(figure, analyzed):
    axes = figure(read_results(analyzed), zoom=True)["Object phase"]
    assert min(x for curve in lines(axes).values() for x, _ in curve) > 10


def test_empty_panels_say_why(figure, analyzed):
    bare = read_results(analyzed / "convergence_iters.json")
    panels = figure(bare)
    assert "not in convergence_iters.json" in panels["Loss"].texts[0].get_text()
    old = Results("run", {"probe": [Point(2, 1, 1.0)]}, EngineHistories())
    panels = figure(old)
    assert "not recorded" in panels["Learning rate"].texts[0].get_text()
    assert panels["Object phase"].texts[0].get_text() == "objp was not analyzed"


def test_a_single_bare_change_has_no_known_interval(figure, tmp_path):
    (tmp_path / "convergence_iters.json").write_text('{"probe": [[20, 0.5]]}')
    panels = figure(read_results(tmp_path), per_iteration=True)
    assert panels["Probe intensity"].texts[0].get_text().startswith("no interval is known")


def test_bare_changes_per_iteration_leave_out_the_first(figure, analyzed):
    """Nobody wrote down where its interval began."""
    panels = figure(read_results(analyzed / "convergence_iters.json"), per_iteration=True)
    assert lines(panels["Probe intensity"]).popitem()[1][0][0] == 15


def test_boundaries_are_marked_and_curves_break_where_nothing_was_compared(figure, trajectory_panels):
    results = analyze_run(runs.DATA / "phaser" / "epie_resize", device="cpu").results
    panels = figure(results)
    for title in ("Loss", "Object phase", "Probe intensity"):
        dashed = [line.get_xdata()[0] for line in panels[title].lines if line.get_linestyle() == "-."]
        assert dashed == [4, 8]
    assert not panels["Object tilt"].lines
    (curve,) = [line for line in panels["Probe intensity"].lines if str(line.get_label()).startswith("last")]
    drawn = curve.get_xydata()
    assert drawn[:, 0].tolist() == [4, 6, 8, 10, 12, 14]
    assert np.isnan(drawn[:, 1]).tolist() == [False, True, False, True, False, False]
    assert not [line for axes in trajectory_panels(results) for line in axes.lines if line.get_linestyle() == "-."]
    joined = analyze_run(runs.DATA / "phaser" / "lsqml", device="cpu").results
    to_last = trajectory_panels(joined)[0]
    assert [line.get_xdata()[0] for line in to_last.lines if line.get_linestyle() == "-."] == [8]


def test_the_caption_of_a_picture_with_boundaries_fits(figure):
    results = analyze_run(runs.DATA / "phaser" / "epie_resize", device="cpu").results
    drawn = next(iter(figure(results).values())).figure
    drawn.canvas.draw()
    boxes = [text.get_window_extent() for text in drawn.texts]
    assert max(box.x1 for box in boxes) < drawn.bbox.width
    assert min(box.x0 for box in boxes) > 0
