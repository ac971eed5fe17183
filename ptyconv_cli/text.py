"""Small pieces of text: what comes from files and folders as it may be shown, and numbers as people read them."""

import math


def printable(text: str, keep: str = "") -> str:
    """Return text in which what would steer a terminal is shown as "?", but for the characters to `keep`."""
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)


def percent(share: float) -> str:
    """Return a share from 0 to 1 in percent: 96 %, but < 1 % and > 99 % for what is not 0 and 100; ? for NaN."""
    if math.isnan(share):
        return "?"
    if 0 < share < 0.01:
        return "< 1 %"
    return "> 99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"
