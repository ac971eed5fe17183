"""Hyperparameters belong to the trials of their own study, and where that is not certain none are shown."""

import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import runs
from outputs import rows_of

from ptyconv_cli.analysis.hyperparameters import hyperparameters_of
from ptyconv_cli.analysis.study_rows import Row

pytestmark = pytest.mark.usefixtures("blank_pictures")

STUDY = runs.DATA / "hypertune" / "collated_and_trials" / "hypertune_TPESampler_loss"
OF_TUESDAY = {"t0000": "oplr_2.0e-04_C10_1", "t0001": "oplr_3.0e-04_C10_2", "t0002": "oplr_4.0e-04_C10_3"}


def named(folder):
    """Return the learning rate and the defocus in the names of collated files, by trial."""
    matches = [re.search(r"_(t\d+)_oplr_([^_]+)_C10_([^_]+)_", path.name) for path in folder.iterdir()]
    return {match[1]: match.groups()[1:] for match in matches if match}


def of_table(place):
    """Return the settings of a study's table, by run."""
    return {row["run"]: (row.get("oplr", ""), row.get("C10", "")) for row in rows_of(place / "convergence_study.csv")}


def trials_of(study):
    return sorted(path for path in study.iterdir() if path.is_dir())


def row_of(folder):
    """Return what the table knows of a trial, as its last checkpoint records it."""
    with h5py.File(folder / "model_iter0006.hdf5") as file:
        return Row(str(folder), folder, niter=6, loss=float(file["loss_iters"][-1, 1]), folder=folder)


@pytest.fixture
def two_studies(tmp_path):
    """Two studies of other settings with the same trial numbers; of one trial of the second there is no file."""
    monday, tuesday = (shutil.copytree(STUDY, tmp_path / "all" / day / STUDY.name) for day in ("monday", "tuesday"))
    for path in tuesday.glob("model_error_*"):
        trial = re.search(r"_(t\d+)_", path.name)[1]
        if trial not in OF_TUESDAY:
            path.unlink()
            continue
        error = path.name.split("_")[2]
        path.rename(tuesday / f"model_error_{error}_{trial}_{OF_TUESDAY[trial]}_iter0006.hdf5")
    return monday, tuesday


def test_they_are_those_of_the_trials_own_files():
    """PtyRAD writes into each checkpoint what a trial ran with."""
    told = hyperparameters_of([row_of(folder) for folder in trials_of(STUDY)], list(STUDY.glob("model_error_*")))
    assert len(told) == 4
    for name, settings in told.items():
        with h5py.File(Path(name) / "model_iter0006.hdf5") as file:
            rate = file["params/model_params/update_params/objp/lr"][()]
        assert f"{rate:.1e}" == settings["oplr"]


def test_two_studies_side_by_side(ptyconv, two_studies, tmp_path):
    monday, tuesday = two_studies
    result = ptyconv("analyze", tmp_path / "all", "--no-plot", "-o", tmp_path / "out")
    found = of_table(tmp_path / "out")
    assert len(found) == 8
    for study in (monday, tuesday):
        expected = named(study)
        for folder in trials_of(study):
            run = str(folder.relative_to(tmp_path / "all"))
            assert found[run] == expected.get(folder.name[:5], ("", ""))
    said = " ".join(result.stdout.split())
    assert f"No hyperparameters are shown of tuesday/{STUDY.name}/t0003_full" in said
    labels = [line.split()[0] for line in result.stdout.splitlines()[1:9]]
    assert len(set(labels)) == 8
    assert f"lowest loss: monday/{STUDY.name}/t0003_full" in said


def test_a_study_without_collated_files_gets_none_of_another(two_studies):
    monday, tuesday = two_studies
    for path in tuesday.glob("model_error_*"):
        path.unlink()
    rows = [row_of(folder) for folder in [*trials_of(monday), *trials_of(tuesday)]]
    told = hyperparameters_of(rows, list(monday.glob("model_error_*")))
    assert set(told) == {str(folder) for folder in trials_of(monday)}


def test_files_of_exchanged_names_are_not_believed(two_studies):
    """The error in a name is the loss of another trial."""
    monday, _ = two_studies
    files = list(monday.glob("model_error_*"))
    exchanged = {"t0002": "t0003", "t0003": "t0002"}
    renamed = [path.with_name(re.sub(r"t000[23]", lambda m: exchanged[m[0]], path.name)) for path in files]
    told = hyperparameters_of([row_of(folder) for folder in trials_of(monday)], renamed)
    assert {Path(name).name[:5] for name in told} == {"t0000", "t0001"}


def test_of_a_trial_that_was_run_again_the_loss_tells_which_file_is_whose(two_studies):
    monday, _ = two_studies
    files = list(monday.glob("model_error_*"))
    again = files[0].with_name("model_error_0.29000_t0003_oplr_9.0e-04_C10_5_iter0006.hdf5")
    rows = [row_of(folder) for folder in trials_of(monday)]
    second = replace(rows[3], name="again", folder=monday / "t0003_again", loss=0.29)
    told = hyperparameters_of([*rows, second], [*files, again])
    assert told["again"] == {"oplr": "9.0e-04", "C10": "5"}
    assert told[rows[3].name] == {"oplr": "7.5e-04", "C10": "63"}
    copies = [path.with_suffix(".pt") for path in files]
    assert len(hyperparameters_of(rows, [*files, *copies])) == 4
    unknown = replace(second, loss=math.nan)
    assert "again" not in hyperparameters_of([*rows, unknown], [*files, again])
    alike = replace(second, loss=rows[3].loss)
    assert {"again", rows[3].name}.isdisjoint(hyperparameters_of([*rows, alike], files))


def test_an_error_that_is_no_loss_is_not_taken_for_one(two_studies, tmp_path):
    """PtyRAD can seek the highest contrast, too; then the folder and the number must do, and do where there is one."""
    study = two_studies[0].rename(tmp_path / "hypertune_TPESampler_contrast")
    files = [path.with_name(re.sub(r"error_0\.", "error_-1.7", path.name)) for path in study.glob("model_error_*")]
    rows = [row_of(folder) for folder in trials_of(study)]
    assert len(hyperparameters_of(rows, files)) == 4
    another = files[0].with_name(re.sub(r"oplr_[^_]+", "oplr_1.0e-05", files[0].name))
    assert len(hyperparameters_of(rows, [*files, another])) == 3
