"""What the settings of an engine are called, as its reader says it of real files."""

import shutil
from pathlib import Path

import h5py
import pytest
import quantem_archives
import runs
from damage import spoil

from ptyconv_cli.checkpoints.opening import open_checkpoint
from ptyconv_cli.quantities import QUANTITIES

ENGINES = runs.DATA / "engines"
FILES = {
    "PtyRAD": runs.DATA / "ptyrad-1.0" / "constant_lr" / "model_iter0120.hdf5",
    "PtyRAD 0.1.0b10": runs.DATA / "ptyrad-0.1.0b10" / "model_iter0010.hdf5",
    "PtyRAD 0.1.0b6": next((runs.DATA / "ptyrad-0.1.0b6-pt" / "numpy1").glob("*.pt")),
    "PtyRAD v2": runs.DATA / "ptyrad-v2" / "pixel" / "model_iter0004.hdf5",
    "phaser": runs.DATA / "phaser" / "gradient" / "iter004.h5",
    "cdtools": ENGINES / "cdtools" / "recon_0048.h5",
    "PtyLab": ENGINES / "ptylab" / "recon_0080.hdf5",
    "ptychodus": ENGINES / "ptychodus" / "product.000080.h5",
    "PEAR": next(ENGINES.glob("pear/*/*/recon_Niter80.h5")),
    "fold_slice": ENGINES / "fold_slice" / "GPU_MS" / "Niter80.mat",
    "ptypy ML": ENGINES / "ptypy" / "autosave" / "recons" / "simrun" / "simrun_ML_0040.ptyr",
    "ptypy DM": next((runs.DATA / "truth" / "ptypy_dm_hi" / "recons").rglob("*.ptyr")),
    "py4DSTEM": ENGINES / "py4DSTEM" / "single_complex" / "ptycho.h5",
    "quantem": ENGINES / "quantem" / "snapshots_complex" / "ptycho.zip",
}


def settings_in(path):
    with open_checkpoint(path) as checkpoint:
        return checkpoint.settings


@pytest.mark.parametrize("engine", FILES)
def test_texts_are_of_known_quantities_and_name_an_iteration(engine):
    found, keys = settings_in(FILES[engine]), {quantity.key for quantity in QUANTITIES}
    assert set(found.rates) | set(found.fixing) <= keys
    for text in found.fixing.values():
        said = text.format(niter=7)
        assert said.count("7") == 1
        assert not set("{}") & set(said)
    assert bool(found.rate_word) or not found.rates
    assert found.saving
    assert found.iterations


@pytest.mark.parametrize(
    ("engine", "word", "rates", "fixing", "saving", "iterations"),
    [
        (
            "PtyRAD",
            "learning rate",
            {
                "objp": "model_params.update_params.objp.lr",
                "tilt": "model_params.update_params.obj_tilts.lr",
                "thickness": "model_params.update_params.slice_thickness.lr",
            },
            {"probe_pos_shifts": "model_params.update_params.probe_pos_shifts.end_iter: {niter}"},
            "recon_params.SAVE_ITERS",
            "recon_params.NITER",
        ),
        ("PtyRAD v2", "learning rate", {}, {}, "recon.save_iters", "recon.niter"),
        (
            "phaser",
            "step size",
            {"probe": "solver.beta_probe (gradient: solvers.probe.learning_rate)"},
            {"probe_pos_shifts": "update_positions.before: {niter}"},
            "save.every",
            "niter",
        ),
        (
            "cdtools",
            "learning rate",
            dict.fromkeys(("obja", "objp", "probe", "probe_pos_shifts"), "Adam_optimize(lr=...)"),
            {"probe_pos_shifts": "model.translation_offsets.requires_grad = False after epoch {niter}"},
            "model.save_to_h5 in the loop",
            "Adam_optimize(iterations=...)",
        ),
        (
            "PtyLab",
            "step size",
            {"obja": "engine.betaObject", "objp": "engine.betaObject", "probe": "engine.betaProbe"},
            {"probe_pos_shifts": "params.positionCorrectionSwitch = False after {niter} iterations"},
            "reconstruction.saveResults in a loop",
            "engine.numIterations",
        ),
        (
            "ptychodus",
            "step size",
            {"obja": "object_options.step_size", "probe_weights": "opr_mode_weight_options.update_relaxation"},
            {"probe_pos_shifts": "probe_position_options.optimization_plan.stop = {niter}"},
            "--num-sync-epochs",
            "reconstructor_options.num_epochs",
        ),
        ("PEAR", "", {}, {}, "save_freq_iterations", "number_of_iterations"),
        (
            "fold_slice",
            "step size",
            {"obja": "eng.beta_object", "objp": "eng.beta_object", "probe": "eng.beta_probe"},
            {"probe_pos_shifts": "another engine after {niter} iterations, with eng.probe_position_search = inf"},
            "eng.save_results_every",
            "eng.number_iterations",
        ),
        ("ptypy ML", "", {}, {}, "p.io.autosave.interval", "p.engines.engine00.numiter"),
        ("ptypy DM", "", {}, {}, "p.io.autosave.interval", "numiter"),
        (
            "py4DSTEM",
            "step size",
            {"objp": "reconstruct(step_size=...)", "probe_pos_shifts": "reconstruct(positions_step_size=...)"},
            {"probe_pos_shifts": "reconstruct(fix_positions=True) after {niter} iterations"},
            "set_save_defaults(save_iterations_frequency=...)",
            "reconstruct(num_iter=...)",
        ),
        (
            "quantem",
            "learning rate",
            {"obja": "reconstruct(lr_obj=...)", "probe_pos_shifts": "reconstruct(lr_scan_positions=...)"},
            {"probe": "remove_optimizer('probe') after {niter} iterations"},
            "reconstruct(store_iterations_every=...)",
            "reconstruct(num_iters=...)",
        ),
    ],
)
def test_the_names_are_the_engines_own(engine, word, rates, fixing, saving, iterations):
    found = settings_in(FILES[engine])
    assert found.rate_word == word
    assert rates.items() <= found.rates.items()
    assert fixing.items() <= found.fixing.items()
    assert bool(rates) == bool(found.rates)
    assert bool(fixing) == bool(found.fixing)
    assert (found.saving, found.iterations) == (saving, iterations)


@pytest.mark.parametrize("engine", ["PtyRAD 0.1.0b10", "PtyRAD 0.1.0b6"])
def test_versions_of_ptyrad_without_end_iter(engine):
    found = settings_in(FILES[engine])
    assert found.rates["objp"] == "model_params.update_params.objp.lr"
    assert found.fixing == {}


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("EPIE_serial", ["p.engines.mine.alpha and p.engines.mine.beta"] * 3),
        ("SDR", ["p.engines.mine.beta_object", "p.engines.mine.beta_object", "p.engines.mine.beta_probe"]),
        ("RAAR", []),
    ],
)
def test_of_ptypy_the_engine_of_the_last_iteration_counts(tmp_path, name, rates):
    path = Path(shutil.copy(FILES["ptypy ML"], tmp_path))
    with h5py.File(path, "r+") as file:
        file["content/pars/engines"].move("engine00", "first")
        file["content/pars/engines/mine/name"] = name
        last = file["content/runtime/iter_info"][max(file["content/runtime/iter_info"])]
        del last["engine"]
        last["engine"] = name
    found = settings_in(path)
    assert found.rates == dict(zip(("obja", "objp", "probe"), rates, strict=False))
    assert found.rate_word == ("step size" if rates else "")
    assert found.iterations == "p.engines.mine.numiter"


def test_phaser_counts_from_where_its_engine_begins():
    first, later = (settings_in(runs.DATA / "phaser" / "epie_resize" / f"iter0{niter}.h5") for niter in ("04", "14"))
    assert first.fixing["probe"] == "update_probe.before: {niter}"
    assert later.fixing == {}
    assert later.rates == first.rates


def test_cdtools_may_use_another_method(tmp_path):
    path = Path(shutil.copy(FILES["cdtools"], tmp_path))
    told = "Planning 1 epochs of SGD, with a learning rate = 2e-07, batch size = 30\nEpoch   1 completed in 0.10 s\n"
    spoil(path, "training_history", told)
    assert settings_in(path).rates["probe"] == "SGD_optimize(lr=...)"


def test_quantem_beyond_its_lite_class(tmp_path):
    objects, probes = quantem_archives.made_up(1, 16, 17), quantem_archives.made_up(1, 8, 8)
    found = settings_in(quantem_archives.write(tmp_path / "full.zip", objects, probes, iterations=10))
    assert found.rates["probe"] == "optimizer_params['probe']['lr']"
    assert found.saving == "reconstruct(store_snapshots_every=...)"


def test_an_analysis_has_those_of_its_files():
    assert runs.analysis_of(ENGINES / "cdtools").engine.settings == settings_in(FILES["cdtools"])
