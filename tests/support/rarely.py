"""Examples of one behaviour, of which only some are tried each time: the others are for the long tests."""

from collections.abc import Iterable
from typing import Any

import pytest


def long_but(parameters: Iterable[Any], *quick: Any) -> list[Any]:
    """Return parameters for `parametrize`, of which only the `quick` ones are tried each time."""
    return [one if one in quick else _long(one) for one in parameters]


def long_after(count: int, parameters: Iterable[Any]) -> list[Any]:
    """Return parameters for `parametrize`, of which only the first `count` are tried each time."""
    return [one if place < count else _long(one) for place, one in enumerate(parameters)]


def _long(parameters: Any) -> Any:
    return pytest.param(*(parameters if isinstance(parameters, tuple) else (parameters,)), marks=pytest.mark.long)
