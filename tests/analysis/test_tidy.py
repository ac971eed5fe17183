"""`convergence.csv`: the changes as a tidy table."""

import csv
import math

import h5py
import numpy as np
import pytest
import runs
from toy import write_run

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis.report import changes_csv


def table(analysis):
    return list(csv.DictReader(changes_csv(analysis).decode().splitlines()))


def test_a_row_for_each_series_and_checkpoint(ptyconv, tmp_path):
    ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot", "--device", "cpu")
    text = (tmp_path / "convergence.csv").read_text()
    assert text.splitlines()[0] == (
        "series,unit,niter,since,raw,aligned,raw_per_iteration,aligned_per_iteration,voxels"
    )
    analysis = runs.analysis_of(runs.SAMPLE)
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 6 * 11
    for key, points in analysis.points.items():
        of_series = [row for row in rows if row["series"] == key]
        for row, raw, aligned in zip(of_series, points, analysis.aligned_points[key], strict=True):
            assert (int(row["niter"]), int(row["since"])) == (raw.niter, raw.since)
            assert float(row["raw"]) == raw.value
            assert float(row["aligned"]) == aligned.value
            assert float(row["raw_per_iteration"]) == raw.value / 10
            assert float(row["aligned_per_iteration"]) == aligned.value / 10
            assert row["voxels"] == ("" if raw.voxels is None else str(raw.voxels))
    assert {row["series"]: row["unit"] for row in rows} == {
        **dict.fromkeys(("obja_bg", "obja_fg", "probe"), ""),
        **dict.fromkeys(("objp_bg", "objp_fg"), "rad"),
        "probe_pos_shifts": "Å",
    }


def test_what_is_not_known_is_empty(tmp_path):
    write_run(tmp_path, [2, 4, 6])
    with h5py.File(tmp_path / "model_iter0004.hdf5", "r+") as file:
        file["optimizable_tensors/objp"][0, 0, 10, 10] = np.nan
    rows = table(analyze_run(tmp_path, device="cpu"))
    at_4 = next(row for row in rows if row["series"] == "objp_fg" and row["niter"] == "4")
    assert [at_4[name] for name in ("raw", "aligned", "raw_per_iteration", "voxels")] == [""] * 4
    assert all(math.isfinite(float(row["raw"])) for row in rows if not row["series"].startswith("objp"))


@pytest.mark.parametrize("chosen", [["probe"], ["objp", "probe"]])
def test_only_what_was_asked_for(chosen):
    rows = table(analyze_run(runs.SAMPLE, tensors=chosen, aligned=False, device="cpu"))
    assert {row["series"].partition("_")[0] for row in rows} == set(chosen)
    assert {row["aligned"] + row["aligned_per_iteration"] for row in rows} == {""}
