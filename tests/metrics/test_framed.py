"""A part of an object in the frame of its run, of which only lit voxels count, against dense float64 brute force."""

import numpy as np
import pytest
import torch
from both import array, host
from brute_force import aligned_change, difference, in_frame, residual, units_of
from phantoms import atoms
from prefixes import object_contrast

from ptyconv_cli.metrics import percentiles, planes_gpu
from ptyconv_cli.metrics.aligned import align_object, first_order_shift, whole
from ptyconv_cli.metrics.arrays import is_numpy
from ptyconv_cli.metrics.framed import Framed, there_on_host
from ptyconv_cli.metrics.percentiles import mean_left_outside
from ptyconv_cli.metrics.registration import InFrame
from ptyconv_cli.metrics.snapshot import Snapshot
from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.quantities.snapshots import changes, contrasts, framed
from ptyconv_cli.results.frame import Frame

pytestmark = pytest.mark.usefixtures("library")

SHAPES = pytest.mark.parametrize("shape", [(1, 1, 24, 31), (1, 3, 24, 31), (3, 2, 20, 17)])
NAMES = pytest.mark.parametrize("name", ["objp", "obja"])
LIT = pytest.mark.parametrize("lit", [False, True], ids=["all lit", "partly lit"])


def round_scan(shape) -> np.ndarray:
    """A disc that is not in the middle, and a corner of its own."""
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    return ((y - 9) ** 2 + (x - 7) ** 2 < 60) | ((y > shape[-2] - 4) & (x > shape[-1] - 6))


def some(name, shape, seed=0) -> np.ndarray:
    """A phase with offsets and a steep ramp, or 1 - amplitude of modes and slices that are unlike."""
    random = np.random.default_rng(seed)
    offsets = random.normal(0, 0.3, shape[:2])[..., None, None]
    values = 0.2 * atoms(shape, seed) + random.normal(0, 0.01, shape)
    if name == "objp":
        y, x = np.mgrid[: shape[-2], : shape[-1]]
        values = values + offsets
        values[:, 0] += 0.05 * y - 0.02 * x
    else:
        values = 1 - (1 - values) * (1 + 0.3 * offsets)
    return values.astype(np.float32).astype(float)


def pair_of(name, shape, lit):
    now = some(name, shape)
    before = now + 0.01 * atoms(shape, 7) + (0.02 * some(name, shape, 3) if name == "objp" else 0.1 * (1 - now))
    arrays = now, before.astype(np.float32).astype(float)
    return arrays, [Framed(quantity_of(name).own, array(values), lit) for values in arrays]


def light_of(shape, lit):
    return round_scan(shape) if lit else None


@SHAPES
@NAMES
@LIT
def test_values_in_the_frame_are_the_brute_force_ones(name, shape, lit):
    light, values = light_of(shape, lit), some(name, shape)
    found, counts = Framed(quantity_of(name).own, array(values), light), np.ones(shape[-2:], bool)
    counts = counts if light is None else light
    residual_of_nothing, _ = align_object(found, found, 1.0)
    at = np.arange(found.voxels)
    expected = in_frame(name, values, light)[..., counts]
    assert np.allclose(percentiles.InFrame(found, residual_of_nothing).at(at), expected.ravel(), rtol=0, atol=2e-6)
    if name == "obja":
        assert np.allclose(found.units, units_of(1 - values, light).ravel(), rtol=1e-6)
    less_mean = expected - expected.mean(-1, keepdims=True)
    assert found.mean_square() == pytest.approx((less_mean**2).mean(), rel=1e-5)
    assert found.voxels == expected.size


@SHAPES
@LIT
def test_the_contrast_knows_nothing_of_ramps_and_scale(shape, lit):
    """Also where the middle of what is lit is not that of the region."""
    light, phase, rest = light_of(shape, lit), some("objp", shape), some("obja", shape)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    tilted = phase.copy()
    tilted[:, 0] += 0.3 * y - 0.2 * x
    expected = object_contrast(1 - rest, phase, light)
    for one, other in ((phase, rest), (tilted, 1 - 1.7 * (1 - rest))):
        values = {"objp": array(one), "obja": array(other)}
        snapshot = Snapshot(values, 1.0, InFrame(Frame(), {}, light))
        found = contrasts({name: framed(name, snapshot) for name in values})
        assert found == pytest.approx({"objp": expected, "obja": expected}, rel=2e-5)


@SHAPES
@NAMES
@LIT
def test_what_is_left_is_the_dense_fits(name, shape, lit):
    (now, before), tensors = pair_of(name, shape, light_of(shape, lit))
    left, removed = align_object(*tensors, 1.0)
    change, fields = difference(name, now, before, light_of(shape, lit))
    expected = residual(change, fields, light_of(shape, lit))
    assert np.allclose(host(whole(left)).reshape(shape), expected, rtol=0, atol=1e-5 * np.abs(change).max())
    counts = np.ones(shape[-2:], bool) if not lit else round_scan(shape)
    of_raw = np.linalg.norm((now - before)[..., counts])
    in_their_unit = expected * (units_of(1 - before, light_of(shape, lit)) if name == "obja" else 1)
    assert removed.share == pytest.approx(1 - np.linalg.norm(in_their_unit[..., counts]) / of_raw, abs=1e-4)


@SHAPES
@NAMES
@LIT
@pytest.mark.parametrize("small", [1 << 20, 0], ids=["exact", "of a sample"])
def test_the_aligned_change_is_the_brute_force_one(name, shape, lit, small, monkeypatch):
    light = light_of(shape, lit)
    (now, before), tensors = pair_of(name, shape, light)
    expected = aligned_change(name, now, before, 1.0, lit=light)
    monkeypatch.setattr(percentiles, "SMALL", small)
    left, _ = align_object(*tensors, 1.0)
    both = mean_left_outside(tensors[0], left, (15, 85), chunk=101)
    counted = tensors[0].voxels
    for found, of_mask in zip(both, expected.values(), strict=True):
        assert found.mean == pytest.approx(of_mask, rel=1e-4 if small else 0.1)
        assert found.voxels == pytest.approx(0.15 * counted, abs=1 if small else 0.02 * counted)
    if small:
        snapshots = [
            Snapshot({name: tensor.values}, 1.0, InFrame(Frame(), {name: tensor}, light)) for tensor in tensors
        ]
        found = changes(*snapshots, (15, 85), aligned=True)
        assert {key: change.aligned for key, change in found.items()} == pytest.approx(expected, rel=1e-4)


@NAMES
def test_masks_of_the_aligned_change_know_nothing_of_offsets_ramp_and_scale(name):
    """Neither of the state itself: of an object with a ramp all over it, the masks are those without."""
    shape = (1, 2, 24, 31)
    now, before = 0.2 * atoms(shape), 0.2 * atoms(shape) + 0.01 * atoms(shape, 1)
    y, x = np.mgrid[:24, :31]
    ramp = np.stack([0.1 * y - 0.3 * x, np.full((24, 31), 2.0)])
    found = []
    for k in (0, 1):
        pair = [(one + k * ramp if name == "objp" else 1 - (1 - one) * (1 + 0.4 * k)) for one in (now, before)]
        tensors = [Framed(quantity_of(name).own, array(one, float)) for one in pair]
        left, _ = align_object(*tensors, 1.0)
        found.append(mean_left_outside(tensors[0], left, (15, 85)))
    for one, other in zip(*found, strict=True):
        assert one.voxels == other.voxels
        assert one.mean == pytest.approx(other.mean, rel=1e-6)


@NAMES
def test_what_is_not_lit_does_not_count(name):
    shape = (1, 2, 24, 31)
    light = round_scan(shape)
    found = []
    for k in (0, 1):
        values = [some(name, shape, seed) for seed in (0, 1)]
        for one in values:
            one[..., ~light] += 5 * k * np.random.default_rng(1).normal(size=(2, 24, 31))[:, ~light]
        # Gradients of what is lit do reach beyond it, by a pixel; so nothing is taken of these.
        inner = light & np.roll(light, 1, 0) & np.roll(light, -1, 0) & np.roll(light, 1, 1) & np.roll(light, -1, 1)
        tensors = [Framed(quantity_of(name).own, array(one), inner) for one in values]
        left, _ = align_object(*tensors, 1.0)
        found.append((mean_left_outside(tensors[0], left, (15, 85)), tensors[0].mean_square()))
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-6)
    for one, other in zip(found[0][0], found[1][0], strict=True):
        assert one.mean == pytest.approx(other.mean, rel=1e-5)


def test_a_shift_is_seen_to_first_order():
    """That of another engine's states of which nothing else tells where they are."""
    shape = (1, 2, 48, 56)
    light = np.ones((48, 56), bool)
    light[:9, :20] = False
    for name in ("objp", "obja"):
        now, before = (0.2 * atoms(shape, shift=shift) for shift in ((0.02, -0.03), (0, 0)))
        own = quantity_of(name).own
        found = first_order_shift(*(Framed(own, array(one, float), light) for one in (now, before)))
        assert found == pytest.approx((0.02, -0.03), rel=0.1)


def test_modes_that_differ_keep_their_unit_against_each_other():
    amplitude = np.ones((2, 2, 5, 6))
    amplitude[1] *= 1.21
    units = Framed("factor", array(1 - amplitude)).units.reshape(2, 2)
    assert units.prod(1) == pytest.approx(np.full(2, (1 + 1.21**2) / 2), rel=1e-6)
    assert units[:, 0] == pytest.approx(units[:, 1], rel=1e-6)


def test_of_nothing_the_unit_is_1():
    assert Framed("factor", array(np.ones((1, 2, 5, 6)))).units.tolist() == [1, 1]


def test_it_goes_to_the_host_with_its_light():
    light = round_scan((24, 31))
    found = there_on_host(Framed("offset", torch.zeros(1, 1, 24, 31), light))
    assert is_numpy(found.values)
    assert found.lit is light
    assert there_on_host(None) is None


@NAMES
@LIT
@pytest.mark.parametrize("voxels", [40, 31 * 7, 10**6])
def test_a_gpus_sums_outside_of_bounds_are_numpys(name, lit, voxels, library):
    if library == "numpy":
        return
    shape = (2, 2, 24, 31)
    light = light_of(shape, lit)
    (now, before), tensors = pair_of(name, shape, light)
    left, _ = align_object(*tensors, 1.0)
    counts = np.ones(shape[-2:], bool) if light is None else light
    values = in_frame(name, now, light)[..., counts]
    rest = np.abs(residual(*difference(name, now, before, light), light))[..., counts]
    bounds = [float(np.percentile(values, share)) + 1e-4 for share in (20, 70)]
    found = planes_gpu.sums_outside(tensors[0], left, tuple(bounds), voxels)
    for (count, total), mask in zip(found, (values < bounds[0], values > bounds[1]), strict=True):
        assert count == mask.sum()
        assert total == pytest.approx(rest[mask].sum(), rel=1e-4)
