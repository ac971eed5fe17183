"""The hyperparameters of a study's trials, out of the names of its collated files. See docs/runs.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ptyconv_cli.analysis.study import Row
from ptyconv_cli.checkpoints.grouping import Collated, collated_of, study_of


def hyperparameters_of(rows: Sequence[Row], files: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Return the hyperparameters of runs by name, only of those whose collated file is certain.

    A trial's file lies beside the trial's folder and has its number. Where the study seeks the lowest loss, the error
    in the file's name is the trial's last loss, too. Where two files say different things of a run, or one file may be
    of two runs, it is not certain.
    """
    beside: dict[tuple[Path, str], list[Collated]] = {}
    for file in collated_of(files):
        beside.setdefault((file.study, file.trial), []).append(file)
    trials = {row.name: trial for row in rows if not row.problem and (trial := study_of(row.folder))}
    candidates = {row.name: beside.get(trials[row.name], []) for row in rows if row.name in trials}
    by_loss = _studies_by_loss(rows, candidates)
    fitting = {
        row.name: [file for file in candidates[row.name] if file.study not in by_loss or _fits(file, row)]
        for row in rows
        if row.name in candidates
    }

    def claims(file: Collated) -> int:
        return sum(file in found for found in fitting.values())

    return {
        name: found[0].settings
        for name, found in fitting.items()
        if found and all(file.settings == found[0].settings and claims(file) == 1 for file in found)
    }


def _studies_by_loss(rows: Sequence[Row], candidates: Mapping[str, list[Collated]]) -> set[Path]:
    """Return the folders of the studies whose errors are losses: PtyRAD says so in their names, or else one is."""
    shown = [(file, row) for row in rows for file in candidates.get(row.name, [])]
    return {
        file.study
        for file, row in shown
        if file.study.name.endswith("_loss") or (file.niter == row.niter and file.has(row.loss))
    }


def _fits(file: Collated, row: Row) -> bool:
    """Say whether a file may be of a run by its loss, which is known where both are of the same iteration."""
    return file.niter != row.niter or file.has(row.loss)
