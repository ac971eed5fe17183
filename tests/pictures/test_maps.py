"""The picture of where a run still changes."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import runs
from maps import maps_in, planted_run
from ptyrad_names import TENSORS
from rarely import long_after
from toy import write_run

from ptyconv_cli.pictures.maps import NOT_REFINED, draw_maps, round_length


def test_what_the_panels_show(figures):
    found = maps_in(runs.SAMPLE)
    draw_maps(found, "png")
    panels = {axes.get_title(): axes for axes in figures[0].axes if axes.get_title()}
    phase = "Phase change\n0.84 % of the object's contrast in 10 iterations"
    assert list(panels)[:6] == [
        "Object phase at iteration 120",
        phase,
        "Amplitude change\n0.64 % of the object's contrast in 10 iterations",
        "Change of the probe's intensity",
        "Displacement of the scan positions",
        "Change by slice",
    ]
    assert list(panels)[6:] == [f"{small.since} to {small.niter}" for small in found.small]
    image, change, amplitude = (panels[title].images[0].get_array() for title in list(panels)[:3])
    assert np.array_equal(image, found.objects["objp"].image)
    assert np.array_equal(change, found.objects["objp"].change)
    assert np.array_equal(amplitude, found.objects["obja"].change)
    axes = panels["Change of the probe's intensity"]
    probe = axes.images[0]
    (left, right), (bottom, top) = np.round(axes.get_xlim()).astype(int), np.round(axes.get_ylim()).astype(int)
    within = found.intensity[top:bottom, left:right]
    assert 0.8 * found.intensity.sum() < within.sum() < 0.999 * found.intensity.sum()
    assert np.allclose(probe.get_array(), 100 * found.probe)
    assert probe.norm.vmin == -probe.norm.vmax
    norms = {id(panels[f"{small.since} to {small.niter}"].images[0].norm) for small in found.small}
    assert len(norms) == 1, "small maps are on one scale"
    profile = panels["Change by slice"].lines[0].get_xydata()
    assert np.allclose(profile, np.column_stack([[2, 6], found.objects["obja"].by_slice]))
    bar = panels[phase].lines[0].get_xdata()
    assert (bar[1] - bar[0]) * found.dx == pytest.approx(2), "2 Å"
    assert [text.get_text() for text in panels[phase].texts] == ["2 Å"]


def test_what_the_scan_did_not_reach_is_hatched(figures):
    found = maps_in(runs.DATA / "walks" / "py4d_gd_hi_pos", None)
    draw_maps(found, "png")
    assert "Hatched: the scan did not reach there." in " ".join(text.get_text() for text in figures[0].texts)
    images = [axes for axes in figures[0].axes if axes.images and axes.get_title().startswith(("Object", "Phase"))]
    assert len(images) == 2
    for axes in images:
        assert axes.patch.get_hatch()
        assert np.isnan(axes.images[0].get_array().filled(np.nan)).any()


def test_maps_of_large_objects_are_in_µm_and_their_displacements_in_nm(figures):
    found = maps_in(runs.SAMPLE)
    far, large = found.displacements, 1e5 / found.positions.max()
    lengths = {"dx": found.dx * large, "positions": found.positions * large, "displacements": far * large}
    draw_maps(replace(found, **lengths), "png")
    said = said_in(figures[0])
    assert {text.split()[-1] for text in said} == {"µm"}
    assert len(said) > 3
    axes = next(axes for axes in figures[0].axes if axes.get_title() == "Displacement of the scan positions")
    assert axes.child_axes[0].get_ylabel() == "displacement (nm)"
    dots = next(found for found in axes.collections if type(found).__name__ == "PathCollection")
    assert np.allclose(dots.get_array(), np.hypot(*far.T) * large / 10)


def test_arrows_point_where_positions_went(drawn, tmp_path):
    def plant(tensors):
        tensors["probe_pos_shifts"][37] = [2.0, -1.0]  # down and to the left

    draw_maps(maps_in(planted_run(tmp_path / "run", plant)), "png")
    axes = next(axes for axes in drawn[0].axes if axes.get_title() == "Displacement of the scan positions")
    (arrows,) = [found for found in axes.collections if type(found).__name__ == "Quiver"]
    largest = np.hypot(arrows.U, arrows.V).argmax()
    assert np.allclose([arrows.X[largest], arrows.Y[largest]], [0.25 * 29, 0.25 * 17])
    assert (arrows.U[largest], arrows.V[largest]) == (pytest.approx(-0.25, rel=0.02), pytest.approx(0.5, rel=0.02))
    farthest, apart = 0.25 * np.hypot(2, 1) * 79 / 80, np.sqrt(5.25 * 6.75 / 80)
    assert arrows.scale == pytest.approx(farthest / 5 / apart, rel=1e-3)  # Å of displacement per Å of the picture
    assert axes.yaxis_inverted(), "as in the images, y points down"


@pytest.mark.parametrize("name", long_after(1, ["0.1.0b13", "pt_numpy2", "clipped"]))
def test_other_versions(name):
    assert draw_maps(maps_in(runs.ALL[name]), "png")[:4] == b"\x89PNG"


@pytest.mark.parametrize("tensors", [("objp",), ("obja",), ("probe",), ("probe_pos_shifts",)])
def test_single_tensors(tensors, figures):
    found = maps_in(runs.SAMPLE, tensors)
    draw_maps(found, "svg")
    titles = {axes.get_title() for axes in figures[0].axes}
    assert len([title for title in titles if title and " to " not in title]) == (3 if found.objects else 1)


def said_in(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_nothing_changed(tmp_path, drawn):
    run_dir = planted_run(tmp_path / "run", lambda tensors: None)
    found = maps_in(run_dir)
    assert found.objects["objp"].change.max() == 0
    draw_maps(found, "png")
    assert said_in(drawn[0]) == ["2 Å", *[NOT_REFINED] * 5]
    assert len(drawn[0].axes) == 6


@pytest.mark.parametrize("value", long_after(1, [np.nan, np.inf]))
@pytest.mark.parametrize("rows", [slice(5, 10), slice(None)])
def test_nan(tmp_path, drawn, value, rows):
    def plant(tensors):
        for tensor in tensors.values():
            tensor[..., rows, :] = value

    found = maps_in(planted_run(tmp_path / "run", plant))
    assert found.warnings == [
        f"{name} holds NaN or infinity in the scanned region: where it changed is not known." for name in TENSORS
    ]
    draw_maps(found, "png")
    assert set(said_in(drawn[0])) <= {"no change is finite", "no value is finite", "2 Å"}
    assert said_in(drawn[0]).count("no change is finite") == 5


def test_a_probe_that_is_nan_leaves_the_object(tmp_path, drawn):
    def plant(tensors):
        tensors["probe"][0, 3, 3] = np.nan
        tensors["objp"][0, 1, 20, 30] += 0.05

    draw_maps(maps_in(planted_run(tmp_path / "run", plant)), "png")
    assert said_in(drawn[0]).count("no change is finite") == 1
    assert drawn[0].axes[0].images
    assert NOT_REFINED in said_in(drawn[0])  # the positions


@pytest.mark.parametrize("thickness", long_after(1, [np.nan, np.inf, 0, -4]))
def test_a_thickness_that_is_none(tmp_path, drawn, thickness):
    run_dir = planted_run(tmp_path / "run", lambda tensors: tensors["objp"].__imul__(1.1))
    for path in run_dir.iterdir():
        with h5py.File(path, "r+") as file:
            file["optimizable_tensors/slice_thickness"][...] = thickness
    found = maps_in(run_dir)
    assert found.thickness is None
    draw_maps(found, "png")
    assert "slice" in [axes.get_xlabel() for axes in drawn[0].axes]


def test_a_region_that_is_one_pixel_wide(tmp_path, drawn):
    def plant(tensors):
        for tensor in (tensors["objp"], tensors["obja"]):
            tensor += np.random.default_rng(1).normal(size=tensor.shape)

    run_dir = planted_run(tmp_path / "run", plant)
    for path in run_dir.iterdir():
        with h5py.File(path, "r+") as file:
            file["model_attributes/crop_pos"][:, 1] = 0
    found = maps_in(run_dir)
    assert found.objects["objp"].change.shape == (22, 1)
    draw_maps(found, "png")
    bars = [axes.get_window_extent().width for axes in drawn[0].axes]
    assert min(bars) > 5


def test_many_positions_and_slices(tmp_path):
    """So many arrows would be a blot: only some are drawn."""
    write_run(tmp_path, [2, 4])
    corners = np.stack(np.meshgrid(np.arange(0, 15, 0.15), np.arange(1, 17, 0.16), indexing="ij"), -1).reshape(-1, 2)
    for k, path in enumerate(sorted(tmp_path.iterdir())):
        with h5py.File(path, "r+") as file:
            for name in ("model_attributes/crop_pos", "optimizable_tensors/probe_pos_shifts"):
                del file[name]
            file["model_attributes/crop_pos"] = corners.astype(np.int32)
            file["optimizable_tensors/probe_pos_shifts"] = np.random.default_rng(k).random(corners.shape, np.float32)
    draw_maps(maps_in(tmp_path), "png")


def test_round_lengths():
    assert [round_length(length) for length in (0.3, 1, 1.99, 2, 4.9, 5, 9.99, 10, 0.07)] == pytest.approx(
        [0.2, 1, 1, 2, 2, 5, 5, 10, 0.05]
    )


def test_a_run_of_one_slice_has_no_profile(drawn):
    found = maps_in(runs.SAMPLE)
    one = {name: replace(of_one, by_slice=of_one.by_slice[:1]) for name, of_one in found.objects.items()}
    draw_maps(replace(found, objects=one), "png")
    assert "Change by slice" not in {axes.get_title() for axes in drawn[0].axes}


def test_fixed_positions_have_no_panel_of_noise(figures, tmp_path):
    def plant(tensors):
        tensors["probe_pos_shifts"] += np.random.default_rng(0).normal(0, 1e-9, tensors["probe_pos_shifts"].shape)
        tensors["objp"] *= 1.1

    draw_maps(maps_in(planted_run(tmp_path / "run", plant)), "png")
    axes = next(axes for axes in figures[0].axes if axes.get_title() == "Displacement of the scan positions")
    assert [text.get_text() for text in axes.texts] == [NOT_REFINED]
