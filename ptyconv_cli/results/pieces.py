"""Lists as text: of one that has grown at its end, as with every checkpoint of a running job, only what is new."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")


class Pieces:
    """The texts of lists, by name, for one who writes them again and again while they grow."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[list[Any], str]] = {}

    def joined(self, name: str, items: Sequence[Item], text_of: Callable[[Item], str], between: str = "") -> str:
        """Return the texts of a list's items, joined; those of items that were there the last time are not made again.

        `text_of` an item must depend on nothing but the item.
        """
        known, text = self._known.get(name, ([], ""))
        if known != items[: len(known)]:
            known, text = [], ""
        new = between.join(map(text_of, items[len(known) :]))
        text += between + new if known and new else new
        self._known[name] = list(items), text
        return text
