"""The hyperparameters of a study's trials, out of the names of its collated files. See docs/runs.md."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ptyconv_cli.analysis.study_rows import Row
from ptyconv_cli.checkpoints.grouping import Collated, collated_of, differing, study_of
from ptyconv_cli.quantities import QUANTITIES
from ptyconv_cli.results.text import few, unbroken


def hyperparameters_of(rows: Sequence[Row], files: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Return the hyperparameters of runs by name, only of those whose collated file is certain.

    A trial's file lies beside the trial's folder and has its number. Where the study seeks the lowest loss, the error
    in the file's name is the trial's last loss, too. Where two files say different things of a run, or one file may be
    of two runs, it is not certain.
    """
    beside: dict[tuple[Path, str], list[Collated]] = {}
    for file in collated_of(files):
        beside.setdefault((file.study, file.trial), []).append(file)
    runs: dict[tuple[Path, str], list[Row]] = {}
    for row in rows:
        trial = None if row.problem else study_of(row.folder)
        if trial in beside:
            runs.setdefault(trial, []).append(row)
    by_loss = _studies_by_loss([(file, row) for trial in runs for file in beside[trial] for row in runs[trial]])
    told: dict[str, dict[str, str]] = {}
    for trial, of_trial in runs.items():
        told |= _certain(of_trial, beside[trial], trial[0] in by_loss)
    return told


def _certain(rows: Sequence[Row], files: Sequence[Collated], by_loss: bool) -> dict[str, dict[str, str]]:
    """Return the hyperparameters of the runs of one trial that have files of their own, which say the same.

    `by_loss`: whether a file's error is the loss of its run.
    """
    fitting = {row.name: [file for file in files if not by_loss or _fits(file, row)] for row in rows}

    def is_claimed_once(file: Collated) -> bool:
        return sum(file in found for found in fitting.values()) == 1

    return {
        name: found[0].settings
        for name, found in fitting.items()
        if found and all(file.settings == found[0].settings and is_claimed_once(file) for file in found)
    }


def _studies_by_loss(pairs: Iterable[tuple[Collated, Row]]) -> set[Path]:
    """Return the folders of the studies whose errors are losses: PtyRAD says so in their names, or else one is."""
    return {
        file.study
        for file, row in pairs
        if file.study.name.endswith("_loss") or (file.niter == row.niter and file.has(row.loss))
    }


def _fits(file: Collated, row: Row) -> bool:
    """Say whether a file may be of a run by its loss, which is known where both are of the same iteration."""
    return file.niter != row.niter or file.has(row.loss)


Told = Mapping[str, Mapping[str, str]]
"""Settings by name of the run, then by their own name."""


def settings_of(rows: Sequence[Row], told: Told) -> dict[str, dict[str, str]]:
    """Return the settings that differ between runs: the hyperparameters that were told, or else the learning rates."""
    found: dict[str, dict[str, str]] = {row.name: dict(told.get(row.name, {})) for row in rows if not row.problem}
    if not any(found.values()):
        found = {
            row.name: {_rate_label(name): f"{rate:.2g}" for name, rate in row.rates.items()}
            for row in rows
            if not row.problem
        }
    names = differing(found)
    return {run: {name: of_one[name] for name in names if name in of_one} for run, of_one in found.items()}


def names_of(settings: Told) -> list[str]:
    """Return the names of the settings of all runs, each once."""
    return list(dict.fromkeys(name for of_one in settings.values() for name in of_one))


def _rate_label(name: str) -> str:
    """Return what is above the learning rates of a quantity, by the name that the engine gives it."""
    return next((one.rate_label for one in QUANTITIES if one.recorded_as == name and one.rate_label), name)


def on_collated(rows: Sequence[Row], collated: Sequence[Path], told: Told) -> str:
    """Say what became of collated files, and whose hyperparameters were not told; "" where there are none."""
    if not collated:
        return ""
    said = f"{len(collated)} collated files were not used: each is the end of a different trial."
    untold = [unbroken(row.name) for row in rows if not row.problem and study_of(row.folder) and row.name not in told]
    if not untold:
        return said
    return f"{said} No hyperparameters are shown of {few(untold)}: no collated file beside is certainly of that trial."
