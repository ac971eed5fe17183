"""What was analyzed, in words that a terminal and a page have in common."""

from ptyconv_cli.analysis.agreement import FAR
from ptyconv_cli.quantities import unit_of_length
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.results.text import rounded


def checkpoints_words(analysis: RunAnalysis) -> str:
    """Return how many checkpoints were used, and their iterations: "12 checkpoints, iterations 10 to 120"."""
    niters = [checkpoint.niter for checkpoint in analysis.checkpoints]
    return f"{len(niters)} checkpoints, iterations {niters[0]} to {niters[-1]}"


def region_words(analysis: RunAnalysis) -> str:
    """Return the size of the scanned region: "15 × 19 px (7.75 × 9.81 Å)"."""
    region = analysis.region
    height, width = region.y_stop - region.y_start, region.x_stop - region.x_start
    in_unit, unit = unit_of_length(analysis.results)
    size = f"{rounded(height * analysis.dx / in_unit)} × {rounded(width * analysis.dx / in_unit)} {unit}"
    return f"{height} × {width} px ({size})"


def boundaries_words(analysis: RunAnalysis) -> list[str]:
    """Return where resumed runs, or other settings, begin."""
    return [
        f"run boundary after {boundary.niter}: {boundary.what}"
        + (" (not compared across)" if boundary.difference else "")
        for boundary in analysis.boundaries
    ]


def record_words(analysis: RunAnalysis) -> str:
    """Return whether the engine's own record of changes matches, "" where it has none."""
    if not analysis.live_agreement:
        return ""
    found = [a for a in analysis.live_agreement.values() if a.max_relative_difference is not None]
    if not found:
        return "Not compared with the engine's own record: its intervals or percentiles differ."
    largest = max(agreement.max_relative_difference or 0.0 for agreement in found)
    says = "Matches" if largest <= FAR else "Does not match"
    return f"{says} the engine's own record (largest relative difference {largest:.1e})."
