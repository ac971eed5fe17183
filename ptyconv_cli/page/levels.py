"""Images as 8-bit pictures: their levels, and files of a size that is to be kept."""

from base64 import b64encode
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, features

MIDDLE, REACH = 128, 127
"""The level of no difference, and how many levels there are on either side of it."""

LARGEST = 1024
"""Pixels of a side of a picture at most."""


OF_PNG = 0.3
"""Bytes of a drawing, as a share of those as PNG, below which it hardly gets where nothing is lost."""

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


def in_page(picture: bytes, most: float) -> bytes:
    """Return a picture that was drawn (PNG) in no more than so many bytes, b"" where that leaves nothing to read."""
    if len(picture) <= most:
        return picture
    with Image.open(BytesIO(picture)) as image:
        drawn = image.convert("RGB")
    for share, quality in ((1, None), (0.75, 70), (0.6, 60), (0.5, 50), (0.4, 45)):
        if quality is None and OF_PNG * len(picture) > most:  # which spares trying
            continue
        size = round(drawn.width * share), round(drawn.height * share)
        shown = drawn if share == 1 else drawn.resize(size, Image.Resampling.LANCZOS)
        content = _stored(shown if features.check("webp") else shown.quantize(64), quality)
        if len(content) <= most:
            return content
    return b""
