"""How the convergence of a run was assessed, with its numbers: some sentences for the methods of a paper."""

from collections.abc import Mapping
from itertools import groupby

from ptyconv_cli import DOCUMENTATION
from ptyconv_cli.analysis.notices import region_words
from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.results.run_analysis import Doublings, RunAnalysis, RunVerdict
from ptyconv_cli.results.text import listed
from ptyconv_cli.verdict.sentences import short_amount

OTHERWISE = {
    "broken": "the run broke before it converged",
    "insufficient": "there were too few checkpoints to tell",
    "step-limited": "it cannot be told whether it had converged, since the change fell with the learning rate",
}
"""By state, what is said of an object of which it is not known that it converged, or only that it had not."""


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
        _changes(verdict.doublings),
        _judged(verdict),
        "" if verdict.keep is None else f"The checkpoint of iteration {verdict.keep} was kept.",
    ]
    return " ".join(filter(None, said))


def _changes(doublings: Mapping[str, Doublings]) -> str:
    """Say by how much a doubling of the iterations changed each quantity at last."""
    optimised = {key: found for key, found in doublings.items() if found.state != "not optimised"}
    moved = {key: found.points[-1] for key, found in optimised.items() if found.points}
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
    """Say whether the object has converged, and by which criterion."""
    parts = {key: found for key, found in verdict.doublings.items() if quantity_of(key).is_object}
    limits = [short_amount(key, found.tolerance) for key, found in (parts or verdict.doublings).items()]
    what = f"a doubling of the iterations changes it by at most {listed(list(dict.fromkeys(limits)))}"
    if verdict.converged_since is not None:
        return f"The object counts as converged where {what}, which has held since iteration {verdict.converged_since}."
    return f"The object counts as converged where {what}: {OTHERWISE.get(verdict.state, 'it had not converged')}."
