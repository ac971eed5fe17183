"""Images as 8-bit pictures within a number of bytes, and scan positions as numbers, for the viewer."""

import math
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, features

from ptyconv_cli.analysis.frames import IMAGE, Frame, displacements
from ptyconv_cli.pictures.maps import round_length
from ptyconv_cli.quantities import quantity_of
from ptyconv_cli.workers import Workers, result_of

ENOUGH, BESIDE = 1.6, 400
"""Bytes for a pixel, and for a picture besides, with which nothing need be lost, also not by being careful."""

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
    whole, parts = quantity_of(group.tensor).page_shares
    return (whole if group.is_whole else parts) * (1 if group.kind == IMAGE else OF_DIFFERENCE)


MIDDLE, REACH = 128, 127
"""The level of no difference, and how many levels there are on either side of it."""

LARGEST = 1024
"""Pixels of a side of a picture at most."""


LOSSLESS, LOSSY = 0.15, 0.02
"""Bytes for a pixel below which pictures hardly get."""


class Setting(NamedTuple):
    """How pictures are stored: at most `side` px a side, lossy at a `quality` from 0 to 100, or, if None, exactly."""

    side: int
    quality: int | None


SETTINGS = (
    Setting(LARGEST, None),
    *(Setting(1024, quality) for quality in (90, 75, 55, 35)),
    *(Setting(side, 50) for side in (768, 576, 432, 324, 256, 192, 160, 128, 96, 64, 32)),
)
"""From the best to the smallest."""


def averaged(values: np.ndarray, side: int) -> np.ndarray:
    """Return an image (y, x), averaged down where a side is longer than `side` px; what is NaN stays NaN."""
    return _reduced(np.asarray(values, np.float32), side / max(values.shape))


def levels_in(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values as levels from 0 at `low` to 255 at `high`; what is not finite as 0."""
    scaled = (values - low) * (255 / (high - low) if high > low else 0)
    return np.asarray(np.nan_to_num(np.clip(np.rint(scaled), 0, 255), nan=0), np.uint8)


def levels_about_zero(values: np.ndarray, top: float) -> np.ndarray:
    """Return differences as levels about `MIDDLE`, as the root of their size, so that small ones keep their digits.

    A level l means sign(l - MIDDLE) · top · ((l - MIDDLE) / REACH)²; what is not finite is as no difference.
    """
    shares = np.clip(np.nan_to_num(values / top if top > 0 else 0 * values, nan=0), -1, 1)
    return np.asarray(MIDDLE + np.rint(REACH * np.sign(shares) * np.sqrt(np.abs(shares))), np.uint8)


def encoded(levels: np.ndarray, quality: int | None) -> bytes:
    """Return levels (y, x) as a picture: WebP, or, where Pillow was built without it, PNG.

    Where all are the same, none is lost whatever the quality: no difference must look like none.
    """
    exactly = quality is None or levels.min() == levels.max()
    return _stored(Image.fromarray(levels), None if exactly else quality)


def _stored(image: Image.Image, quality: int | None) -> bytes:
    """Return an image as a file: WebP of a quality, exactly if that is None, or PNG where there is no WebP."""
    content = BytesIO()
    if not features.check("webp"):
        image.save(content, "png", optimize=True)
    elif quality is None:
        image.convert("RGB").save(content, "webp", lossless=True, quality=40, method=3)
    else:
        image.convert("RGB").save(content, "webp", quality=quality, method=2)
    return content.getvalue()


def decoded(picture: bytes) -> np.ndarray:
    """Return the levels (y, x) of a picture."""
    with Image.open(BytesIO(picture)) as image:
        return np.asarray(image.convert("L"))


def fitting(levels: np.ndarray, most: float) -> Setting:
    """Return the best setting in which a picture takes no more than so many bytes; the smallest where none does."""
    height, width = levels.shape
    for setting in SETTINGS:
        share = min(setting.side / max(height, width), 1)
        least = LOSSLESS if setting.quality is None else LOSSY
        if least * share**2 * height * width > most:  # which spares trying
            continue
        if len(encoded(_reduced(levels, share), setting.quality)) <= most:
            return setting
    return SETTINGS[-1]


def smaller(picture: bytes, share: float, least: int) -> bytes:
    """Return a picture whose sides are shorter by a factor below 1; itself where they are at most `least` px then."""
    levels = decoded(picture)
    if share * max(levels.shape) <= least:
        return picture
    return encoded(_reduced(levels, share), 50)


def _reduced(levels: np.ndarray, share: float) -> np.ndarray:
    if share >= 1:
        return levels
    height, width = levels.shape
    size = max(round(width * share), 1), max(round(height * share), 1)
    return np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BOX))


def data_uri(picture: bytes) -> str:
    """Return a picture as the address of itself."""
    kind = "png" if picture.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


Levels = Callable[[np.ndarray], np.ndarray]
"""Turns the values of an image into levels."""

CAREFUL = 0.7
"""Share of the bytes that the first picture may take, lest others take more."""

SMALLEST = 24
"""Pixels of a side of a picture that is not made smaller any more."""


@dataclass
class Choice:
    """How pictures that are alike are stored, so that one takes about `most` bytes: as fits the first of them."""

    most: float
    setting: Setting | None = None

    def of(self, levels: np.ndarray) -> Setting:
        """Return the setting; where there is none yet, choose it by the levels of a picture."""
        self.setting = self.setting or fitting(levels, CAREFUL * self.most)
        return self.setting


@dataclass
class Strip:
    """The pictures of one thing by iteration, stored as `choice` has it.

    `unknown`: by iteration, how many of an image's pixels are not finite. Where none is, there is no picture.
    """

    choice: Choice
    pictures: dict[int, bytes] = field(default_factory=dict)
    unknown: dict[int, int] = field(default_factory=dict)
    _coming: dict[int, Future[bytes]] = field(default_factory=dict)

    def add(self, niter: int, values: np.ndarray, levels_of: Levels, workers: Workers) -> None:
        """Have the picture of an image (y, x) made, as fits the first one that shows anything."""
        # The sum tells faster that all are finite.
        missing = 0 if np.isfinite(values.sum(dtype=float)) else int(np.count_nonzero(~np.isfinite(values)))
        if missing:
            self.unknown[niter] = missing
        if missing == values.size:
            return
        setting = self.choice.setting
        if setting is None:
            levels = levels_of(averaged(values, LARGEST))
            if levels.min() == levels.max():  # which says nothing of the others, and takes no bytes
                self.pictures[niter] = encoded(levels, None)
                return
            setting = self.choice.of(levels)
        self._coming[niter] = workers.submit(_made, values, levels_of, setting)

    def finish(self) -> None:
        """Wait for the pictures."""
        self.pictures |= {niter: result_of(one) for niter, one in self._coming.items()}
        self._coming.clear()

    @property
    def size(self) -> int:
        """The bytes of all pictures."""
        return sum(map(len, self.pictures.values()))


def _made(values: np.ndarray, levels_of: Levels, setting: Setting) -> bytes:
    return encoded(levels_of(averaged(values, setting.side)), setting.quality)


def fit_together(strips: Iterable[Strip], most: float) -> None:
    """Make all pictures smaller until together they take no more than so many bytes, or are as small as can be."""
    found = list(strips)
    while (size := sum(strip.size for strip in found)) > most:
        before = size
        share = max(0.97 * math.sqrt(most / size), 0.5)
        for strip in found:
            strip.pictures = {niter: smaller(one, share, SMALLEST) for niter, one in strip.pictures.items()}
        if sum(strip.size for strip in found) >= before:
            break


MOST = 300
"""Arrows at most, where a page has room for them."""

KINDS = ("moved", "last", "half")

USUAL = 95
"""Percentile of the displacements whose arrow reaches from one of the shown positions to the next."""

STILL = 1e-6
"""Share of the distance between positions up to which they did not move: that is rounding."""

Pairs = list[list[float] | None]
"""(x, y) in Å by position, None where it is not finite."""


def positions_data(parts: Sequence[Sequence[Frame]], most: int = MOST) -> dict[str, Any] | None:
    """Return what is drawn of the frames of each part of a run, None where there are no positions.

    Of more than `most` positions only some are drawn.
    `part` of each frame; `places` of each part, and by frame the displacements since the part's first one (`moved`),
    from the run's `last` one and from the one at `half`: lengths in Å, None across the boundary of a part. `rms` of all
    displacements. `stretch`: how many times as long as it is a displacement is drawn.
    """
    frames = [frame for part in parts for frame in part]
    if not frames or frames[-1].positions is None:
        return None
    at = {frame.header.niter: frame for frame in frames}
    found: dict[str, list[Pairs | None]] = {kind: [] for kind in KINDS}
    rms: dict[str, list[float | None]] = {kind: [] for kind in KINDS}
    places: list[np.ndarray] = []
    for part in parts:
        last = frames[-1] if part is parts[-1] else None
        some = _some(_places(part[0]), most)
        places.append(_places(part[0])[some])
        for frame in part:
            for kind, other in zip(KINDS, (part[0], last, at.get(frame.half or -1)), strict=True):
                moved = _moved(frame, other) if other else None
                found[kind].append(None if moved is None else _pairs(moved[some]))
                rms[kind].append(None if moved is None else _rms(moved))
    return {
        "all": len(frames[-1].positions),
        "shown": len(places[-1]),
        "part": [number for number, part in enumerate(parts) for _ in part],
        "places": [_pairs(of_part) for of_part in places],
        "rms": rms,
        "stretch": {kind: _stretch(of_kind, places[-1]) for kind, of_kind in found.items()},
        **found,
    }


def _places(frame: Frame) -> np.ndarray:
    header = frame.header
    found: np.ndarray = header.dx * (header.crop_pos - header.away + np.array(header.probe_shape) // 2)
    return found


def _some(places: np.ndarray, most: int) -> np.ndarray:
    """Return which of the positions (N, 2) are shown: all, or of more than `most` one in each cell of a grid."""
    if len(places) <= most:
        return np.arange(len(places))
    side = max(math.isqrt(most), 1)
    low, extent = places.min(0), np.maximum(np.ptp(places, axis=0), 1e-9)
    row, column = np.minimum((places - low) / extent * side, side - 1).astype(int).T
    return np.sort(np.unique(row * side + column, return_index=True)[1])


def _moved(frame: Frame, other: Frame) -> np.ndarray:
    assert frame.positions is not None
    assert other.positions is not None
    return displacements(frame.positions, other.positions, frame.header.dx)


def _rms(moved: np.ndarray) -> float | None:
    found = math.sqrt(float((moved**2).sum(1).mean()))
    return float(f"{found:.4g}") if math.isfinite(found) else None


def _pairs(values: np.ndarray) -> Pairs:
    """Return values (N, 2), y first, as pairs (x, y)."""
    return [
        [float(f"{x:.4g}"), float(f"{y:.4g}")] if math.isfinite(x) and math.isfinite(y) else None
        for y, x in values.tolist()
    ]


def _stretch(moves: Sequence[Pairs | None], places: np.ndarray) -> float:
    """Return how many times as long as they are displacements are drawn: a 1, 2 or 5 and zeros.

    The same for all iterations, so that those of the one that moved most reach from one shown position to the next.
    """
    area = float(np.ptp(places[:, 0]) * np.ptp(places[:, 1]))
    apart = math.sqrt(area / len(places)) if area else float(np.ptp(places) or 1)
    far = [[math.hypot(*pair) for pair in of_frame or [] if pair] for of_frame in moves]
    usual = max((float(np.percentile(of_frame, USUAL)) for of_frame in far if of_frame), default=0.0)
    return round_length(apart / usual) if usual > STILL * apart else 1.0
