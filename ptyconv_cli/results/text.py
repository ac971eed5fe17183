"""Small pieces of text: names from files made safe and short enough to print, and numbers for people."""

import math
import re
import shutil
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from os.path import commonprefix

MOST_SHOWN = 60
"""Characters of a text out of a checkpoint that is shown."""

MOST_NAMES = 3
"""Files or folders that are named one by one."""


def printable(text: str, keep: str = "") -> str:
    """Return text with control characters, which could steer a terminal, as "?", except for those to `keep`."""
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)


def shortened(text: str, width: int, at_end: bool = False) -> str:
    """Return printable text of at most `width` characters, shortened in the middle or `at_end`."""
    text = printable(text)
    if len(text) <= width:
        return text
    kept_at_end = 0 if at_end else (width - 1) // 2
    return f"{text[: width - 1 - kept_at_end]}…{text[len(text) - kept_at_end :]}"


def cut(text: str, columns: int) -> str:
    """Return as much of a text as fits a terminal's `columns`; some letters, such as Chinese ones, take two."""
    taken = 0
    for place, letter in enumerate(text):
        taken += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if taken > columns:
            return text[:place]
    return text


def told_apart(names: Sequence[str], width: int) -> list[str]:
    """Return names, which may be paths, shortened to `width` characters so that different names stay different.

    Those that shortening in the middle would make equal are shown from where they begin to differ; where that does not
    do, all by the folders that differ; and where there is no room for these, with a number.
    """
    for short in (_from_difference(names, width), _from_difference(_folders_that_differ(names), width)):
        if len(set(zip(names, short, strict=True))) == len(set(short)):
            return short
    numbers = {name: f"~{number}" for number, name in enumerate(dict.fromkeys(names), 1)}
    return [shortened(name, width - len(numbers[name]), at_end=True) + numbers[name] for name in names]


def _from_difference(names: Sequence[str], width: int) -> list[str]:
    short = [shortened(name, width) for name in names]
    for same in [s for s, count in Counter(short).items() if count > 1]:
        alike = [name for name, shown in zip(names, short, strict=True) if shown == same]
        start = max(len(commonprefix(alike)) - width // 3, 0)  # noqa: RUF071 - character by character is meant
        short = [
            shortened(f"…{name[start:]}", width, at_end=True) if shown == same else shown
            for name, shown in zip(names, short, strict=True)
        ]
    return short


def _folders_that_differ(names: Sequence[str]) -> list[str]:
    """Return paths without the folders that all of them have at the same place, and without how all of them end."""
    paths = [name.split("/") for name in names]
    same = [len(set(folders)) == 1 for folders in zip(*paths, strict=False)]
    ending = len(commonprefix([name[::-1] for name in dict.fromkeys(names)]))  # noqa: RUF071 - as above
    shown = []
    for folders in paths:
        last = folders[-1][: -ending or None] or folders[-1]
        kept = [*folders[:-1], last]
        shown.append("/".join("…" if place < len(same) and same[place] else name for place, name in enumerate(kept)))
    return [re.sub(r"…(/…)+", "…", name).removeprefix("…/") for name in shown]


def few(names: Iterable[str], most: int = MOST_NAMES) -> str:
    """Return names in a list: of many the first ones, and how many more there are."""
    shown = list(names)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def counted(number: int, what: str) -> str:
    """Return how many there are, as in a sentence: "1 run", "3 runs"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    """Return parts, at least one, as in a sentence: "a, b and c"."""
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


def wrapped(text: str, columns: int, indent: str = "", break_words: bool = False) -> list[str]:
    """Return text in lines that are at most so wide, none of which begins with the unit of the number before.

    Lines after the first begin with `indent`. A word that is wider, such as a path, has a line of its own, whole, so
    that it can be copied; only if `break_words` is it broken.
    """
    wrap = textwrap.TextWrapper(
        columns, subsequent_indent=indent, break_long_words=break_words, break_on_hyphens=False, tabsize=1
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in wrap.wrap(with_units_kept(text))]


def unbroken(text: str) -> str:
    """Return a path or a name as `wrapped` keeps it in one piece, even with spaces inside."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


PLACE = re.compile(r"((?:Error: |warning: |Invalid value for [^:]+: )*)((?:(?!: ).)*?(?:/(?:(?!: ).)*|\.\w+))(?=: )")
"""A path or the name of a file at the beginning of a message, before what is said of it."""


def with_place_kept(text: str) -> str:
    """Return a warning in which the file that it begins with, as most do, is kept in one piece."""
    found = PLACE.match(text)
    return f"{found[1]}{unbroken(found[2])}{text[found.end() :]}" if found else text


NARROWEST = 40


def text_width() -> int:
    """Return the columns of the terminal, 80 where there is none; one that is narrower than 40 breaks lines itself."""
    return max(shutil.get_terminal_size().columns, NARROWEST)


def with_units_kept(text: str) -> str:
    """Return text in which no line is broken between a number and its unit."""
    return re.sub(r"(?<=\d) (?=(%|px|mrad|times|Å|nm|µm|mm|MB)\b|%)", "\N{NO-BREAK SPACE}", text)


UNITS_OF_LENGTH = ((1.0, "Å"), (10.0, "nm"), (1e4, "µm"), (1e7, "mm"))
"""How many Å the units have in which lengths are shown, and what they are called."""


def length_unit(longest: float) -> tuple[float, str]:
    """Return the unit in which lengths up to `longest` Å are shown, and how many Å it has: the smallest in which they
    have at most four digits before the point, up to mm.
    """
    if not math.isfinite(longest):
        return UNITS_OF_LENGTH[0]
    fitting = (unit for unit in UNITS_OF_LENGTH if abs(longest) < 9999.5 * unit[0])
    return next(fitting, UNITS_OF_LENGTH[-1])


LARGE = 1e6
"""Å, a tenth of a millimetre, of an object, from which on its details are in µm: it was seen with visible light."""


def detail_unit(extent: float) -> tuple[float, str]:
    """Return the unit, Å, nm or µm, of what is small within `extent` Å, as changes of positions, and its size in Å."""
    largest = UNITS_OF_LENGTH[1 if not extent >= LARGE else 2]
    return min(length_unit(extent), largest)


def length(angstrom: float, digits: int = 3) -> str:
    """Return a length with its unit, to three digits, of large numbers to the last one: 6.64 Å, 1570 nm."""
    size, unit = length_unit(angstrom)
    return f"{rounded(angstrom / size, digits)} {unit}"


def rounded(number: float, digits: int = 3) -> str:
    """Return a number to so many digits, but whole where it has more of them."""
    return f"{number:.{digits}g}" if not abs(number) >= 10**digits - 0.5 else f"{number:.0f}"


def percent(share: float) -> str:
    """Return a fraction from 0 to 1 in percent: 96 %, but < 1 % and > 99 % unless it is 0 or 1; ? for NaN."""
    if math.isnan(share):
        return "?"
    if 0 < share < 0.01:
        return "< 1 %"
    return "> 99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"


def duration(seconds: float) -> str:
    """Return a time span in words: 40 s, 12 min, 3 h 05 min, 2.5 days."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes >= 48 * 60:
        return f"{minutes / (24 * 60):.1f} days"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
