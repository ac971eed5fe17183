"""Which tensors a run refined at all."""

import math

import h5py
import numpy as np
import pytest
import runs
from toy import ToyModel, write_hdf5, write_run

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis.follow import Look
from ptyconv_cli.cli.live_table import live_table
from ptyconv_cli.cli.summary import summary
from ptyconv_cli.results.history import Point
from ptyconv_cli.results.refinement import not_refined, tensors_not_refined


def points(*values, voxels=None):
    return [Point(k + 1, k, value, voxels) for k, value in enumerate(values)]


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        (points(0.0, 0.0), True),
        (points(2e-8, 1e-7, 0.0), True),
        (points(2e-8, 1e-6, 0.0), False),
        (points(0.0, math.nan), False),
        ([], False),
        (points(0.0, 0.0, voxels=0), False),  # an empty mask says nothing
        ([*points(0.0, 0.0, voxels=0), *points(0.0, voxels=9)], True),
        ([*points(0.0, 0.0, voxels=9), *points(0.1, voxels=9)], False),
    ],
)
def test_not_refined(changes, answer):
    assert not_refined(changes, 1.0) == answer
    scaled = [Point(p.niter, p.since, 0.25 * p.value, p.voxels) for p in changes]
    assert not_refined(scaled, 0.25) == answer


@pytest.fixture
def fixed_positions(tmp_path):
    """A toy run whose positions change only by the rounding of float32 numbers."""
    write_run(tmp_path, [2, 4, 6, 8])
    for path in sorted(tmp_path.iterdir()):
        with h5py.File(path, "r+") as file:
            noise = np.random.default_rng(file["niter"][()]).choice([-3e-8, 0, 3e-8], (30, 2))
            file["optimizable_tensors/probe_pos_shifts"][...] = 0.3 + noise
    return analyze_run(tmp_path, device="cpu")


def test_rounding_is_no_refinement(fixed_positions):
    assert 0 < max(point.value for point in fixed_positions.points["probe_pos_shifts"]) < 1e-7
    assert tensors_not_refined(fixed_positions.points, fixed_positions.dx) == {"probe_pos_shifts"}
    lines = summary(fixed_positions).splitlines()
    of_positions = [line.split() for line in lines if line.startswith("probe_pos_shifts")]
    assert of_positions == [["probe_pos_shifts", "Å", "not", "refined"]] * 2 + [
        ["probe_pos_shifts", "-", "not", "refined"]
    ]
    live = [line for line, _ in live_table(Look(fixed_positions, True, 4), "toy", 0.0)]
    row = next(line for line in live if line.startswith("probe_pos_shifts"))
    assert row.split()[:4] == ["probe_pos_shifts", "Å", "not", "refined"]
    assert row.index("insufficient") == next(line for line in live if line.startswith("objp_fg")).index("insufficient")


@pytest.mark.parametrize("name", list(runs.ALL))
def test_real_runs_refine_everything(name):
    """Also one whose constraint clips the object, so that a mask is empty throughout."""
    analysis = analyze_run(runs.ALL[name], device="cpu")
    assert tensors_not_refined(analysis.points, analysis.dx) == set()


def test_nothing_is_refined(tmp_path):
    for niter in (2, 4):
        write_hdf5(tmp_path / f"model_iter{niter:04d}.hdf5", ToyModel(), niter)
    analysis = analyze_run(tmp_path, device="cpu")
    assert tensors_not_refined(analysis.points, analysis.dx) == {"obja", "objp", "probe", "probe_pos_shifts"}
