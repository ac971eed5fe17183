"""What pictures say of verdicts, and how much fits."""

from collections.abc import Sequence

from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.verdict.sentences import verdict_line

CHARACTER = 0.53
"""Width of a character as a share of the font's size, on average."""


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names separated by commas; of many only the first, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def verdict_words(results: Results) -> str:
    """Return the verdict in its sentence, "" where there is none."""
    return verdict_line(results.verdict) if results.verdict else ""


def since_words(results: Results) -> str:
    """Return what the line at the iteration says since which the run has converged, or been broken."""
    return f"{results.verdict.state} since {results.verdict.since}" if results.verdict else ""


def that_fit(inches: float, size: float) -> int:
    """Return how many characters of a font's `size` in points fit into a width."""
    return max(int(inches * 72 / (CHARACTER * size)), 1)
