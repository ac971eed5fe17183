"""The learning rates in what cdtools tells of its work in words, `training_history`. From text to plain numbers."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_HISTORY = 1 << 26
"""Characters of the longest history, which has some 60 an epoch."""

PLAN = re.compile(
    r"Planning (?P<epochs>\d{1,9}) epochs of (?P<method>Adam|SGD), with a learning rate = (?P<rate>[-+.\deE]{1,40}),"
    r"(?P<others>.{0,1000})"
)
FACTORS = re.compile(r"The learning rate factors are \{(?P<items>.{0,4000})\}, default = 1\.")
FACTOR = re.compile(r"'(?P<name>\w{1,80})': (?P<factor>[-+.\deE]{1,40})")
EPOCH = re.compile(r"Epoch +(\d{1,9}) completed")
SCHEDULED = "schedule = True"
"""In a plan: the rate is lowered where the loss gets no smaller, which the text does not tell of."""


class Plan(NamedTuple):
    """What a call was to do: so many `epochs` of a `method` at a `rate`, which may be `scheduled` to fall."""

    epochs: int
    method: str
    rate: float
    scheduled: bool


@dataclass(frozen=True)
class Told:
    """What a history tells.

    `rates`: the learning rate of each epoch, the first one's first, empty where that of any is not known; `factors`:
    for each epoch, what the rates of some parameters are multiplied with, by their name; `method`: the last one that
    was planned, "" where none was.
    """

    rates: list[float] = field(default_factory=list)
    factors: list[dict[str, float]] = field(default_factory=list)
    method: str = ""

    def rates_of(self, parameter: str) -> list[tuple[int, float]]:
        """Return the learning rates of a parameter as (epoch, rate)."""
        pairs = zip(self.rates, self.factors, strict=True)
        return [(epoch, rate * factors.get(parameter, 1.0)) for epoch, (rate, factors) in enumerate(pairs, 1)]


def told_by(text: str) -> Told:
    """Return what a history tells, of a text of any kind: rates only where all of it is understood."""
    method = ""
    rates: list[float] = []
    factors: list[dict[str, float]] = []
    try:
        for plan, scaled, epoch in _epochs(text[:MOST_HISTORY]):
            method = plan.method
            if plan.scheduled or epoch != len(rates) + 1:
                return Told(method=method)
            rates.append(plan.rate)
            factors.append(scaled)
    except ValueError:
        return Told(method=method)
    return Told(rates, factors, method) if len(text) <= MOST_HISTORY else Told(method=method)


def _epochs(text: str) -> Iterator[tuple[Plan, dict[str, float], int]]:
    """Yield each epoch's plan, its factors, and its number; raise ValueError where the text is not understood.

    Epochs that were not planned are of a method that tells nothing of its rate, such as L-BFGS.
    """
    plan, factors, left = None, dict[str, float](), 0
    for line in text.splitlines():
        if found := EPOCH.match(line):
            if plan is None or not left:
                raise ValueError("an epoch that was not planned")
            left -= 1
            yield plan, factors, int(found[1])
        elif line.startswith("Planning"):
            plan, factors = _planned(line), {}
            left = plan.epochs
        elif found := FACTORS.match(line):
            factors = _factors(found["items"])
        elif line.startswith("The learning rate"):
            raise ValueError("factors that are not understood")


def _planned(line: str) -> Plan:
    found = PLAN.match(line)
    if not found:
        raise ValueError("a plan that is not understood")
    return Plan(int(found["epochs"]), found["method"], _number(found["rate"]), SCHEDULED in found["others"])


def _factors(items: str) -> dict[str, float]:
    """Read factors by name from the inside of a dict as Python writes it."""
    found = [FACTOR.fullmatch(item) for item in items.split(", ")] if items else []
    if not all(found):
        raise ValueError("factors that are not understood")
    return {item["name"]: _number(item["factor"]) for item in found if item}


def _number(text: str) -> float:
    """Return a number that a rate, or a factor of it, can be; raise ValueError for any other text."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError("no learning rate")
    return number
