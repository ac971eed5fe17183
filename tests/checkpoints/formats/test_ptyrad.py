"""What PtyRAD writes, in both layouts."""

import h5py
import long_runs
import numpy as np
import pytest
from toy import ToyModel, write_hdf5, write_run

from ptyconv_cli import PtyconvError, analyze_run


def write_v2(path, model: ToyModel, niter: int) -> None:
    """The same tensors as `toy.write_hdf5` writes, in the layout of schema 2."""
    arrays = model.arrays()
    with h5py.File(path, "w") as file:
        file["niter"] = niter
        file["ptyrad_schema"] = 2
        file["ptyrad_version"] = "1.0.0"
        file["model_meta/dx"] = float(model.dx)
        file["model_meta/length_unit"] = "Ang"
        file["history/loss_iters"] = np.array([[n, 1 / n] for n in range(1, niter + 1)], dtype=np.float64)
        file["history/lr_iters/niter"] = np.arange(1, niter + 1)
        file["history/lr_iters/object.phase"] = np.full(niter, 0.01)
        file["components/object/tensors/amp"] = arrays["obja"]
        file["components/object/tensors/phase"] = arrays["objp"]
        file["components/object/param_specs/phase/start_iter"] = 3
        file["components/object/param_specs/phase/end_iter"] = "__NONE__"
        file["components/probe/tensors/modes"] = arrays["probe"]
        file["components/positions/tensors/shifts"] = arrays["probe_pos_shifts"]
        file["components/positions/tensors/crop_pos"] = model.crop_pos.numpy()


def test_both_layouts_of_ptyrad_give_the_same_bits(tmp_path):
    write_run(tmp_path / "v1", [2, 4, 6, 9], write_hdf5)
    write_run(tmp_path / "v2", [2, 4, 6, 9], write_v2)
    one, other = (analyze_run(tmp_path / version, device="cpu") for version in ("v1", "v2"))
    assert one.points == other.points
    assert one.aligned_points == other.aligned_points
    assert one.removed == other.removed
    assert one.trajectories == other.trajectories
    assert one.region == other.region
    assert one.engine.loss == other.engine.loss
    assert other.engine.learning_rates == {"objp": [(n, 0.01) for n in range(1, 10)]}
    assert other.engine.optimised == {"objp": (3, None)}


def test_a_tensor_that_is_never_optimised_has_no_learning_rate(tmp_path):
    """PtyRAD records the rate of positions that it keeps."""
    folder = long_runs.unpack("fixed_positions", tmp_path / "v1", until=20)
    with h5py.File(folder / "model_iter0020.hdf5") as file:
        assert "probe_pos_shifts" in file["lr_iters"]
    found = analyze_run(folder, device="cpu").engine
    assert set(found.learning_rates) == {"obja", "objp", "probe"}
    assert found.optimised["probe_pos_shifts"] == (None, None)


def v2_with(folder, name, text):
    """Write a run of PtyRAD v2 in which one text is another one; return its folder."""
    write_run(folder, [2, 4], write_v2)
    for path in folder.iterdir():
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = text
    return folder


def test_nor_has_one_in_the_other_layout(tmp_path):
    folder = v2_with(tmp_path / "v2", "components/object/param_specs/phase/start_iter", "__NONE__")
    assert analyze_run(folder, device="cpu").engine.learning_rates == {}


def test_lengths_of_another_unit_are_refused(tmp_path):
    folder = v2_with(tmp_path / "v2", "model_meta/length_unit", "m")
    with pytest.raises(PtyconvError, match=r"model_meta/length_unit\) are in 'm', not in Å"):
        analyze_run(folder, device="cpu")


@pytest.mark.parametrize("names", [("r", "i"), ("real", "imag")])
def test_complex_numbers_of_twice_16_bits(tmp_path, names):
    """For which numpy has no type: h5py shows them as pairs."""
    for folder in ("as pairs", "rounded"):
        write_run(tmp_path / folder, [2, 4, 6])
    kind = np.dtype([(name, "<f2") for name in names])
    for path in (tmp_path / "as pairs").iterdir():
        with h5py.File(path, "r+") as file, h5py.File(tmp_path / "rounded" / path.name, "r+") as rounded:
            probe = file["optimizable_tensors/probe"][()]
            pairs = np.empty(probe.shape, kind)
            pairs[names[0]], pairs[names[1]] = probe.real, probe.imag
            for of_one, values in ((file, pairs), (rounded, pairs[names[0]] + np.complex64(1j) * pairs[names[1]])):
                del of_one["optimizable_tensors/probe"]
                of_one["optimizable_tensors/probe"] = values
    found, expected = (analyze_run(tmp_path / folder, device="cpu") for folder in ("as pairs", "rounded"))
    assert found.left_out == []
    assert found.convergence_iters == expected.convergence_iters
    assert found.aligned_points == expected.aligned_points
