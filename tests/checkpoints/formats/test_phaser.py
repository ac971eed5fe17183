"""What phaser writes."""

import math
import re
import shutil
from itertools import pairwise

import h5py
import numpy as np
import pytest
import runs
from rarely import long_after
from toy import write_run

from ptyconv_cli import analyze_run
from ptyconv_cli.errors import SeveralRuns

PHASER = runs.DATA / "phaser"


def phaser_changes(one, other):
    """The six changes between two files of phaser, from the raw arrays in float64."""
    with h5py.File(one) as before, h5py.File(other) as now:
        pixels = (before["scan/data"][()] - before["object/corner"][()]) / before["object/sampling"][()]
        low, high = (np.floor(found + 0.5).astype(int) for found in (pixels.min((0, 1)), pixels.max((0, 1))))
        region = np.s_[:, low[0] - 1 : high[0], low[1] - 1 : high[1]]
        current, previous = (file["object/data"][()].astype(complex)[region] for file in (now, before))
        probes = (file["probe/data"][()].astype(complex) for file in (now, before))
        intensity, intensity_before = ((np.abs(probe) ** 2).sum(0) for probe in probes)
        moved = now["scan/data"][()] - before["scan/data"][()]
    found = {}
    for key, x, change in (
        ("obja", 1 - np.abs(current), np.abs(current) - np.abs(previous)),
        ("objp", np.angle(current), np.angle(current * previous.conj())),
    ):
        low, high = np.percentile(x, [15, 85])
        found[f"{key}_bg"], found[f"{key}_fg"] = np.abs(change)[x < low].mean(), np.abs(change)[x > high].mean()
    found["probe"] = np.abs(intensity - intensity_before).sum() / (intensity_before.sum() + 1e-8)
    found["probe_pos_shifts"] = np.sqrt((moved**2).sum(-1).mean())
    return found


@pytest.mark.parametrize("name", ["lsqml", "gradient"])
def test_phaser_agrees_with_brute_force(name):
    files = sorted((PHASER / name).iterdir())
    analysis = analyze_run(PHASER / name, device="cpu")
    for k in range(1, len(files)):
        expected = phaser_changes(files[k - 1], files[k])
        found = {key: points[k - 1].value for key, points in analysis.points.items()}
        # The region is the first file's: positions move by less than the rounding here.
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-15)


def test_an_engine_that_changes_the_sampling_begins_anew():
    folder = PHASER / "epie_resize"
    analysis = analyze_run(folder, device="cpu")
    assert [(p.since, p.niter) for p in analysis.points["probe"]] == [(2, 4), (6, 8), (10, 12), (12, 14)]
    for niters in ((2, 4), (6, 8), (10, 12), (12, 14)):
        expected = phaser_changes(*(folder / f"iter{niter:03d}.h5" for niter in niters))
        found = {key: dict(curve)[niters[1]] for key, curve in analysis.convergence_iters.items()}
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-15)
    assert analysis.trajectories["objp"].niters == [10, 12, 14]
    assert analysis.dx == pytest.approx(0.34937393)
    assert str(analysis.region) == "y 32:58, x 32:62 px"
    assert [warning for warning in analysis.warnings if "no change is computed across" in warning]
    points = [point for found in analysis.verdict.doublings.values() for point in found.points]
    assert all(point.since > 8 for point in points)


@pytest.fixture
def lsqml(tmp_path):
    return shutil.copytree(PHASER / "lsqml", tmp_path / "lsqml")


def turn(folder, angles):
    """Turn the object's phase, which no diffraction pattern can see."""
    for path, angle in zip(sorted(folder.iterdir()), angles, strict=True):
        with h5py.File(path, "r+") as file:
            file["object/data"][...] = file["object/data"][()] * np.exp(1j * angle)


def test_a_phase_does_not_jump_at_half_a_turn(lsqml):
    straight = analyze_run(lsqml, device="cpu")
    steps = np.array([3.1, 3.13, 3.16, 3.19, 3.22, 3.25, 3.28])  # over the edge at 3.14159
    turn(lsqml, steps)
    turned = analyze_run(lsqml, device="cpu")
    for key in ("objp_bg", "objp_fg"):
        raw = [value for _, value in turned.convergence_iters[key]]
        assert max(raw) < 0.05
        for point, before in zip(turned.aligned_points[key], straight.aligned_points[key], strict=True):
            assert point.value == pytest.approx(before.value, rel=1e-3)
    offsets = [what.total_offset[0] for _, what in turned.removed["objp"]]
    before = [what.total_offset[0] for _, what in straight.removed["objp"]]
    assert np.subtract(offsets, before) == pytest.approx([2 * 0.03] * 6, abs=1e-4)  # of two slices
    travelled = turned.trajectories["objp"].raw.between[-1][0]
    assert travelled == pytest.approx(0.18, rel=0.1)


def test_pixels_that_are_not_square_are_said(lsqml):
    for path in lsqml.iterdir():
        with h5py.File(path, "r+") as file:
            file["object/sampling"][0] *= 1.01
    analysis = analyze_run(lsqml, device="cpu")
    assert any("pixels are not square (0.352868 × 0.349374 Å)" in warning for warning in analysis.warnings)
    expected = [phaser_changes(*pair)["probe_pos_shifts"] for pair in pairwise(sorted(lsqml.iterdir()))]
    assert [value for _, value in analysis.convergence_iters["probe_pos_shifts"]] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    long_after(
        3,
        [
            ("type", "something else", "is not a checkpoint of phaser"),
            ("object/sampling", np.array([0.3, np.nan]), "the pixel size object/sampling is"),
            (
                "object/data",
                np.zeros((4, 4), "c8"),
                r"object/data: expected complex \(z, y, x\), found complex64 \(4, 4\)",
            ),
            ("scan/data", np.full((12, 14, 2), 1e12), "positions lie outside any object"),
            ("scan/data", np.zeros((12, 14, 3)), "scan/data: expected real"),
            ("scan/initial", np.zeros((3, 2)), "scan/initial has 3 positions, scan/data 168"),
            ("iter/total_iter", np.zeros(3), "expected one integer number"),
        ],
    ),
)
def test_a_damaged_phaser_file_is_left_out_with_the_reason(lsqml, name, value, said):
    with h5py.File(lsqml / "iter006.h5", "r+") as file:
        del file[name]
        file[name] = value
    (left_out,) = analyze_run(lsqml, device="cpu").left_out
    assert left_out.file == "iter006.h5"
    assert re.search(said, left_out.reason), left_out.reason


def test_phaser_without_its_first_positions(lsqml):
    whole = analyze_run(lsqml, device="cpu")
    for path in lsqml.iterdir():
        with h5py.File(path, "r+") as file:
            del file["scan/initial"]
    analysis = analyze_run(lsqml, device="cpu")
    assert [v for _, v in analysis.convergence_iters["probe_pos_shifts"]] == pytest.approx(
        [v for _, v in whole.convergence_iters["probe_pos_shifts"]], rel=1e-9
    )


def test_a_corner_that_moves_is_another_run(lsqml):
    """Pixels are counted from it: nothing can be compared then."""
    with h5py.File(lsqml / "iter006.h5", "r+") as file:
        file["object/corner"][0] += 1
    with pytest.raises(SeveralRuns, match=r"2: iter006.h5: the scan positions"):
        analyze_run(lsqml, device="cpu")


def test_nan_in_one_file_of_phaser_spoils_no_other(tmp_path):
    folder = shutil.copytree(PHASER / "gradient", tmp_path / "gradient")
    whole = analyze_run(folder, device="cpu").convergence_iters
    for name in ("iter002.h5", "iter010.h5"):
        with h5py.File(folder / name, "r+") as file:
            file["object/data"][0, 40, 40] = np.nan
    analysis = analyze_run(folder, device="cpu")
    assert analysis.not_finite["objp"] == [2, 10]
    for key in ("objp_fg", "obja_fg"):
        found = analysis.convergence_iters[key]
        # Where only the one before holds the NaN, it may lie outside the mask.
        assert [niter for niter, value in found if niter not in (4, 12) and not math.isfinite(value)] == [10]
        rest = {n: v for n, v in found if n not in (4, 10, 12)}
        assert rest == pytest.approx({n: v for n, v in whole[key] if n in rest}, rel=1e-9)


def test_an_engine_that_ran_for_longer_than_the_run_is_no_engine(lsqml):
    with h5py.File(lsqml / "iter006.h5", "r+") as file:
        file["iter/engine_iter"][...] = 60
    (left_out,) = analyze_run(lsqml, device="cpu").left_out
    assert left_out.reason == "iter/engine_iter and iter/total_iter contradict each other"


def test_two_engines_files_in_one_folder_are_two_runs(lsqml):
    write_run(lsqml, [1, 3, 5])
    with pytest.raises(SeveralRuns, match="it was written by phaser, not PtyRAD"):
        analyze_run(lsqml, device="cpu")


def older_state_file(folder):
    """Make a run's files such as phaser of early 2025 wrote them: state file 0.1."""
    for path in sorted(folder.iterdir()):
        with h5py.File(path, "r+") as file:
            positions = file["scan/data"][()]
            niters, loss = (file[f"progress/total_loss/{name}"][()] for name in ("iters", "values"))
            for name in ("scan", "progress", "version"):
                del file[name]
            file["scan"], file["version"] = positions, "0.1"
            file["progress/iters"], file["progress/detector_errors"] = niters.astype("u8"), loss
        path.rename(folder / f"iter{int(path.stem[4:])}.h5")
    return folder


def test_the_older_state_file_reads(lsqml):
    whole = analyze_run(lsqml, device="cpu")
    analysis = analyze_run(older_state_file(lsqml), device="cpu")
    assert [checkpoint.file for checkpoint in analysis.checkpoints][:2] == ["iter2.h5", "iter4.h5"]
    assert analysis.warnings == whole.warnings
    assert analysis.engine.loss == whole.engine.loss
    assert analysis.region == whole.region
    for key, curve in whole.convergence_iters.items():
        assert dict(analysis.convergence_iters[key]) == pytest.approx(dict(curve), rel=1e-9)
    assert (analysis.verdict.state, analysis.verdict.worst) == (whole.verdict.state, whole.verdict.worst)


def test_positions_of_the_older_state_file_that_are_no_numbers_break_a_run(lsqml):
    older_state_file(lsqml)
    with h5py.File(max(lsqml.iterdir(), key=lambda path: int(path.stem[4:])), "r+") as file:
        file["scan"][...] = np.nan
    verdict = analyze_run(lsqml, device="cpu").verdict
    assert (verdict.state, verdict.worst) == ("broken", "probe_pos_shifts")


def test_a_state_file_of_a_later_version_is_read_with_a_warning(lsqml):
    for path in lsqml.iterdir():
        with h5py.File(path, "r+") as file:
            del file["version"]
            file["version"] = "0.4"
    (warning,) = analyze_run(lsqml, device="cpu").warnings
    assert re.match(r"\d+ files, such as ", warning)
    assert "is a state file of version '0.4' of phaser, which is not known here. It is read as one of 0.2." in warning
