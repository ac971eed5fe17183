"""How the convergence of a run was assessed, with its numbers: some sentences for the methods of a paper."""

import math
from collections.abc import Mapping
from itertools import groupby

from ptyconv_cli import DOCUMENTATION
from ptyconv_cli.analysis.notices import region_words
from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results.run_analysis import Doublings, RunAnalysis, RunVerdict
from ptyconv_cli.results.text import listed
from ptyconv_cli.verdict.rules import NOT_CONVERGED
from ptyconv_cli.verdict.sentences import it, short_amount


def methods_text(analysis: RunAnalysis) -> str:
    """Return a paragraph for a paper on a run that was analyzed, with its aligned changes.

    Numbers are those of the verdict. Formulas: docs/metrics.md and docs/verdict.md. Raises ValueError where there is no
    verdict, as of `aligned=False`.
    """
    verdict = analysis.verdict
    if verdict is None:
        raise ValueError("there is no verdict: the aligned changes were not computed")
    engine, niters = analysis.engine.loss_of.get("engine", ""), [one.niter for one in analysis.checkpoints]
    said = [
        f"Convergence was assessed with ptyconv {analysis.ptyconv_version} ({DOCUMENTATION}) from {len(niters)} "
        f"checkpoints{f' of {engine}' if engine else ''}, iterations {niters[0]} to {niters[-1]}.",
        f"They were compared in the scanned region, {region_words(analysis)}, without what the data cannot determine: "
        "an offset and a ramp of the phase, a factor of the amplitude and of the probe, and a common shift.",
        _changes(_optimised(verdict)),
        _judged(verdict),
        "" if verdict.keep is None else f"The checkpoint of iteration {verdict.keep} is kept: {verdict.keep_because}.",
    ]
    return " ".join(filter(None, said))


def _optimised(verdict: RunVerdict) -> dict[str, Doublings]:
    return {key: found for key, found in verdict.doublings.items() if found.state != "not optimised"}


def _changes(doublings: Mapping[str, Doublings]) -> str:
    """Say by how much a doubling of the iterations changed each quantity at last, as far as that is known."""
    moved = {key: found.points[-1] for key, found in doublings.items() if found.points}
    moved = {key: point for key, point in moved.items() if math.isfinite(point.relative)}
    if not moved:
        return ""
    last = max(moved.values(), key=lambda point: point.niter)
    here = [key for key, point in moved.items() if (point.since, point.niter) == (last.since, last.niter)]
    parts = []
    for of, group in groupby(here, lambda key: quantity_of(key).of):
        by = [f"{quantity_of(key).label} {short_amount(key, moved[key].relative)}" for key in group]
        parts.append(f"{listed(by)} {of}".strip())
    when = f"From iteration {last.since} to {last.niter}"
    return f"{when} the RMS change per doubling of the iterations was: {'; '.join(parts)}."


def _judged(verdict: RunVerdict) -> str:
    """Say by which criterion what was judged counts as converged, and what came of that."""
    optimised = _optimised(verdict)
    of_object = {key: found for key, found in optimised.items() if quantity_of(key).is_object}
    parts = of_object or {key: found for key, found in optimised.items() if key == verdict.worst}
    if not parts:
        return ""
    whom, them = ("object", "it") if of_object else (quantity_of(verdict.worst).label, it(verdict.worst))
    counts, they = ("counts", "it") if them == "it" else ("count", "they")
    limits = {key: f"{found.tolerance:.3g} {quantity_of(key).unit}" for key, found in parts.items()}
    what = f"{them} by at most {next(iter(limits.values()))}"
    if len(set(limits.values())) > 1:
        what = listed([f"the {quantity_of(key).label} by at most {limit}" for key, limit in limits.items()])
    criterion = f"The {whom} {counts} as converged where a doubling of the iterations changes {what}"
    criterion += ", and by its trend so will the next"
    if verdict.converged_since is not None:
        return f"{criterion}, which has held since iteration {verdict.converged_since}."
    if verdict.state in NOT_CONVERGED and verdict.state not in EXPLAINED:
        return f"{criterion}: {they} had not converged."
    return f"{criterion}. The verdict is: {verdict.state}, {verdict.sentence}"


EXPLAINED = ("broken", "step-limited")
"""States of which more need be said in a paper than that nothing has converged."""
