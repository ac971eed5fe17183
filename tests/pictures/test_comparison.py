"""Several runs in one picture: names, panels, axes."""

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import runs
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from rarely import long_after

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.analysis.reading import read_results
from ptyconv_cli.cli.outputs import write_numbers
from ptyconv_cli.pictures.across import check_times, seconds_at
from ptyconv_cli.pictures.comparison import data_that_differ, draw_comparison, rates_that_differ
from ptyconv_cli.pictures.comparison_panels import comparison, labels_of
from ptyconv_cli.pictures.panels import PlotOptions, choices, chosen
from ptyconv_cli.results.history import EngineHistories, Point
from ptyconv_cli.results.run_analysis import Results

PER_ITERATION = PlotOptions(per_iteration=True)


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory) -> Path:
    """Results of three runs, side by side."""
    folder = tmp_path_factory.mktemp("analyzed")
    for name in ("constant_lr", "cosine_lr", "clipped"):
        write_numbers(runs.analysis_of(runs.ALL[name]), folder / name)
    write_numbers(analyze_run(runs.SAMPLE, device="cpu", aligned=False), folder / "raw")
    return folder


def panels_of(figure) -> dict:
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def curves(axes) -> list[np.ndarray]:
    return [line.get_xydata() for line in axes.lines]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["study/t0000_lr1e-3_bs16", "study/t0001_lr1e-4_bs16"], ["t0000_lr1e-3", "t0001_lr1e-4"]),
        (["full_N144_dp32_lr1e-3", "full_N144_dp32_lr1e-4"], ["lr1e-3", "lr1e-4"]),
        (["a/results", "b/results"], ["a", "b"]),
        (["a/x/results", "b/y/results"], ["a/x", "b/y"]),
        (["run", "run_long"], ["run", "run_long"]),
        (["first", "second"], ["first", "second"]),
        (["runs/a", "runs"], ["a", "runs"]),
        (["only"], ["only"]),
        (["lr_1", "1_lr"], ["lr_1", "1_lr"]),
    ],
)
def test_names_are_what_differs(folders, expected):
    assert labels_of([Path(folder) for folder in folders]) == expected


def test_names_are_different_wherever_paths_are():
    pieces = ["a", "b_c", "a_b", "c", "b"]
    for pair in itertools.permutations(["/".join(parts) for parts in itertools.product(pieces, repeat=2)], 2):
        first, second = labels_of([Path(path) for path in pair])
        assert first
        assert second
        assert first != second


def test_panels_are_chosen_by_series_tensor_or_loss():
    assert chosen(["probe", "objp_fg"]) == ("objp_fg", "probe")
    assert chosen(["objp", "loss"]) == ("loss", "objp_bg", "objp_fg")
    assert chosen(choices()) == choices()
    assert chosen(["phase"]) == chosen(["objp"])
    for names in ([], ["angle"]):
        with pytest.raises(ValueError, match="expected one of loss, doubling, obja_bg"):
            chosen(names)
    with pytest.raises(ValueError, match="'angle': expected one of loss, doubling, obja_bg"):
        chosen(["angle"])


def test_each_run_has_its_line_with_the_aligned_change_per_iteration(ptyconv, analyzed, figures, tmp_path):
    names = ("constant_lr", "cosine_lr")
    result = ptyconv("plot", *(analyzed / name for name in names), "--per-iteration", "-o", tmp_path / "both.png")
    assert result.stdout.split() == f"wrote {tmp_path / 'both.png'}".split()
    (figure,) = figures
    panels = panels_of(figure)
    assert list(panels) == [
        "Loss",
        "Object amplitude (aligned)",
        "Object phase (aligned)",
        "Probe intensity (aligned)",
        "Scan positions (aligned)",
    ]
    found = iter(panels["Object phase (aligned)"].lines)
    for name in names:
        for key in ("objp_bg", "objp_fg"):
            points = runs.analysis_of(runs.ALL[name]).aligned_points[key]
            line = next(found)
            assert np.array_equal(line.get_xydata(), [(p.niter, p.value / (p.niter - p.since)) for p in points])
            assert (line.get_markerfacecolor() == "white") is (key == "objp_bg")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "constant (converging; learning rate 0.0005)",
        "cosine (drifting; learning rate 0.0005 to 8.57e-08)",
    ]
    said = [text.get_text() for text in figure.texts]
    assert "The runs differ in slices (3, 2): their losses are not comparable." in said
    colours = [{line.get_color() for line in axes.lines} for axes in panels.values()]
    assert all(of_one == colours[0] and len(of_one) == 2 for of_one in colours)


def test_by_default_runs_are_compared_by_the_change_per_doubling_of_the_object(ptyconv, analyzed, figures, tmp_path):
    names = ("constant_lr", "cosine_lr")
    ptyconv("plot", *(analyzed / name for name in names), "-o", tmp_path / "both.png")
    (figure,) = figures
    panels = panels_of(figure)
    assert list(panels) == ["Object phase", "Object amplitude"]
    for title, key in (("Object phase", "objp"), ("Object amplitude", "obja")):
        axes = panels[title]
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert axes.get_ylabel() == "change per doubling\n(% of the object's contrast)"
        doublings = [runs.analysis_of(runs.ALL[name]).verdict.doublings[key].points for name in names]
        *drawn, tolerance = curves(axes)
        for curve, points in zip(drawn, doublings, strict=True):
            assert np.allclose(curve, [(p.niter, p.relative) for p in points], rtol=1e-5)
        assert set(tolerance[:, 1]) == {5}
        assert [note.get_text() for note in axes.texts] == ["tolerance\n5 %"]
    assert not any("No change per doubling" in text.get_text() for text in figure.texts)


def test_tolerances_that_differ_name_their_runs(analyzed):
    one = read_results(analyzed / "constant_lr")
    stricter = {key: replace(found, tolerance=2.0) for key, found in one.verdict.doublings.items()}
    other = replace(one, verdict=replace(one.verdict, doublings=stricter))
    phase, _ = comparison({"a": one, "b": other, "c": other}, (), PlotOptions())
    assert phase.tolerances == {5: "tolerance 5 % (a)", 2: "tolerance 2 % (b, c)"}


def test_runs_without_a_verdict_are_compared_by_their_changes(ptyconv, analyzed, figures, tmp_path):
    bare = analyzed / "cosine_lr" / "convergence_iters.json"
    ptyconv("plot", analyzed / "raw", bare, "-o", tmp_path / "x.png")
    ptyconv("plot", analyzed / "raw", analyzed / "constant_lr", bare, "-o", tmp_path / "x.png")
    alone, mixed = figures
    said = (
        "No change per doubling is known of raw (analyzed with --no-aligned) and cosine (convergence_iters.json alone)."
    )
    for figure in figures:
        assert said.replace("cosine ", "cosine_lr ") in " ".join(text.get_text() for text in figure.texts)
    assert list(panels_of(alone))[:2] == ["Loss", "Object amplitude (raw)"]
    assert [(title, len(axes.lines)) for title, axes in panels_of(mixed).items()] == [
        ("Object phase", 2),  # the run's, and the tolerance
        ("Object amplitude", 2),
        ("Object amplitude (raw)", 6),
        ("Object phase (raw)", 6),
    ]


def test_why_a_run_has_no_change_per_doubling_is_said_where_it_is_asked_for(ptyconv, analyzed, figures, tmp_path):
    paths = [analyzed / "raw", analyzed / "constant_lr"]
    for shown in ("doubling", "loss"):
        ptyconv("plot", *paths, "--series", shown, "-o", tmp_path / "x.png")
    ptyconv("plot", *paths, "--per-iteration", "-o", tmp_path / "x.png")
    said = [any("No change per doubling is known of raw" in t.get_text() for t in figure.texts) for figure in figures]
    assert said == [True, False, False]


def test_runs_that_refined_no_object_are_compared_by_what_they_did(tmp_path):
    write_numbers(analyze_run(runs.SAMPLE, tensors=["probe"], device="cpu"), tmp_path)
    (panel,) = comparison({"a": read_results(tmp_path)}, (), PlotOptions())
    assert panel.title == "Probe"


def test_a_loss_that_begins_far_above_leaves_room_for_those_of_all_runs(drawn):
    def with_losses(*values):
        return Results("run", {}, EngineHistories(loss=[(niter, value) for niter, value in enumerate(values, 1)]))

    ends = [0.3 + 0.001 * k for k in range(30)]
    for found in (
        {"a": with_losses(3e4, 20, *ends), "b": with_losses(0.4, *ends)},
        {"a": with_losses(3e4, 20, *ends), "b": with_losses(100.0, *(200 + value for value in ends))},
    ):
        draw_comparison(found, comparison(found, ["loss"], PER_ITERATION), "png")
    (near,), (far,) = (panels_of(figure).values() for figure in drawn)
    assert near.get_yscale() == "linear"
    assert 0.4 < near.get_ylim()[1] < 0.5
    assert far.get_yscale() == "log"
    assert far.get_ylim()[0] < 0.3
    assert 201 < far.get_ylim()[1] < 1000
    for figure in drawn:
        assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "off the axis: up to 30000"
        assert [1, 0.98] in [curve[0].tolist() for curve in curves(figure.axes[0])]


def test_over_time_are_the_seconds_that_the_engine_recorded(ptyconv, analyzed, drawn, tmp_path):
    ptyconv("plot", analyzed / "constant_lr", "--x", "time", "--series", "loss,probe", "-o", tmp_path / "t.png")
    with h5py.File(max(runs.ALL["constant_lr"].glob("*.hdf5"))) as file:
        seconds, loss = file["iter_times"][()], file["loss_iters"][:, 1]
    panels = panels_of(drawn[0])
    assert list(panels) == ["Loss", "Probe intensity"]
    curve = next(curve for curve in curves(panels["Loss"]) if len(curve) == len(loss))
    assert np.allclose(curve, np.column_stack([np.cumsum(seconds), loss]), rtol=1e-12)
    raw, _, aligned = curves(panels["Probe intensity"])[:3]
    for curve in (raw, aligned):
        assert np.allclose(curve[:, 0], [seconds[:niter].sum() for niter in range(12, 121, 6)], rtol=1e-12)
    assert panels["Loss"].get_xlabel() == "compute time (s)"


def test_phaser_counts_seconds_from_the_start():
    run_dir = runs.DATA / "phaser" / "epie_resize"
    analysis = analyze_run(run_dir, device="cpu")
    with h5py.File(run_dir / "iter014.h5") as file:
        recorded = dict(zip(file["progress/time/iters"][()] + 1, file["progress/time/values"][()], strict=True))
    assert seconds_at([14, 4], analysis.results) == [recorded[14], recorded[4]]
    assert [niter for niter, _ in analysis.engine.seconds] == list(range(1, 15))


def test_seconds_go_on_over_a_boundary():
    chain = analyze_run(runs.DATA / "resume" / "resumed", chain="auto", device="cpu")
    parts = []
    for name, niter in (("first", 10), ("resumed", 8)):
        with h5py.File(runs.DATA / "resume" / name / f"model_iter{niter:04d}.hdf5") as file:
            parts.append(file["iter_times"][()])
    assert np.allclose([s for _, s in chain.engine.seconds], np.cumsum(np.concatenate(parts)), rtol=1e-12)
    assert chain.engine.planned == 18


def test_long_runs_are_shown_in_hours(analyzed, drawn):
    results = read_results(analyzed / "constant_lr")
    results.engine.seconds[:] = [(niter, 600 * seconds) for niter, seconds in results.engine.seconds]
    runs_by_label = {"a": results}
    draw_comparison(runs_by_label, comparison(runs_by_label, ["loss"], PER_ITERATION), "png", "time")
    (axes,) = panels_of(drawn[0]).values()
    assert axes.get_xlabel() == "compute time (min)"
    assert curves(axes)[0][-1, 0] == pytest.approx(138, rel=0.01)


def test_one_run_without_aligned_changes_makes_all_raw(analyzed):
    found = {name: read_results(analyzed / name) for name in ("raw", "constant_lr")}
    (panel,) = comparison(found, ["objp_fg"], PER_ITERATION)
    assert panel.title == "Object phase, foreground (raw)"
    raw = found["constant_lr"].points["objp_fg"]
    assert panel.lines[1].curve == [(p.niter, p.value / p.interval) for p in raw]


def test_lengths_are_in_nm_where_one_of_the_objects_is_large(analyzed):
    of_electrons = read_results(analyzed / "constant_lr")
    of_x_rays = replace(of_electrons, dx=1e5 / max(of_electrons.shapes["objp"]))
    (alone,), (both,) = (
        comparison(found, ["probe_pos_shifts"], PER_ITERATION)
        for found in ({"e": of_electrons}, {"e": of_electrons, "x": of_x_rays})
    )
    assert (alone.y_label, both.y_label) == ("change per iteration (Å)", "change per iteration (nm)")
    expected = np.array(alone.lines[0].curve) / (1, 10)
    for line in both.lines:
        np.testing.assert_allclose(line.curve, expected)


def test_a_run_that_lacks_a_series_has_no_line(tmp_path, analyzed):
    write_numbers(analyze_run(runs.SAMPLE, tensors=["objp"], device="cpu"), tmp_path)
    found = {"phase alone": read_results(tmp_path), "all": read_results(analyzed / "constant_lr")}
    phase, probe = comparison(found, ["probe", "objp_fg"], PER_ITERATION)
    assert [line.label for line in probe.lines] == ["all"]
    assert [line.label for line in phase.lines] == ["phase alone", "all"]
    (panel,) = comparison({"phase alone": found["phase alone"]}, ["probe"], PER_ITERATION)
    assert panel.empty == "probe: not analyzed"


def raw_of(folder):
    """Without aligned changes, whose masks are not empty where values are clipped."""
    return replace(read_results(folder), aligned_points={})


def test_zeros_are_marked(analyzed, drawn):
    found = {"clipped": raw_of(analyzed / "clipped"), "other": raw_of(analyzed / "constant_lr")}
    draw_comparison(found, comparison(found, ["objp_bg"], PER_ITERATION), "png")
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()][-1] == "exactly 0"


@pytest.mark.parametrize("seconds", [[], [(1, np.nan)], [(1, 1.0), (2, -3.0)], [(1, np.inf)]])
def test_times_that_are_none_are_refused(analyzed, seconds):
    results = read_results(analyzed / "constant_lr")
    results.engine.seconds[:] = seconds
    with pytest.raises(PtyconvError, match="the checkpoints hold no times"):
        check_times({Path("run"): results})


def test_zeros_are_not_in_the_legend_where_no_marker_is(analyzed, drawn):
    found = {"clipped": raw_of(analyzed / "clipped")}
    for options in (PlotOptions(per_iteration=True, linear=True), PER_ITERATION):
        draw_comparison(found, comparison(found, ["objp_bg"], options), "png")
    assert [len(figure.legends[0].get_texts()) for figure in drawn] == [1, 1]
    assert "exactly 0 throughout" in [text.get_text() for text in drawn[1].axes[0].texts]


def test_since_and_zoom_cut(analyzed):
    found = {"a": read_results(analyzed / "constant_lr")}
    for options in (PlotOptions(per_iteration=True, since=60), PlotOptions(per_iteration=True, zoom=True)):
        for panel in comparison(found, (), options):
            assert panel.lines[0].curve[0][0] >= 10


@pytest.mark.parametrize("count", long_after(2, [2, 7, 1, 6, 25]))
def test_every_run_has_a_style_of_its_own_and_a_place_in_the_legend(analyzed, drawn, count):
    results = read_results(analyzed / "constant_lr")
    found = {f"t{number:04d}_oplr_7.5e-04_$x^{number}$": results for number in range(count)}
    content = draw_comparison(found, comparison(found, (), PER_ITERATION), "png")
    (figure,) = drawn
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())
    assert len({(line.get_color(), str(line.get_linestyle())) for line in figure.axes[0].lines}) == count
    (legend,) = figure.legends
    assert len(legend.get_texts()) == count
    renderer = FigureCanvasAgg(figure).get_renderer()
    box = legend.get_window_extent(renderer)
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= figure.bbox.width
    lowest = min(axes.get_tightbbox(renderer).y0 for axes in figure.axes if axes.axison)
    assert box.y1 <= lowest, "the legend hides no axis"
    assert content[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("suffix", long_after(1, ["png", "pdf", "svg"]))
def test_formats(ptyconv, analyzed, tmp_path, suffix):
    picture = tmp_path / f"x.{suffix}"
    assert ptyconv("plot", analyzed / "constant_lr", analyzed / "cosine_lr", "-o", picture).exit_code == 0
    assert picture.stat().st_size > 5000


def test_it_goes_into_the_current_folder(ptyconv, analyzed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ptyconv("plot", analyzed / "constant_lr", analyzed / "cosine_lr").stdout == "wrote comparison.png\n"
    with Image.open(tmp_path / "comparison.png") as picture:
        assert picture.width == 1440


def test_labels(ptyconv, analyzed, drawn, tmp_path):
    paths = [analyzed / "constant_lr", analyzed / "cosine_lr"]
    ptyconv("plot", *paths, "--label", "steady", "--label", "fading", "-o", tmp_path / "x.png")
    names = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert [name.split(" (")[0] for name in names] == ["steady", "fading"]


def test_one_run_is_drawn_as_in_the_dashboard(ptyconv, analyzed, drawn, tmp_path):
    """Raw and aligned, under the same name."""
    ptyconv("plot", analyzed / "constant_lr", "--series", "objp", "--linear", "-o", tmp_path / "talk.pdf")
    (figure,) = drawn
    assert figure.get_suptitle() == "constant_lr: change between checkpoints up to iteration 120"
    (axes,) = figure.axes
    assert axes.get_yscale() == "linear"
    assert axes.get_ylabel() == "change in 6 iterations (rad)"
    assert axes.yaxis.label.get_fontsize() >= 14
    assert "raw" in " ".join(text.get_text() for text in axes.get_legend().get_texts())
    ptyconv("plot", analyzed / "constant_lr", "--series", "objp", "--per-iteration", "-o", tmp_path / "talk.pdf")
    assert drawn[1].axes[0].get_ylabel() == "change per iteration (rad)"
    ptyconv("plot", analyzed / "constant_lr", "--series", "objp", "--label", "mine", "-o", tmp_path / "talk.pdf")
    assert drawn[2].get_suptitle().startswith("mine: ")


def results_with(rates=None, **shapes) -> Results:
    rates = {tensor: [(1, first), (9, last)] for tensor, (first, last) in (rates or {}).items()}
    return Results("run", {}, EngineHistories(learning_rates=rates), shapes=shapes)


def test_learning_rates_that_differ_are_said():
    same, other, fading = (results_with({"objp": (1e-3, last), "probe": (rate, last)}) for rate, last in RATES)
    assert rates_that_differ({"a": same, "b": same}) == {"a": "", "b": ""}
    assert rates_that_differ({"a": same, "b": other}) == {
        "a": "learning rate: probe 0.001",
        "b": "learning rate: probe 0.002 to 0.001",
    }
    assert rates_that_differ({"a": same, "b": fading}) == {
        "a": "learning rate 0.001",
        "b": "learning rate 0.001 to 0",
    }
    fixed = replace(same, points={"probe": [Point(2, 1, 1e-10)]})
    assert rates_that_differ({"a": same, "b": fixed})["b"] == "learning rate: probe not refined"
    assert rates_that_differ({"a": same, "b": Results("bare", {}, None)}) == {"a": "", "b": ""}


RATES = ((1e-3, 1e-3), (2e-3, 1e-3), (1e-3, 0.0))


def test_sizes_that_differ_are_said():
    one = results_with(objp=(1, 2, 50, 60), probe=(1, 32, 32), probe_pos_shifts=(100, 2))
    two = results_with(objp=(1, 3, 50, 60), probe=(1, 32, 32), probe_pos_shifts=(81, 2))
    assert data_that_differ({"a": one, "b": one}, with_losses=True) == ""
    assert data_that_differ({"a": one, "b": two}, with_losses=True) == (
        "The runs differ in scan positions (100, 81) and slices (2, 3): their losses are not comparable."
    )
    assert data_that_differ({"a": one, "b": two}, with_losses=False).endswith("slices (2, 3).")
    assert data_that_differ({"a": one, "b": results_with()}, with_losses=True) == ""
    modes = results_with(objp=(1, 3, 50, 60), probe=(2, 32, 32), probe_pos_shifts=(81, 2))
    assert data_that_differ({"b": two, "c": modes}, with_losses=True) == "The runs differ in probe modes (1, 2)."
    assert data_that_differ({"a": one, "c": modes}, with_losses=True) == (
        "The runs differ in scan positions (100, 81) and slices (2, 3): their losses are not comparable. They differ "
        "in probe modes (1, 2), too."
    )


def test_that_engines_differ_is_the_reason_why_losses_do_not_compare():
    runs_of = {
        engine: Results(engine, {}, EngineHistories(loss_of={"engine": engine, "pattern intensity": intensity}))
        for engine, intensity in (("PtyRAD", "245.86"), ("phaser", "245.87"))
    }
    assert data_that_differ(runs_of, with_losses=True) == (
        "The runs differ in engine (PtyRAD, phaser): their losses are not comparable."
    )


def test_a_report_of_other_versions_may_lack_what_only_pictures_show(analyzed, tmp_path):
    report = json.loads((analyzed / "constant_lr" / "convergence_report.json").read_text())
    report["checkpoints"] = []
    (tmp_path / "convergence_report.json").write_text(json.dumps(report))
    results = read_results(tmp_path)
    assert results.shapes == {}
    assert draw_comparison({"a": results}, comparison({"a": results}, ["objp_fg"], PER_ITERATION), "png")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["constant_lr", "cosine_lr", "--label", "one"], 2, "--label is given 1 times for 2 PATHs: each needs one"),
        (["constant_lr", "cosine_lr", "--label", "a", "--label", "a"], 2, "two PATHs have the same name"),
        (["constant_lr", "constant_lr"], 2, "two PATHs have the same name: tell them apart with --label"),
        (["constant_lr", "cosine_lr", "--trajectory"], 2, "--trajectory is of one run"),
        (["constant_lr", "--series", "angle"], 2, "'angle': expected one of loss, doubling, obja_bg"),
        (["constant_lr", "--x", "money"], 2, "'money' is not one of 'iteration', 'time'"),
        (["constant_lr", "gone"], 1, "holds no convergence_report.json"),
        (
            ["constant_lr", "cosine_lr/convergence_iters.json", "--x", "time"],
            1,
            "convergence_iters.json: holds no times",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(ptyconv, analyzed, tmp_path, arguments, code, said):
    (analyzed / "gone").mkdir(exist_ok=True)
    paths = [analyzed / name if (analyzed / name).exists() else name for name in arguments]
    result = ptyconv("plot", *paths, "-o", tmp_path / "x.png")
    assert (result.exit_code, said in " ".join(result.stderr.split())) == (code, True), result.stderr
    assert not (tmp_path / "x.png").exists()


def test_times_that_are_damaged_cost_only_the_times(ptyconv, tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    with h5py.File(run_dir / "model_iter0120.hdf5", "r+") as file:
        file["iter_times"][3] = np.nan
    result = ptyconv("analyze", run_dir, "--no-plot")
    assert result.exit_code == 0
    assert "dataset iter_times: expected seconds" in " ".join(result.stderr.split())
    result = ptyconv("plot", run_dir, "--x", "time")
    assert result.exit_code == 1
    assert "the checkpoints hold no times" in result.stderr
