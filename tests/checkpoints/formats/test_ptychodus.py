"""Products of ptychodus, with the results of pty-chi."""

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
from rarely import long_after

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.checkpoints.discovery import find_runs
from ptyconv_cli.checkpoints.opening import TICK

SERIES = engines.ENGINES / "ptychodus"
ANGSTROM = 1e10


def snapshot(path):
    with h5py.File(path) as file:
        stored, attrs = file["object"][()], dict(file["object"].attrs)
        y = (file["probe_position_y_m"][()] - attrs["center_y_m"]) / attrs["pixel_height_m"]
        x = (file["probe_position_x_m"][()] - attrs["center_x_m"]) / attrs["pixel_width_m"]
        probe, niter = file["probe"][0], len(file["loss_epochs"])
    positions = np.stack([y, x], 1)
    corners = positions + (np.array(stored.shape[-2:]) - probe.shape[-2:]) / 2
    return engines.of_transmission(niter, stored, probe, positions, corners)


@pytest.fixture
def series(tmp_path):
    return shutil.copytree(SERIES, tmp_path / "ptychodus")


def test_all_values_are_those_of_the_formulas():
    analysis = runs.analysis_of(SERIES)
    engines.check(analysis, [snapshot(path) for path in sorted(SERIES.glob("product.0*.h5"))], 0.34937497895011737)
    assert [round(point.value, 6) for point in analysis.points["objp_fg"]][::8] == [0.031417, 0.002323]
    assert [niter for niter, _ in analysis.engine.loss] == list(range(1, 81))
    assert {point.since for point in analysis.points["objp_fg"]} == set(range(8, 80, 8))
    assert analysis.left_out == []
    assert not [text for text in analysis.warnings if "product.h5" in text]


def test_the_last_product_counts_where_it_is_the_only_one_of_its_epoch(series):
    (series / "product.000080.h5").unlink()
    assert [found.file for found in analyze_run(series, device="cpu").checkpoints][-2:] == [
        "product.000072.h5",
        "product.h5",
    ]


def test_names_do_not_matter(series):
    for path in series.iterdir():
        path.rename(series / path.name.replace("product.", "scan_17-").replace("0000", ""))
    named = analyze_run(series, device="cpu")
    assert named.convergence_iters == runs.analysis_of(SERIES).convergence_iters
    assert find_runs(series.parent).runs == [series]


def test_a_file_stands_for_its_run():
    one = analyze_run(SERIES / "product.000040.h5", device="cpu")
    assert one.points == runs.analysis_of(SERIES).points


@pytest.mark.parametrize("name", ["loss_values", "loss_epochs"])
def test_without_a_loss_the_name_gives_the_epoch(series, name):
    if name == "loss_values":
        for path in series.iterdir():
            with h5py.File(path, "r+") as file:
                for lost in ("loss_values", "loss_epochs"):
                    del file[lost]
                    file[lost] = np.zeros(0)
        (series / "product.h5").unlink()
        assert [found.niter for found in analyze_run(series, device="cpu").checkpoints] == list(range(8, 81, 8))
    else:
        with h5py.File(series / "product.000040.h5", "r+") as file:
            del file[name]
        analysis = analyze_run(series, device="cpu")
        assert len(analysis.checkpoints) == 10
        assert any("loss_epochs" in text for text in analysis.warnings)


def test_losses_that_are_damaged_do_not_give_the_epoch(series):
    with h5py.File(series / "product.000040.h5", "r+") as file:
        values = np.tile(file["loss_values"][()], 2)
        del file["loss_values"]
        file["loss_values"] = values
    analysis = analyze_run(series, device="cpu")
    assert analysis.points == runs.analysis_of(SERIES).points
    assert any("loss_values" in text for text in analysis.warnings)


def test_positions_that_never_move_are_no_series(series):
    with h5py.File(series / "product.000008.h5") as first:
        positions = {axis: first[f"probe_position_{axis}_m"][()] for axis in "yx"}
    for path in series.iterdir():
        with h5py.File(path, "r+") as file:
            for axis, of_axis in positions.items():
                file[f"probe_position_{axis}_m"][...] = of_axis
    analysis = analyze_run(series, device="cpu")
    assert set(analysis.points) == {"obja_bg", "obja_fg", "objp_bg", "objp_fg", "probe"}
    assert "probe_pos_shifts is not analyzed: the scan positions are the same in all checkpoints." in analysis.warnings
    asked = analyze_run(series, tensors=["probe_pos_shifts"], device="cpu")
    assert {point.value for point in asked.points["probe_pos_shifts"]} == {0.0}


def test_windows_beyond_the_object_clamp_the_region(series):
    for path in series.iterdir():
        with h5py.File(path, "r+") as file:
            file["probe_position_y_m"][...] *= 5
    analysis = analyze_run(series, device="cpu")
    engines.check(analysis, [snapshot(path) for path in sorted(series.glob("product.0*.h5"))], 0.34937497895011737)
    assert (analysis.region.y_start, analysis.region.y_stop) == (0, 74)
    assert any("scan positions lie beyond the object" in text for text in analysis.warnings)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.pop("probe_position_x_m"), "is no checkpoint of a known format"),
        (lambda file: file["object"].attrs.pop("pixel_width_m"), "has no dataset object/pixel_width_m"),
        (lambda file: file["object"].attrs.modify("pixel_width_m", 0.0), "the pixel size is 0.349375 × 0 Å"),
    ],
)
def test_what_is_wrong_with_a_product_is_said(series, spoil, said):
    with h5py.File(series / "product.000040.h5", "r+") as file:
        spoil(file)
    with pytest.raises(PtyconvError, match=said):
        analyze_run(series / "product.000040.h5", device="cpu", strict=True)


@pytest.mark.parametrize("drawn", long_after(1, [False, True]))
@pytest.mark.parametrize("command", [["analyze"], ["check"], ["maps"], ["ls"]])
def test_the_commands(series, ptyconv, command, drawn):
    with nullcontext() if drawn else blank_pictures():
        result = ptyconv(*command, series)
        assert result.exit_code == (3 if command == ["check"] else 0), result.stderr
        if command == ["ls"]:
            assert "ptychodus                ptychodus          10     8 to 80  1×2×74×76     0.3494" in result.stdout


def test_a_growing_series_is_followed(tmp_path, ptyconv, monkeypatch):
    """A product that is half written is waited for; the last one, which comes twice, is analyzed again."""
    files, run_dir = sorted(SERIES.iterdir()), tmp_path / "run"
    begins, really_sleep = [files[1].read_bytes()[:100_000]], time.sleep

    def sleep(seconds):
        if seconds <= TICK:
            return really_sleep(seconds)
        run_dir.mkdir(exist_ok=True)
        if begins:
            (run_dir / files[1].name).write_bytes(begins.pop())
        elif files:
            shutil.copy(files.pop(0), run_dir)
        return None

    monkeypatch.setattr("ptyconv_cli.analysis.follow.time.sleep", sleep)
    result = ptyconv("analyze", run_dir, "--follow", "--idle", "0.01", "--no-plot")
    assert result.exit_code == 0, result.stderr
    lines = re.findall(r"^\d\d:\d\d:\d\d iteration (\d+)", result.stdout, re.M)
    assert lines == [str(niter) for niter in [*range(16, 81, 8), 80]]
    assert "run: 10 checkpoints, iterations 8 to 80" in result.stdout
    assert "warning" not in result.stderr
