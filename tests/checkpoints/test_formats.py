"""Every format, in the same six series and units as PtyRAD's."""

import math
import os

import pytest
import runs

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.errors import SeveralRuns

PHASER = runs.DATA / "phaser"


@pytest.mark.parametrize(
    ("folder", "points", "boundaries"),
    [
        ("../../sample_data/ptyrad-1.0", 11, []),
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
        ("hypertune/collated_and_trials/hypertune_TPESampler_loss", "its subfolders do: t0000_"),
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
