"""Every format, in the same six series and units as PtyRAD's."""

import math
import os
import shutil

import h5py
import numpy as np
import pytest
import runs
from rarely import long_after

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.checkpoints.formats.tree import last_pass
from ptyconv_cli.errors import SeveralRuns

PHASER = runs.DATA / "phaser"


@pytest.mark.parametrize(
    ("folder", "points", "boundaries"),
    long_after(
        9,
        [
            ("../../sample_data/atoms", 9, []),
            ("../../sample_data/ptyrad-0.1.0b6-pt", 4, []),
            ("ptyrad-1.0/clipped", 11, []),
            ("ptyrad-1.0/constant_lr", 19, []),
            ("ptyrad-1.0/cosine_lr", 19, []),
            ("ptyrad-0.1.0b6-pt/numpy1", 4, []),
            ("ptyrad-0.1.0b6-pt/saved_on_cuda", 2, []),
            ("ptyrad-0.1.0b10", 4, []),
            ("ptyrad-0.1.0b13", 4, []),
            ("ptyrad-v2/pixel", 4, []),
            ("ptyrad-v2/aberration", 4, []),
            ("phaser/lsqml", 6, [(8, "")]),  # the second engine moves the positions, too
            ("phaser/gradient", 9, []),
            ("phaser/epie_resize", 4, [(4, "the shape of obja"), (8, "the shape of obja")]),
            ("resume/first", 4, []),
            ("resume/resumed", 3, []),
            ("resume/resumed_with_optimizer", 3, []),
            *((f"hypertune/collated_and_trials/hypertune_TPESampler_loss/t000{n}_*", 2, []) for n in range(4)),
        ],
    ),
)
def test_every_real_run(folder, points, boundaries):
    (run_dir,) = runs.DATA.glob(folder) if "*" in folder else [runs.DATA / folder]
    analysis = analyze_run(run_dir, device="cpu")
    assert {len(found) for found in analysis.points.values()} == {points}
    assert set(analysis.points) == {"obja_bg", "obja_fg", "objp_bg", "objp_fg", "probe", "probe_pos_shifts"}
    assert [boundary.niter for boundary in analysis.boundaries] == [niter for niter, _ in boundaries]
    assert all(
        boundary.difference.startswith(what)
        for boundary, (_, what) in zip(analysis.boundaries, boundaries, strict=True)
    )
    assert all(math.isfinite(p.value) for found in analysis.points.values() for p in found)
    assert len(analysis.engine.loss) == analysis.checkpoints[-1].niter


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        (
            "hypertune/collated_only/hypertune_TPESampler_loss",
            "4 collated files .* last checkpoints of different trials",
        ),
        ("hypertune/collated_and_trials/hypertune_TPESampler_loss", "but 4 runs below it, in t0000_"),
    ],
)
def test_every_other_folder_is_refused_with_the_reason(folder, said):
    with pytest.raises(PtyconvError, match=said):
        analyze_run(runs.DATA / folder, device="cpu")


def test_two_runs_in_one_folder_are_counted():
    with pytest.raises(SeveralRuns) as error:
        analyze_run(runs.DATA / "resume" / "mixed_in_one_folder", device="cpu")
    assert error.value.count == 2


def test_double_precision_is_reckoned_with_before_memory_is_asked_for(monkeypatch):
    """Of phaser's numbers: 3 checkpoints, of 26 × 31 voxels twice, in float64, and 2 × 48 × 48 in complex128."""
    needed = 3 * (2 * 2 * 26 * 31 * 8 + 2 * 48 * 48 * 16 + 168 * 2 * 8)
    sysconf = os.sysconf
    held = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": needed - 1}
    monkeypatch.setattr(os, "sysconf", lambda name: held.get(name, sysconf(name)))
    with pytest.raises(PtyconvError, match="GB of memory; this machine has"):
        analyze_run(PHASER / "lsqml", device="cpu")
    held["SC_PHYS_PAGES"] = needed
    analyze_run(PHASER / "lsqml", device="cpu")


def run_with_histories(tmp_path, change):
    """A copy of the sample run whose histories (rows, of which the first column is the iteration) are changed."""
    for path in sorted(runs.SAMPLE.glob("*.hdf5")):
        shutil.copy(path, tmp_path)
        with h5py.File(tmp_path / path.name, "r+") as file:
            count = int(file["niter"][()])
            for name in ("loss_iters", "dz_iters", "iter_times"):
                rows = file[name][()]
                del file[name]
                file[name] = change(rows, count)
    return tmp_path


def twice(rows, count):
    earlier = np.column_stack([np.arange(1, 121), np.full(120, 7.0)]) if rows.ndim == 2 else np.full(120, 7.0)
    return np.concatenate([earlier, rows])


def from_the_middle_on_again(rows, count):
    earlier = rows[: count // 2 + 3].copy()
    earlier[count // 2 :] = 7.0 if rows.ndim == 1 else [[n + 1, 7.0] for n in range(count // 2, count // 2 + 3)]
    return np.concatenate([earlier, rows[count // 2 :]])


def one_row_repeated(rows, count):
    return np.concatenate([rows, rows[-1:]])


@pytest.mark.parametrize("change", long_after(2, [twice, from_the_middle_on_again, one_row_repeated]))
def test_of_histories_recorded_twice_the_last_pass_counts(tmp_path, change):
    found = analyze_run(run_with_histories(tmp_path, change), device="cpu")
    expected = runs.analysis_of(runs.SAMPLE)
    assert found.engine.loss == expected.engine.loss
    assert found.engine.slice_thickness == expected.engine.slice_thickness
    assert [niter for niter, _ in found.engine.seconds] == list(range(1, 121))
    assert [seconds for _, seconds in found.engine.seconds] == pytest.approx([s for _, s in expected.engine.seconds])
    assert found.verdict == expected.verdict
    (warning,) = found.warnings
    assert warning.startswith("Histories in the files start over")


def test_runs_are_told_apart_by_the_last_pass(tmp_path):
    """A longer run's old files are left in the folder."""
    run_with_histories(tmp_path, twice)
    for niter in (110, 120):
        with h5py.File(tmp_path / f"model_iter{niter:04d}.hdf5", "r+") as file:
            file["loss_iters"][120:, 1] *= 2
    with pytest.raises(PtyconvError, match=r"belong to 2 runs:\n.*\n  2: model_iter0110.hdf5, model_iter0120.hdf5"):
        analyze_run(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("niters", "counts"),
    [
        ([1, 2, 3], [1, 1, 1]),
        ([1, 2, 1, 2], [0, 0, 1, 1]),
        ([1, 2, 3, 2], [1, 0, 0, 1]),
        ([3, 2, 1], [0, 0, 1]),
        ([], []),
    ],
)
def test_the_last_pass(niters, counts):
    assert last_pass(np.array(niters, float)).tolist() == [bool(one) for one in counts]
