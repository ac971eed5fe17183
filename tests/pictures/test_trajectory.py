"""The picture of the way that each tensor took."""

import math
from dataclasses import replace

import numpy as np
import pytest
import runs
from fitting import check_that_all_texts_fit, check_that_tick_labels_are_apart
from trajectories import trajectory

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis.reading import read_results
from ptyconv_cli.pictures.trajectory import draw_trajectory
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.run_analysis import Doubling, Doublings, Results, RunVerdict


def test_doublings_and_distances_are_drawn(trajectory_panels, analyzed):
    results = read_results(analyzed)
    panels = trajectory_panels(results)
    assert [panels[k].get_title() for k in range(12)] == 3 * [
        "Object amplitude",
        "Object phase",
        "Probe intensity",
        "Scan positions",
    ]
    found = results.trajectories["objp"]
    to_last, matrix = panels[5], panels[9]
    assert to_last.get_ylabel() == "distance to the last (rad)"
    raw, aligned, last = (line.get_xydata().tolist() for line in to_last.lines)
    assert raw == [list(pair) for pair in found.to_last(found.raw)[:-1]]
    assert aligned == [list(pair) for pair in found.to_last(found.aligned)[:-1]]
    assert last[0][0] == 60
    assert [text.get_text() for text in to_last.texts] == ["0 at the last"]
    assert to_last.get_ylim()[0] < min(y for _, y in aligned) / 1.1, "the mark is below the curve"
    (image,) = matrix.collections
    cells = image.get_array()
    assert cells.shape == (len(found.niters), len(found.niters))
    contrast = results.verdict.doublings["objp"].contrast
    assert cells[2, 5] == cells[5, 2] == pytest.approx(100 * found.aligned.between[5][2] / contrast)
    assert np.ma.getmaskarray(cells).diagonal().all()  # as the darkest of all it would look converged
    assert np.ma.getmaskarray(cells).sum() == len(found.niters)
    assert matrix.get_xlim() == matrix.get_ylim() == (2.5, 62.5)


def test_the_change_per_doubling_has_its_tolerance_least_value_and_forecast(trajectory_panels):
    """Of a run whose positions drift, while its probe does not."""
    results = analyze_run(runs.SAMPLE, tolerances={"positions": "0.05px"}, device="cpu").results
    panels = trajectory_panels(results)
    found, panel = results.verdict.doublings["probe_pos_shifts"], panels[3]
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
    assert panel.get_ylabel() == "change per doubling\n(px)"
    assert panels[1].get_ylabel() == "change per doubling\n(% of the object's contrast)"
    curves = [line.get_xydata().tolist() for line in panel.lines]
    assert curves[0] == [[point.niter, point.relative] for point in found.points]
    assert [[found.quietest.niter, found.quietest.relative]] in curves
    assert [[found.forecast.niter, found.forecast.low], [found.forecast.niter, found.forecast.high]] in curves
    assert any(set(line.get_ydata()) == {found.tolerance} for line in panel.lines)
    said = [text.get_text() for text in panel.texts]
    assert said[0] == "0.05 px\ntolerated"
    assert said[1].startswith("least: ")
    probe, of_probe = results.verdict.doublings["probe"], panels[2]
    curves = [line.get_xydata().tolist() for line in of_probe.lines]
    assert [[probe.forecast.niter, probe.forecast.low], [probe.forecast.niter, probe.forecast.high]] in curves
    assert not any(text.get_text().startswith("least: ") for text in of_probe.texts), "it does not drift"


def moving(distance_of, niters, contrast=2.0, tolerance=5.0, **of_last):
    """Return results of a phase at these iterations, whose distances (in rad) a function gives."""
    distances = [[distance_of(j, k) for j in niters[:place]] for place, k in enumerate(niters)]
    last = Doubling(**{"niter": niters[-1], "since": niters[-1] // 2, "distance": 0.1, "relative": 5.0, **of_last})
    verdict = RunVerdict("", "", "", "", None, {"objp": Doublings("%", contrast, tolerance, [last], "")})
    trajectories = {"objp": trajectory(niters, distances, distances)}
    return Results("run", {}, None, trajectories=trajectories, verdict=verdict)


def brightness(axes, values):
    """Return how bright the colours of the heat map are at these distances, in the unit of its bar."""
    (image,) = axes.collections
    return image.cmap(image.norm(values))[:, :3].sum(1)


def framed(axes, tolerance=5.0):
    """Return the iterations from which to which the heat map has a frame, and whether all in it is dark."""
    (frame,) = axes.lines
    (image,) = axes.collections
    begin, end = min(frame.get_xdata()), max(frame.get_xdata())
    assert set(frame.get_xdata()) == set(frame.get_ydata()) == {begin, end}
    inside = (image.get_coordinates()[0, :-1, 0] >= begin).nonzero()[0]
    cells = image.get_array()[np.ix_(inside, inside)]
    dark = brightness(axes, cells.compressed()) <= brightness(axes, [tolerance])
    return begin, end, bool(dark.all())


def test_a_run_that_moved_by_less_than_the_tolerance_ends_in_a_dark_square(trajectory_panels):
    """In units of the change per doubling: 0.1 rad of 2 rad are 5 %, the tolerance."""
    niters = list(range(10, 101, 10))
    settled = trajectory_panels(moving(lambda j, k: 1.0 if j < 50 else 0.09, niters))[2]
    assert framed(settled) == (45, 105, True)
    late = trajectory_panels(moving(lambda j, k: 1.0 if j < 70 else 0.09, niters))[2]
    assert framed(late) == (45, 105, False)
    moves = trajectory_panels(moving(lambda j, k: 0.004 * (k - j), niters))[2]
    assert framed(moves) == (45, 105, False)
    stricter = trajectory_panels(moving(lambda j, k: 1.0 if j < 50 else 0.09, niters, tolerance=2.0))[2]
    assert framed(stricter, 2.0) == (45, 105, False)


def test_what_is_beyond_the_tolerance_is_brighter_by_a_step(trajectory_panels):
    axes = trajectory_panels(moving(lambda j, k: 1.0, list(range(10, 101, 10))))[2]
    zero, below, at, above, far, farthest = brightness(axes, [0, 4.8, 5, 5.2, 40, 80])
    assert zero < below < at < above < far < farthest
    assert above - at > 5 * (at - below), "its edge is seen"


def test_the_bar_of_the_heat_map_marks_the_tolerance(trajectory_panels):
    niters = list(range(10, 101, 10))
    for linear in (False, True):
        (bar,) = trajectory_panels(moving(lambda j, k: 1.0, niters), linear=linear)[2].child_axes
        assert bar.get_ylabel() == "% of the object's contrast"
        ticks = dict(zip(bar.get_yticks().tolist(), [label.get_text() for label in bar.get_yticklabels()], strict=True))
        assert (ticks[0], ticks[5]) == ("0", "5")
        (note,) = [text for text in bar.texts if text.get_text()]
        assert (note.get_text(), note.get_position()[1]) == ("tolerated", 2.5)
        check_that_tick_labels_are_apart(bar, along="y")


def test_a_heat_map_has_no_frame_without_the_last_doubling(trajectory_panels):
    niters = list(range(10, 101, 10))
    assert not trajectory_panels(moving(lambda j, k: 1.0, niters, niter=90, since=40))[2].lines
    assert framed(trajectory_panels(moving(lambda j, k: 0.01, niters), since=60)[2]) == (55, 105, True)


def test_distances_without_a_tolerance_are_in_their_own_unit(trajectory_panels):
    niters = list(range(10, 101, 10))
    bare = replace(moving(lambda j, k: 0.5, niters), verdict=None)
    vanished = moving(lambda j, k: 0.5, niters, contrast=0.0)
    for results in (bare, vanished):
        axes = trajectory_panels(results)[2]
        assert axes.child_axes[0].get_ylabel() == "rad"
        assert set(axes.collections[0].get_array().compressed()) == {0.5}
        assert not axes.lines
    captions = [text.get_text() for text in trajectory_panels(bare)[0].figure.texts]
    assert "Aligned distance between any two checkpoints. Dark: nearly the same." in captions


@pytest.mark.parametrize("last", [650, 6500, 65_000, 650_000])
def test_labels_of_a_long_trajectory_do_not_overlap(trajectory_panels, analyzed, last):
    niters = [last * k // 64 for k in range(1, 65)]
    results = moving(lambda j, k: 1.0, niters)
    found, one = results.trajectories["objp"], results.verdict.doublings["objp"]
    points = [Doubling(niter, niter // 2, 1.0, 50.0 / k) for k, niter in enumerate(niters[2:], 1)]
    names = ("obja", "objp", "probe", "probe_pos_shifts", "probe_weights")
    verdict = replace(results.verdict, doublings=dict.fromkeys(names, replace(one, points=points)))
    panels = trajectory_panels(replace(results, trajectories=dict.fromkeys(names, found), verdict=verdict))
    assert len(panels) == 15
    for axes in panels:
        check_that_tick_labels_are_apart(axes)
    check_that_all_texts_fit(panels[0].figure)


def test_trajectories_of_one_tensor_linear_since(trajectory_panels, analyzed):
    results = read_results(analyzed)
    results = replace(results, trajectories={"probe": results.trajectories["probe"]})
    panels = trajectory_panels(results, linear=True, since=30)
    assert [axes.get_title() for axes in panels] == ["Probe intensity"] * 3
    assert panels[1].get_yscale() == "linear"
    assert min(x for line in panels[1].lines for x, _ in line.get_xydata()) == 30
    assert panels[2].get_xlim()[0] == 27.5
    panels = trajectory_panels(results, since=4000)
    assert {axes.texts[0].get_text() for axes in panels[1:]} == {"nothing from iteration 4000 on"}
    assert panels[0].texts[0].get_text() == "nothing at half yet"


def test_trajectories_with_nothing_to_draw_say_why(trajectory_panels):
    nan = math.nan
    still = [[], [0.0], [0.0, 0.0], [0.0, 0.0, 0.0]]
    broken = [[], [nan], [nan, nan], [nan, nan, nan]]
    two = trajectory([10, 20], [[], [1.0]], [[], [1.0]])
    results = Results(
        "run",
        {},
        None,
        trajectories={
            "obja": trajectory([10, 20, 30, 40], still, still),
            "objp": two,
            "probe": trajectory([10, 20, 30, 40], broken, broken),
        },
    )
    panels = trajectory_panels(results)
    assert {panels[k].texts[0].get_text() for k in (0, 1, 2)} == {"nothing at half yet"}
    assert [panels[k].texts[0].get_text() for k in (3, 6)] == ["exactly 0 throughout"] * 2
    assert {panels[k].texts[0].get_text() for k in (5, 8)} == {"no value is finite"}
    assert panels[7].texts[0].get_text() == "too few checkpoints"
    assert len(panels[4].lines) == 3


def test_a_diverged_end_does_not_look_converged(trajectory_panels):
    nan = math.nan
    distances = [[], [1.0], [2.0, 1.0], [3.0, 2.0, 1.0], [nan] * 4]
    found = trajectory([10, 20, 30, 40, 50], distances, distances)
    panels = trajectory_panels(Results("run", {}, None, trajectories={"objp": found}))
    assert panels[1].texts[0].get_text() == "no value is finite"
    cells = panels[2].collections[0].get_array()
    assert np.ma.getmaskarray(cells)[4].all()


def test_what_only_raw_distances_show_is_drawn(trajectory_panels):
    raw, still = [[], [1.0], [2.0, 1.0]], [[], [0.0], [0.0, 0.0]]
    panels = trajectory_panels(Results("run", {}, None, trajectories={"objp": trajectory([1, 2, 3], raw, still)}))
    assert panels[1].texts[0].get_text() == "exactly 0 throughout"
    assert panels[1].lines[0].get_ydata().tolist() == [2.0, 1.0]


def test_distances_of_a_diverged_run_are_drawn():
    distances = [[], [1e-30], [1e38, 1e38], [1e38, 1.00001e38, 2e38]]
    found = trajectory([10, 20, 30, 40], distances, distances)
    for linear in (False, True):
        assert draw_trajectory(Results("run", {}, None, trajectories={"objp": found}), "png", linear=linear)


def test_a_vector_picture_of_a_long_run_is_not_huge():
    niters = list(range(1, 65))
    distances = [[float(k - j) for j in range(k)] for k in range(64)]
    found = trajectory(niters, distances, distances)
    assert len(draw_trajectory(Results("run", {}, None, trajectories={"objp": found}), "svg")) < 1e6


def test_the_trajectory_of_what_was_never_refined_has_no_column(trajectory_panels, analyzed):
    results = read_results(analyzed)
    still = [Point(20, 10, 1e-9), Point(30, 20, 0.0)]
    panels = trajectory_panels(replace(results, points={**results.points, "probe_pos_shifts": still}))
    assert "Scan positions" not in {axes.get_title() for axes in panels}
    said = [text.get_text() for text in panels[0].figure.texts]
    assert "Solid: aligned. Faint: raw. Not refined: scan positions." in said


def test_two_or_three_checkpoints_have_no_rows_that_need_more(trajectory_panels):
    distances = [[], [0.001], [0.00101, 0.00100]]
    found = trajectory([10, 20, 30], distances, distances)
    axes, _ = trajectory_panels(Results("run", {}, None, trajectories={"objp": found}))
    assert "More rows need more checkpoints." in axes.figure.texts[1].get_text()


def test_captions_of_a_trajectory_are_one_line_and_fit(trajectory_panels, analyzed):
    results = read_results(analyzed)
    for trajectories in (results.trajectories, {"objp": results.trajectories["objp"]}):
        figure = trajectory_panels(replace(results, trajectories=trajectories))[0].figure
        assert not any("\n" in text.get_text() or "…" in text.get_text() for text in figure.texts)
        check_that_all_texts_fit(figure)
