"""What the verdict rests on: what it says of runs whose truth is known, at each of their checkpoints.

    make evidence                              # writes the table of the runs into docs/verdict.md
    python tests/support/evidence.py FOLDER    # of other runs: prints the table, and what went wrong, at every prefix

For each run `truth.json` has, by iteration, the error of the object against the true one (`err`, in % of its contrast)
or the correlation of their phases (`corr`).
"""

import json
import math
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import long_runs
import numpy as np
from prefixes import Prefixes, prefixes_of
from runs import HALVES

from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results.run_analysis import Doublings, RunVerdict
from ptyconv_cli.verdict.rules import has_converged

FOLDER = Path(__file__).parents[1] / "data" / "truth"

FEWEST = 8
"""Checkpoints of a run from which on its verdicts count."""

BETTER = 0.1
"""Share of the error that must go over the next doubling for the truth to have been on its way."""

WORSE = 0.005
"""Of correlation: what counts as worse than the last checkpoint."""

AFTER = 1.1
"""Times the last iteration of which the truth is known up to which it stays so."""

LEFT = 1.1
"""Times its first value from which on, for good, a loss has left."""

RIGHT = 0.5
"""Correlation below which no checkpoint of a run is worth keeping."""

SMALL_REGRET = 0.015

MARGIN = 1.5
"""Of the forecast's factor over what held nine of ten moments: there are few engines."""

DOCS = Path(__file__).parents[2] / "docs" / "verdict.md"
BEGIN, END = "<!-- evidence -->", "<!-- end of evidence -->"


@dataclass(frozen=True)
class Truth:
    """By iteration, in order, how far the object is from the true one."""

    correlation: Mapping[int, float]
    error: Mapping[int, float]

    @classmethod
    def of(cls, found: Mapping[str, Mapping[str, float]]) -> "Truth":
        """From what `truth.json` has of a run; of correlation and error one gives the other."""
        correlation = {int(n): of.get("corr", _correlation(of.get("err"))) for n, of in found.items()}
        error = {int(n): of.get("err", _error(of.get("corr"))) for n, of in found.items()}
        return cls(correlation, error)

    def at(self, niter: int, of: Mapping[int, float]) -> float:
        """Between iterations that are known on a logarithmic axis, NaN elsewhere, but for a little after the last."""
        known = sorted(of)
        if not known or not known[0] <= niter <= AFTER * known[-1]:
            return math.nan
        at = [math.log(max(n, 0.5)) for n in known]
        return float(np.interp(math.log(max(niter, 0.5)), at, [of[n] for n in known]))

    def falls_after(self, niter: int) -> float:
        """By which share of itself the error falls over the next doubling; NaN where that is not known."""
        now, then = self.at(niter, self.error), self.at(2 * niter, self.error)
        return 1 - then / now if now > 0 else math.nan


def _correlation(error: float | None) -> float:
    return math.nan if error is None else math.sqrt(max(1 - min(error / 100, 1) ** 2, 0))


def _error(correlation: float | None) -> float:
    return math.nan if correlation is None else 100 * math.sqrt(max(1 - correlation**2, 0))


@dataclass(frozen=True)
class Case:
    """A run, its truth (of a measured one nothing), and the verdicts at its checkpoints, with default tolerances."""

    name: str
    prefixes: Prefixes
    truth: Truth

    @cached_property
    def verdicts(self) -> dict[int, RunVerdict]:
        return {niter: self.prefixes.verdict(niter) for niter in self.prefixes.niters[1:]}

    @property
    def last(self) -> int:
        return self.prefixes.niters[-1]

    @property
    def is_worth_keeping(self) -> bool:
        """Whether any checkpoint is right at all."""
        return max(self.truth.correlation.values(), default=0.0) >= RIGHT

    @property
    def judged(self) -> dict[int, RunVerdict]:
        """Those from `FEWEST` checkpoints on."""
        return {n: self.verdicts[n] for n in self.prefixes.niters[FEWEST - 1 :]}

    @property
    def engine(self) -> str:
        """The engine and its method, for which nothing may be fitted that is tried on it."""
        return self.prefixes.format.split()[0]

    def regret(self, niter: int) -> tuple[float, float]:
        """By how much less the checkpoint to keep correlates with the truth than the best one so far, and the last."""
        at = {n: self.truth.at(n, self.truth.correlation) for n in self.prefixes.niters if n <= niter}
        values, keep = {n: value for n, value in at.items() if not math.isnan(value)}, self.verdicts[niter].keep
        if niter not in values or keep is None or not self.is_worth_keeping:
            return math.nan, math.nan
        kept = values[min(values, key=lambda n: abs(n - keep))]
        return max(values.values()) - kept, values[niter] - kept


def folders_in(folder: Path) -> dict[str, Path]:
    """The runs in a folder by name, with those of `sample_data` that are among the project's own."""
    found = {path.name: path for path in folder.iterdir() if path.is_dir()}
    if folder == FOLDER:
        found |= {f"cdtools_p25_half{path.name[-1]}": path for path in HALVES}
    return dict(sorted(found.items()))


def cases(folder: Path, scratch: Path) -> Iterator[Case]:
    """The runs in a folder, and the long runs of PtyRAD."""
    truth = json.loads((folder / "truth.json").read_text())
    for name, path in folders_in(folder).items():
        yield Case(name, prefixes_of(path), Truth.of(truth.get(name, {})))
    for name in long_runs.NAMES:
        found = prefixes_of(long_runs.unpack(name, scratch / name))
        yield Case(f"long_runs/{name}", found, Truth.of(truth.get(f"long_runs/{name}", {})))


def false_calls(case: Case) -> list[str]:
    """Converged calls of the object that were followed by a change of more than twice the tolerance."""
    found = []
    for niter, verdict in case.judged.items():
        later = case.verdicts.get(2 * niter)
        for key, part in verdict.doublings.items() if later else ():
            if quantity_of(key).is_object and has_converged(part) and later.doublings[key].points:
                point = later.doublings[key].points[-1]
                if point.niter == 2 * niter and point.relative > 2 * part.tolerance:
                    found.append(f"{case.name} at {niter}: {key} converged, then {point.relative:.3g}")
    return found


def bad_advice(case: Case) -> list[str]:
    """Prefixes at which a run is called drifting although its error falls by a tenth over the next doubling."""
    return [
        f"{case.name} at {niter}: {verdict.state}, the error falls by {case.truth.falls_after(niter):.0%}"
        for niter, verdict in case.judged.items()
        if verdict.state == "drifting" and case.truth.falls_after(niter) >= BETTER
    ]


def flips(case: Case) -> list[str]:
    """Quantities that are insufficient once they were something else."""
    found = []
    for key in next(iter(case.verdicts.values())).doublings:
        states = [v.doublings[key].state for v in case.verdicts.values() if key in v.doublings]
        known = [state != "insufficient" for state in states]
        if False in known[known.index(True) :] if True in known else False:
            found.append(f"{case.name}: {key} {states}")
    return found


def forecasts(case: Case) -> Iterator[tuple[str, float, Doublings]]:
    """Of each quantity, how many times its last change the next doubling brought, at each prefix.

    Where the settings change on the way, nobody could have known.
    """
    for niter, verdict in case.judged.items():
        later = case.verdicts.get(2 * niter)
        for key, part in verdict.doublings.items() if later else ():
            now = part.points[-1] if part.points else None
            then = next((point for point in later.doublings[key].points if point.niter == 2 * niter), None)
            stays = not any(niter <= change < 2 * niter for change in case.prefixes.counting[key].changes)
            if now and then and now.niter == niter and part.forecast and min(now.relative, then.relative) > 0 and stays:
                yield key, then.relative / now.relative, part


def first_calls(found: list[Case]) -> dict[str, tuple[int, float]]:
    """By run, where it was first called converged, as `--until` would end it, and how far that is from the best."""
    calls = {}
    for case in found:
        first = next((niter for niter, verdict in case.verdicts.items() if verdict.state == "converged"), None)
        if first is not None and case.truth.correlation:
            there = case.truth.at(first, case.truth.correlation)
            calls[case.name] = first, max(case.truth.correlation.values()) - there
    return calls


def called_late(case: Case) -> list[str]:
    """Whether a run whose loss left for good was called broken later than one doubling after that."""
    loss = case.prefixes.engine.loss
    broken = [niter for niter, verdict in case.verdicts.items() if verdict.state == "broken"]
    if not broken:
        return []
    left = max((niter for niter, value in loss if value <= LEFT * loss[0][1]), default=0)
    in_time = [niter for niter in case.prefixes.niters[1:] if niter <= max(2 * left, case.prefixes.niters[1])]
    late = not any(niter in broken for niter in in_time)
    return [f"{case.name}: the loss left at {left}, called at {broken[0]}"] if late else []


def fitted(found: list[Case], key: str, without: str = "") -> float:
    """The factor that held nine of ten moments of the next doubling, each engine weighing the same, with a margin."""
    of_engines: dict[str, list[float]] = defaultdict(list)
    for case in found:
        if case.engine != without:
            of_engines[case.engine] += [abs(math.log(r)) for k, r, _ in forecasts(case) if k == key]
    pairs = sorted((size, 1 / len(sizes)) for sizes in of_engines.values() for size in sizes)
    so_far = np.cumsum([weight for _, weight in pairs])
    return MARGIN * math.exp(pairs[int(np.searchsorted(so_far, 0.9 * so_far[-1]))][0])


def coverage(found: list[Case]) -> Iterator[tuple[str, str, int, float, float, float]]:
    """Of each quantity and engine: moments, share in the forecast, factor fitted on the others, and share in that."""
    held: dict[tuple[str, str], list[float]] = defaultdict(list)
    for case in found:
        for key, ratio, _ in forecasts(case):
            held[key, case.engine].append(abs(math.log(ratio)))
    for (key, engine), sizes in sorted(held.items()):
        of_others = fitted(found, key, engine)
        shares = [float(np.mean(np.array(sizes) <= math.log(f))) for f in (quantity_of(key).forecast, of_others)]
        yield key, engine, len(sizes), shares[0], of_others, shares[1]


def row(case: Case) -> str:
    """A run in the table of the docs: its verdict at the end, which checkpoint to keep, and whether that was right."""
    verdict, truth = case.verdicts[case.last], case.truth
    start = [f"`{case.name}`", case.prefixes.format.removesuffix(".0"), str(case.last), verdict.state]
    if not truth.correlation:
        return _row([*start, _keep(verdict), "measured", "", ""])
    if not case.is_worth_keeping:
        right = "yes" if verdict.state == "broken" else "no"
        return _row([*start, _keep(verdict), "none is right", "", right])
    best = max(truth.correlation, key=lambda niter: truth.correlation[niter])
    regret, _ = case.regret(case.last)
    kept = truth.correlation[best] - regret
    misled = verdict.state in ("drifting", "converged") and truth.falls_after(case.last // 2) >= 2 * BETTER
    right = "yes" if regret <= SMALL_REGRET and not misled else "no"
    return _row(
        [*start, f"{_keep(verdict)} ({kept:.3f})", f"{best} ({truth.correlation[best]:.3f})", _last(case), right]
    )


def _keep(verdict: RunVerdict) -> str:
    return "none" if verdict.keep is None else str(verdict.keep)


def _last(case: Case) -> str:
    value = case.truth.at(case.last, case.truth.correlation)
    return "-" if math.isnan(value) else f"{value:.3f}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(found: list[Case]) -> str:
    """The table of the runs, with a line for each of what all prefixes together say."""
    heads = ["run", "written by", "iterations", "verdict", "keep", "best", "the last", "right?"]
    lines = [_row(heads), _row(["---"] * len(heads)), *map(row, found)]
    at_all = [case.regret(niter) for case in found for niter in case.judged]
    of_runs = [[one for one, _ in map(case.regret, case.judged) if not math.isnan(one)] for case in found]
    ends = [pair for case in found if not math.isnan((pair := case.regret(case.last))[0])]
    known = [pair for pair in at_all if not math.isnan(pair[0])]
    worst = sum(one for one, _ in ends) / len(ends)
    means = [sum(of) / len(of) for of in of_runs if of]
    worst_of_all = max(
        (case.regret(niter)[0], f"`{case.name}` at {niter}")
        for case in found
        for niter in case.judged
        if not math.isnan(case.regret(niter)[0])
    )
    calls = first_calls(found)
    far_off = max(calls, key=lambda name: calls[name][1])
    if_last = sum(one - other for one, other in ends) / len(ends)
    lines += [
        "",
        f"In brackets: the correlation of the phases with the truth. At the end of the {len(ends)} runs with a right "
        f"checkpoint, the one to keep is {worst:.3f} below the best on average, the last one {if_last:.3f}; at every "
        f"prefix from {FEWEST} checkpoints on {sum(means) / len(means):.3f}, at most {worst_of_all[0]:.3f} "
        f"({worst_of_all[1]}). It is worse than the last one by more than {WORSE} at "
        f"{sum(other > WORSE for _, other in known)} of {len(known)} prefixes.",
        "",
        f"Where a run was first called converged, at any checkpoint, which is where `--until` ends it: {len(calls)} "
        f"runs, on average {sum(far for _, far in calls.values()) / len(calls):.3f} below the best of the whole run, "
        f"at most {calls[far_off][1]:.3f} (`{far_off}` at {calls[far_off][0]}).",
        "",
        *_counted(
            "The object was called converged, and changed by more than twice the tolerance next", false_calls, found
        ),
        *_counted("Called drifting, while the error fell by a tenth or more over the next doubling", bad_advice, found),
        *_counted("Called diverged more than one doubling after the loss left", called_late, found),
        *_counted("Too early to tell, after it was something else", flips, found),
        "",
        _row(["forecast of", "engine", "moments", "inside", "fitted on the others", "inside"]),
        _row(["---"] * 6),
        *(
            _row(
                [quantity_of(key).label, engine, str(count), f"{100 * held:.0f} %", f"{other:.1f}", f"{100 * of:.0f} %"]
            )
            for key, engine, count, held, other, of in coverage(found)
        ),
    ]
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _counted(title: str, list_of, found: list[Case]) -> list[str]:
    these = [text for case in found for text in list_of(case)]
    of = "" if list_of is called_late else f" of {sum(len(case.judged) for case in found)} prefixes"
    return [f"- {title}: {len(these)}{of}.{' ' if these else ''}{'; '.join(these)}"]


def write_into(docs: Path, text: str) -> None:
    """Put the table between its marks in a page."""
    content = docs.read_text()
    before, rest = content.split(BEGIN)
    after = rest.split(END)[1]
    docs.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        text = table(list(cases(Path(sys.argv[1]) if sys.argv[1:] else FOLDER, Path(scratch))))
    if sys.argv[1:]:
        print(text)
    else:
        write_into(DOCS, text)
