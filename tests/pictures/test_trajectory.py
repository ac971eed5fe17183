"""The picture of the way that each tensor took."""

import math
from dataclasses import replace

import numpy as np
from fitting import check_that_all_texts_fit
from trajectories import trajectory

from ptyconv_cli.analysis.reading import read_results
from ptyconv_cli.pictures.trajectory import draw_trajectory
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.run_analysis import Results


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
    assert cells[2, 5] == cells[5, 2] == found.aligned.between[5][2]
    assert np.ma.getmaskarray(cells).diagonal().all()  # as the darkest of all it would look converged
    assert np.ma.getmaskarray(cells).sum() == len(found.niters)
    assert matrix.get_xlim() == matrix.get_ylim() == (2.5, 62.5)


def test_the_change_per_doubling_has_its_tolerance_least_value_and_forecast(trajectory_panels, analyzed):
    results = read_results(analyzed)
    found, panel = results.verdict.doublings["objp"], trajectory_panels(results)[1]
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
    assert panel.get_ylabel() == "change per doubling\n(% of the object's contrast)"
    curves = [line.get_xydata().tolist() for line in panel.lines]
    assert curves[0] == [[point.niter, point.relative] for point in found.points]
    assert [[found.quietest.niter, found.quietest.relative]] in curves
    assert [[found.forecast.niter, found.forecast.low], [found.forecast.niter, found.forecast.high]] in curves
    assert any(set(line.get_ydata()) == {found.tolerance} for line in panel.lines)
    said = [text.get_text() for text in panel.texts]
    assert said[0] == "tolerance 5 %"
    assert said[1].startswith("least: ")
    probe = trajectory_panels(results)[2]
    assert not any(line.get_xdata()[-1] == found.forecast.niter for line in probe.lines), "it has no forecast"


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
