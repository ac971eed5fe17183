"""What a verdict says. Plain values; the rules are in `ptyconv_cli.verdict`, and in docs/verdict.md."""

from dataclasses import dataclass

from ptyconv_cli.results.doublings import Doublings


@dataclass(frozen=True)
class RunVerdict:
    """The verdict on a run: its `state`, out of `verdict.rules.STATES`, in a `sentence`, and what to do (`advice`).

    `worst`: the key of the quantity that the state is of. `since`: the iteration since which the run has converged, or
    been broken, None otherwise. `doublings`: what was found of each quantity, by key. `remark`: what the verdict could
    not go by, "" where it had all.
    """

    state: str
    worst: str
    sentence: str
    advice: str
    since: int | None
    doublings: dict[str, Doublings]
    remark: str = ""
