"""Walking a run: order, choice of files, histories, remarks."""

import random
import shutil

import h5py
import numpy as np
import pytest
import runs
import torch
from toy import ToyModel, write_hdf5, write_pt, write_run

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.agreement import live_points
from ptyconv_cli.checkpoints import open_checkpoint
from ptyconv_cli.checkpoints.hdf5 import Hdf5Tree
from ptyconv_cli.history import Point


@pytest.fixture
def sample(tmp_path):
    """A copy of the sample run that a test may spoil."""
    return shutil.copytree(runs.SAMPLE, tmp_path / "sample")


def changes(run_dir, **settings):
    return analyze_run(run_dir, device="cpu", **settings).convergence_iters


def test_a_shuffled_folder_gives_the_same(tmp_path):
    names = [path.name for path in runs.SAMPLE.glob("*.hdf5")]
    random.Random(3).shuffle(names)
    for name in names:
        shutil.copy(runs.SAMPLE / name, tmp_path / name)
    assert changes(tmp_path) == changes(runs.SAMPLE)


def test_order_is_by_number_past_9999(tmp_path):
    """`model_iter10000` sorts before `model_iter9990` by name."""
    write_run(tmp_path, [9980, 9990, 10000, 10010])
    analysis = analyze_run(tmp_path, device="cpu")
    assert [checkpoint.niter for checkpoint in analysis.checkpoints] == [9980, 9990, 10000, 10010]
    assert [(point.since, point.niter) for point in analysis.points["probe"]] == [
        (9980, 9990),
        (9990, 10000),
        (10000, 10010),
    ]


def test_stray_files_change_nothing(sample):
    expected = changes(sample)
    for name in ("notes.txt", "convergence.png", "model_error_0.3_t0001_iter0006.hdf5", "xmodel_iter0030.hdf5"):
        (sample / name).write_text("not a checkpoint")
    (sample / "model_iter0030_copy.hdf5").write_text("a copy by hand")
    analysis = analyze_run(sample, device="cpu")
    assert analysis.convergence_iters == expected
    assert analysis.warnings == ["model_iter0030_copy.hdf5 was left out: its name is not model_iterNNNN."]


def test_the_iteration_in_the_file_counts(sample):
    expected = changes(sample)
    (sample / "model_iter0010.hdf5").rename(sample / "model_iter0115.hdf5")
    analysis = analyze_run(sample, device="cpu")
    assert analysis.convergence_iters == expected
    assert analysis.warnings == ["model_iter0115.hdf5 holds iteration 10, which counts, not its name."]


def test_every_uses_multiples_only(sample):
    for path in sample.iterdir():
        if int(path.stem[-4:]) % 30:
            path.unlink()
    assert changes(runs.SAMPLE, every=30) == changes(sample)


def test_hdf5_and_pt_give_the_same_bits(tmp_path):
    write_run(tmp_path / "a", [2, 4, 6])
    write_run(tmp_path / "b", [2, 4, 6], write_pt, ".pt")
    assert changes(tmp_path / "a") == changes(tmp_path / "b")


def test_metadata_kept_as_attributes_is_read(sample):
    expected = changes(sample)
    for path in sample.iterdir():
        with h5py.File(path, "r+") as file:
            file.attrs["niter"] = file["niter"][()]
            file["model_attributes"].attrs["dx"] = file["model_attributes/dx"][()]
            del file["niter"], file["model_attributes/dx"]
    assert changes(sample) == expected


def test_only_the_scanned_region_is_read(monkeypatch):
    read = []
    original = Hdf5Tree.read

    def watch(self, name, index=()):
        array = original(self, name, index)
        read.append((name, array.shape))
        return array

    monkeypatch.setattr(Hdf5Tree, "read", watch)
    changes(runs.SAMPLE)
    of_object = [shape for name, shape in read if name in ("optimizable_tensors/obja", "optimizable_tensors/objp")]
    assert of_object == [(1, 2, 15, 19)] * 2 * 12


def test_progress_counts_checkpoints():
    seen = []
    analyze_run(runs.SAMPLE, device="cpu", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(1, 13)]


def test_histories_are_the_engines():
    analysis = analyze_run(runs.SAMPLE, device="cpu")
    with h5py.File(runs.SAMPLE / "model_iter0120.hdf5") as file:
        assert analysis.engine.loss == [(int(n), v) for n, v in file["loss_iters"][()]]
    assert analysis.engine.learning_rates["probe"] == [(niter, 0.0005) for niter in range(1, 121)]
    assert set(analysis.engine.tilts) == {"x", "y"}
    assert analysis.engine.live_percentiles == (15, 85)
    assert analysis.dx == pytest.approx(0.5163648)
    assert analysis.region == (19, 34, 20, 39)


def test_what_old_versions_did_not_record_comes_from_the_checkpoints():
    engine = analyze_run(runs.SAMPLE_PT, device="cpu").engine
    assert len(engine.loss) == 10
    assert engine.learning_rates == {}
    assert engine.tilts == {"y": [(n, 0.0) for n in (2, 4, 6, 8, 10)], "x": [(n, 0.0) for n in (2, 4, 6, 8, 10)]}
    assert engine.slice_thickness == [(n, 4.0) for n in (2, 4, 6, 8, 10)]


def test_a_thickness_history_that_contradicts_the_checkpoints_is_not_believed(sample):
    """Files of CPU runs repeat the final thickness in every row of dz_iters."""
    thickness = {}
    for path in sorted(sample.iterdir()):
        with h5py.File(path, "r+") as file:
            niter = int(file["niter"][()])
            thickness[niter] = 4 + niter / 256
            file["optimizable_tensors/slice_thickness"][()] = thickness[niter]
            file["dz_iters"][:, 1] = thickness[niter]
    analysis = analyze_run(sample, device="cpu")
    assert analysis.engine.slice_thickness == list(thickness.items())
    assert "contradicts the checkpoints" in analysis.warnings[0]


def test_a_widened_interval_is_not_compared_with_the_live_record(sample):
    (sample / "model_iter0050.hdf5").unlink()
    analysis = analyze_run(sample, device="cpu")
    assert analysis.points["probe"][3].since == 40
    assert analysis.points["probe"][3].niter == 60
    assert {agreement.compared for agreement in analysis.live_agreement.values()} == {9}
    assert max(a.max_relative_difference for a in analysis.live_agreement.values()) < 1e-6
    assert "The checkpoints are 10 to 20 iterations apart." in analysis.warnings[0]


def test_a_live_record_begins_at_iteration_0():
    assert live_points([(10, 0.5), (25, 0.25)]) == [Point(10, 0, 0.5), Point(25, 10, 0.25)]
    assert live_points([]) == []


def test_other_percentiles_are_not_compared_with_the_live_record():
    agreement = analyze_run(runs.SAMPLE, device="cpu", percentile_range=(10, 90)).live_agreement
    assert {key: found.compared for key, found in agreement.items()} == {
        "obja_bg": 0,
        "obja_fg": 0,
        "objp_bg": 0,
        "objp_fg": 0,
        "probe": 11,
        "probe_pos_shifts": 11,
    }
    assert agreement["objp_bg"].max_relative_difference is None


def test_a_live_record_of_other_tensors_is_noticed(sample):
    with h5py.File(sample / "model_iter0120.hdf5", "r+") as file:
        file["convergence_iters/probe"][5, 1] *= 2
    analysis = analyze_run(sample, device="cpu")
    assert analysis.live_agreement["probe"].max_relative_difference == pytest.approx(0.5)
    assert analysis.warnings == [
        "The engine's live record differs (probe by up to 50.0%): were the checkpoints changed or mixed with others?"
    ]


def test_an_empty_mask_is_explained():
    (warning,) = analyze_run(runs.ALL["clipped"], device="cpu").warnings
    assert warning.startswith("objp_bg is 0 throughout because no voxel lies below the low percentile")


def test_no_change_at_all_is_not_called_an_empty_mask(tmp_path):
    """A tensor that is not optimised keeps its values: 0 is then the truth."""
    for niter in (2, 4, 6):
        write_hdf5(tmp_path / f"model_iter{niter:04d}.hdf5", ToyModel(), niter)
    analysis = analyze_run(tmp_path, device="cpu")
    assert {value for curve in analysis.convergence_iters.values() for _, value in curve} == {0.0}
    assert analysis.warnings == []


def test_nan_is_reported_where_it_begins(tmp_path):
    write_run(tmp_path, [2, 4, 6, 8])
    with h5py.File(tmp_path / "model_iter0006.hdf5", "r+") as file:
        file["optimizable_tensors/objp"][0, 0, 10, 10] = np.nan
    analysis = analyze_run(tmp_path, device="cpu")
    values = dict(analysis.convergence_iters["objp_fg"])
    assert np.isfinite(values[4])
    assert np.isnan(values[6])
    assert np.isfinite(dict(analysis.convergence_iters["obja_fg"])[6])
    assert "objp_bg is not finite" in " ".join(analysis.warnings)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("shape", "model_iter0120.hdf5: the shape of objp is (1, 2, 4, 5), but (1, 2, 56, 60) in model_iter0010.hdf5"),
        ("dx", "model_iter0120.hdf5: the pixel size dx in Å is 2.0, but 0.516"),
        ("crop_pos", "model_iter0120.hdf5: crop_pos (the scan positions in the object) is another, but one set in"),
        ("missing", "model_iter0120.hdf5: has no tensor objp; it has obja, probe_pos_shifts, probe (choose with -t)"),
        ("rank", "dataset optimizable_tensors/objp: expected real (omode, slice, y, x), found float32 (7, 8)"),
        ("type", "dataset optimizable_tensors/probe: expected complex (pmode, y, x), found float64 (2, 32, 32)"),
        ("empty", "dataset model_attributes/crop_pos: expected integer (N, 2), found int32 (0, 2)"),
        ("niter", "has no dataset niter (expected one integer number)"),
        ("link", "dataset optimizable_tensors/objp is named in the file but cannot be opened"),
    ],
)
def test_files_that_do_not_fit_are_named(sample, spoil, said):
    replacement = {
        "shape": ("optimizable_tensors/objp", np.zeros((1, 2, 4, 5), np.float32)),
        "dx": ("model_attributes/dx", np.float32(2)),
        "crop_pos": ("model_attributes/crop_pos", np.zeros((120, 2), np.int32)),
        "missing": ("optimizable_tensors/objp", None),
        "rank": ("optimizable_tensors/objp", np.zeros((7, 8), np.float32)),
        "type": ("optimizable_tensors/probe", np.zeros((2, 32, 32))),
        "empty": ("model_attributes/crop_pos", np.zeros((0, 2), np.int32)),
        "niter": ("niter", None),
        "link": ("optimizable_tensors/objp", h5py.SoftLink("/nowhere")),
    }
    name, values = replacement[spoil]
    with h5py.File(sample / "model_iter0120.hdf5", "r+") as file:
        del file[name]
        if values is not None:
            file[name] = values
    with pytest.raises(PtyconvError) as error:
        analyze_run(sample, device="cpu")
    assert said in str(error.value)
    assert str(sample / "model_iter0120.hdf5") in str(error.value)


def test_two_files_of_one_iteration_are_refused(sample):
    shutil.copy(sample / "model_iter0020.hdf5", sample / "model_iter0015.hdf5")
    with pytest.raises(PtyconvError, match=r"model_iter0015.hdf5 and model_iter0020.hdf5 both hold iteration 20"):
        analyze_run(sample, device="cpu")


def test_a_scan_outside_the_object_is_refused(tmp_path):
    write_run(tmp_path, [2, 4])
    for path in tmp_path.iterdir():
        with h5py.File(path, "r+") as file:
            file["model_attributes/crop_pos"][()] += 1000
    with pytest.raises(PtyconvError, match=r"model_iter0002.hdf5: the scanned region .* holds no voxel of obja"):
        analyze_run(tmp_path, device="cpu")


def test_settings_are_checked():
    for settings in ({"every": 0}, {"tensors": []}, {"percentile_range": (85, 15)}, {"device": "tpu"}):
        with pytest.raises(ValueError, match=r"at least|0 <= low|choose"):
            analyze_run(runs.SAMPLE, **settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_a_device_that_is_not_there_is_refused():
    for name in ("cuda", "cuda:3"):
        with pytest.raises(PtyconvError, match=f"there is no device {name} that PyTorch can use here"):
            analyze_run(runs.SAMPLE, device=name)


def test_a_closed_checkpoint_leaves_its_numbers():
    with open_checkpoint(runs.SAMPLE / "model_iter0010.hdf5", torch.device("cpu")) as checkpoint:
        probe = checkpoint.get_complex_probe_view()
    assert probe.dtype == torch.complex64
    assert probe.shape == (2, 32, 32)
    assert checkpoint.crop_pos.shape == (120, 2)
