"""Whether the losses of runs can be compared: within one engine, loss function and data set. See docs/runs.md."""

import math
from collections.abc import Iterable, Mapping, Sequence

from ptyconv_cli.quantities import QUANTITIES
from ptyconv_cli.results.history import EngineHistories
from ptyconv_cli.results.text import few

INTENSITY, SAME_INTENSITY = "pattern intensity", 1e-3
"""What is worked out from the patterns, and by which share it may differ where these are the same."""

BEARING = ("engine", "loss function", "data file", INTENSITY, "scan positions", "probe size", "slices")
"""What losses depend on besides how well a run does. Of runs that differ in one of these they cannot be compared."""

MOST_VALUES = 4
"""Different values that are listed."""

Facts = Mapping[str, str]
"""What is known of a run by name, in words: {"engine": "PtyRAD", "slices": "20"}."""


def facts_of(engine: EngineHistories | None, shapes: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Return what is known of a run: what its loss is of, and the sizes of its last checkpoint's tensors."""
    found = dict(engine.loss_of) if engine else {}
    for quantity in QUANTITIES:
        found |= quantity.sizes(shapes.get(quantity.key, ()))
    return found


def hindrances(runs: Iterable[Facts]) -> list[str]:
    """Return what keeps the losses of runs from being compared, as "slices (2, 3)"; empty where nothing is known to."""
    return [_said(name, values) for name, values in _differing(runs).items() if name in BEARING]


def other_differences(runs: Iterable[Facts]) -> list[str]:
    """Return in what else runs differ, as "probe modes (2, 4)"."""
    return [_said(name, values) for name, values in _differing(runs).items() if name not in BEARING]


def _differing(runs: Iterable[Facts]) -> dict[str, list[str]]:
    """Return the values of what runs differ in, by name. What is not known of a run is no difference."""
    known = list(runs)
    found = {}
    for name in dict.fromkeys([*BEARING, *(name for run in known for name in run)]):
        values = list[str]()
        for value in (run[name] for run in known if name in run):
            if value not in values and not (name == INTENSITY and any(_are_close(value, other) for other in values)):
                values.append(value)
        if len(values) > 1:
            found[name] = values
    return found


def _are_close(one: str, other: str) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=SAME_INTENSITY)
    except ValueError:
        return False


def _said(name: str, values: Sequence[str]) -> str:
    return f"{name} ({few(values, MOST_VALUES)})"
