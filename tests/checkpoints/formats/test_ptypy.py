"""Files of ptypy: a real series, and small ones of what it does not have."""

import re
import shutil
import time
from contextlib import nullcontext

import engines
import h5py
import numpy as np
import pytest
import runs
from blank import blank_pictures
from damage import spoil
from rarely import long_after

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.checkpoints.discovery import find_runs
from ptyconv_cli.checkpoints.opening import TICK
from ptyconv_cli.results.run_analysis import RunBoundary

SERIES = engines.ENGINES / "ptypy" / "autosave"
DUMPS, RECONS = SERIES / "dumps" / "simrun", SERIES / "recons" / "simrun"
DX = 0.3493749789501174
STORAGE = "content/obj/Sscan00G00"


def files_of(run_dir):
    return sorted(run_dir.rglob("*.ptyr"), key=lambda path: (path.stem[-4:], path.parts))


def snapshot(path, storage="Sscan00G00"):
    with h5py.File(path) as file:
        content = file["content"]
        stored, probe = content[f"obj/{storage}/data"][()], content["probe/Sscan00G00/data"][()]
        padding = int(content[f"obj/{storage}/padding"][()])
        done = [int(one["iterations"][()]) for one in content["runtime/iter_info"].values()]
    last = np.array(stored.shape[-2:]) - probe.shape[-2:] - padding
    corners = np.stack([[padding, padding], last])
    return engines.Snapshot(
        max(done, default=0),
        np.angle(stored.astype(complex))[:, None],
        np.abs(stored.astype(complex))[:, None],
        probe,
        None,
        corners,
    )


def in_order(run_dir):
    return [snapshot(path) for path in files_of(run_dir)]


@pytest.fixture
def series(tmp_path):
    return shutil.copytree(SERIES, tmp_path / "autosave")


def test_all_values_are_those_of_the_formulas():
    analysis = runs.analysis_of(SERIES)
    engines.check(analysis, in_order(SERIES), DX)
    assert [round(point.value, 6) for point in analysis.points["objp_fg"]][::7] == [0.119474, 0.014715]
    assert [found.niter for found in analysis.checkpoints] == list(range(0, 41, 5))
    with h5py.File(RECONS / "simrun_ML_0040.ptyr") as file:
        photons = [float(one["error"][1]) for one in file["content/runtime/iter_info"].values()]
    assert analysis.engine.loss == list(enumerate(photons, 1))
    assert analysis.warnings == [
        "probe_pos_shifts is not analyzed: ptypy records scan positions only at the end of an engine, unless "
        "record_positions is on."
    ]
    with pytest.raises(PtyconvError, match="no tensor probe_pos_shifts, because ptypy records"):
        analyze_run(SERIES, tensors=["probe_pos_shifts"], device="cpu")


@pytest.mark.parametrize(
    "place", long_after(2, [RECONS, DUMPS / "simrun_ML_0010.ptyr", DUMPS, RECONS / "simrun_ML_0040.ptyr"])
)
def test_either_folder_and_any_file_stand_for_the_run(place):
    assert analyze_run(place, device="cpu").points == runs.analysis_of(SERIES).points


def test_the_run_is_found_once(series, ptyconv):
    assert find_runs(series).runs == [series / "dumps" / "simrun"]
    listed = ptyconv("ls", series).stdout
    assert re.findall(r"^dumps/simrun +ptypy +9 +0 to 40 +1×1×65×67 +0.3494$", listed, re.M)


def test_names_do_not_matter(series):
    for path in files_of(series):
        path.rename(path.with_name(f"scan7-{path.stem[-4:]}x.h5"))
    assert analyze_run(series, device="cpu").points == runs.analysis_of(SERIES).points


@pytest.mark.parametrize("command", ["analyze", "check", "maps", "ls"])
@pytest.mark.parametrize("place", long_after(1, ["recons/simrun", ""]))
def test_the_commands(series, ptyconv, command, place):
    with blank_pictures() if place else nullcontext():
        result = ptyconv(command, series / place)
        assert result.exit_code == (3 if command == "check" else 0), result.stderr
        if command == "analyze":
            assert ptyconv("plot", series / (place or "dumps/simrun")).exit_code == 0


def test_several_runs_are_analyzed_each(series, ptyconv):
    for name in ("dumps", "recons"):
        shutil.copytree(series / name / "simrun", series / name / "again")
    result = ptyconv("analyze", series, "--no-plot")
    assert result.exit_code == 0, result.stderr
    for run in ("again", "simrun"):
        assert (series / "dumps" / run / "convergence_report.json").exists()
        assert not list((series / "recons" / run).glob("*.json"))


@pytest.mark.parametrize("place", long_after(1, ["", "dumps/simrun"]))
def test_a_growing_series_is_followed(tmp_path, ptyconv, monkeypatch, place):
    files, run_dir = files_of(SERIES), tmp_path / "run"
    begins, really_sleep = [files[1].read_bytes()[:100_000]], time.sleep

    def sleep(seconds):
        if seconds <= TICK:
            return really_sleep(seconds)
        if begins:
            (run_dir / "dumps" / "simrun").mkdir(parents=True)
            (run_dir / "dumps" / "simrun" / files[1].name).write_bytes(begins.pop())
        elif files:
            path = files.pop(0)
            (run_dir / path.relative_to(SERIES).parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, run_dir / path.relative_to(SERIES).parent)
        return None

    monkeypatch.setattr("ptyconv_cli.analysis.follow.time.sleep", sleep)
    result = ptyconv("analyze", run_dir / place, "--follow", "--idle", "0.01", "--no-plot")
    assert result.exit_code == 0, result.stderr
    lines = re.findall(r"^\d\d:\d\d:\d\d iteration (\d+)", result.stdout, re.M)
    assert lines == [str(niter) for niter in range(5, 41, 5)]
    assert "9 checkpoints, iterations 0 to 40" in result.stdout
    assert "left out" not in result.stderr


# --- what the series has not ------------------------------------------------------------------------------------------

PX = 12.5e-9
RNG = np.random.default_rng(5)
OBJECTS = {niter: np.exp(RNG.normal(0, 0.2, (2, 42, 45)) * (1j + 0.1) / (1 + niter)) for niter in range(0, 31, 5)}
PROBE = RNG.normal(size=(2, 16, 16)) + 1j * RNG.normal(size=(2, 16, 16))
MIDDLES = RNG.uniform((15.0, 14.0), (27.0, 30.0), (20, 2))
"""Scan positions [y, x] in px; the shapes alone give a larger region."""


def write(path, done, of_engine, engine="DM", positions=None, niters=None):
    """Write a file with an object of two modes; `done`: iterations, `of_engine`: those of them by the last engine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    origin = np.array([-21.25, -20.5]) * PX
    with h5py.File(path, "w") as file:
        file["header/kind"] = "dump" if niters is None else "minimal"
        for kind, data in (("obj", OBJECTS[done]), ("probe", PROBE / (1 + 0.02 * done))):
            storage = file.create_group(f"content/{kind}/S0")
            storage["data"] = data.astype("c8")
            storage["padding"] = 3
            storage["_psize"], storage["_origin"], storage["_center"] = np.full(2, PX), origin, -origin / PX
        file.create_group("content/runtime/iter_info")
        for place, niter in enumerate(niters or [done] if done else []):
            info = file.create_group(f"content/runtime/iter_info/{place:05d}")
            before = done - of_engine if niter > done - of_engine else 0
            info["iterations"], info["iteration"], info["engine"] = niter, niter - before, engine if before else "DM"
            info["error"] = [1 / niter, 2 / niter if before else 0.0, 0.1]
        if positions is not None:
            file["content/positions/S0"] = origin + PX * positions
    return path


@pytest.fixture
def two_engines(tmp_path):
    """DM, then ML; positions are recorded at the end of each, and in the dumps since."""
    run_dir = tmp_path / "home"
    dumps, recons = run_dir / "dumps" / "gold", run_dir / "recons" / "gold"
    write(dumps / "gold_None_0000.ptyr", 0, 0)
    for done in (5, 10):
        write(dumps / f"gold_DM_{done:04d}.ptyr", done, done)
    write(recons / "gold_DM_0015.ptyr", 15, 15, positions=MIDDLES, niters=list(range(1, 16)))
    write(dumps / "gold_DM_0015.ptyr", 15, 15)
    for done in (20, 25):
        write(dumps / f"gold_ML_{done:04d}.ptyr", done, done - 15, "ML", MIDDLES + 0.4)
    write(recons / "gold_ML_0030.ptyr", 30, 15, "ML", MIDDLES + 0.6, [*range(1, 31)])
    return run_dir


def gold(middles):
    corners = np.stack([[3, 3], [42 - 16 - 3, 45 - 16 - 3]]) if middles is None else middles - 8
    return [
        engines.Snapshot(
            niter,
            np.angle(stored.astype("c8").astype(complex))[:, None],
            np.abs(stored.astype("c8").astype(complex))[:, None],
            (PROBE / (1 + 0.02 * niter)).astype("c8"),
            None,
            corners,
        )
        for niter, stored in OBJECTS.items()
    ]


@pytest.mark.parametrize("place", long_after(2, ["", "dumps/gold", "recons/gold", "dumps/gold/gold_DM_0015.ptyr"]))
def test_positions_at_the_end_of_an_engine_give_the_region(two_engines, place):
    analysis = analyze_run(two_engines / place, device="cpu")
    engines.check(analysis, gold(MIDDLES), 125.0)
    assert analysis.boundaries == [RunBoundary(15, "the engine changed", "")]
    assert analysis.left_out == []
    assert [niter for niter, _ in analysis.engine.loss] == list(range(1, 31))
    assert analysis.engine.loss[4] == (5, 1 / 5)
    assert analysis.engine.loss[-1] == (30, 2 / 30)


def test_positions_in_every_dump_are_a_series(tmp_path):
    """As `record_positions` has them written, of an engine that refines them."""
    moving = {niter: MIDDLES + 0.3 * np.sin(np.arange(40).reshape(20, 2)) / (1 + niter) for niter in range(0, 31, 5)}
    for niter, middles in moving.items():
        write(tmp_path / "dumps" / "gold" / f"gold_DM_{niter:04d}.ptyr", niter, niter, positions=middles)
    analysis = analyze_run(tmp_path, device="cpu")
    expected = [one._replace(positions=moving[one.niter]) for one in gold(moving[0])]
    engines.check(analysis, expected, 125.0)
    assert "probe_pos_shifts" in analysis.points
    assert not [warning for warning in analysis.warnings if "probe_pos_shifts" in warning]


def test_positions_that_are_the_same_in_every_dump_are_none(tmp_path):
    for niter in range(0, 31, 5):
        write(tmp_path / "dumps" / "gold" / f"gold_DM_{niter:04d}.ptyr", niter, niter, positions=MIDDLES)
    analysis = analyze_run(tmp_path, device="cpu")
    engines.check(analysis, gold(MIDDLES), 125.0)
    assert "the scan positions are the same in all checkpoints" in " ".join(analysis.warnings)


def test_without_positions_the_region_is_what_the_padding_leaves(two_engines):
    for path in files_of(two_engines):
        spoil(path, "content/positions", None)
    engines.check(analyze_run(two_engines, device="cpu"), gold(None), 125.0)


def test_a_reconstruction_alone_ends_its_engine(two_engines):
    """Where an engine ends between two dumps its last state is only among the reconstructions."""
    shutil.rmtree(two_engines / "dumps")
    niters = [found.niter for found in analyze_run(two_engines, device="cpu").checkpoints]
    assert niters == [15, 30]


def test_of_several_objects_the_largest_is_followed(series):
    for path in files_of(series):
        with h5py.File(path, "r+") as file:
            for name, size in (("Sa", 30), ("Sz", 64)):
                file.copy(STORAGE, f"content/obj/{name}")
                data = file[f"content/obj/{name}/data"][:, :size, :size] * 0.9
                del file[f"content/obj/{name}/data"]
                file[f"content/obj/{name}/data"] = data
            file.copy("content/probe/Sscan00G00", "content/probe/Sa")
    analysis = analyze_run(series, device="cpu")
    assert analysis.points == runs.analysis_of(SERIES).points
    said = "The files hold 3 objects (Sa, Sscan00G00, Sz): Sscan00G00 is followed."
    assert analysis.warnings.count(said) == 1
    for path in files_of(series):
        with h5py.File(path, "r+") as file:
            del file[STORAGE]
    analysis = analyze_run(series, device="cpu")
    engines.check(analysis, [snapshot(path, "Sz") for path in files_of(series)], DX)
    assert "The files hold 2 probes (Sa, Sscan00G00): Sa is followed." in analysis.warnings


def test_another_run_with_the_same_first_state_is_told_apart(series):
    """Before the first iteration there is no loss: which files are copies is then said by what is in them."""
    folder = series / "dumps" / "simrun"
    shutil.copy(folder / "simrun_None_0000.ptyr", folder / "simrun_None_0000_copy.ptyr")
    assert analyze_run(series, device="cpu").points == runs.analysis_of(SERIES).points
    with h5py.File(folder / "simrun_None_0000_copy.ptyr", "r+") as file:
        file[f"{STORAGE}/data"][...] *= 1.1
    with pytest.raises(PtyconvError, match="belong to 2 runs"):
        analyze_run(series, device="cpu")


def test_runs_are_chained(series, tmp_path):
    """A run that was begun from the result of another counts its iterations from 0."""
    second = shutil.copytree(series, tmp_path / "second")
    analysis = analyze_run(second, chain=[series], device="cpu")
    assert [found.niter for found in analysis.checkpoints] == [*range(0, 41, 5), *range(40, 81, 5)]
    assert [boundary.difference for boundary in analysis.boundaries] == [""]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    long_after(
        3,
        [
            (f"{STORAGE}/data", None, "has no dataset content/obj/…/data"),
            (f"{STORAGE}/data", np.zeros((1, 65, 67)), "expected complex (omode, y, x), found float64 (1, 65, 67)"),
            (f"{STORAGE}/_psize", np.zeros(2), "the pixel size is 0 × 0 Å"),
            (f"{STORAGE}/_psize", np.ones(3), "expected real (2), found float64 (3,)"),
            (f"{STORAGE}/_center", None, "has no dataset content/obj/Sscan00G00/_center"),
            ("content/probe/Sscan00G00/data", None, "has no dataset content/probe/…/data"),
            ("content/runtime/iter_info/00000/iterations", None, "iterations: expected one integer number"),
            ("content/runtime/iter_info/00000/iteration", [1, 2], "iteration: expected one integer number"),
            ("content/runtime", None, "is no checkpoint of a known format"),
        ],
    ),
)
def test_a_damaged_file_is_left_out_with_the_reason(series, name, values, said):
    spoil(series / "dumps" / "simrun" / "simrun_ML_0015.ptyr", name, values)
    analysis = analyze_run(series, device="cpu")
    assert [file.file for file in analysis.left_out] == ["simrun_ML_0015.ptyr"]
    assert said in analysis.left_out[0].reason
    with pytest.raises(PtyconvError, match=re.escape(said)):
        analyze_run(series, device="cpu", strict=True)


def test_padding_that_leaves_no_room_is_an_error(series):
    for path in files_of(series):
        spoil(path, f"{STORAGE}/padding", 9)
    with pytest.raises(PtyconvError, match="padding: 9 px leave no room for the probe"):
        analyze_run(series, device="cpu")


@pytest.mark.parametrize("place", ["", "dumps/simrun", "recons/simrun"])
def test_a_damaged_file_in_the_other_folder_is_named(series, place):
    path = series / "recons" / "simrun" / "simrun_ML_0040.ptyr"
    path.write_bytes(path.read_bytes()[:100_000])
    analysis = analyze_run(series / place, device="cpu")
    assert [file.file.rpartition("/")[2] for file in analysis.left_out] == [path.name]
    assert len(analysis.checkpoints) == 8


def test_ls_names_a_damaged_file_also_where_an_iteration_is_there_twice(two_engines, ptyconv):
    path = two_engines / "dumps" / "gold" / "gold_DM_0010.ptyr"
    path.write_bytes(path.read_bytes()[:5000])
    listed = ptyconv("ls", two_engines).stdout
    assert re.findall(r"^dumps/gold +ptypy +6 +0 to 30 +2×1×42×45 +125.00$", listed, re.M)
    assert re.findall(r"^  gold_DM_0010.ptyr: is no checkpoint of a known format \(HDF5", listed, re.M)
    assert listed.count("gold_DM_0010.ptyr") == 1


def test_errors_that_are_damaged_cost_only_the_loss(series):
    spoil(series / "recons" / "simrun" / "simrun_ML_0040.ptyr", "content/runtime/iter_info/00003/error", [1.0])
    analysis = analyze_run(series, device="cpu")
    engines.check(analysis, in_order(series), DX)
    assert any("00003/error" in text and "left out" in text for text in analysis.warnings)
