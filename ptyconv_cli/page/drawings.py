"""Drawn panels on a page: SVG that takes the page's letters and colours, light or dark, and is as wide as a column."""

import re
from base64 import b64decode
from collections.abc import Sequence
from io import BytesIO
from itertools import count
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup
from PIL import Image, features

from ptyconv_cli.analysis.maps import Maps
from ptyconv_cli.page.images import data_uri
from ptyconv_cli.pictures.drawing import since_words
from ptyconv_cli.pictures.single import (
    Drawing,
    Drawings,
    single_changes,
    single_loss,
    single_maps,
    single_trajectory,
)
from ptyconv_cli.results.run_analysis import Results

COLOURS = {
    "#000000": "ink",
    "#262626": "ink",
    "#404040": "ink",
    "#4d4d4d": "soft",
    "#595959": "soft",
    "#666666": "soft",
    "#737373": "soft",
    "#808080": "soft",
    "#b0b0b0": "soft",
    "#bfbfbf": "line",
    "#d9d9d9": "line",
    "#ffffff": "paper",
    "#0072b2": "first",
    "#d55e00": "second",
    "#009e73": "third",
    "#cc79a7": "fourth",
    "#e69f00": "fifth",
    "#56b4e9": "sixth",
}
"""Colours of what is drawn, as on white paper, by the names that they have in `page.css`. Others stay as they are."""

NUMBER = re.compile(r"-?\d+\.\d{3,}")
NUMBERS = ("d", "x", "y", "transform", "points", "width", "height")
"""Attributes of numbers, of which two digits after the point are enough."""

OTHER = re.compile(r"^#([\w-]+)$|^url\(#([\w-]+)\)$")
"""How an attribute names another element; a colour, which looks alike, is none that is there."""

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML does not allow; files may hold names of them."""

PHOTO = 80
"""Quality, out of 100, of an image in a drawing that has too many colours to be kept exactly."""


class Panel(NamedTuple):
    """A drawing, and what is written above it."""

    title: str
    svg: Markup


class Panels(NamedTuple):
    """Panels that belong together, under a title, "" for none; they are `small`, or as wide as a column."""

    title: str
    panels: list[Panel]
    small: bool


class Section(NamedTuple):
    """A part of the page: its title, its panels, and how to read them."""

    title: str
    groups: list[Panels]
    text: str

    def without_small(self) -> "Section":
        """Return it without its small panels, which can be left out where there is little room."""
        return self._replace(groups=[group for group in self.groups if not group.small])

    @property
    def size(self) -> int:
        """How many characters its drawings take."""
        return sum(len(panel.svg) for group in self.groups for panel in group.panels)


def size_of(loss: Panel | None, sections: Sequence[Section]) -> int:
    """Return how many characters the drawings of a run take."""
    return sum(one.size for one in sections) + (len(loss.svg) if loss else 0)


def loss_panel(results: Results, place: int) -> Panel | None:
    """Return the loss, None where none is recorded; `place`: the run's number on the page."""
    found = single_loss(results)
    return _panel(found, f"loss-{place}", "Loss over the iterations") if found else None


def changes_section(results: Results, place: int) -> Section:
    """Return the changes between checkpoints, and what else the dashboard has."""
    return _section(
        "Changes between checkpoints",
        [Drawings("", single_changes(results))],
        "The change from each checkpoint to the next, and the learning rates. Bold lines are aligned changes, faint "
        f"ones raw, with the share of the last one that alignment removed.{_since(results)}",
        f"changes-{place}",
    )


def _since(results: Results) -> str:
    found = results.verdict.since if results.verdict else None
    return "" if found is None else f" Dotted: {since_words(results)}."


def trajectory_section(results: Results, place: int) -> Section:
    """Return the changes per doubling, and the distances between checkpoints."""
    return _section(
        "Change per doubling, and distances between checkpoints",
        single_trajectory(results),
        "The bar at the end: what as many iterations again are expected to change. Distances that are flat before the "
        "end: the run jitters about a point. Falling up to the end: it is still on its way. Of any two checkpoints: a "
        "converged run is dark in the frame, the last doubling.",
        f"trajectory-{place}",
    )


def maps_section(maps: Maps, place: int) -> Section:
    """Return where the object, the probe and the scan positions changed."""
    return _section(
        "Where it still changes",
        single_maps(maps),
        f"The aligned change from iteration {maps.since} to {maps.niter}. Dark: no change. Bright at the edges of the "
        "scanned region: little overlap of the probes there.",
        f"maps-{place}",
    )


def _section(title: str, groups: Sequence[Drawings], text: str, name: str) -> Section:
    number = count(1)

    def of(group: Drawings) -> list[Panel]:
        return [_panel(one, f"{name}-{next(number)}", f"{group.title or title}: {one.title}") for one in group.drawings]

    return Section(title, [Panels(group.title, of(group), group.small) for group in groups], text)


def _panel(drawn: Drawing, name: str, alt: str) -> Panel:
    return Panel(drawn.title, inline(drawn.svg, name, alt))


def inline(svg: bytes, name: str, alt: str) -> Markup:
    """Return a drawing of matplotlib's as an element of a page, in which no other drawing has the same `name`.

    The page's policy allows no styles but its own: each property becomes an attribute, and each of `COLOURS` a class.
    What is text stays text.
    """
    root = ElementTree.fromstring(FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", svg.decode(errors="replace")))
    named = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    for parent in list(root.iter()):
        for child in [child for child in parent if _local(child.tag) in ("metadata", "style")]:
            parent.remove(child)
    for one in root.iter():
        one.tag = _local(one.tag)
        one.attrib = _attributes(one.attrib, named, name)
        one.text, one.tail = (text if text and text.strip() else None for text in (one.text, one.tail))
    root.attrib = {"class": "drawing", "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": alt}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _local(name: str) -> str:
    """Return a name without that of its language."""
    return name.rpartition("}")[2]


def _attributes(given: dict[str, str], named: set[str], drawing: str) -> dict[str, str]:
    """Return the attributes of an element; `named`: by which names others are found, which get the drawing's own."""
    found = {_local(key): value for key, value in given.items()}
    properties = [pair.partition(":") for pair in found.pop("style", "").split(";")]
    found |= {key.strip(): what.strip() for key, _, what in properties if key.strip()}
    found.pop("font-family", None)
    if "font" in found:  # which is no attribute
        found["font-size"] = found.pop("font").partition("px")[0].rpartition(" ")[2]
    coloured = [key for key in ("fill", "stroke") if found.get(key) in COLOURS]
    if coloured:
        found["class"] = " ".join(f"{key}-{COLOURS[found.pop(key)]}" for key in coloured)
    if found.get("href", "").startswith("data:"):
        found["href"] = _repacked(found["href"])
    for key, value in found.items():
        other = OTHER.match(value)
        if key == "id" or (other and (other[1] or other[2]) in named):
            found[key] = f"{drawing}-{value}" if key == "id" else value.replace("#", f"#{drawing}-")
    for key in filter(found.__contains__, NUMBERS):
        found[key] = " ".join(NUMBER.sub(lambda match: f"{float(match[0]):.2f}", found[key]).split())
    return found


def _repacked(address: str) -> str:
    """Return an image (PNG) in fewer bytes: exactly where it has few colours, and with what is transparent so."""
    content, packed = b64decode(address.partition(",")[2]), BytesIO()
    with Image.open(BytesIO(content)) as image:
        full = image.convert("RGBA")
    colours, places = np.unique(np.frombuffer(full.tobytes(), np.uint32), return_inverse=True)  # of four bytes each
    if len(colours) <= 256:
        of_bytes = colours.view(np.uint8).reshape(-1, 4)
        few = Image.frombytes("P", full.size, places.astype(np.uint8).tobytes())
        few.putpalette(of_bytes[:, :3].tobytes())
        few.save(packed, "png", optimize=True, transparency=of_bytes[:, 3].tobytes())
    elif features.check("webp"):
        full.save(packed, "webp", quality=PHOTO)
    return data_uri(packed.getvalue()) if 0 < len(packed.getvalue()) < len(content) else address
