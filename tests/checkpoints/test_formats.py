"""Every format: what its files hold, in the same six series and units as PtyRAD's."""

import math
import os
import re
import shutil
import sys
from itertools import pairwise

import h5py
import numpy as np
import pytest
import runs
import torch
from toy import ToyModel, write_hdf5, write_run

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.checkpoints import readers
from ptyconv_cli.errors import SeveralRuns
from ptyconv_cli.metrics.phase import unwrap

PHASER = runs.DATA / "phaser"


@pytest.mark.parametrize(
    ("folder", "points", "boundaries"),
    [
        ("../../sample_data/ptyrad-1.0", 11, []),
        ("../../sample_data/ptyrad-0.1.0b6-pt", 4, []),
        ("ptyrad-1.0/clipped", 11, []),
        ("ptyrad-1.0/constant_lr", 19, []),
        ("ptyrad-1.0/cosine_lr", 19, []),
        ("ptyrad-0.1.0b6-pt/numpy1", 4, []),
        ("ptyrad-0.1.0b6-pt/saved_on_cuda", 2, []),
        ("ptyrad-0.1.0b10", 4, []),
        ("ptyrad-0.1.0b13", 4, []),
        ("ptyrad-v2/pixel", 4, []),
        ("ptyrad-v2/aberration", 4, []),
        ("phaser/lsqml", 6, [(8, "")]),  # the second engine moves the positions, too
        ("phaser/gradient", 9, []),
        ("phaser/epie_resize", 4, [(4, "the shape of obja"), (8, "the shape of obja")]),
        ("resume/first", 4, []),
        ("resume/resumed", 3, []),
        ("resume/resumed_with_optimizer", 3, []),
        *((f"hypertune/collated_and_trials/hypertune_TPESampler_loss/t000{n}_*", 2, []) for n in range(4)),
    ],
)
def test_every_real_run(folder, points, boundaries):
    (run_dir,) = runs.DATA.glob(folder) if "*" in folder else [runs.DATA / folder]
    analysis = analyze_run(run_dir, device="cpu")
    assert {len(found) for found in analysis.points.values()} == {points}
    assert set(analysis.points) == {"obja_bg", "obja_fg", "objp_bg", "objp_fg", "probe", "probe_pos_shifts"}
    assert [boundary.niter for boundary in analysis.boundaries] == [niter for niter, _ in boundaries]
    assert all(
        boundary.difference.startswith(what)
        for boundary, (_, what) in zip(analysis.boundaries, boundaries, strict=True)
    )
    assert all(math.isfinite(p.value) for found in analysis.points.values() for p in found)
    assert len(analysis.engine.loss) == analysis.checkpoints[-1].niter


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        (
            "hypertune/collated_only/hypertune_TPESampler_loss",
            "4 collated files .* last checkpoints of different trials",
        ),
        ("hypertune/collated_and_trials/hypertune_TPESampler_loss", "its subfolders do: t0000_"),
    ],
)
def test_every_other_folder_is_refused_with_the_reason(folder, said):
    with pytest.raises(PtyconvError, match=said):
        analyze_run(runs.DATA / folder, device="cpu")


def test_two_runs_in_one_folder_are_counted():
    with pytest.raises(SeveralRuns) as error:
        analyze_run(runs.DATA / "resume" / "mixed_in_one_folder", device="cpu")
    assert error.value.count == 2


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


def test_lengths_of_another_unit_are_refused(tmp_path):
    write_run(tmp_path / "v2", [2, 4], write_v2)
    for path in (tmp_path / "v2").iterdir():
        with h5py.File(path, "r+") as file:
            del file["model_meta/length_unit"]
            file["model_meta/length_unit"] = "m"
    with pytest.raises(PtyconvError, match=r"model_meta/length_unit\) are in 'm', not in Å"):
        analyze_run(tmp_path / "v2", device="cpu")


def phaser_changes(one, other):
    """The six changes between two files of phaser, from the raw arrays in float64."""
    with h5py.File(one) as before, h5py.File(other) as now:
        pixels = (before["scan/data"][()] - before["object/corner"][()]) / before["object/sampling"][()]
        low, high = (np.floor(found + 0.5).astype(int) for found in (pixels.min((0, 1)), pixels.max((0, 1))))
        region = np.s_[:, low[0] - 1 : high[0], low[1] - 1 : high[1]]
        current, previous = (file["object/data"][()].astype(complex)[region] for file in (now, before))
        probes = (file["probe/data"][()].astype(complex) for file in (now, before))
        intensity, intensity_before = ((np.abs(probe) ** 2).sum(0) for probe in probes)
        moved = now["scan/data"][()] - before["scan/data"][()]
    found = {}
    for key, x, change in (
        ("obja", 1 - np.abs(current), np.abs(current) - np.abs(previous)),
        ("objp", np.angle(current), np.angle(current * previous.conj())),
    ):
        low, high = np.percentile(x, [15, 85])
        found[f"{key}_bg"], found[f"{key}_fg"] = np.abs(change)[x < low].mean(), np.abs(change)[x > high].mean()
    found["probe"] = np.abs(intensity - intensity_before).sum() / (intensity_before.sum() + 1e-8)
    found["probe_pos_shifts"] = np.sqrt((moved**2).sum(-1).mean())
    return found


@pytest.mark.parametrize("name", ["lsqml", "gradient"])
def test_phaser_agrees_with_brute_force(name):
    files = sorted((PHASER / name).iterdir())
    analysis = analyze_run(PHASER / name, device="cpu")
    for k in range(1, len(files)):
        expected = phaser_changes(files[k - 1], files[k])
        found = {key: points[k - 1].value for key, points in analysis.points.items()}
        # The region is the first file's: positions move by less than the rounding here.
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-15)


def test_an_engine_that_changes_the_sampling_begins_anew():
    folder = PHASER / "epie_resize"
    analysis = analyze_run(folder, device="cpu")
    assert [(p.since, p.niter) for p in analysis.points["probe"]] == [(2, 4), (6, 8), (10, 12), (12, 14)]
    for niters in ((2, 4), (6, 8), (10, 12), (12, 14)):
        expected = phaser_changes(*(folder / f"iter{niter:03d}.h5" for niter in niters))
        found = {key: dict(curve)[niters[1]] for key, curve in analysis.convergence_iters.items()}
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-15)
    assert analysis.trajectories["objp"].niters == [10, 12, 14]
    assert analysis.dx == pytest.approx(0.34937393)
    assert str(analysis.region) == "y 32:58, x 32:62 px"
    assert [warning for warning in analysis.warnings if "no change is computed across" in warning]
    assert all(verdict.since is None or verdict.since > 8 for verdict in analysis.verdict.series.values())


@pytest.fixture
def lsqml(tmp_path):
    return shutil.copytree(PHASER / "lsqml", tmp_path / "lsqml")


def turn(folder, angles):
    """Turn the object's phase, which no diffraction pattern can see."""
    for path, angle in zip(sorted(folder.iterdir()), angles, strict=True):
        with h5py.File(path, "r+") as file:
            file["object/data"][...] = file["object/data"][()] * np.exp(1j * angle)


def test_a_phase_does_not_jump_at_half_a_turn(lsqml):
    straight = analyze_run(lsqml, device="cpu")
    steps = np.array([3.1, 3.13, 3.16, 3.19, 3.22, 3.25, 3.28])  # over the edge at 3.14159
    turn(lsqml, steps)
    turned = analyze_run(lsqml, device="cpu")
    for key in ("objp_bg", "objp_fg"):
        raw = [value for _, value in turned.convergence_iters[key]]
        assert max(raw) < 0.05
        for point, before in zip(turned.aligned_points[key], straight.aligned_points[key], strict=True):
            assert point.value == pytest.approx(before.value, rel=1e-3)
    offsets = [what.total_offset[0] for _, what in turned.removed["objp"]]
    before = [what.total_offset[0] for _, what in straight.removed["objp"]]
    assert np.subtract(offsets, before) == pytest.approx([2 * 0.03] * 6, abs=1e-4)  # of two slices
    travelled = turned.trajectories["objp"].raw[-1][0]
    assert travelled == pytest.approx(0.18, rel=0.1)


def test_pixels_that_are_not_square_are_said(lsqml):
    for path in lsqml.iterdir():
        with h5py.File(path, "r+") as file:
            file["object/sampling"][0] *= 1.01
    analysis = analyze_run(lsqml, device="cpu")
    assert any("pixels are not square (0.352868 × 0.349374 Å)" in warning for warning in analysis.warnings)
    expected = [phaser_changes(*pair)["probe_pos_shifts"] for pair in pairwise(sorted(lsqml.iterdir()))]
    assert [value for _, value in analysis.convergence_iters["probe_pos_shifts"]] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("type", "something else", "is not a checkpoint of phaser"),
        ("object/sampling", np.array([0.3, np.nan]), "the pixel size object/sampling is"),
        ("object/data", np.zeros((4, 4), "c8"), r"object/data: expected complex \(z, y, x\), found complex64 \(4, 4\)"),
        ("scan/data", np.full((12, 14, 2), np.nan), "positions lie outside any object"),
        ("scan/data", np.zeros((12, 14, 3)), "scan/data: expected real"),
        ("scan/initial", np.zeros((3, 2)), "scan/initial has 3 positions, scan/data 168"),
        ("iter/total_iter", np.zeros(3), "expected one integer number"),
    ],
)
def test_a_damaged_phaser_file_is_left_out_with_the_reason(lsqml, name, value, said):
    with h5py.File(lsqml / "iter006.h5", "r+") as file:
        del file[name]
        file[name] = value
    (left_out,) = analyze_run(lsqml, device="cpu").left_out
    assert left_out.file == "iter006.h5"
    assert re.search(said, left_out.reason), left_out.reason


def test_phaser_without_its_first_positions(lsqml):
    whole = analyze_run(lsqml, device="cpu")
    for path in lsqml.iterdir():
        with h5py.File(path, "r+") as file:
            del file["scan/initial"]
    analysis = analyze_run(lsqml, device="cpu")
    assert [v for _, v in analysis.convergence_iters["probe_pos_shifts"]] == pytest.approx(
        [v for _, v in whole.convergence_iters["probe_pos_shifts"]], rel=1e-9
    )


@pytest.fixture
def plugged_in(tmp_path, monkeypatch):
    """Install a package with a reader, as pip would, of the given source."""

    def install(source: str):
        package, info = tmp_path / "site" / "my_package", tmp_path / "site" / "my_package-1.0.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        (package / "__init__.py").write_text("")
        (package / "reader.py").write_text(source)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[ptyconv.readers]\nmy_engine = my_package.reader\n")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        readers.known_readers.cache_clear()

    yield install
    sys.modules.pop("my_package.reader", None)
    sys.modules.pop("my_package", None)
    monkeypatch.undo()
    readers.known_readers.cache_clear()


def write_npz(path, model: ToyModel, niter: int) -> None:
    arrays = model.arrays()
    np.savez(
        path,
        iteration=niter,
        pixel_size=float(model.dx),
        corners=model.crop_pos.numpy(),
        amplitude=arrays["obja"],
        phase=arrays["objp"],
        probe=arrays["probe"],
        shifts=arrays["probe_pos_shifts"],
        loss=1 / np.arange(1, niter + 1),
    )


def write_npz_run(folder):
    write_run(folder, [2, 4, 6], write_npz, ".npz")
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("model_iter", "step_"))


def example_reader() -> str:
    readme = (runs.ROOT / "README.md").read_text()
    (source,) = re.findall(r"```python\n(\"\"\"Reads the checkpoints of my engine.*?)```", readme, re.DOTALL)
    return source


def test_the_readers_example_in_the_readme_reads(plugged_in, tmp_path):
    source = example_reader()
    assert len([line for line in source.splitlines() if line]) <= 30
    plugged_in(source)
    write_npz_run(tmp_path / "run")
    write_run(tmp_path / "same", [2, 4, 6])
    analysis, same = analyze_run(tmp_path / "run", device="cpu"), analyze_run(tmp_path / "same", device="cpu")
    assert analysis.points == same.points
    assert analysis.aligned_points == same.aligned_points
    assert analysis.engine.loss == same.engine.loss


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_of_this_name", "the reader my_engine of my-package cannot be used .ModuleNotFoundError"),
        ("FILES = ('*_*.npz',)\ndef open_checkpoint(path): pass", "its FILES must be file names with one star each"),
        ("FILES = ('step_*.npz',)", "AttributeError"),
    ],
)
def test_a_reader_that_cannot_be_loaded_is_said(plugged_in, source, said):
    plugged_in(source)
    with pytest.raises(PtyconvError, match=said):
        analyze_run(runs.SAMPLE, device="cpu")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('self._arrays["corners"]', 'self._arrays["nothing"]', "the reader of my-package cannot read it .KeyError"),
        (
            'self._arrays["corners"]',
            'self._arrays["corners"] * 1.0',
            "the scan positions are float64 .*expected integers",
        ),
        (
            "self._arrays.get(names[name])",
            "self._arrays[names[name]].sum(0)",
            r"expected .pmode, y, x., found .6, 8",
        ),
        ('float(self._arrays["pixel_size"])', "0.0", "the pixel size is 0 Å"),
    ],
)
def test_what_another_packages_reader_stumbles_over_is_said(plugged_in, tmp_path, old, new, said):
    source = example_reader()
    assert old in source
    plugged_in(source.replace(old, new))
    write_npz_run(tmp_path / "run")
    with pytest.raises(PtyconvError, match=said):
        analyze_run(tmp_path / "run", device="cpu")


def test_double_precision_is_reckoned_with_before_memory_is_asked_for(monkeypatch):
    """Of phaser's numbers: 3 checkpoints, of 26 × 31 voxels twice, in float64, and 2 × 48 × 48 in complex128."""
    needed = 3 * (2 * 2 * 26 * 31 * 8 + 2 * 48 * 48 * 16 + 168 * 2 * 8)
    sysconf = os.sysconf
    held = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": needed - 1}
    monkeypatch.setattr(os, "sysconf", lambda name: held.get(name, sysconf(name)))
    with pytest.raises(PtyconvError, match="GB of memory; this machine has"):
        analyze_run(PHASER / "lsqml", device="cpu")
    held["SC_PHYS_PAGES"] = needed
    analyze_run(PHASER / "lsqml", device="cpu")


def test_a_corner_that_moves_is_another_run(lsqml):
    """Pixels are counted from it: nothing can be compared then."""
    with h5py.File(lsqml / "iter006.h5", "r+") as file:
        file["object/corner"][0] += 1
    with pytest.raises(SeveralRuns, match=r"2: iter006.h5: the scan positions"):
        analyze_run(lsqml, device="cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unwrapping(dtype):
    way = torch.linspace(0, 40, 200, dtype=dtype)[:, None] * torch.tensor([1.0, -0.7, 0.0], dtype=dtype)
    before = None
    for step in way:
        phase = torch.polar(torch.ones_like(step), step).angle()
        unwrap(phase, before)
        before = phase
    assert before.tolist() == pytest.approx([40, -28, 0], abs=1e-4 if dtype is torch.float32 else 1e-12)


def test_the_first_phase_is_continuous_about_its_mean():
    phase = torch.tensor([3.1, -3.1, 3.0, -3.0], dtype=torch.float64)
    unwrap(phase, None)
    assert float(phase.max() - phase.min()) == pytest.approx(2 * (math.pi - 3))


def test_nan_in_one_file_of_phaser_spoils_no_other(tmp_path):
    folder = shutil.copytree(PHASER / "gradient", tmp_path / "gradient")
    whole = analyze_run(folder, device="cpu").convergence_iters
    for name in ("iter002.h5", "iter010.h5"):
        with h5py.File(folder / name, "r+") as file:
            file["object/data"][0, 40, 40] = np.nan
    analysis = analyze_run(folder, device="cpu")
    assert analysis.not_finite["objp"] == [2, 10]
    for key in ("objp_fg", "obja_fg"):
        found = analysis.convergence_iters[key]
        # Where only the one before holds the NaN, it may lie outside the mask.
        assert [niter for niter, value in found if niter not in (4, 12) and not math.isfinite(value)] == [10]
        rest = {n: v for n, v in found if n not in (4, 10, 12)}
        assert rest == pytest.approx({n: v for n, v in whole[key] if n in rest}, rel=1e-9)


def test_an_engine_that_ran_for_longer_than_the_run_is_no_engine(lsqml):
    with h5py.File(lsqml / "iter006.h5", "r+") as file:
        file["iter/engine_iter"][...] = 60
    (left_out,) = analyze_run(lsqml, device="cpu").left_out
    assert left_out.reason == "iter/engine_iter and iter/total_iter contradict each other"


def test_two_engines_files_in_one_folder_are_two_runs(lsqml):
    write_run(lsqml, [1, 3, 5])
    with pytest.raises(SeveralRuns, match="it was written by phaser, not PtyRAD"):
        analyze_run(lsqml, device="cpu")


@pytest.mark.parametrize(
    "method",
    [
        "def slice_thickness(self): return 'thick'",
        "def object_tilt(self): return 3.0",
        "def histories(self): return None",
        "def histories(self): return __import__('ptyconv_cli.results.history').results.history.EngineHistories(loss=3)",
        "began = 'late'",
        "def scan(self): raise SystemExit(3)",
    ],
)
def test_another_packages_reader_may_return_anything(plugged_in, ptyconv, tmp_path, method):
    plugged_in(example_reader() + f"\n    {method}\n")
    write_npz_run(tmp_path / "run")
    result = ptyconv("analyze", tmp_path / "run", "-o", tmp_path / "out", "--no-plot")
    # Histories are only shown: without them the changes are still worth computing.
    assert result.exit_code == (0 if "histories" in method else 1)
    assert "the reader of my-package cannot read it (" in " ".join(result.stderr.split())
