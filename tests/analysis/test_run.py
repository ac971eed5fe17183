"""Walking a run: order, choice of files, histories, notices."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import runs
import torch
from damage import spoil
from rarely import long_after
from toy import ToyModel, write_hdf5, write_pt, write_run

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.analysis import compare
from ptyconv_cli.checkpoints.formats.hdf5 import Hdf5Tree
from ptyconv_cli.quantities import snapshots


def changes(run_dir, **settings):
    if run_dir == runs.SAMPLE and not settings:
        return runs.analysis_of(run_dir).convergence_iters
    return analyze_run(run_dir, device="cpu", **settings).convergence_iters


def test_a_shuffled_folder_gives_the_same(tmp_path, monkeypatch):
    """Neither the order of the folder's entries nor of the files' times counts."""
    names = [path.name for path in runs.SAMPLE.glob("*.hdf5")]
    random.Random(3).shuffle(names)
    for name in names:
        shutil.copy(runs.SAMPLE / name, tmp_path / name)
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([folder / name for name in names]))
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
    assert analysis.warnings == [
        "Not named like a checkpoint, so not used: model_iter0030_copy.hdf5, xmodel_iter0030.hdf5."
    ]
    for name in ("model_0080.hdf5", "model_0090.hdf5", "model_0100.h5", ".model_iter0030.hdf5"):
        (sample / name).write_text("an old name")
    assert analyze_run(sample, device="cpu").warnings == [
        "Not named like a checkpoint, so not used: model_0080.hdf5, model_0090.hdf5, model_iter0030_copy.hdf5 and 1 "
        "more."
    ]


def test_the_iteration_in_the_file_counts(sample):
    expected = changes(sample)
    (sample / "model_iter0010.hdf5").rename(sample / "model_iter0115.hdf5")
    analysis = analyze_run(sample, device="cpu")
    assert analysis.convergence_iters == expected
    assert analysis.warnings == ["model_iter0115.hdf5: the file says iteration 10, which is used. Was it renamed?"]
    (sample / "model_iter0120.hdf5").rename(sample / "model_iter0001.hdf5")
    analysis = analyze_run(sample, device="cpu")
    assert analysis.convergence_iters == expected
    assert analysis.warnings == [
        "2 files give another iteration than their names, which is used: model_iter0115.hdf5 (10), model_iter0001.hdf5 "
        "(120). Were they renamed?"
    ]


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
    read_whole, read_into = Hdf5Tree.read, Hdf5Tree.read_into
    monkeypatch.setattr(Hdf5Tree, "read", lambda self, name: [read.append((name, "whole")), read_whole(self, name)][1])

    def watch(self, name, target, index):
        read.append((name, target.shape))
        read_into(self, name, target, index)

    monkeypatch.setattr(Hdf5Tree, "read_into", watch)
    analyze_run(runs.SAMPLE, device="cpu")
    of_object = [shape for name, shape in read if name in ("optimizable_tensors/obja", "optimizable_tensors/objp")]
    assert of_object == [(1, 2, 15, 19)] * 2 * 12


def test_three_checkpoints_take_turns(monkeypatch):
    """Memory doesn't grow with the number of checkpoints, and none is overwritten while it is compared."""
    memory, undisturbed = set(), []
    change = compare.tensor_changes

    def watched(name, current, previous, *options):
        copies = [snapshot.values[name].copy() for snapshot in (current, previous)]
        memory.add((name, current.values[name].ctypes.data))
        time.sleep(0.02)  # long enough for another one to be read
        found = change(name, current, previous, *options)
        undisturbed.append(
            np.array_equal(copies[0], current.values[name]) and np.array_equal(copies[1], previous.values[name])
        )
        return found

    monkeypatch.setattr(compare, "tensor_changes", watched)
    analyze_run(runs.SAMPLE, tensors=["objp"], device="cpu")
    assert len(memory) == 3
    assert undisturbed == [True] * 11


def test_without_a_gpu_torch_is_not_loaded():
    code = f"""
import sys
from ptyconv_cli.analysis.run import analyze_run
analyze_run({str(runs.SAMPLE)!r}, device="cpu")
print("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


class OfNumpy1(np.ndarray):
    """An array as before numpy 2: it does not say what device it is on."""

    @property
    def device(self):
        raise AttributeError("'numpy.ndarray' object has no attribute 'device'")


def test_the_phase_alone_is_followed_with_any_numpy(monkeypatch):
    expected = analyze_run(runs.SAMPLE, tensors=["objp"], device="cpu").verdict.doublings["objp"]
    monkeypatch.setattr(
        snapshots, "to_device", lambda arrays, device: {name: array.view(OfNumpy1) for name, array in arrays.items()}
    )
    assert analyze_run(runs.SAMPLE, tensors=["objp"], device="cpu").verdict.doublings["objp"] == expected


def test_progress_counts_checkpoints():
    seen = []
    analyze_run(runs.SAMPLE, device="cpu", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(1, 13)]


def test_histories_are_the_engines():
    analysis = runs.analysis_of(runs.SAMPLE)
    with h5py.File(runs.SAMPLE / "model_iter0120.hdf5") as file:
        assert analysis.engine.loss == [(int(n), v) for n, v in file["loss_iters"][()]]
    assert analysis.engine.learning_rates["probe"] == [(niter, 0.0005) for niter in range(1, 121)]
    assert set(analysis.engine.tilts) == {"x", "y"}
    assert analysis.engine.live_percentiles == (15, 85)
    assert analysis.dx == pytest.approx(0.5163648)
    assert analysis.region == (19, 34, 20, 39)


def test_what_old_versions_did_not_record_comes_from_the_checkpoints():
    engine = runs.analysis_of(runs.SAMPLE_PT).engine
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


def test_tilts_are_y_then_x(sample):
    for path in sample.iterdir():
        with h5py.File(path, "r+") as file:
            file["optimizable_tensors/obj_tilts"][()] = [[1.0, -2.0]]
            file["avg_tilt_iters/tilt_y"][()] = 3.0
            file["avg_tilt_iters/tilt_x"][()] = -4.0
    recorded = analyze_run(sample, device="cpu").engine.tilts
    assert list(recorded) == ["y", "x"]
    assert recorded["y"][-1] == (120, 3.0)
    assert recorded["x"][-1] == (120, -4.0)
    for path in sample.iterdir():
        with h5py.File(path, "r+") as file:
            del file["avg_tilt_iters"]
    of_checkpoints = analyze_run(sample, device="cpu").engine.tilts
    assert of_checkpoints["y"] == [(niter, 1.0) for niter in range(10, 130, 10)]
    assert of_checkpoints["x"] == [(niter, -2.0) for niter in range(10, 130, 10)]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    long_after(
        3,
        [
            (
                "loss_iters",
                np.zeros(7),
                "dataset loss_iters: expected real (n, 2), found float64 (7,). It is left out.",
            ),
            ("loss_iters", np.full((3, 2), np.nan), "dataset loss_iters: expected one value for each iteration"),
            ("lr_iters/niter", None, "has no dataset lr_iters/niter (expected integer (n)). It is left out."),
            ("lr_iters/obja", np.zeros(3), "dataset lr_iters/obja: expected one value for each iteration"),
            ("convergence_iters/probe", np.zeros((2, 3)), "dataset convergence_iters/probe: expected real (n, 2)"),
            (
                "optimizable_tensors/obj_tilts",
                np.zeros(3),
                "dataset optimizable_tensors/obj_tilts: expected real (N, 2)",
            ),
            ("optimizable_tensors/slice_thickness", np.zeros((2, 2)), "expected one real number, found float64 (2, 2)"),
            ("dz_iters", h5py.SoftLink("/nowhere"), "dz_iters is a link to something that does not exist"),
        ],
    ),
)
def test_damage_to_what_is_only_shown_is_a_remark(sample, name, values, said):
    expected = changes(runs.SAMPLE)
    spoil(sample / "model_iter0120.hdf5", name, values)
    analysis = analyze_run(sample, device="cpu")
    assert analysis.convergence_iters == expected
    (warning,) = analysis.warnings
    assert warning.startswith(str(sample / "model_iter0120.hdf5"))
    assert said in warning


def test_an_empty_dataspace_is_nothing(sample):
    spoil(sample / "model_iter0120.hdf5", "loss_iters", h5py.Empty("f8"))
    assert analyze_run(sample, device="cpu").engine.loss == []
    spoil(sample / "model_iter0120.hdf5", "niter", h5py.Empty("i8"))
    assert "has no dataset niter" in analyze_run(sample, device="cpu").left_out[0].reason


def test_a_damaged_object_header_is_not_taken_for_absence(sample):
    path = sample / "model_iter0120.hdf5"
    with h5py.File(path) as file:
        address = h5py.h5o.get_info(file["loss_iters"].id).addr
    damaged = bytearray(path.read_bytes())
    damaged[address : address + 8] = b"\xff" * 8
    path.write_bytes(damaged)
    (warning,) = analyze_run(sample, device="cpu").warnings
    assert "HDF5 cannot read loss_iters" in warning


def test_a_scan_outside_the_object_is_refused(tmp_path):
    write_run(tmp_path, [2, 4])
    for path in tmp_path.iterdir():
        with h5py.File(path, "r+") as file:
            file["model_attributes/crop_pos"][()] += 1000
    with pytest.raises(PtyconvError, match=r"model_iter0002.hdf5: scan positions \(crop_pos\) lie outside obja"):
        analyze_run(tmp_path, device="cpu")


def test_settings_are_checked():
    for settings in ({"every": 0}, {"tensors": []}, {"percentile_range": (85, 15)}, {"device": "tpu"}):
        with pytest.raises(ValueError, match=r"at least|0 <= low|choose"):
            analyze_run(runs.SAMPLE, **settings)


def flat(model, **tensors):
    for name, value in tensors.items():
        model.optimizable_tensors[name].data[:] = value
    return model


@pytest.mark.parametrize("writer", [write_hdf5, write_pt])
def test_extreme_but_allowed(tmp_path, writer, recwarn):
    """Constant objects, a dark probe, one position, one row, one pixel: results are defined, and nothing complains."""

    suffix = ".hdf5" if writer is write_hdf5 else ".pt"
    rows = {"one position": [[3, 4]], "one row": [[3, 4], [3, 5], [3, 9]], "one column": [[3, 4], [8, 4]]}
    for name, corners in rows.items():
        folder = tmp_path / name
        folder.mkdir()
        model = ToyModel()
        model.crop_pos = torch.tensor(corners, dtype=torch.int32)
        shifts = model.optimizable_tensors["probe_pos_shifts"].data[: len(corners)]
        model.optimizable_tensors["probe_pos_shifts"] = torch.nn.Parameter(shifts.clone())
        writer(folder / f"model_iter0002{suffix}", model, 2)
        writer(folder / f"model_iter0004{suffix}", flat(model, obja=1.0, probe=0.0), 4)
        writer(folder / f"model_iter0006{suffix}", flat(model, objp=0.5), 6)
        analysis = analyze_run(folder, device="cpu")
        values = {key: [value for _, value in curve] for key, curve in analysis.convergence_iters.items()}
        assert np.isnan(values.pop("probe")).tolist() == [False, True], "0/0 is no number"
        assert all(np.isfinite(value) for curve in values.values() for value in curve)
        assert values["obja_bg"] == [0.0, 0.0]
        assert values["probe_pos_shifts"] == [0.0, 0.0]
        assert analysis.region.shape_in((1, 22, 26))[1:] == (
            1 if name != "one column" else 6,
            1 if name != "one row" else 6,
        )
    assert [str(warning.message) for warning in recwarn] == []


def test_memory_is_not_asked_for_in_vain(sample, monkeypatch):
    sysconf = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: 1 if name == "SC_PHYS_PAGES" else sysconf(name))
    with pytest.raises(PtyconvError, match=r"3 checkpoints at a time need .* GB of memory; this machine has .* \(-t\)"):
        analyze_run(sample, device="cpu")


@pytest.mark.parametrize(
    "error", [torch.cuda.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory")]
)
def test_too_little_memory_on_the_way(sample, monkeypatch, error):
    def too_large(*_):
        raise error

    monkeypatch.setattr("ptyconv_cli.analysis.compare.tensor_changes", too_large)
    with pytest.raises(PtyconvError, match=r"cpu: not enough memory; try fewer tensors \(-t\)"):
        analyze_run(sample, device="cpu")
