"""Fourier ring correlation over the iterations: of files as engines write them."""

import json
import math
import shutil
import threading

import frc as invented
import h5py
import long_runs
import numpy as np
import pytest
import runs
from maps import damaged_beyond

from ptyconv_cli import PtyconvError, analyze_run, frc
from ptyconv_cli.analysis import frc_pictures
from ptyconv_cli.analysis.frc_pictures import Pictures
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.results.frc import frc_json

PHASER, PTYCHODUS, CDTOOLS = (
    runs.DATA / "phaser" / "lsqml",
    runs.DATA / "engines" / "ptychodus",
    runs.DATA / "engines" / "cdtools",
)
WALKING = runs.DATA / "walks" / "ptypy_dm_hi"
GRADIENT = runs.DATA / "phaser" / "gradient"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same place scanned twice."""
    folder = tmp_path_factory.mktemp("pair")
    return [long_runs.unpack(name, folder / name) for name in ("pair_A", "pair_B")]


@pytest.fixture(scope="module")
def of_pair(pair):
    return frc(*pair)


def test_two_scans_of_one_place_agree_best_early(of_pair):
    """As the same correlations were found with other code."""
    found = {point.niter: point.correlation for point in of_pair.points}
    assert list(found) == list(range(10, 401, 10))
    for niter, expected in {10: 0.991, 30: 0.994, 120: 0.988, 400: 0.946}.items():
        assert found[niter] == pytest.approx(expected, abs=0.01)
    assert 20 <= of_pair.best_by_area.niter <= 40
    assert 20 <= of_pair.best_by_correlation.niter <= 40
    assert all(np.hypot(*point.shift) < 0.05 for point in of_pair.points)
    assert of_pair.answer == [
        "The two runs agree best at iteration 30 by ring correlation, 40 by that of the pictures: mean ring "
        "correlation 0.977, correlation of the pictures 0.993.",
        "At the last, 400, they agree less: mean ring correlation 0.896, correlation of the pictures 0.949, and "
        "differ 7.2 times as much.",
        "What came after iteration 40 is not reproducible: keep iteration 40.",
    ]


def test_the_correlation_is_pearsons(of_pair, pair):
    """Worked out anew, of a pair that hardly lies apart."""
    pictures = []
    for run in pair:
        phase = runs.stored(run / "model_iter0030.hdf5")[0]["objp"].sum(1).mean(0)
        y, x = (of_axis.ravel() for of_axis in np.indices(phase.shape))
        plane = np.stack([np.ones(phase.size), y, x], 1)
        pictures.append(phase.ravel() - plane @ np.linalg.lstsq(plane, phase.ravel(), rcond=None)[0])
    point = next(point for point in of_pair.points if point.niter == 30)
    assert point.correlation == pytest.approx(np.corrcoef(*pictures)[0, 1], abs=0.001)
    assert point.correlation >= np.corrcoef(*pictures)[0, 1]


def test_the_doublings_of_a_run_are_those_of_the_verdict(pair):
    found = frc(pair[0])
    analysis = analyze_run(pair[0], tensors=["objp"], device="cpu")
    doublings = [(one.niter, one.since) for one in analysis.verdict.doublings["objp"].points]
    assert [(point.niter, point.other) for point in found.points] == doublings
    last = found.points[-1]
    assert (last.niter, last.other, last.is_down_to_limit) == (400, 200, True)
    assert last.limit == pytest.approx(19 * found.dx / 9)  # 9 rings in 19 px
    assert found.answer[0] == (
        "From iteration 200 to 400 all detail stayed, down to 1.1 Å, the pixels' limit (one-bit)."
    )


def test_each_checkpoint_is_read_once(opened, tmp_path):
    images = {niter: invented.scene((20, 20), seed=niter)[None] for niter in range(1, 17)}
    run = invented.write_run(tmp_path / "run", images)
    frc(run)
    assert len(opened) <= 3 * 16  # header, tensor, and a few for histories


def test_of_very_many_doublings_some_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(frc_pictures, "MOST", 4)
    images = {niter: invented.scene((18, 18))[None] for niter in range(1, 21)}
    found = frc(invented.write_run(tmp_path / "run", images))
    assert [point.niter for point in found.points] == [4, 12, 20]


def noisy(image, seed, size):
    return (image + size * np.random.default_rng(seed).normal(size=image.shape))[None]


def test_the_resolution_is_where_noise_takes_over(tmp_path):
    """Atoms of which the fine detail drowns in white noise: at the ring where they have as much power, about."""
    image = invented.scene((64, 64))
    run = invented.write_run(tmp_path / "run", {10: noisy(image, 1, 0.05), 20: noisy(image, 2, 0.05)})
    (point,) = frc(run).points
    spectrum = abs(np.fft.fft2((image - image.mean()) * np.outer(np.hanning(64), np.hanning(64)))) ** 2
    noise = 0.05**2 * (np.hanning(64) ** 2).sum() ** 2
    ring = np.rint(64 * np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)))
    ratio = np.array([spectrum[ring == number].mean() for number in range(1, 33)]) / noise
    expected = ratio / (ratio + 1)
    pixels = np.array([(ring == number).sum() for number in range(1, 33)])
    assert np.all(np.abs(np.array(point.frc) - expected) < 4 / np.sqrt(pixels))
    crossed = np.flatnonzero(expected < np.array(point.threshold))[0] + 1
    assert point.resolution == pytest.approx(64 * 0.25 / crossed, rel=0.1)
    assert not point.is_down_to_limit
    fine = frc(run, threshold="half-bit").points[0].resolution
    assert frc(run, threshold=0.143).points[0].resolution < fine < point.resolution


def test_regions_that_are_cut_differently_and_shifted(tmp_path):
    one = invented.write_run(tmp_path / "a", {10: invented.scene((40, 52), (3.0, 5.0))[None]})
    other = invented.write_run(tmp_path / "b", {10: invented.scene((50, 36), (-6.3, 12.2))[None]}, margin=7)
    found = frc(*(next(run.glob("*.hdf5")) for run in (one, other)))
    (point,) = found.points
    assert np.divide(point.shift, found.dx) == pytest.approx((9.3, -7.2), abs=0.02)
    assert point.overlap == (40, 36)
    assert min(point.frc[:8]) > 0.99
    assert point.correlation > 0.999


def test_what_lies_outside_the_overlap_does_not_count(tmp_path):
    whole, spoilt = invented.scene((40, 60)), invented.scene((40, 60), (0, 20))
    spoilt[:, 42:] = 5
    one, other = (
        invented.write_run(tmp_path / name, {5: image[None]}) for name, image in (("a", whole), ("b", spoilt[:, :40]))
    )
    (point,) = frc(*(next(run.glob("*.hdf5")) for run in (one, other))).points
    assert point.overlap == (40, 40)
    assert point.area == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("factor", "same"), [(1.0009, True), (1.0011, False)])
def test_pixel_sizes(tmp_path, factor, same):
    image = invented.scene((20, 20))[None]
    one = invented.write_run(tmp_path / "a", {10: image, 20: image})
    other = invented.write_run(tmp_path / "b", {10: image, 20: image}, dx=0.25 * factor)
    if same:
        assert len(frc(one, other).points) == 2
    else:
        with pytest.raises(PtyconvError, match=r"a and .*b: their pixel sizes differ: 0.25 Å and 0.250275 Å"):
            frc(one, other)


def test_iterations_of_two_runs(tmp_path):
    image = invented.scene((20, 20))[None]
    one = invented.write_run(tmp_path / "a", dict.fromkeys((0, 10, 20, 100, 104, 200), image))
    other = invented.write_run(tmp_path / "b", dict.fromkeys((0, 11, 20, 105, 210), image))
    assert [(point.niter, point.other) for point in frc(one, other).points] == [
        (0, 0),
        (20, 20),
        (104, 105),
        (200, 210),
    ]
    third = invented.write_run(tmp_path / "c", dict.fromkeys((3, 6), image))
    with pytest.raises(PtyconvError, match="have no iteration in common, within 5%: iterations 11 to 210 and 3 to 6"):
        frc(shutil.copytree(other, tmp_path / "d", ignore=shutil.ignore_patterns("*0000*")), third)


@pytest.mark.long
def test_a_mirrored_run_is_refused_with_a_hint(tmp_path):
    one = invented.write_run(tmp_path / "a", {n: noisy(invented.scene((60, 60)), n, 0.1) for n in (10, 20)})
    other = invented.write_run(
        tmp_path / "b", {n: noisy(invented.scene((60, 60))[:, ::-1], n + 1, 0.1) for n in (10, 20)}
    )
    hint = "fits better mirrored along x, with a correlation of 0.[0-9]+: was it reconstructed in another orientation"
    with pytest.raises(PtyconvError, match=rf"nothing in common is seen .* {hint}"):
        frc(one, other)
    third = invented.write_run(tmp_path / "c", {n: noisy(0 * invented.scene((60, 60)), n, 0.1) for n in (11, 21)})
    with pytest.raises(PtyconvError, match=r"nothing in common is seen .* Are they of one place, neither rotated"):
        frc(*(next(run.glob("*.hdf5")) for run in (one, third)))


def test_runs_of_different_engines():
    found = frc(PHASER, PTYCHODUS)
    assert [(point.niter, point.other) for point in found.points] == [(8, 8)]
    assert "px away, as in a crystal" in found.warnings[0]
    assert found.points[0].correlation == pytest.approx(0.86, abs=0.02)
    assert np.divide(found.points[0].shift, found.dx) == pytest.approx((-0.39, -7.96), abs=0.1)  # it begins elsewhere


def test_another_orientation_of_another_engine_is_noticed():
    hint = r"The second one fits better .* with the opposite sign, with a correlation of 0\.9"
    with pytest.raises(PtyconvError, match=hint):
        frc(PTYCHODUS, CDTOOLS)


def test_a_lattice_fits_in_another_orientation_too_but_not_as_well(tmp_path):
    """Atoms at the corners of squares, of different strengths: mirrored, they lie on each other still."""
    random = np.random.default_rng(3)
    y, x = np.indices((48, 48))
    strengths = random.uniform(0.5, 1, (7, 7))
    lattice = sum(
        strengths[a, b] * np.exp(-((y - 8 * a) ** 2 + (x - 8 * b) ** 2) / 5) for a in range(7) for b in range(7)
    )
    one, other = (
        invented.write_run(tmp_path / name, {10: noisy(image, seed, 0.04)})
        for seed, (name, image) in enumerate({"a": lattice, "b": lattice.T[::-1]}.items())
    )
    found = frc(*(next(run.glob("*.hdf5")) for run in (one, other)))
    assert "The correlation is only 0." in found.warnings[0]
    assert "The second one fits better rotated by" in found.warnings[0]


def with_phase_of(source, target, turn):
    """A run of phaser whose object's phase is that of another, after `turn`."""
    shutil.copytree(source, target)
    for path in target.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            data = file["object/data"][()]
            file["object/data"][...] = turn(data)
    return target


def test_a_phase_that_wraps_does_no_harm(tmp_path):
    plain = frc(PHASER)
    ramp = np.exp(1j * (2.9 + 0.3 * np.arange(85)[:, None] - 0.2 * np.arange(89)))

    def turned(data):
        return data * np.concatenate([ramp[None], np.ones_like(ramp)[None]])

    found = frc(with_phase_of(PHASER, tmp_path / "run", turned))
    assert [point.area for point in found.points] == pytest.approx([point.area for point in plain.points], abs=2e-3)
    assert [point.correlation for point in found.points] == pytest.approx(
        [point.correlation for point in plain.points], abs=2e-3
    )


def test_the_same_object_in_files_of_two_engines(tmp_path):
    """What phaser wrote, as a run of PtyRAD, with fewer pixels around it."""
    images = {}
    for path in sorted(PHASER.glob("*.h5")):
        with h5py.File(path) as file:
            niter = int(path.stem.removeprefix("iter"))
            phase = np.angle(file["object/data"][()])
            dx = float(file["object/sampling"][0])
        known = np.isfinite(phase[0])
        (top, left), (bottom, right) = np.argwhere(known).min(0), np.argwhere(known).max(0) + 1
        images[niter] = phase[:, top + 1 : bottom, left:right]
    other = invented.write_run(tmp_path / "ptyrad", images, dx=dx)
    found = frc(PHASER, other)
    assert len(found.points) == len(images)
    assert all(point.area > 0.9999 for point in found.points)
    assert found.points[0].shift == pytest.approx((-dx, 0), abs=0.01 * dx)


def test_slices_and_amplitude(tmp_path):
    one, two = invented.scene((24, 24), seed=1), invented.scene((24, 24), seed=2)
    run = invented.write_run(tmp_path / "run", {10: np.stack([one, two]), 20: np.stack([one, -two])})
    first, second = (frc(run, slice_number=number).points[0] for number in (1, 2))
    assert (first.area, second.area) == pytest.approx((1, -1), abs=1e-5)
    assert abs(frc(run).points[0].area) < 0.9
    assert frc(run, tensor="obja", slice_number=1).points[0].area == pytest.approx(1, abs=1e-5)
    assert frc(run, slice_number=2).shows == "object phase of slice 2"
    with pytest.raises(PtyconvError, match=r"model_iter0010.hdf5: has no slice 3: its object has 2"):
        frc(run, slice_number=3)


def test_a_file_with_one_checkpoint_is_compared_as_it_is(pair):
    one, other = pair[0] / "model_iter0030.hdf5", pair[1] / "model_iter0400.hdf5"
    found = frc(one, other)
    assert [(point.niter, point.other) for point in found.points] == [(30, 400)]
    against = frc(other, pair[0], every=100)
    assert against.reference == "model_iter0400.hdf5"
    assert [(point.niter, point.other) for point in against.points] == [(niter, 400) for niter in (100, 200, 300, 400)]
    assert against.names[0] == "pair_A"
    assert against.answer[0].startswith("pair_A agrees best with model_iter0400.hdf5 at iteration")
    with pytest.raises(PtyconvError, match="are the same run"):
        frc(one, one)
    with pytest.raises(PtyconvError, match="are the same run"):
        frc(pair[0], pair[0])


def test_a_file_that_cannot_be_read_is_left_out(tmp_path, pair):
    run = shutil.copytree(pair[0], tmp_path / "run")
    with h5py.File(run / "model_iter0030.hdf5", "r+") as file:
        del file["optimizable_tensors/objp"]
        file["optimizable_tensors/objp"] = np.zeros((1, 1, 60, 60), np.float32)
        shape = file["optimizable_tensors/objp"].id.get_offset()
    with (run / "model_iter0030.hdf5").open("r+b") as content:
        content.truncate(shape + 100)
    found = frc(run, pair[1])
    assert 30 not in [point.niter for point in found.points]
    assert "model_iter0030.hdf5 was left out" in found.warnings[0]
    with pytest.raises(PtyconvError, match=r"model_iter0030.hdf5"):
        frc(run, pair[1], strict=True)


def test_a_file_that_cannot_be_read_where_the_object_went_is_left_out():
    whole = {point.niter: point for point in frc(WALKING).points}
    assert (whole[200].other, whole[400].other) == (100, 200)
    with damaged_beyond(200):
        found = frc(WALKING)
        with pytest.raises(PtyconvError, match=r"200.*ends too early"):
            frc(WALKING, strict=True)
    assert list(found.points) == [point for niter, point in whole.items() if niter not in (200, 400)]
    (warning,) = found.warnings
    assert "was left out" in warning


def test_nothing_is_read_on_after_an_error(tmp_path):
    """What an error holds may be forgotten anywhere, in the thread that reads, too."""
    small = invented.scene((12, 12))[None]
    one, other = (invented.write_run(tmp_path / name, dict.fromkeys((1, 2, 4, 8, 16), small)) for name in "ab")
    for given in ([one], [one, other]):
        before = set(threading.enumerate())
        with pytest.raises(PtyconvError, match="too small for rings") as error:
            frc(*given)
        assert set(threading.enumerate()) <= before
        del error


def test_nan_is_said(tmp_path):
    image = invented.scene((20, 22))[None]
    broken = image.copy()
    broken[0, 4, 5] = np.nan
    run = invented.write_run(tmp_path / "run", {10: image, 20: image, 40: broken})
    found = frc(run)
    assert math.isnan(found.points[-1].area)
    assert found.warnings == ["No correlation at iterations 40: a picture holds NaN or infinity, or is flat."]
    assert found.answer == ["From iteration 20 to 40 nothing can be said: a picture holds NaN or infinity, or is flat."]
    other = invented.write_run(tmp_path / "other", {10: image, 20: image, 40: image})
    of_two = frc(run, other)
    assert of_two.answer == ["The pictures are the same."]
    with pytest.raises(PtyconvError, match=r"no pair of checkpoints can be compared. .* NaN or infinity, or is flat"):
        frc(invented.write_run(tmp_path / "all", {10: broken, 20: broken}))


def test_what_is_too_small_or_has_no_doubling(tmp_path):
    with pytest.raises(PtyconvError, match=r"too small for rings: .* 15 × 19 px, and 16 px a side"):
        frc(runs.SAMPLE)
    image = invented.scene((20, 20))[None]
    run = invented.write_run(tmp_path / "run", {10: image, 13: image, 60: image})
    said = r"no checkpoint has 1\.4 to 4 times the iterations of another: iterations 10, 13, 60"
    with pytest.raises(PtyconvError, match=said):
        frc(run)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tensor": "probe"}, "tensor must be one of obja, objp"),
        ({"tensor": "angle"}, "tensor must be one of obja, objp"),
        ({"threshold": "3"}, "is no threshold"),
        ({"slice_number": 0}, "slice_number must be a whole number of at least 1"),
        ({"every": 0}, "every must be a whole number"),
        ({"chain": "all"}, "chain must be a list of folders"),
        ({"run_b": "x", "chain": "auto"}, "chain is for one run"),
    ],
)
def test_settings_that_are_not_allowed(settings, message):
    with pytest.raises(ValueError, match=message):
        frc(runs.SAMPLE, **settings)


def test_engines_that_change_the_sampling():
    """Parts of a run with the same region of objects of different shapes."""
    run = runs.DATA / "phaser" / "epie_resize"
    found = frc(run)
    assert all(point.finite for point in found.points)
    assert {point.niter for point in frc(run, GRADIENT).points} <= {2, 4, 6, 8, 10, 12, 14}


def test_different_numbers_of_slices(tmp_path):
    image = invented.scene((24, 28))
    one = invented.write_run(tmp_path / "a", dict.fromkeys((10, 20), image[None]))
    other = invented.write_run(tmp_path / "b", {n: np.stack([image / n] * 2) for n in (10, 20)})
    found = frc(one, other)
    assert [point.area for point in found.points] == pytest.approx([1, 1], abs=1e-6)


def test_one_pair_of_noise_does_not_cost_the_others(tmp_path):
    """Also at 16 px a side, where no shift of a pixel leaves enough."""
    random, image = np.random.default_rng(1), invented.scene((16, 16))
    folders = []
    for name in ("a", "b"):
        images = {n: (image + 0.05 * random.normal(size=(16, 16)))[None] for n in (10, 20, 40)}
        images[80] = random.normal(size=(1, 16, 16))
        folders.append(invented.write_run(tmp_path / name, images))
    assert len(frc(folders[0]).points) == 3
    found = frc(*folders)
    assert [point.niter for point in found.points] == [10, 20, 40, 80]
    assert min(point.correlation for point in found.points[:3]) > 0.9
    assert found.points[-1].shift == (0, 0) or found.points[-1].correlation < 0.5


def test_noise_has_no_correlation_though_it_is_registered(tmp_path):
    random, areas = np.random.default_rng(2), []
    for number in range(20):
        images = {n: random.normal(size=(1, 32, 32)) for n in (10, 20)}
        areas.append(frc(invented.write_run(tmp_path / f"{number}", images)).points[0].area)
    assert abs(np.mean(areas)) < 3 * np.std(areas) / np.sqrt(len(areas))


def test_runs_that_are_shifted_and_begin_and_end_with_nothing(tmp_path):
    """NaN in the last, the middle and the first pair: the place is found by another one."""
    nothing = np.full((1, 30, 34), np.nan)
    one, other = (
        invented.write_run(
            tmp_path / name,
            {n: nothing if n in (10, 30, 50) else invented.scene((30, 34), corner)[None] for n in range(10, 60, 10)},
        )
        for name, corner in (("a", (0, 0)), ("b", (-5, 6)))
    )
    found = frc(one, other)
    assert [point.finite for point in found.points] == [False, True, False, True, False]
    assert np.divide(found.points[1].shift, found.dx) == pytest.approx((5, -6), abs=0.05)
    assert found.points[1].area > 0.99


@pytest.mark.filterwarnings("error")
def test_infinity_and_flat_pictures_are_no_correlation(tmp_path):
    image = invented.scene((20, 22))[None]
    infinite = image.copy()
    infinite[0, 3, 3] = np.inf
    run = invented.write_run(tmp_path / "run", {1: 0 * image, 2: image, 4: image, 8: infinite})
    found = frc(run)
    assert [point.finite for point in found.points] == [False, True, False]
    assert found.warnings == ["No correlation at iterations 2, 8: a picture holds NaN or infinity, or is flat."]
    assert json.loads(frc_json(found))["points"][0]["area"] is None


def test_a_run_and_one_of_its_own_checkpoints(pair):
    found = frc(pair[0], pair[0] / "model_iter0400.hdf5", every=100)
    assert [point.niter for point in found.points] == [100, 200, 300]
    assert found.reference == "model_iter0400.hdf5"


@pytest.mark.long
def test_a_crystal_that_fits_a_period_away_as_well(tmp_path):
    """The nearest place is taken, and it is said; where atoms differ, the place is known, however far it is."""
    y, x = np.indices((40, 44))

    def crystal(corner, vary):
        strengths = 1 + vary * np.random.default_rng(5).normal(size=(9, 9))
        found = np.zeros((40, 44))
        for a, b in np.ndindex(9, 9):
            middle = 8.3 * a - 10 - corner[0], 8.3 * b - 10 - corner[1]
            found += strengths[a, b] * np.exp(-((y - middle[0]) ** 2 + (x - middle[1]) ** 2) / 6)
        return found

    def found(vary, name):
        folders = [
            invented.write_run(tmp_path / f"{name}{number}", {10: noisy(crystal(corner, vary), number, 0.05)})
            for number, corner in enumerate([(0, 0), (-8.8, 0.2)])
        ]
        return frc(*(next(run.glob("*.hdf5")) for run in folders))

    same, different = found(0, "same"), found(0.2, "different")
    assert np.divide(same.points[0].shift, same.dx) == pytest.approx((0.5, -0.2), abs=0.05)
    assert "as in a crystal: which place is right is not known" in same.warnings[0]
    assert np.divide(different.points[0].shift, different.dx) == pytest.approx((8.8, -0.2), abs=0.05)
    assert different.warnings == []


def test_pictures_are_forgotten_after_their_use(tmp_path):
    """Those of a long run would not fit into memory."""
    images = {n: invented.scene((20, 20), seed=n)[None] for n in range(1, 33)}
    run = invented.write_run(tmp_path / "run", images)
    pairs = frc_pictures.doublings_of_run(run, Selection(("objp",), None, None, False), ()).pairs
    reader = Pictures("objp", None, False).of_one(pairs)
    next(reader)
    for pair, _, _ in reader:
        known = reader.gi_frame.f_locals["known"]
        assert all(source.niter >= pair.other.header.niter for source in known)


def test_memory_is_asked_for_first(tmp_path, monkeypatch):
    run = invented.write_run(tmp_path / "run", {n: invented.scene((20, 20))[None] for n in (10, 20)})
    monkeypatch.setattr("os.sysconf", lambda name: 1 if name == "SC_PAGE_SIZE" else 1000)
    with pytest.raises(PtyconvError, match=r"6 checkpoints at a time need .* GB of memory; this machine has 1e-06 GB$"):
        frc(run)


def test_a_run_that_changed_completely_has_nothing_in_common(tmp_path):
    images = {niter: invented.scene((48, 48), seed=niter)[None] for niter in (10, 20)}
    images[40] = images[20]
    found = frc(invented.write_run(tmp_path / "run", images))
    changed, stayed = found.points
    assert (changed.niter, changed.beyond_chance, changed.resolution) == (20, False, None)
    assert (stayed.niter, stayed.beyond_chance) == (40, True)
    assert found.warnings == [
        "Nothing in common is seen at iterations 20: what they share is no more than chance gives such pictures."
    ]
    del images[40]
    alone = frc(invented.write_run(tmp_path / "other", images))
    assert alone.answer == [
        "From iteration 10 to 20 nothing in common is seen: what they share is no more than chance gives such pictures."
    ]


def test_halves_of_a_measured_scan_agree_more_and_more():
    """A single coarse ring, of 3.9 µm, that falls below the threshold decides nothing."""
    found = frc(*runs.HALVES)
    at = {point.niter: point for point in found.points}
    assert [round(at[niter].area, 2) for niter in (8, 40, 136)] == [0.70, 0.88, 0.92]
    assert all(point.resolution < 4500 for point in found.points)
    assert at[168].is_down_to_limit
    assert at[168].coarser_below == [pytest.approx(38600, rel=0.05)]


def test_an_object_that_walked_is_laid_on_itself_first():
    (last,) = (point for point in frc(WALKING).points if point.niter == 400)
    assert (last.other, last.beyond_chance) == (200, True)
    assert last.correlation >= 0.94


@pytest.mark.parametrize("waves", [((0, 1),), ((0, 1), (1, 0)), ((0, 1), (0.87, 0.5), (0.87, -0.5))])
def test_a_small_crystal_that_stays_is_seen_to_stay(tmp_path, waves):
    """Though it is like itself turned, moved and negated."""
    y, x = np.indices((20, 20))
    crystal = sum(np.cos(2 * np.pi * (part_y * y + part_x * x) / 9) for part_y, part_x in waves)
    images = {niter: noisy(crystal, niter, 0.1 * crystal.std()) for niter in (10, 20, 40)}
    found = frc(invented.write_run(tmp_path / "run", images))
    assert all(point.beyond_chance and point.resolution for point in found.points)
