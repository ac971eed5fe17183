"""The hyperparameters of a study's trials, as file and folder names give them."""

import re
from collections.abc import Iterable
from pathlib import Path

TRIAL = re.compile(r"(?:^|[/_])(t\d{3,})(?=_|/|$)")
COLLATED = re.compile(r"model_error_[^_]+_(t\d+)_(.*?)_?iter\d+\.\w+")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def trial_of(name: str) -> str:
    """Return the trial in a run's name, as t0003, "" where there is none."""
    found = TRIAL.search(name)
    return found[1] if found else ""


def collated_settings(files: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Return the settings in the names of collated files by trial: of `…_t0003_oplr_7.5e-04_C10_63_iter…` both."""
    found = {}
    for file in files:
        match = COLLATED.fullmatch(file.name)
        if match:
            found[match[1]] = _pairs(match[2])
    return found


def _pairs(text: str) -> dict[str, str]:
    """Return names with the numbers that follow them."""
    pairs, name = {}, list[str]()
    for piece in text.split("_"):
        if NUMBER.fullmatch(piece) and name:
            pairs["_".join(name)] = piece
            name = []
        else:
            name.append(piece)
    return pairs


def differing(settings: dict[str, dict[str, str]]) -> list[str]:
    """Return the names of the settings that are not the same of all runs."""
    names = dict.fromkeys(name for of_one in settings.values() for name in of_one)
    return [name for name in names if len({of_one.get(name) for of_one in settings.values()}) > 1]
