"""The change without the ambiguities: exact cases, and a dense least-squares fit in float64."""

import math
from itertools import pairwise

import both
import numpy as np
import pytest
import runs
import torch
from both import array, host
from brute_force import aligned_change, difference, residual
from hypothesis import given
from hypothesis import strategies as st
from phantoms import atoms, two_mode_run
from ptyrad_names import SERIES
from rarely import long_after

from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.metrics import planes, planes_gpu
from ptyconv_cli.metrics.aligned import align_object, align_positions, align_probe, whole
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.snapshot import Snapshot
from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.quantities.snapshots import changes, tensor_changes
from ptyconv_cli.results.run_analysis import Change

DX = 0.2
ALIGN = {
    "obja": lambda *tensors: aligned_object("obja", *tensors),
    "objp": lambda *tensors: aligned_object("objp", *tensors),
    "probe": lambda *tensors: align_probe(*tensors, DX),
    "probe_pos_shifts": lambda *tensors: align_positions(*tensors, DX),
}


pytestmark = pytest.mark.usefixtures("library")


def aligned_object(name: str, current, previous):
    now, before = (Framed(quantity_of(name).own, values) for values in (current, previous))
    left, removed = align_object(now, before, DX)
    found = whole(left)
    if isinstance(found, np.ndarray):
        voxels = 29 if found.size < 100_000 else 4099
        with np.errstate(all="ignore"):
            pieces = np.concatenate([piece[1].copy() for piece in planes.pieces(left, voxels)])
        assert np.array_equal(pieces, found.ravel(), equal_nan=True)
    return found.reshape(current.shape), removed


def compare(name: str, current, previous, percentiles=(15, 85)) -> dict[str, Change]:
    now, before = (Snapshot({name: array(values)}, DX) for values in (current, previous))
    return tensor_changes(name, now, before, percentiles, aligned=True)


SHAPES = pytest.mark.parametrize("shape", [(1, 1, 30, 40), (1, 4, 30, 40), (3, 2, 30, 40)])


@SHAPES
def test_phase_offsets_of_slices_and_a_ramp_on_the_first_are_no_change(shape):
    previous = 0.1 * atoms(shape)
    offsets = np.random.default_rng(1).normal(0, 0.1, shape[:2])
    current = previous + offsets[..., None, None]
    y, x = np.arange(30)[:, None] - 14.5, np.arange(40) - 19.5
    current[:, 0] += 0.002 * y - 0.001 * x
    found = compare("objp", current, previous)
    for change in found.values():
        assert change.value > 0.005
        assert change.aligned < 1e-7
    removed = found["objp_bg"].removed
    assert removed.share > 0.99999
    assert np.allclose(removed.offset, offsets, atol=1e-6)
    assert removed.ramp == pytest.approx((0.002 / DX, -0.001 / DX), rel=1e-4)
    assert removed.shift == pytest.approx((0, 0), abs=1e-5)


def test_a_ramp_on_another_slice_or_of_one_mode_alone_is_a_change():
    previous = 0.1 * atoms((2, 3, 30, 40))
    ramp = 0.01 * (np.arange(40) - 19.5)
    for plane in [(slice(None), 1), (0, 0)]:
        current = previous.copy()
        current[plane] += ramp
        assert compare("objp", current, previous)["objp_fg"].aligned > 1e-3


@SHAPES
def test_a_scale_of_the_amplitude_is_no_change(shape):
    previous = 1 - 0.05 * atoms(shape)  # amplitude
    factors = np.broadcast_to(np.linspace(0.99, 1.03, shape[1]), shape[:2])
    current = previous * factors[..., None, None]
    found = compare("obja", 1 - current, 1 - previous)
    for change in found.values():
        assert change.value > 0.005
        assert change.aligned < 1e-6
    assert found["obja_fg"].removed.share > 0.9999
    assert np.allclose(found["obja_fg"].removed.scale, 1 - 1 / factors, atol=1e-5)


def test_a_scale_of_one_object_mode_against_another_is_a_change():
    previous = 1 - 0.05 * atoms((2, 3, 30, 40))
    current = previous.copy()
    current[0] *= 1.01
    assert compare("obja", 1 - current, 1 - previous)["obja_fg"].aligned > 1e-3
    current = previous.copy()
    current[0, 0] *= 1.01
    current[0, 2] /= 1.01  # against each other in one mode: no mode gains
    assert compare("obja", 1 - current, 1 - previous)["obja_fg"].aligned < 2e-4  # second order


def test_a_brighter_probe_is_no_change():
    probe = atoms((32, 24))
    found = compare("probe", 1.3 * probe, probe)["probe"]
    assert found.value == pytest.approx(0.3, rel=1e-6)
    assert found.aligned < 1e-6
    assert found.removed.scale == [[pytest.approx(0.3, rel=1e-6)]]
    assert found.removed.share > 0.99999


def test_a_common_displacement_of_positions_is_no_change():
    positions = np.random.default_rng(0).normal(size=(50, 2))
    found = compare("probe_pos_shifts", positions + np.array([0.3, -0.4]), positions)["probe_pos_shifts"]
    assert found.value == pytest.approx(0.5 * DX, rel=1e-6)
    assert found.aligned < 1e-7
    assert found.removed.shift == pytest.approx((0.3 * DX, -0.4 * DX), rel=1e-5)
    assert found.removed.share > 0.99999


@pytest.mark.parametrize("name", ["objp", "obja", "probe"])
def test_a_lateral_shift_is_removed_to_second_order(name):
    """Of an object so smooth that differences of neighbours are its gradients, as they aren't for single atoms."""
    left = []
    for shift in (0.1, 0.01):
        current, previous = (array(hill(name, (shift_y, -2 * shift_y)), float) for shift_y in (shift, 0))
        rest, removed = ALIGN[name](current, previous)
        assert removed.shift == pytest.approx((shift * DX, -2 * shift * DX), rel=0.01)
        assert removed.share > 0.99
        left.append(np.linalg.norm(host(rest)))
    assert left[0] / left[1] == pytest.approx(100, rel=0.1)


def hill(name: str, shift: tuple[float, float], width: float = 90.0) -> np.ndarray:
    y, x = (np.arange(800) - 400 - far for far in shift)
    found = np.exp(-(y[:, None] ** 2 + x**2) / (2 * width**2))
    return found if name == "probe" else found[None, None]


@pytest.mark.parametrize("name", ["objp", "obja", "probe"])
def test_most_of_a_shift_of_atoms_is_removed(name):
    shape = (48, 56) if name == "probe" else (1, 2, 48, 56)
    current, previous = (array(atoms(shape, shift=shift), float) for shift in ((0.01, -0.02), (0, 0)))
    removed = ALIGN[name](current, previous)[1]
    assert removed.shift == pytest.approx((0.01 * DX, -0.02 * DX), rel=0.1)
    assert removed.share > 0.9


@pytest.mark.parametrize("name", ["objp", "obja"])
def test_a_change_of_one_atom_passes_through(name):
    shape = (1, 3, 90, 110)
    previous = 0.2 * atoms(shape)
    y, x = np.arange(90)[:, None], np.arange(110)
    current = previous.copy()
    current[0, 1] += 0.05 * np.exp(-((y - 40) ** 2 + (x - 52) ** 2) / (2 * 2.0**2))
    rest, removed = ALIGN[name](array(current), array(previous))
    change = difference(name, current, previous)[0]
    assert np.linalg.norm(host(rest)) == pytest.approx(np.sqrt((change**2).sum()), rel=0.02)
    assert float(rest[0, 1, 40, 52]) == pytest.approx(change[0, 1, 40, 52], rel=0.02)
    assert np.abs(host(rest) - change).max() < 0.02 * change.max()
    assert removed.share < 0.02


@st.composite
def pairs(draw):
    name = draw(st.sampled_from(sorted(ALIGN)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = st.integers(1, 7)
    shape = {"probe": (draw(size), draw(size)), "probe_pos_shifts": (draw(size), 2)}.get(
        name, (draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(size), draw(size))
    )
    current = random.normal(size=shape) + random.normal()
    previous = current + draw(st.sampled_from([1e-3, 1, 100])) * random.normal(size=shape) + random.normal()
    if name == "probe":
        current, previous = np.abs(current), np.abs(previous)
    return name, *(values.astype(np.float32).astype(float) for values in (current, previous))


@given(pairs())
def test_what_is_left_is_the_dense_fits_and_never_more_than_the_change(pair):
    name, current, previous = pair
    left = host(ALIGN[name](array(current), array(previous))[0]).astype(float)
    change, fields = difference(name, current, previous)
    size, rounding = np.linalg.norm(change), 1e-6 * max(np.abs(field).max() for field in [change, *fields])
    assert np.linalg.norm(left) <= size * (1 + 1e-5) + rounding
    assert np.allclose(left, residual(change, fields), rtol=0, atol=1e-4 * size + rounding)


@pytest.mark.parametrize("shape", [(1, 2, 1, 30), (1, 2, 30, 1), (2, 2, 2, 30), (1, 1, 1, 1), (1, 3, 1, 2)])
@pytest.mark.parametrize("name", ["objp", "obja"])
def test_narrow_objects(name, shape):
    random = np.random.default_rng(0)
    current, previous = random.normal(size=shape), random.normal(size=shape)
    left = host(ALIGN[name](array(current, current.dtype), array(previous, previous.dtype))[0])
    assert np.allclose(left, residual(*difference(name, current, previous)), atol=1e-10)


@pytest.mark.parametrize("name", ["objp", "obja"])
@pytest.mark.parametrize("steepness", [1e-3, 1e-1])
def test_gradients_that_are_nearly_constant(name, steepness):
    """A steep slope all over the object: its gradient is nearly the field of an offset, but not quite."""
    shape = (2, 2, 24, 30)
    slope = 0.01 * (np.arange(24)[:, None] + np.arange(30))
    current = slope + steepness * 0.01 * atoms(shape)
    previous = slope + steepness * 0.01 * atoms(shape, shift=(0.5, 0.2)) + 1e-4 * atoms(shape, seed=1)
    left = host(ALIGN[name](array(current, current.dtype), array(previous, previous.dtype))[0])
    change, fields = difference(name, current, previous)
    assert np.allclose(left, residual(change, fields), rtol=0, atol=1e-6 * np.abs(change).max())


@pytest.mark.parametrize("name", ["objp", "obja"])
@pytest.mark.parametrize("chunk", [1, 41, 100, 40 * 13, 40 * 30, 5 * 40 * 30])
def test_the_chunk_does_not_matter(name, chunk, monkeypatch):
    shape = (2, 3, 30, 40)
    random = np.random.default_rng(3)
    current = 0.2 * atoms(shape)
    previous = current + random.normal(0, 1e-3, shape) + 0.01
    for way in (planes, planes_gpu):
        monkeypatch.setattr(way, "BLOCK", 10**9)
    whole, of_whole = ALIGN[name](array(current), array(previous))
    for way in (planes, planes_gpu):
        monkeypatch.setattr(way, "BLOCK", chunk)
    left, removed = ALIGN[name](array(current), array(previous))
    assert np.allclose(left, whole, rtol=0, atol=2e-9)
    assert removed.share == pytest.approx(of_whole.share, rel=1e-9)


@pytest.mark.parametrize("name", sorted(ALIGN))
def test_no_change_is_none(name):
    values = array(atoms((40, 2) if name == "probe_pos_shifts" else (30, 20) if name == "probe" else (1, 2, 30, 20)))
    left, removed = ALIGN[name](values, 1 * values)
    assert not left.any()
    assert removed.share == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 3e38])
@pytest.mark.parametrize("broken_one", [0, 1])
@pytest.mark.parametrize("name", sorted(ALIGN))
def test_what_is_not_finite_is_not_known(name, broken_one, bad):
    values = array(atoms((40, 2) if name == "probe_pos_shifts" else (30, 20) if name == "probe" else (1, 2, 30, 20)))
    broken = 1 * values
    broken.reshape(-1)[7] = bad
    left, removed = ALIGN[name](*((broken, values) if broken_one == 0 else (values, broken)))
    if bad == 3e38:  # of which the gradient cannot be said in float32, but all squares can in float64
        assert math.isnan(removed.share) or 0 <= removed.share <= 1
    else:
        assert np.isnan(host(left)).any()
        assert math.isnan(removed.share)


@pytest.mark.parametrize("now", [0, 1])
@pytest.mark.parametrize("before", [0, 1])
def test_relative_to_a_probe_of_zeros_no_change_is_known(now, before):
    left, removed = ALIGN["probe"](array(np.full((4, 5), now)), array(np.full((4, 5), before)))
    assert np.isnan(host(left)).any() == (now * before == 0)
    assert math.isnan(removed.share) == (now * before == 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_precisions_of_a_live_model(dtype):
    torchs = [torch.from_numpy(0.2 * atoms((1, 2, 30, 40), seed)).to(getattr(torch, dtype)) for seed in (1, 2)]
    exact = [tensor.double().numpy() for tensor in torchs]
    if both.library == "numpy":
        torchs = [values.astype("float32" if dtype == "bfloat16" else dtype) for values in exact]
    now, before = (Snapshot({"objp": values}, DX) for values in torchs)
    found = changes(now, before, (15, 85), aligned=True)
    for key, value in aligned_change("objp", *exact, DX).items():
        assert found[key].aligned == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", long_after(1, ["objp", "obja"]))
def test_of_a_large_object_sums_in_float32_are_good_enough(name, monkeypatch):
    """The same as in float64, for a change of which 1 in 1000 is left."""
    shape = (1, 2, 700, 900)
    previous = 0.2 * atoms(shape)
    change = 1e-5 * np.random.default_rng(0).normal(size=shape) * atoms(shape, seed=1) + 0.01
    now, before = ({name: array(values)} for values in (previous + change, previous))
    found = changes(Snapshot(now, DX), Snapshot(before, DX), (15, 85), aligned=True)
    monkeypatch.setattr(planes, "SMALL", math.inf)
    expected = changes(Snapshot(now, DX), Snapshot(before, DX), (15, 85), aligned=True)
    for key, of_one in found.items():
        assert of_one.aligned == pytest.approx(expected[key].aligned, rel=1e-5)
        assert of_one.removed.share == pytest.approx(expected[key].removed.share, abs=1e-4)
        assert of_one.removed.shift == pytest.approx(expected[key].removed.shift, abs=1e-5)


@pytest.mark.parametrize("name", long_after(2, ["two modes", *runs.ALL]))
def test_runs_agree_with_a_dense_fit_in_float64(name, tmp_path):
    """Of runs in which nothing was moved, and all is lit: phantoms, and real ones of PtyRAD."""
    run_dir = two_mode_run(tmp_path) if name == "two modes" else runs.ALL[name]
    points = analyze_run(run_dir, device="cpu").aligned_points
    assert list(points) == [series.key for series in SERIES]
    paths = sorted(run_dir.glob("*.hdf5"))
    for k, (before, now) in enumerate(pairwise(paths)):
        (previous, dx), (current, _) = runs.stored(before), runs.stored(now)
        for tensor in current:
            for key, value in aligned_change(tensor, current[tensor], previous[tensor], dx).items():
                near = pytest.approx(value, rel=2e-5, abs=1e-8)  # of changes of the size of rounding
                assert points[key][k].value == near, (key, now.name)
