"""Which run of a study is best, or why that cannot be told. See docs/runs.md."""

import math
from collections.abc import Mapping, Sequence

from ptyconv_cli.analysis.study_rows import Row
from ptyconv_cli.checkpoints.grouping import trial_of
from ptyconv_cli.results.text import few, listed, unbroken
from ptyconv_cli.verdict.comparable import hindrances
from ptyconv_cli.verdict.sentences import rounded

MOST_RUNS = 6
"""That are named in a sentence."""


def sorted_rows(rows: Sequence[Row], sort: str) -> list[Row]:
    """Return rows sorted by "name", "loss", "moved" or a series; rows without a value, then failed ones, are last.

    By name, too, where losses are asked for that cannot be compared.
    """
    by_name = sorted(rows, key=lambda row: row.name)
    if sort == "name" or (sort == "loss" and why_not_by_loss(rows)):
        return by_name

    def rank(row: Row) -> tuple[bool, bool, float]:
        value = row.value(sort)
        return bool(row.problem), math.isnan(value), 0.0 if math.isnan(value) else value

    return sorted(by_name, key=rank)


def why_not_by_loss(rows: Sequence[Row]) -> str:
    """Return why the losses of the runs cannot be compared, in words; "" where nothing is known that forbids it."""
    found = hindrances(row.facts for row in rows if not row.problem and math.isfinite(row.loss))
    return f"the runs differ in {listed(found)}" if found else ""


def advice_on(rows: Sequence[Row]) -> str:
    """Return a sentence on which run of a study to keep, or why that can't be told."""
    if all(row.problem for row in rows):
        return "none of the runs could be analyzed"
    whole = [row for row in rows if not row.problem and row.state != "broken"]
    why_not, called = why_not_by_loss(rows), called_in_text(rows)
    converged = [row for row in whole if row.state == "converged"]
    if why_not:
        return f"{_without_losses(whole, converged, called)}. Losses cannot be compared: {why_not}"
    lowest, calmest = _lowest(whole), _calmest(whole)
    lowest_loss = f"; lowest loss: {called[lowest.name]}" if lowest else ""
    if converged:
        return f"keep: {_best(converged, called)}"
    if all(row.state in ("", "insufficient") for row in whole):
        return ("too short to rank by convergence" if whole else "none to keep: all are broken") + lowest_loss
    return "none has converged" + (f"; {called[calmest.name]} moved least" if calmest else "") + lowest_loss


def _without_losses(whole: Sequence[Row], converged: Sequence[Row], called: Mapping[str, str]) -> str:
    """Return what can be said of runs whose losses cannot be compared: which have converged, and how far each moved."""
    if not whole:
        return "none to keep: all are broken"
    if all(row.state in ("", "insufficient") for row in whole):
        return "too short to rank by convergence"
    moved = sorted((row for row in whole if not math.isnan(row.moved)), key=lambda row: row.moved)
    by_change = few([f"{called[row.name]} ({rounded(row.moved)} %)" for row in moved], MOST_RUNS)
    said = "none has converged"
    if converged:
        said = f"converged: {few([called[row.name] for row in converged], MOST_RUNS)}"
    return said + (f"; by change per doubling: {by_change}" if moved else "")


def _best(converged: Sequence[Row], called: Mapping[str, str]) -> str:
    lowest = _lowest(converged)
    if len(converged) == 1:
        return f"{called[converged[0].name]}, the only one that has converged"
    if lowest is None:
        names = ", ".join(called[row.name] for row in converged)
        return f"one of {names}, which have converged; no losses are recorded"
    return f"{called[lowest.name]}, the lowest loss of those that have converged"


def _calmest(rows: Sequence[Row]) -> Row | None:
    return min((row for row in rows if not math.isnan(row.moved)), key=lambda row: row.moved, default=None)


def _lowest(rows: Sequence[Row]) -> Row | None:
    return min((row for row in rows if not math.isnan(row.loss)), key=lambda row: row.loss, default=None)


def called_in_text(rows: Sequence[Row]) -> dict[str, str]:
    """Return, by name, what runs are called in a sentence: the trial, where no other run has that number."""
    trials = [trial_of(row.name) for row in rows]
    return {
        row.name: unbroken(trial if trial and trials.count(trial) == 1 else row.name)
        for row, trial in zip(rows, trials, strict=True)
    }
