"""`ptyconv` as a user meets it: what is written, what is said, how it exits."""

import json
import math
import os
import shutil
import subprocess
import sys

import h5py
import matplotlib.image
import numpy as np
import pytest
import runs
from toy import write_run

from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.cli.summary import sparkline
from ptyconv_cli.results.reading import read_results
from ptyconv_cli.results.series import SERIES

PICTURES = {"convergence.png", "trajectory.png"}
OUTPUTS = {"convergence_iters.json", "convergence_report.json", "convergence.csv"} | PICTURES


def names(folder):
    return {path.name for path in folder.iterdir() if path.name != ".ptyconv"}


def strict_json(path):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_analyze_writes_json_report_and_picture(ptyconv, tmp_path):
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path / "new" / "out")
    assert result.exit_code == 0
    assert names(tmp_path / "new" / "out") == OUTPUTS
    changes = strict_json(tmp_path / "new" / "out" / "convergence_iters.json")
    assert list(changes) == [series.key for series in SERIES]
    engine = runs.engine_values("sample")
    for key, curve in changes.items():
        assert [niter for niter, _ in curve] == list(range(20, 130, 10))
        for niter, value in curve:
            assert value == pytest.approx(engine[key][niter], rel=1e-6)
    picture = matplotlib.image.imread(tmp_path / "new" / "out" / "convergence.png")
    assert picture.shape[0] > 800
    assert picture.std() > 0.05


def test_report_says_how_the_numbers_were_got(ptyconv, tmp_path):
    ptyconv("analyze", runs.ALL["clipped"], "-o", tmp_path, "--percentiles", 10, 90, "--every", 10, "--device", "cpu")
    report = strict_json(tmp_path / "convergence_report.json")
    assert report["ptyconv_version"] == "0.1.0"
    assert report["settings"] == {
        "tensors": ["obja", "objp", "probe", "probe_pos_shifts"],
        "percentile_range": [10, 90],
        "every": 10,
        "select": None,
        "device": "cpu",
    }
    assert report["region_px"] == {"y": [19, 34], "x": [20, 39]}
    assert report["dx_angstrom"] == pytest.approx(0.5163648)
    assert [checkpoint["niter"] for checkpoint in report["checkpoints"]] == [10, 20, 30, 40, 50, 60]
    assert report["checkpoints"][0]["file"] == "model_iter0010.hdf5"
    assert report["checkpoints"][0]["shapes"]["obja"] == [1, 2, 56, 60]
    assert report["series"]["probe_pos_shifts"]["unit"] == "Å"
    first = report["series"]["objp_bg"]["points"][0]
    assert first == {"niter": 20, "since": 10, "value": 0.0, "voxels": 0}
    assert report["warnings"][0].startswith("objp_bg is 0 throughout")
    assert report["live_record"]["percentile_range"] == [15, 85]
    assert report["live_record"]["agreement"]["probe"] == {"compared": 0, "max_relative_difference": None}


def test_results_go_beside_the_checkpoints_by_default(ptyconv, tmp_path):
    write_run(tmp_path, [2, 4])
    assert ptyconv("analyze", tmp_path, "--no-plot").exit_code == 0
    assert names(tmp_path) == {"model_iter0002.hdf5", "model_iter0004.hdf5"} | OUTPUTS - PICTURES
    assert ptyconv("analyze", tmp_path).exit_code == 0, "its own results are no checkpoints"


def test_the_report_has_the_aligned_changes_and_what_they_are_without(ptyconv, tmp_path):
    ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot", "--device", "cpu")
    analysis = analyze_run(runs.SAMPLE, device="cpu")
    aligned = strict_json(tmp_path / "convergence_report.json")["aligned"]
    assert list(aligned["series"]) == [series.key for series in SERIES]
    points = aligned["series"]["objp_fg"]["points"]
    assert [(point["niter"], point["since"], point["voxels"]) for point in points] == [
        (niter, niter - 10, 86) for niter in range(20, 130, 10)
    ]
    values = [point["value"] for point in points]
    assert values == [point.value for point in analysis.aligned_points["objp_fg"]]
    assert values == sorted(values, reverse=True)  # it falls the whole way
    assert values[-1] == pytest.approx(1.9e-4, rel=0.05)
    for tensor, kinds in {
        "obja": ["niter", "share", "shift_angstrom", "scale", "total_scale"],
        "objp": ["niter", "share", "shift_angstrom", "offset_rad", "total_offset_rad", "ramp_rad_per_angstrom"],
        "probe": ["niter", "share", "shift_angstrom", "scale", "total_scale"],
        "probe_pos_shifts": ["niter", "share", "shift_angstrom"],
    }.items():
        assert [list(found) for found in aligned["taken_out"][tensor]] == [kinds] * 11
    last = aligned["taken_out"]["objp"][-1]
    assert last["niter"] == 120
    assert last["share"] == pytest.approx(0.96, abs=0.005)
    assert last["total_offset_rad"] == [pytest.approx(sum(last["offset_rad"][0]))]
    scaled = aligned["taken_out"]["obja"][-1]
    assert scaled["total_scale"] == [pytest.approx(sum(scaled["scale"][0]))]


def test_the_report_has_the_trajectories(ptyconv, tmp_path):
    ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot", "--device", "cpu")
    expected = analyze_run(runs.SAMPLE, device="cpu").trajectories["objp"]
    found = strict_json(tmp_path / "convergence_report.json")["trajectories"]["objp"]
    assert found["unit"] == "rad"
    assert found["niters"] == list(range(10, 130, 10))
    assert (found["kept_voxels"], found["all_voxels"], found["drift_ratio_lag"]) == (570, 570, 6)
    for way, distances in (("raw", expected.raw), ("aligned", expected.aligned)):
        assert found[way]["to_last"] == [list(pair) for pair in expected.to_last(distances)]
        assert found[way]["drift_ratio"] == [list(pair) for pair in expected.drift_ratio(distances)]
        for of_one, expected_of_one in zip(found[way]["distances"], distances, strict=True):
            assert of_one == pytest.approx(expected_of_one, rel=1e-5)
    assert read_results(tmp_path).trajectories["objp"].niters == expected.niters


def test_only_what_ptyrad_records(ptyconv, tmp_path):
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-aligned")
    assert names(tmp_path) == OUTPUTS - {"trajectory.png"}
    assert "aligned" not in result.output
    assert "removed" not in result.output
    report = strict_json(tmp_path / "convergence_report.json")
    assert report["aligned"] == {"series": {}, "taken_out": {}}
    assert report["trajectories"] == {}
    with_it = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path / "with").output
    assert result.output.split("\n\nwrote")[0] in with_it
    changes = (tmp_path / "convergence_iters.json").read_bytes()
    assert (tmp_path / "with" / "convergence_iters.json").read_bytes() == changes
    assert ptyconv("plot", tmp_path).exit_code == 0
    again = ptyconv("plot", tmp_path, "--trajectory")
    assert again.exit_code == 1
    said = "that needs two checkpoints after the last boundary, and no --no-aligned"
    assert again.stderr == f"Error: {tmp_path}: holds no trajectory; {said}\n"


def test_the_summary_says_what_was_removed(ptyconv, tmp_path):
    lines = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot").stdout.splitlines()
    assert max(len(line) for line in lines if "/" not in line or "rad" in line) <= 80
    aligned = lines[next(k for k, line in enumerate(lines) if line.startswith("aligned change")) :]
    assert [line.split()[0] for line in aligned[1:7]] == [series.key for series in SERIES]
    assert float(aligned[4].split()[3]) == pytest.approx(1.94e-4, rel=5e-3)
    removed = aligned[8:13]
    said = "removed at 120 fraction ambiguities that the data cannot constrain"
    assert " ".join(removed[0].split()) == said
    assert removed[2].split()[:6] == ["objp", "96", "%", "offset", "-0.011", "rad,"]


def test_files_have_the_users_permissions(ptyconv, tmp_path):
    before = os.umask(0o027)
    try:
        ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot")
    finally:
        os.umask(before)
    assert (tmp_path / "convergence_iters.json").stat().st_mode & 0o777 == 0o640


def test_summary_fits_80_columns(ptyconv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = ptyconv("analyze", runs.ALL["constant_lr"], "-o", "out", "--no-plot")
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "constant_lr: 20 checkpoints, iterations 6 to 120"
    table = lines[lines.index("") + 1 :][:7]
    assert table[0].split() == ["change", "unit", "at", "12", "at", "120", "last/first", "over", "iterations", "(log)"]
    assert [line.split()[0] for line in table[1:]] == [series.key for series in SERIES]
    assert [line.split()[1] for line in table[1:]] == ["-", "-", "rad", "rad", "-", "Å"]
    engine = runs.engine_values("constant_lr")["objp_fg"]
    first, last, ratio = map(float, table[4].split()[2:5])
    assert (first, last) == pytest.approx((engine[12], engine[120]), rel=5e-3)
    assert ratio == pytest.approx(engine[120] / engine[12], rel=5e-3)
    assert "Matches the engine's own record (largest relative difference" in result.output
    assert "wrote out/convergence_iters.json" in result.output


def test_quiet_prints_warnings_only(ptyconv, tmp_path):
    result = ptyconv("analyze", runs.ALL["clipped"], "-o", tmp_path, "-q", "--no-plot")
    assert result.stdout == ""
    assert result.stderr.startswith("warning: objp_bg is 0 throughout")
    assert max(map(len, result.stderr.splitlines())) <= 80
    assert ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "-q", "--no-plot").output == ""


def test_chosen_tensors_only(ptyconv, tmp_path):
    assert ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "-t", "probe, objp").exit_code == 0
    assert list(strict_json(tmp_path / "convergence_iters.json")) == ["objp_bg", "objp_fg", "probe"]


def test_not_finite_is_null(ptyconv, tmp_path):
    write_run(tmp_path, [2, 4, 6])
    with h5py.File(tmp_path / "model_iter0004.hdf5", "r+") as file:
        file["optimizable_tensors/probe"][0, 0, 0] = np.nan
    result = ptyconv("analyze", tmp_path)
    assert result.exit_code == 0
    assert strict_json(tmp_path / "convergence_iters.json")["probe"] == [[4, None], [6, None]]
    assert "probe holds NaN or infinity in the scanned region at iteration 4:" in " ".join(result.stderr.split())
    assert strict_json(tmp_path / "convergence_report.json")["not_finite"] == {"probe": [4]}
    assert math.isnan(read_results(tmp_path).points["probe"][0].value)


@pytest.fixture
def broken(tmp_path):
    """Runs that cannot be analyzed, by what is wrong with them."""
    write_run(tmp_path / "one", [2])
    write_run(tmp_path / "two", [2, 4])
    write_run(tmp_path / "shape", [2, 4])
    with h5py.File(tmp_path / "shape" / "model_iter0004.hdf5", "r+") as file:
        del file["optimizable_tensors/obja"]
        file["optimizable_tensors/obja"] = np.zeros((2, 3, 5, 5), np.float32)
    write_run(tmp_path / "tensor", [2, 4])
    for path in (tmp_path / "tensor").iterdir():
        with h5py.File(path, "r+") as file:
            del file["optimizable_tensors/objp"]
    write_run(tmp_path / "truncated", [2, 4])
    whole = (tmp_path / "truncated" / "model_iter0004.hdf5").read_bytes()
    (tmp_path / "truncated" / "model_iter0004.hdf5").write_bytes(whole[: len(whole) // 2])
    write_run(tmp_path / "text", [2, 4])
    (tmp_path / "text" / "model_iter0004.hdf5").write_text("not HDF5")
    (tmp_path / "empty").mkdir()
    (tmp_path / "above" / "run_a").mkdir(parents=True)
    shutil.copy(tmp_path / "one" / "model_iter0002.hdf5", tmp_path / "above" / "run_a")
    (tmp_path / "file").write_text("a file")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("absent", [], "{}: there is no such folder"),
        ("file", [], "{}: is a file; give the folder it is in"),
        ("empty", [], "{}: holds no checkpoint (model_iterNNNN.hdf5, model_iterNNNN.h5"),
        ("above", [], "{}/run_a: holds 1 checkpoint; a change needs at least two"),
        ("one", [], "{}: holds 1 checkpoint; a change needs at least two"),
        ("shape", [], "{}: its checkpoints belong to 2 runs:\n  1: model_iter0002.hdf5\n  2: model_iter0004.hdf5: the"),
        (
            "shape",
            ["--select", "1"],
            "{}: holds 1 checkpoint that can be used (model_iter0004.hdf5: belongs to run 2, not 1); a change needs",
        ),
        ("two", ["--every", 4], "{}: holds 1 checkpoint at multiples of 4 iterations; a change needs"),
        (
            "tensor",
            [],
            "{}/model_iter0002.hdf5: has no tensor objp; it has obja, probe, probe_pos_shifts (choose with -t)",
        ),
        ("tensor", ["-t", "objp"], "{}/model_iter0002.hdf5: has no tensor objp"),
        (
            "truncated",
            [],
            "{}: holds 1 checkpoint that can be used (model_iter0004.hdf5: HDF5 cannot read the file (",
        ),
        (
            "text",
            ["--strict"],
            "{}/model_iter0004.hdf5: HDF5 cannot read the file (",
        ),
    ],
)
def test_what_cannot_be_analyzed_is_said_and_nothing_written(ptyconv, broken, name, options, said):
    before = {path: path.stat().st_mtime_ns for path in broken.rglob("*")}
    result = ptyconv("analyze", broken / name, "-o", broken / "out", *options)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: " + said.format(broken / name))
    assert result.stdout == ""
    assert {path: path.stat().st_mtime_ns for path in broken.rglob("*")} == before


def test_a_run_without_a_tensor_is_analyzed_for_the_others(ptyconv, broken):
    assert ptyconv("analyze", broken / "tensor", "-t", "obja,probe,probe_pos_shifts", "--no-plot").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-t", "obja,objq"], "unknown tensor objq: choose from obja, objp, probe, probe_pos_shifts"),
        (["-t", ","], "no tensor to track: choose at least one of"),
        (["--percentiles", "85", "15"], "0 <= low <= high <= 100; got 85 and 15"),
        (["--percentiles", "15"], "requires 2 arguments"),
        (["--every", "0"], "0 is not in the range x>=1"),
        (["--device", "tpu"], "unknown device 'tpu': choose auto, cpu, cuda, cuda:N or mps"),
        (["--fast"], "No such option"),
    ],
)
def test_usage_errors(ptyconv, tmp_path, arguments, said):
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made_is_said_before_the_work(ptyconv, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("ptyconv_cli.analysis.run.analyze_run", lambda *_, **__: pytest.fail("work was spent"))
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "cannot write there; choose another folder with -o" in result.stderr


def test_a_failed_write_leaves_the_old_results(ptyconv, tmp_path, monkeypatch):
    ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*[a-z]") if path.is_file()}
    assert len(before) == 3
    calls = []

    def full_disk(_):
        calls.append(1)
        if len(calls) == 3:  # the first is what is kept for the next analysis
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--every", 20)
    assert result.exit_code == 1
    assert "cannot be written (No space left on device); choose another place with -o" in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_folder_in_the_way_of_an_output_leaves_the_old_results(ptyconv, tmp_path):
    (tmp_path / "convergence.png").mkdir()
    (tmp_path / "convergence_iters.json").write_text("old")
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"Error: {tmp_path}/convergence.png: cannot be written (a folder has that name); choose another place with -o"
    )
    assert names(tmp_path) == {"convergence.png", "convergence_iters.json"}
    assert (tmp_path / "convergence_iters.json").read_text() == "old"


def test_a_disagreeing_live_record_is_not_said_to_agree(ptyconv, tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    with h5py.File(run_dir / "model_iter0120.hdf5", "r+") as file:
        file["convergence_iters/probe"][5, 1] *= 2
    said = "\nDoes not match the engine's own record (largest relative difference 5.0e-01).\n"
    assert said in ptyconv("analyze", run_dir, "--no-plot").stdout
    result = ptyconv("analyze", run_dir, "--no-plot", "--every", 30)
    assert "Not compared with the engine's own record: its intervals or percentiles differ.\n" in result.stdout


def test_two_checkpoints_have_one_change_and_no_ratio(ptyconv, tmp_path):
    write_run(tmp_path, [2, 4])
    lines = ptyconv("analyze", tmp_path, "--no-plot").stdout.splitlines()
    assert lines[3].split() == ["change", "unit", "at", "4", "last/first", "over", "iterations", "(log)"]
    assert all(line.split()[-1] == "-" for line in lines[4:10])


LONG_NAME = "20261122_full_N16384_dp256_flipT100_random32_p8_6slr1e-3_1obj_20slice_dz10_plr1e-4_oalr5e-4_oplr5e-4_" * 2


@pytest.mark.parametrize("name", [LONG_NAME, "重构结果", "x_$\\frac$", os.fsdecode(b"bad\xffname")])
def test_any_folder_name_will_do(ptyconv, tmp_path, name):
    run_dir = tmp_path / name
    write_run(run_dir, [2, 4])
    result = ptyconv("analyze", run_dir)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert max(map(len, result.stdout.split("wrote")[0].splitlines())) <= 80
    assert names(run_dir) >= OUTPUTS
    assert ptyconv("plot", run_dir).exit_code == 0


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_folders_that_may_not_be_read(ptyconv, tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    for command in ("analyze", "plot"):
        for path in (tmp_path / "locked", tmp_path / "locked" / "below"):
            result = ptyconv(command, path)
            assert result.exit_code == 1
            assert "ermission denied" in result.stderr


@pytest.mark.parametrize("command", ["analyze", "plot"])
def test_a_name_that_the_system_refuses(ptyconv, command):
    result = ptyconv(command, "x" * 5000)
    assert result.exit_code == 1
    assert "File name too long" in result.stderr


def test_the_progress_bar_shows_on_a_terminal_only(tmp_path):
    """A pseudo-terminal for standard error, as a user's shell gives it."""
    controller, terminal = os.openpty()
    command = [sys.executable, "-m", "ptyconv_cli", "analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot"]
    for options, shown in (([], True), (["-q"], False)):
        subprocess.run([*command, *options], stdout=subprocess.DEVNULL, stderr=terminal, check=True)
        os.write(terminal, b"end")
        assert (b"checkpoints" in os.read(controller, 100_000)) == shown
    assert subprocess.run(command, capture_output=True, check=True).stderr == b""


def test_closed_output_is_no_traceback(tmp_path):
    command = f'exec "{sys.executable}" -m ptyconv_cli analyze "{runs.SAMPLE}" -o "{tmp_path}" --no-plot >&-'
    result = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert result.stderr == ""
    assert (tmp_path / "convergence_iters.json").exists()


def test_a_terminal_without_utf8_gets_no_traceback(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "ptyconv_cli", "analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot"]
    result = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert "probe_pos_shifts  Å         0.012   0.00612       0.511  ???????????" in result.stdout.decode("latin-1")


def test_sparkline_is_logarithmic_and_bounded():
    assert sparkline([1, 10, 100, 1000, 10**4, 10**5, 10**6, 10**7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.5, 0.5, 0.5]) == "▅▅▅"
    assert sparkline([1.0, 1.05, 1.1]) == "▄▅▅", "small changes look small"
    assert sparkline([0.0, math.nan, 2, 4]) == "  ▁█"
    assert len(sparkline(list(range(1, 1000)))) == 23
    assert sparkline(list(range(1, 1000)))[0] == "▁"
    assert sparkline(list(range(1, 1000)))[-1] == "█"
