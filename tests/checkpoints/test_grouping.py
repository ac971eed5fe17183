"""Files of several runs in one folder are told apart."""

import shutil

import h5py
import numpy as np
import pytest
import runs
from damage import MIDDLE, NEWEST, OBJP, edit, put
from rarely import long_after

from ptyconv_cli import PtyconvError, analyze_run

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.mark.parametrize(
    ("name", "values", "why"),
    long_after(
        2,
        [
            (OBJP, np.zeros((1, 2, 4, 5), "f4"), "the shape of objp is (1, 2, 4, 5), not (1, 2, 56, 60)"),
            ("model_attributes/dx", np.float32(2), "the pixel size dx is 2 Å, not 0.516365 Å"),
            ("model_attributes/crop_pos", np.zeros((120, 2), "i4"), "the scan positions (crop_pos) differ"),
            ("loss_iters", np.array([[n, 0.5] for n in range(1, 121)]), "the loss history differs"),
            ("niter", 110, "it holds iteration 110, and so does model_iter0110.hdf5"),
        ],
    ),
)
def test_files_of_other_runs_are_not_chained(ptyconv, sample, tmp_path, whole, name, values, why):
    edit(sample / NEWEST, name, put(values))
    result = ptyconv("analyze", sample, "-o", tmp_path / "out", "--no-plot")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"\n{sample}: its checkpoints belong to 2 runs:\n"
        "  1: model_iter0010.hdf5, …, model_iter0110.hdf5 (11 files)\n"
        f"  2: model_iter0120.hdf5: {why}\n"
    )
    assert f"\nError: {sample}: holds 1 checkpoint that can be used (" in result.stderr
    assert (tmp_path / "out" / "run1" / "convergence_iters.json").exists()
    checked = ptyconv("check", sample)
    assert checked.exit_code == 1
    assert "Choose a run by its number, such as\n--select 1" in checked.stderr
    expected = {key: curve[:-1] for key, curve in whole.items()}
    for select in ("1", "model_iter0[01][01]0.hdf5", "model_iter*[!2]0.hdf5"):
        found = analyze_run(sample, device="cpu", select=select)
        assert found.checkpoints[-1].niter == 110
        assert select != "1" or found.convergence_iters == expected


def test_two_runs_in_one_folder_are_told_apart():
    mixed = runs.DATA / "resume" / "mixed_in_one_folder"
    with pytest.raises(PtyconvError) as error:
        analyze_run(mixed, device="cpu")
    assert "  1: model_iter0002.hdf5, model_iter0004.hdf5, model_iter0006.hdf5\n" in str(error.value)
    assert "  2: model_iter0008.hdf5, model_iter0010.hdf5: " in str(error.value)
    first, second = (analyze_run(mixed, device="cpu", select=select) for select in ("1", "2"))
    assert [checkpoint.niter for checkpoint in first.checkpoints] == [2, 4, 6]
    assert [checkpoint.niter for checkpoint in second.checkpoints] == [8, 10]
    with pytest.raises(PtyconvError, match="there is no run 3"):
        analyze_run(mixed, device="cpu", select="3")
    with pytest.raises(
        PtyconvError, match=r"no checkpoint matches --select '\*\.h5'; names are like model_iter0002.hdf5"
    ):
        analyze_run(mixed, device="cpu", select="*.h5")


@pytest.mark.parametrize("with_loss", [True, False])
def test_a_copy_of_a_checkpoint_is_not_a_step(ptyconv, sample, whole, with_loss):
    original, copy = sample / "model_iter0020.hdf5", sample / "model_iter0015.hdf5"
    if not with_loss:
        edit(original, "loss_iters", lambda *_: None)
    shutil.copy(original, copy)
    analysis = analyze_run(sample, device="cpu")
    assert analysis.convergence_iters == whole
    reason = "is a copy of model_iter0020.hdf5 (the same iteration 20 of the same run)"
    assert [(file.file, file.reason) for file in analysis.left_out] == [("model_iter0015.hdf5", reason)]
    assert f"model_iter0015.hdf5 was left out: {reason}." in analysis.warnings
    assert analyze_run(sample, device="cpu", strict=True).convergence_iters == whole
    # Of another run, or with other content, it is no copy.
    edit(copy, "loss_iters" if with_loss else OBJP, put(np.array([[n, 0.5] for n in range(1, 21)])))
    if not with_loss:
        edit(copy, OBJP, put(np.zeros((1, 2, 56, 60), "f4")))
    why = "the loss history differs" if with_loss else "it holds iteration 20, and so does model_iter0020.hdf5"
    with pytest.raises(PtyconvError, match=f"2: model_iter0015.hdf5: {why}"):
        analyze_run(sample, device="cpu")


def test_a_file_without_a_loss_does_not_hide_another_run(sample):
    with h5py.File(sample / "model_iter0110.hdf5", "r+") as file:
        del file["loss_iters"]
    edit(sample / NEWEST, "loss_iters", put(np.array([[n, 0.5] for n in range(1, 121)])))
    with pytest.raises(PtyconvError, match=r"2: model_iter0120.hdf5: the loss history differs"):
        analyze_run(sample, device="cpu")
    said = "model_iter0110.hdf5 has no loss history, by which files of another run would be noticed."
    assert said in analyze_run(sample, device="cpu", select="1").warnings


def test_a_later_loss_is_no_shorter(sample):
    with h5py.File(sample / NEWEST) as file:
        loss = file["loss_iters"][:50]
    edit(sample / NEWEST, "loss_iters", put(loss))
    with pytest.raises(PtyconvError, match=r"2: model_iter0120.hdf5: the loss history differs"):
        analyze_run(sample, device="cpu")


def test_the_probe_defines_the_region_and_must_not_change(sample):
    edit(sample / MIDDLE, "optimizable_tensors/probe", put(np.zeros((2, 16, 16), "c8")))
    with pytest.raises(PtyconvError, match=r"2: model_iter0060.hdf5: the probe has \(16, 16\) px, not \(32, 32\)"):
        analyze_run(sample, device="cpu", tensors=["objp"])
