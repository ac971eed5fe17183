"""The viewer's content: pictures, and what their levels mean."""

import json
import shutil
from base64 import b64decode

import h5py
import numpy as np
import pytest
import runs
from frames import frames_in, seen_in
from frc import write_run as write_objects
from maps import damaged
from phantoms import two_mode_run, wide_run
from ptyrad_names import TENSORS
from rarely import long_after

from ptyconv_cli.analysis.frames import HALF, IMAGE, LAST, Layer, frames_of_run
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.page.images import decoded
from ptyconv_cli.page.viewer import SCALES, checkpoints_in, viewer_of


def viewer_in(run_dir, most=1e7, **asked):
    return viewer_of(frames_in(run_dir, **asked), "cpu", most)


@pytest.fixture(scope="module")
def viewer():
    return viewer_in(runs.SAMPLE)


@pytest.fixture(scope="module")
def seen():
    return seen_in(frames_in(runs.SAMPLE))


def view_of(viewer, tensor, number=None):
    (found,) = (one for one in viewer.data["views"] if (one["tensor"], one["number"]) == (tensor, number))
    return found


def levels_of(address):
    return decoded(b64decode(address.partition(",")[2])).astype(float)


@pytest.mark.parametrize("layer", [Layer("objp"), Layer("objp", 2), Layer("obja"), Layer("probe"), Layer("probe", 2)])
def test_levels_are_the_values_within_half_a_level(viewer, seen, layer):
    """So small pictures are stored exactly."""
    view = view_of(viewer, *layer)
    for place, niter in enumerate(viewer.data["niters"]):
        image = seen[niter][1][IMAGE][layer]
        low, high = view["low"], view["high"]
        if layer.tensor == "probe":
            peaks = [seen[niter][1][IMAGE][layer].max() for niter in (30, 60, 120)]
            low, high = 0, max(peaks)
        shown = low + (high - low) * levels_of(view[IMAGE]["pictures"][place]) / 255
        expected = np.clip(image, low, high)
        assert np.abs(shown - expected).max() < 0.55 * (high - low) / 255 + 1e-3 * (high - low), (niter, layer)
        assert view["sizes"][place] == (image.shape[1], image.shape[0])


@pytest.mark.parametrize("kind", [LAST, HALF])
@pytest.mark.parametrize("layer", [Layer("objp"), Layer("obja", 1), Layer("probe")])
def test_levels_of_differences_mean_what_they_say(viewer, seen, layer, kind):
    view, (middle, reach) = view_of(viewer, *layer), (viewer.data["middle"], viewer.data["reach"])
    for place, niter in enumerate(viewer.data["niters"]):
        address, expected = view[kind]["pictures"][place], seen[niter][1][kind].get(layer)
        assert (address is None) == (expected is None)
        if expected is None:
            continue
        root = (levels_of(address) - middle) / reach
        shown = view["top"] * np.sign(root) * root**2
        expected = np.clip(expected, -view["top"], view["top"])
        within = view["top"] * (np.abs(root) / reach + 1 / (4 * reach**2))  # half a level
        assert (np.abs(shown - expected) <= 1.01 * within + 1e-3 * np.abs(expected)).all()


def test_the_window_is_that_of_the_last_doublings(viewer, seen):
    view = view_of(viewer, "objp")
    images = [seen[niter][1][IMAGE][Layer("objp")] for niter in (30, 60, 120)]
    assert view["low"] == pytest.approx(min(np.percentile(image, 0.2) for image in images), rel=1e-3)
    assert view["high"] == pytest.approx(max(np.percentile(image, 99.8) for image in images), rel=1e-3)
    assert view["top"] == pytest.approx(view["high"] - view["low"], rel=1e-3)


def test_the_scale_shown_first_suits_the_last_doubling(viewer, seen):
    for view in viewer.data["views"]:
        if HALF in view:
            difference = seen[120][1][HALF][Layer(view["tensor"], view["number"])]
            reach = np.percentile(np.abs(difference), 99) / view["top"]
            assert view["scale"] in SCALES
            assert reach <= view["scale"] <= 4 * reach or view["scale"] == SCALES[-1]


def test_what_else_is_said(viewer):
    data = viewer.data
    assert data["niters"] == list(range(10, 121, 10))
    assert data["halves"] == [None, 10, 20, 20, 30, 30, 40, 40, 50, 50, 60, 60]
    assert (data["checkpoints"], data["reduced"]) == (12, False)
    assert [view["of"] for view in data["views"]] == [
        *("sum of 2 slices", "slice 1 of 2", "slice 2 of 2", "mean of 2 slices", "slice 1 of 2", "slice 2 of 2"),
        *("sum of 2 modes", "mode 1 of 2", "mode 2 of 2"),
    ]
    first, second = (view_of(viewer, "probe", number)["shares"] for number in (1, 2))
    assert np.allclose(np.add(first, second), 1, atol=1e-3)
    assert [still.title for still in viewer.stills] == [
        f"{name} at iteration 120" for name in ("Object phase", "Object amplitude", "Probe intensity")
    ]
    assert viewer.notice == ""
    json.dumps(data, allow_nan=False)


def test_object_modes_are_named(tmp_path):
    assert viewer_in(two_mode_run(tmp_path)).data["views"][0]["of"] == "sum of 3 slices, mean of 2 object modes"


@pytest.mark.parametrize("most", long_after(1, [600_000, 200_000, 60_000]))
def test_it_fits(tmp_path, most):
    viewer = viewer_in(wide_run(tmp_path), most)
    addresses = [
        address
        for view in viewer.data["views"]
        for kind in (IMAGE, LAST, HALF)
        for address in view.get(kind, {"pictures": []})["pictures"]
        if address
    ]
    assert 0.2 * most < sum(map(len, addresses)) < 1.05 * most
    assert viewer.data["reduced"]
    if most < 100_000:  # there is no room for single slices
        assert not any(view["number"] for view in viewer.data["views"] if view["tensor"] != "probe")
        return
    whole, of_slice = (levels_of(view_of(viewer, "objp", number)[IMAGE]["pictures"][-1]).size for number in (None, 2))
    assert whole > 1.2 * of_slice


@pytest.mark.parametrize("most", long_after(1, [200_000, 700_000, 2_500_000]))
def test_also_many_noisy_slices_of_many_checkpoints_fit(tmp_path, most):
    """The smallest pictures take some bytes each, and there may be thousands: then fewer are shown."""
    random = np.random.default_rng(1)
    objects = {niter: random.normal(size=(24, 40, 40)).astype(np.float32) for niter in range(1, 41)}
    run_dir = write_objects(tmp_path / "run", objects)
    frames = frames_of_run(run_dir, Selection(None, None, None, False), most=checkpoints_in(most, TENSORS))
    viewer = viewer_of(frames, "cpu", most)
    assert len(json.dumps(viewer.data)) + sum(len(still.uri) for still in viewer.stills) < most
    assert 8 <= len(viewer.data["niters"]) <= 40
    assert viewer.data["niters"][-1] == 40


def test_a_checkpoint_that_cannot_be_read_is_not_there(tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    damaged(run_dir, 120)
    frames = frames_in(run_dir)
    viewer = viewer_of(frames, "cpu", 1e7)
    assert viewer.data["niters"] == list(range(10, 111, 10))
    assert not np.ptp(levels_of(view_of(viewer, "objp")[LAST]["pictures"][-1]))
    assert "model_iter0120.hdf5 was left out" in frames.run.notices()[0]
    assert frames.run.notices(frames.run.left_out) == []


def test_where_the_end_is_not_finite_the_rest_is_shown(tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    for niter in range(20, 121, 10):
        with h5py.File(run_dir / f"model_iter{niter:04d}.hdf5", "r+") as file:
            file["optimizable_tensors/objp"][...] = np.nan
    view = view_of(viewer_in(run_dir), "objp")
    assert [address is not None for address in view[IMAGE]["pictures"]] == [True, *[False] * 11]
    assert view["low"] < view["high"]
    assert view[IMAGE]["unknown"] == [0, *[15 * 19] * 11]
    assert view[LAST]["pictures"] == [None] * 11 + view[LAST]["pictures"][-1:]
