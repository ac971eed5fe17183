"""What an engine's settings are called, so that advice can name them. Plain text."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EngineSettings:
    """The names of an engine's settings as its user writes them; "", or no entry, for what it has not, or is not known.

    `rate_word`: what the engine calls how far it moves a quantity at each update, "learning rate" or "step size"; ""
    where it has nothing of the kind. `rates`: by key of a quantity, the setting of that. `fixing`: by key, what keeps
    it as it is from an iteration on, with {niter} in it. `saving`: the setting of how often checkpoints are saved;
    `iterations`: of how many iterations there are. Where they are documented: docs/formats.md.
    """

    rate_word: str = "learning rate"
    rates: Mapping[str, str] = field(default_factory=dict)
    fixing: Mapping[str, str] = field(default_factory=dict)
    saving: str = ""
    iterations: str = ""
