"""What the dashboard shows."""

from dataclasses import replace

import numpy as np
import pytest
import runs
from fitting import check_that_all_texts_fit, check_that_tick_labels_are_apart
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox
from ptyrad_names import TENSORS
from rarely import long_after

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis.reading import read_results
from ptyconv_cli.pictures.drawing import ShortNumbers, short_number
from ptyconv_cli.pictures.panels import chosen
from ptyconv_cli.results.history import EngineHistories, Point
from ptyconv_cli.results.run_analysis import Results


def lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_values_live_record_and_empty_masks_are_drawn(figure, analyzed):
    results = read_results(analyzed)
    axes = figure(results)["Object phase"]
    assert axes.get_yscale() == "log"
    drawn = lines(axes)
    foreground = [[point.niter, point.value] for point in results.aligned_points["objp_fg"]]
    assert drawn[f"foreground last {short_number(foreground[-1][1], 3)}"] == foreground
    assert [[point.niter, point.value] for point in results.points["objp_fg"]] in drawn.values()
    assert f"raw (last: {round(100 * results.shares['objp'][-1][1])} % removed)" in drawn
    niters = [niter for niter, _ in foreground]
    assert "live record" in drawn
    of_raw = lines(figure(replace(results, aligned_points={}))["Object phase"])
    assert [[niter, 0.02] for niter in niters] in of_raw.values()
    assert "exactly 0" in of_raw
    assert "background last 0 (mask empty)" in of_raw
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


def test_panels_with_nothing_to_draw_say_why(figure):
    nan, zero = float("nan"), [Point(2, 1, 0.0, 9), Point(4, 2, 0.0, 9)]
    engine = EngineHistories(learning_rates={"obja": [(1, 0.0), (2, 0.0)]})
    results = Results("run", {"probe": [Point(2, 1, nan)], "obja_bg": zero, "obja_fg": zero}, engine)
    panels = figure(results)
    assert panels["Probe intensity"].texts[0].get_text() == "no value is finite"
    assert panels["Learning rate"].texts[0].get_text() == "exactly 0 throughout"
    assert not figure(results, linear=True)["Learning rate"].texts
    assert "Object amplitude" not in panels


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
        ([(n, 1.0) for n in range(1, 31)], "live record, in 1 iteration"),
        ([(4, 1.0), (12, 1.0)], "live record, in 4 to 8 iterations"),
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
    check_that_all_texts_fit(drawn)


def refining_all(results):
    """The same, as if tilt and thickness had been refined too."""
    engine = replace(results.engine, tilts={"y": [(5, 0.0), (60, 0.1)]}, slice_thickness=[(5, 4.0), (60, 4.1)])
    return replace(results, engine=engine)


def test_units_on_every_axis(figure, analyzed):
    panels = figure(refining_all(read_results(analyzed)))
    assert {title: axes.get_ylabel() for title, axes in panels.items()} == {
        "Loss": "loss",
        "Object amplitude": "change in 5 iterations",
        "Object phase": "change in 5 iterations (rad)",
        "Object tilt": "tilt (mrad)",
        "Learning rate": "learning rate",
        "Probe intensity": "change in 5 iterations",
        "Scan positions": "change in 5 iterations (Å)",
        "Slice thickness": "thickness (Å)",
    }
    assert {axes.get_xlabel() for axes in panels.values()} == {"iteration"}
    assert list(panels) == [
        *("Loss", "Object amplitude", "Object phase", "Object tilt"),
        *("Learning rate", "Probe intensity", "Scan positions", "Slice thickness"),
    ]


def losses(values, **changes):
    engine = EngineHistories(loss=[(niter, value) for niter, value in enumerate(values, 1)])
    return replace(Results("run", {}, engine), **changes)


def test_a_loss_that_begins_far_above_leaves_room_for_the_others(figure):
    """And is marked at the upper edge, with its value."""
    axes = figure(losses([14610, 8.6, *(0.26 + 0.04 / k for k in range(1, 99))]))["Loss"]
    low, high = axes.get_ylim()
    assert 0.25 < low < 0.2605
    assert 0.3 < high < 0.31
    assert axes.get_yscale() == "linear"
    drawn = lines(axes)
    assert [1, 14610] in drawn["last 0.26"], "the curve itself is whole"
    assert [[1, 0.98], [2, 0.98]] in drawn.values()
    assert "off the axis: up to 14610" in [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.3 - k / 1000 for k in range(99)], "linear"),
        ([50, *(5 + 20 / k for k in range(1, 99))], "linear"),
        ([*[51.0] * 40, 1e5, 1e11], "log"),
        ([0.3, 0.3, 0.9, 5.0, 66.0, 855.0], "log"),
        ([3e4, 20, 0.3], "log"),
        ([*[-51.0] * 40, 1e5, 1e11], "linear"),
    ],
)
def test_other_losses_are_drawn_whole(figure, values, scale):
    """Those of a run that diverged, on a logarithmic axis, if that can hold them."""
    axes = figure(losses(values))["Loss"]
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low < min(values)
    assert max(values) < high
    assert "off the axis" not in " ".join(lines(axes))
    assert figure(losses(values), linear=True)["Loss"].get_yscale() == "linear"


def test_a_loss_that_falls_over_decades_is_not_cut(figure):
    values = [10 ** (4 - k / 20) for k in range(100)]
    axes = figure(losses(values))["Loss"]
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[1] > 1e4


def test_intervals_that_differ_are_said_where_they_matter(figure):
    def with_intervals(*niters):
        points = [Point(niter, since, 1.0) for niter, since in zip(niters[1:], niters, strict=False)]
        return Results("run", {"probe": points}, EngineHistories(loss=[(1, 1.0), (2, 1.0)]))

    differ = "Intervals differ: a longer one gives a larger change; --per-iteration divides by it."
    assert differ in captions(figure(with_intervals(1, 10, 20)))
    assert "Intervals" not in captions(figure(with_intervals(1, 10, 20), per_iteration=True))
    assert "Intervals" not in captions(figure(with_intervals(1, 10, 20), shown=["loss"]))
    assert "Intervals" not in captions(figure(with_intervals(0, 10, 20)))
    divided = "Intervals of 5 to 25 iterations: changes are per iteration."
    assert divided in captions(figure(with_intervals(5, 10, 35)))


def test_changes_per_doubling_have_their_tolerance(figure, analyzed):
    panels = figure(read_results(analyzed), shown=["doubling"])
    assert "change per doubling" in panels["Object phase"].figure.get_suptitle()
    for title, text, tolerance in (("Object phase", "5 %", 5), ("Scan positions", "0.1 px", 0.1)):
        axes = panels[title]
        assert [line.get_linestyle() for line in axes.lines if set(line.get_ydata()) == {tolerance}] == ["--"]
        assert [note.get_text() for note in axes.texts] == [f"tolerance {text}"]


@pytest.mark.parametrize("last", [650, 6500, 65_000, 650_000])
def test_labels_of_long_iterations_do_not_overlap(figure, analyzed, last):
    points = [Point(last * k // 30, last * (k - 1) // 30, 1 / k) for k in range(1, 31)]
    found = replace(read_results(analyzed), points={"objp_fg": points}, aligned_points={}, engine=None)
    (axes,) = [axes for title, axes in figure(found).items() if title == "Object phase"]
    check_that_tick_labels_are_apart(axes)


def test_zoom_starts_each_panel_at_its_knee(figure):
    steep = [Point(n, n - 1, 100.0 if n == 1 else 1 - n / 1000) for n in range(1, 50)]
    straight = [Point(n, n - 1, 5.0 - n / 100) for n in range(1, 50)]
    panels = figure(Results("run", {"probe": steep, "probe_pos_shifts": straight}, None), zoom=True)
    assert panels["Probe intensity"].lines[-1].get_xdata()[0] == 2
    assert panels["Scan positions"].lines[-1].get_xdata()[0] == 1


def captions(panels):
    return " ".join(text.get_text() for text in next(iter(panels.values())).figure.texts)


def test_what_has_no_panel_is_said(figure, analyzed):
    panels = figure(read_results(analyzed / "convergence_iters.json"))
    assert list(panels) == ["Object amplitude", "Object phase", "Probe intensity", "Scan positions"]
    assert "Loss and learning rates: draw convergence_report.json." in captions(panels)
    panels = figure(Results("run", {"probe": [Point(2, 1, 1.0)]}, EngineHistories()))
    assert list(panels) == ["Probe intensity"]
    assert "Loss: not recorded in these checkpoints." in captions(panels)
    assert figure(Results("run", {}, None))[""].texts[0].get_text() == "nothing was recorded, or refined"


def test_what_was_never_refined_has_no_panel(figure, analyzed):
    results = read_results(analyzed)
    assert "Object tilt" not in figure(results)
    still = [Point(10, 5, 1.1e-9), Point(15, 10, 0.0)]  # rounding of fixed scan positions
    panels = figure(replace(results, points={**results.points, "probe_pos_shifts": still}))
    assert list(panels) == ["Loss", "Object amplitude", "Object phase", "Learning rate", "Probe intensity"]
    assert "Not refined: scan positions, object tilt, slice thickness." in captions(panels)
    panels = figure(Results("run", {"probe_pos_shifts": still}, None), shown=["probe_pos_shifts"])
    assert panels["Scan positions"].texts[0].get_text() == "not refined"


def test_the_line_at_which_the_state_holds_says_so(figure, analyzed):
    results = read_results(analyzed)
    assert results.verdict.since is None
    assert not figure(results)["Loss"].texts
    results = replace(results, verdict=replace(results.verdict, state="converged", since=30))
    panels = figure(results)
    for axes in panels.values():
        assert "converged since 30" in [text.get_text() for text in axes.texts]
    assert not figure(results, since=31)["Loss"].texts


def test_the_title_carries_the_sentence(figure, analyzed):
    results = read_results(analyzed)
    assert results.verdict.sentence[:60] in captions(figure(results))


def test_changes_over_uneven_intervals_are_drawn_per_iteration(figure):
    """Else the change over the longest interval would look like a peak."""
    points = [Point(10, 5, 0.5), Point(15, 10, 0.5), Point(40, 15, 2.5)]
    axes = figure(Results("run", {"probe": points}, None))["Probe intensity"]
    assert axes.get_ylabel() == "change per iteration"
    assert lines(axes)["last 0.1"] == [[10, 0.1], [15, 0.1], [40, 0.1]]
    points = [Point(10, 1, 0.9), Point(20, 10, 1.0)]  # as of PtyRAD, which saves at 1, 10, 20
    assert figure(Results("run", {"probe": points}, None))["Probe intensity"].get_ylabel() == (
        "change between checkpoints"
    )


@pytest.mark.parametrize(
    "options", long_after(2, [{}, {"zoom": True}, {"zoom": True, "linear": True}, {"shown": ["objp", "loss"]}])
)
@pytest.mark.parametrize("tensors", [TENSORS, ("objp",)])
def test_no_text_is_over_another_panel(figure, analyzed, options, tensors):
    results = read_results(analyzed)
    options = {**options, "shown": chosen(options["shown"])} if "shown" in options else options
    points = {key: found for key, found in results.points.items() if key.startswith(tensors)}
    panels = list(figure(replace(results, points=points), **options).values())
    check_that_all_texts_fit(panels[0].figure)
    renderer = FigureCanvasAgg(panels[0].figure).get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in panels]
    assert len({round(axes.get_position().y1, 6) for axes in panels[:2]}) == 1
    for k, box in enumerate(boxes):
        for other in panels[:k] + panels[k + 1 :]:
            assert not Bbox.intersection(box, other.get_window_extent(renderer))


@pytest.mark.parametrize(
    ("numbers", "written"),
    [
        ([0.1, 0.2, 0.30000000000000004], ["0.1", "0.2", "0.3"]),
        ([0.11275, 0.113, 0.11325], ["0.11275", "0.113", "0.11325"]),
        ([1e-4, 1.5e-4, 2e-4], ["1e-4", "1.5e-4", "2e-4"]),
        ([-5e-5, 1e-20, 5e-5], ["-5e-5", "0", "5e-5"]),
        ([1e-5, 1e-3, 0.1, 10, 1e3], ["1e-5", "0.001", "0.1", "10", "1000"]),
        ([200000, 400000], ["200000", "400000"]),
        ([1e9, 2e9], ["1e9", "2e9"]),
        ([1000000.5, 1000001.0], ["1000000.5", "1000001"]),
    ],
)
def test_numbers_on_axes_are_short_and_differ(numbers, written):
    assert ShortNumbers().format_ticks(numbers) == written


def test_lengths_of_large_objects_are_in_nm(figure, trajectory_panels, analyzed):
    results = read_results(analyzed)
    of_x_rays = replace(results, dx=1e5 / max(results.shapes["objp"]))
    before, after = (figure(one)["Scan positions"] for one in (results, of_x_rays))
    assert before.get_ylabel().endswith(" (Å)")
    assert after.get_ylabel() == before.get_ylabel().replace("Å", "nm")
    assert len(before.lines) > 1
    for one, other in zip(before.lines, after.lines, strict=True):
        np.testing.assert_allclose(other.get_xydata(), one.get_xydata() / (1, 10))
    before, after = (trajectory_panels(one) for one in (results, of_x_rays))
    assert [axes.get_ylabel() for axes in after if "nm" in axes.get_ylabel()] == ["distance to the last (nm)"]
    assert [axes.child_axes[0].get_ylabel() for axes in after if axes.child_axes][-1] == "px", "as the verdict has it"
    of_both = [axes.collections[0].get_array() for axes in (before[-1], after[-1])]
    np.testing.assert_allclose(*of_both)
    of_x_rays = replace(of_x_rays, verdict=None)
    assert [axes.child_axes[0].get_ylabel() for axes in trajectory_panels(of_x_rays) if axes.child_axes][-1] == "nm"
    for one, other in zip(before, after, strict=True):
        size = 10 if "nm" in other.get_ylabel() else 1
        for line, in_nm in zip(one.lines, other.lines, strict=True):
            if line.get_transform() == one.transData:
                np.testing.assert_allclose(in_nm.get_ydata(), np.array(line.get_ydata()) / size)
