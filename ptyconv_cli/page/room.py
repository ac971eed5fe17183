"""How much room in a page the pictures of each group have: most of it those that are looked at most."""

from collections.abc import Mapping
from typing import NamedTuple

from ptyconv_cli.analysis.frames import IMAGE

ENOUGH, BESIDE = 1.6, 400
"""Bytes for a pixel, and for a picture besides, with which nothing need be lost, also not by being careful."""

WEIGHTS = {"objp": (64, 20), "obja": (24, 10), "probe": (8, 12)}
"""By tensor: the weight of its images, and that of all its slices or modes together."""

OF_DIFFERENCE = 0.3
"""Weight of a difference as a share of the image's: most of it is noise, which takes much and says little."""


class Group(NamedTuple):
    """Pictures that are stored alike: of a whole tensor or of all its slices or modes, one `kind` of them."""

    tensor: str
    is_whole: bool
    kind: str


class Pictures(NamedTuple):
    """The `number` of pictures in a group, and how many `pixels` each of them has."""

    number: int
    pixels: int


def shared_out(most: float, groups: Mapping[Group, Pictures]) -> dict[Group, float]:
    """Return how many bytes a picture of each group may take, so that together they take no more than `most`.

    All that it needs, where there is room for that, or else by weight.
    """
    found: dict[Group, float] = {}
    needs = {group: one.number * (ENOUGH * one.pixels + BESIDE) for group, one in groups.items()}
    left = sorted(groups, key=lambda group: needs[group] / _weight(group))
    for place, group in enumerate(left):  # those that need least of their share first, so that the rest is known
        of_rest = sum(map(_weight, left[place:]))
        taken = min(most * _weight(group) / of_rest, needs[group])
        found[group] = taken / groups[group].number
        most -= taken
    return {group: found[group] for group in groups}


def _weight(group: Group) -> float:
    whole, parts = WEIGHTS[group.tensor]
    return (whole if group.is_whole else parts) * (1 if group.kind == IMAGE else OF_DIFFERENCE)
