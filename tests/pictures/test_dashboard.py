"""`ptyconv plot`: from results alone, and what the dashboard shows."""

import io
import json
import math
import shutil
from dataclasses import replace
from itertools import pairwise

import h5py
import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest
import runs
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from ptyconv_cli import analyze_run
from ptyconv_cli.pictures.dashboard import draw_dashboard
from ptyconv_cli.pictures.knee import knee
from ptyconv_cli.pictures.panels import PlotOptions, chosen
from ptyconv_cli.pictures.ticks import ShortNumbers, short_number
from ptyconv_cli.pictures.trajectory import draw_trajectory
from ptyconv_cli.results.history import EngineHistories, Point
from ptyconv_cli.results.reading import read_results
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.series import TENSORS
from ptyconv_cli.results.trajectory import Trajectory

STARTS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory):
    """Results of the clipped run, which has every kind of panel, and an empty mask."""
    from click.testing import CliRunner

    from ptyconv_cli.cli.main import main

    folder = tmp_path_factory.mktemp("results")
    CliRunner().invoke(main, ["analyze", str(runs.ALL["clipped"]), "-o", str(folder), "--no-plot"])
    return folder


@pytest.fixture
def figure(monkeypatch):
    """Draw, and return the figure that was drawn instead of its file."""

    def draw(results, **options):
        drawn = []
        monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda self, *_, **__: drawn.append(self))
        shown, over = options.pop("shown", ()), options.pop("over", "iteration")
        draw_dashboard(results, PlotOptions(**options), "png", shown, over)
        return {axes.get_title(): axes for axes in drawn[0].axes}

    return draw


@pytest.fixture
def trajectory_panels(monkeypatch):
    """Draw trajectories, and return the panels, row by row."""

    def draw(results, **options):
        drawn = []
        with monkeypatch.context() as patched:
            patched.setattr(matplotlib.figure.Figure, "savefig", lambda self, *_, **__: drawn.append(self))
            draw_trajectory(results, "png", **options)
        return drawn[0].axes

    return draw


def lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


@pytest.mark.parametrize("suffix", STARTS)
def test_the_suffix_chooses_the_format(ptyconv, analyzed, tmp_path, suffix):
    result = ptyconv("plot", analyzed, "-o", tmp_path / f"picture.{suffix}")
    assert result.exit_code == 0
    assert result.output == f"wrote {tmp_path}/picture.{suffix}\n"
    assert (tmp_path / f"picture.{suffix}").read_bytes().startswith(STARTS[suffix])


def test_another_suffix_is_a_usage_error(ptyconv, analyzed, tmp_path):
    result = ptyconv("plot", analyzed, "-o", tmp_path / "picture.bmp")
    assert result.exit_code == 2
    assert "the name must end in .png, .pdf or .svg" in " ".join(result.stderr.split())


def test_the_current_folder_is_drawn_by_default(ptyconv, analyzed, tmp_path, monkeypatch):
    shutil.copy(analyzed / "convergence_report.json", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert ptyconv("plot").output == "wrote convergence.png\n"
    assert (tmp_path / "convergence.png").exists()


@pytest.mark.parametrize("name", ["loss_iters", "convergence_iters/probe"])
def test_whatever_analyze_writes_plot_can_draw(ptyconv, tmp_path, name):
    """Also where a history repeats an iteration: it is left out, with a warning, before the report is written."""
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    with h5py.File(run_dir / "model_iter0120.hdf5", "r+") as file:
        file[name][3, 0] = file[name][2, 0]
    result = ptyconv("analyze", run_dir, "--no-plot")
    assert f"dataset {name}: expected one value for each iteration, in increasing order" in " ".join(
        result.stderr.split()
    )
    assert ptyconv("plot", run_dir).exit_code == 0


def test_a_picture_of_results_is_the_picture_of_the_analysis(ptyconv, tmp_path):
    ptyconv("analyze", runs.SAMPLE, "-o", tmp_path)
    drawn = (tmp_path / "convergence.png").read_bytes()
    ptyconv("plot", tmp_path, "-o", tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == drawn


def test_the_trajectory_is_drawn_again_too(ptyconv, tmp_path):
    ptyconv("analyze", runs.SAMPLE, "-o", tmp_path)
    drawn = (tmp_path / "trajectory.png").read_bytes()
    (tmp_path / "trajectory.png").unlink()
    result = ptyconv("plot", tmp_path, "--trajectory")
    assert result.output == f"wrote {tmp_path}/trajectory.png\n"
    picture = matplotlib.image.imread(tmp_path / "trajectory.png")
    again = matplotlib.image.imread(io.BytesIO(drawn))  # of distances that JSON rounds
    assert picture.shape == again.shape
    assert abs(picture - again).mean() < 1e-3


@pytest.mark.parametrize("option", ["--zoom", "--per-iteration"])
def test_a_trajectory_takes_no_options_of_changes(ptyconv, analyzed, option):
    result = ptyconv("plot", analyzed, "--trajectory", option)
    assert result.exit_code == 2
    assert "not together with --trajectory" in " ".join(result.stderr.split())


def test_a_trajectory_from_bare_changes_is_refused(ptyconv, analyzed):
    result = ptyconv("plot", analyzed / "convergence_iters.json", "--trajectory", "-o", analyzed / "x.png")
    assert result.exit_code == 1
    assert "holds no trajectory" in result.stderr


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


def test_the_trajectory_of_what_was_never_refined_has_no_column(trajectory_panels, analyzed):
    results = read_results(analyzed)
    still = [Point(20, 10, 1e-9), Point(30, 20, 0.0)]
    panels = trajectory_panels(replace(results, points={**results.points, "probe_pos_shifts": still}))
    assert "Scan positions" not in {axes.get_title() for axes in panels}
    said = [text.get_text() for text in panels[0].figure.texts]
    assert "Solid: aligned. Faint: raw. Not refined: scan positions." in said


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


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"niters": []}, "at least two iterations"),
        ({"niters": [10**400, 10**401]}, "at least two iterations"),
        ({"niters": [20, 10, 30]}, "the iterations don't rise"),
        ({"raw": {"distances": [[], [1e308], [1, 1]]}}, "a distance is not a number of a size that can be drawn"),
        ({"raw": {"distances": [[], [-1], [1, 1]]}}, "a distance is not a number of a size that can be drawn"),
        ({"raw": {"distances": [[], [1]]}}, "not those of each checkpoint"),
        ({"raw": {}}, "KeyError"),
    ],
)
def test_a_report_with_impossible_trajectories_is_refused(ptyconv, analyzed, tmp_path, changed, said):
    report = json.loads((analyzed / "convergence_report.json").read_text())
    found = {"distances": [[], [1.0], [1.0, 1.0]]}
    whole = {"unit": "rad", "niters": [10, 20, 30], "kept_voxels": 9, "all_voxels": 9, "raw": found, "aligned": found}
    for trajectory, exit_code in ((whole, 0), ({**whole, **changed}, 1)):
        report["trajectories"] = {"objp": trajectory}
        (tmp_path / "convergence_report.json").write_text(json.dumps(report))
        result = ptyconv("plot", tmp_path, "--trajectory")
        assert result.exit_code == exit_code
    assert "holds no results of ptyconv" in result.stderr
    assert said in result.stderr


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


def test_many_checkpoints_are_thinned(trajectory_panels):
    niters = list(range(1, 1002))
    distances = [[float(k - j) for j in range(k)] for k in range(1001)]
    results = Results("run", {}, None, trajectories={"objp": Trajectory(niters, "rad", 9, 9, distances, distances)})
    (image,) = trajectory_panels(results)[1].collections
    assert image.get_array().shape == (251, 251)
    assert image.get_array()[3, 1] == image.get_array()[1, 3] == 8


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


def test_zoom_starts_each_panel_at_its_knee(figure):
    steep = [Point(n, n - 1, 100.0 if n == 1 else 1 - n / 1000) for n in range(1, 50)]
    straight = [Point(n, n - 1, 5.0 - n / 100) for n in range(1, 50)]
    panels = figure(Results("run", {"probe": steep, "probe_pos_shifts": straight}, None), zoom=True)
    assert panels["Probe intensity"].lines[-1].get_xdata()[0] == 2
    assert panels["Scan positions"].lines[-1].get_xdata()[0] == 1


def test_knee():
    assert knee([(0, 10.0), (1, 1.0), (2, 0.9), (10, 0.0)]) == 1
    assert knee([(0, 3.0), (1, 2.0), (2, 1.0)]) is None
    assert knee([(0, 1.0), (1, 1.0), (2, 1.0)]) is None
    assert knee([(3, 1.0), (4, float("nan"))]) is None


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
    panels = figure(results)
    for axes in panels.values():
        assert f"drifting since {results.since}" in [text.get_text() for text in axes.texts]
    assert f"drifting since {results.since}, limited by the scan positions" in captions(panels)
    assert not figure(results, since=results.since + 1)["Loss"].texts


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


@pytest.mark.parametrize("options", [{}, {"zoom": True}, {"zoom": True, "linear": True}, {"shown": ["objp", "loss"]}])
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


def check_that_all_texts_fit(drawn):
    renderer = FigureCanvasAgg(drawn).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in drawn.texts]
    boxes += [axes.get_tightbbox(renderer) for axes in drawn.axes]
    assert min(box.x0 for box in boxes) > -2
    assert max(box.x1 for box in boxes) < drawn.bbox.width + 2
    for one, other in pairwise(sorted(boxes[: len(drawn.texts)], key=lambda box: -box.y0)):
        assert one.y0 > other.y1 - 2


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


def test_a_single_bare_change_has_no_known_interval(figure, tmp_path):
    (tmp_path / "convergence_iters.json").write_text('{"probe": [[20, 0.5]]}')
    panels = figure(read_results(tmp_path), per_iteration=True)
    assert panels["Probe intensity"].texts[0].get_text().startswith("no interval is known")


def test_a_report_with_impossible_intervals_is_refused(ptyconv, analyzed, tmp_path):
    report = json.loads((analyzed / "convergence_report.json").read_text())
    for since in (10, 11, "5"):
        report["series"]["probe"]["points"][0]["since"] = since
        (tmp_path / "convergence_report.json").write_text(json.dumps(report))
        result = ptyconv("plot", tmp_path, "--per-iteration")
        assert result.exit_code == 1
        assert "holds no results of ptyconv (ValueError: " in result.stderr


def test_bare_changes_per_iteration_leave_out_the_first(figure, analyzed):
    """Nobody wrote down where its interval began."""
    panels = figure(read_results(analyzed / "convergence_iters.json"), per_iteration=True)
    assert lines(panels["Probe intensity"]).popitem()[1][0][0] == 15


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[1, 2]", "holds no results of ptyconv"),
        ("{}", "holds no results of ptyconv"),
        ('{"colour": [[1, 2]]}', "unknown keys colour"),
        ('{"probe": [[1]]}', "holds no results of ptyconv"),
        ('{"format": 4}', "holds no results of ptyconv"),
        ('{"probe": [[1e999, 1]]}', "inf is no iteration"),
        ('{"probe": [["1", 1]]}', "'1' is no iteration"),
        ('{"probe": [[2, 1], [2, 1]]}', "the iterations don't rise"),
        ("[" * 100000, "is not JSON"),
        ('{"format": 99}', "was written by another version of ptyconv; analyze the run again"),
    ],
)
def test_what_is_no_result_is_said(ptyconv, tmp_path, content, said):
    (tmp_path / "convergence_report.json").write_text(content)
    result = ptyconv("plot", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path / 'convergence_report.json'}: ")
    assert said in result.stderr
    assert not (tmp_path / "convergence.png").exists()


def test_a_folder_without_results_says_how_to_make_them(ptyconv, tmp_path):
    result = ptyconv("plot", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {tmp_path}: holds no convergence_report.json; make one with: ptyconv analyze RUN_DIR\n"
    )
    assert "absent: cannot be read (No such file or directory)" in ptyconv("plot", tmp_path / "absent").stderr


def test_results_survive_json(analyzed):
    results = read_results(analyzed)
    assert results.name == "clipped"
    assert results.points["probe"][0] == Point(10, 5, pytest.approx(runs.engine_values("clipped")["probe"][10]), None)
    assert results.engine.live_percentiles == (15, 85)
    assert json.loads((analyzed / "convergence_report.json").read_text())["format"] == 4


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
