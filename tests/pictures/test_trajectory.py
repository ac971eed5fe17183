"""The picture of the way that each tensor took."""

import math
from dataclasses import replace

import numpy as np

from ptyconv_cli.pictures.trajectory import draw_trajectory
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.reading import read_results
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.trajectory import Trajectory


def test_distances_and_drift_ratios_are_drawn(trajectory_panels, analyzed):
    results = read_results(analyzed)
    panels = trajectory_panels(results)
    assert [panels[k].get_title() for k in range(12)] == 3 * [
        "Object amplitude",
        "Object phase",
        "Probe intensity",
        "Scan positions",
    ]
    found = results.trajectories["objp"]
    to_last, matrix, drift = panels[1], panels[5], panels[9]
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
    assert cells[2, 5] == cells[5, 2] == found.aligned[5][2]
    assert np.ma.getmaskarray(cells).diagonal().all()  # as the darkest of all it would look settled
    assert np.ma.getmaskarray(cells).sum() == len(found.niters)
    assert matrix.get_xlim() == matrix.get_ylim() == (2.5, 62.5)
    assert [list(pair) for pair in found.drift_ratio(found.aligned)] in [
        line.get_xydata().tolist() for line in drift.lines
    ]
    assert [text.get_text() for text in drift.texts] == ["jitter", "random\nwalk", "straight\ntravel"]
    assert {line.get_ydata()[0] for line in drift.lines} > {1, found.lag}


def test_trajectories_of_one_tensor_linear_since(trajectory_panels, analyzed):
    results = read_results(analyzed)
    results = replace(results, trajectories={"probe": results.trajectories["probe"]})
    panels = trajectory_panels(results, linear=True, since=30)
    assert [axes.get_title() for axes in panels] == ["Probe intensity"] * 3
    assert panels[0].get_yscale() == "linear"
    assert panels[2].get_yscale() == "log"  # a ratio, no distance
    assert min(x for line in panels[0].lines for x, _ in line.get_xydata()) == 30
    assert panels[1].get_xlim()[0] == 27.5
    panels = trajectory_panels(results, since=4000)
    assert {axes.texts[0].get_text() for axes in panels} == {"nothing from iteration 4000 on"}


def test_trajectories_with_nothing_to_draw_say_why(trajectory_panels):
    nan = math.nan
    still = [[], [0.0], [0.0, 0.0], [0.0, 0.0, 0.0]]
    broken = [[], [nan], [nan, nan], [nan, nan, nan]]
    two = Trajectory([10, 20], "rad", 9, 9, [[], [1.0]], [[], [1.0]])
    results = Results(
        "run",
        {},
        None,
        trajectories={
            "obja": Trajectory([10, 20, 30, 40], "", 9, 9, still, still),
            "objp": two,
            "probe": Trajectory([10, 20, 30, 40], "", 9, 9, broken, broken),
        },
    )
    panels = trajectory_panels(results)
    assert [panels[k].texts[0].get_text() for k in (0, 3)] == ["exactly 0 throughout"] * 2
    assert panels[6].texts[0].get_text() == "no value is finite"  # 0 / 0
    assert {panels[k].texts[0].get_text() for k in (2, 5, 8)} == {"no value is finite"}
    assert [panels[k].texts[0].get_text() for k in (4, 7)] == ["too few checkpoints"] * 2
    assert len(panels[1].lines) == 3


def test_a_diverged_end_does_not_look_settled(trajectory_panels):
    nan = math.nan
    distances = [[], [1.0], [2.0, 1.0], [3.0, 2.0, 1.0], [nan] * 4]
    found = Trajectory([10, 20, 30, 40, 50], "rad", 9, 9, distances, distances)
    panels = trajectory_panels(Results("run", {}, None, trajectories={"objp": found}))
    assert panels[0].texts[0].get_text() == "no value is finite"
    cells = panels[1].collections[0].get_array()
    assert np.ma.getmaskarray(cells)[4].all()


def test_what_only_raw_distances_show_is_drawn(trajectory_panels):
    raw, still = [[], [1.0], [2.0, 1.0]], [[], [0.0], [0.0, 0.0]]
    panels = trajectory_panels(
        Results("run", {}, None, trajectories={"objp": Trajectory([1, 2, 3], "rad", 9, 9, raw, still)})
    )
    assert panels[0].texts[0].get_text() == "exactly 0 throughout"
    assert panels[0].lines[0].get_ydata().tolist() == [2.0, 1.0]


def test_distances_of_a_diverged_run_are_drawn():
    distances = [[], [1e-30], [1e38, 1e38], [1e38, 1.00001e38, 2e38]]
    found = Trajectory([10, 20, 30, 40], "rad", 9, 9, distances, distances)
    for linear in (False, True):
        assert draw_trajectory(Results("run", {}, None, trajectories={"objp": found}), "png", linear=linear)


def test_a_vector_picture_of_a_long_run_is_not_huge():
    niters = list(range(1, 301))
    distances = [[float(k - j) for j in range(k)] for k in range(300)]
    found = Trajectory(niters, "rad", 9, 9, distances, distances)
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
    found = Trajectory([10, 20, 30], "rad", 9, 9, distances, distances)
    (axes,) = trajectory_panels(Results("run", {}, None, trajectories={"objp": found}))
    assert "More rows need more checkpoints." in axes.figure.texts[1].get_text()


def test_captions_of_a_trajectory_are_one_line_and_fit(trajectory_panels, analyzed):
    results = read_results(analyzed)
    for trajectories in (results.trajectories, {"objp": results.trajectories["objp"]}):
        figure = trajectory_panels(replace(results, trajectories=trajectories))[0].figure
        assert not any("\n" in text.get_text() or "…" in text.get_text() for text in figure.texts)
        check_that_all_texts_fit(figure)


def test_many_checkpoints_are_thinned(trajectory_panels):
    niters = list(range(1, 1002))
    distances = [[float(k - j) for j in range(k)] for k in range(1001)]
    results = Results("run", {}, None, trajectories={"objp": Trajectory(niters, "rad", 9, 9, distances, distances)})
    (image,) = trajectory_panels(results)[1].collections
    assert image.get_array().shape == (251, 251)
    assert image.get_array()[3, 1] == image.get_array()[1, 3] == 8
