"""The x axis of curves: iterations, or the compute time that they took. As numbers and words."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.run_analysis import Results

UNITS = ((3 * 3600.0, 3600.0, "h"), (3 * 60.0, 60.0, "min"), (0.0, 1.0, "s"))
"""From so many seconds on, divided by so much, in this unit."""


@dataclass(frozen=True)
class Across:
    """An x axis: its `label`, and the seconds in its unit, None where it is of iterations."""

    label: str = "iteration"
    divisor: float | None = None

    def places(self, niters: Iterable[int], results: Results) -> list[float]:
        """Return where iterations of a run lie on the axis, NaN where their time isn't recorded."""
        if self.divisor is None:
            return [float(niter) for niter in niters]
        return [seconds / self.divisor for seconds in seconds_at(niters, results)]


def across(runs: Iterable[Results], over: str) -> Across:
    """Return the axis of pictures of runs over "iteration" or over "time", in a unit that suits the longest."""
    if over != "time":
        return Across()
    longest = max((run.engine.seconds[-1][1] for run in runs if run.engine and run.engine.seconds), default=0.0)
    divisor, unit = next((divisor, unit) for least, divisor, unit in UNITS if longest >= least)
    return Across(f"compute time ({unit})", divisor)


def seconds_at(niters: Iterable[int], results: Results) -> list[float]:
    """Return the seconds of compute up to the end of each of the iterations, NaN where they are not recorded."""
    seconds = dict(results.engine.seconds) if results.engine else {}
    return [seconds.get(niter, math.nan) for niter in niters]


def check_times(runs: Mapping[Path, Results]) -> None:
    """Raise PtyconvError where the times of a run are not recorded."""
    for path, results in runs.items():
        seconds = [number for _, number in results.engine.seconds] if results.engine else []
        if not seconds or not all(0 <= number < math.inf for number in seconds):
            reason = "the checkpoints hold no times" if results.engine else "holds no times; the report may"
            raise PtyconvError(f"{path}: {reason} (--x time needs them)")
