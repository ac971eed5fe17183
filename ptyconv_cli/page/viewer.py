"""The viewer's content: a run's checkpoints as pictures that fit into a page, and what they mean."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ptyconv_cli.analysis.frames import HALF, IMAGE, KINDS, Frame, Frames, Layer
from ptyconv_cli.analysis.frames import MOST as MOST_CHECKPOINTS
from ptyconv_cli.analysis.run_parts import region_of_run
from ptyconv_cli.checkpoints.headers import Header
from ptyconv_cli.metrics.device import choose_device, or_on_cpu
from ptyconv_cli.page.images import (
    MIDDLE,
    MOST,
    REACH,
    Choice,
    Group,
    Pictures,
    Strip,
    data_uri,
    decoded,
    fit_together,
    levels_about_zero,
    levels_in,
    positions_data,
    shared_out,
)
from ptyconv_cli.pictures.maps import BRIGHTEST
from ptyconv_cli.quantities import drawn_as, quantity_of
from ptyconv_cli.quantities.quantity import IMAGES, INTENSITY
from ptyconv_cli.workers import Workers

Progress = Callable[[int, int], None]

SCALES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Shares of the contrast that the colours of differences may reach to."""

WITHIN = 99
"""Percentile of the difference over the last doubling that the colours shown first reach to."""

ENOUGH_PIXELS = 1 << 17
"""Of an image, to know its contrast by."""

OF_PAIR = 16
"""Characters of a displacement."""

OF_PICTURE = 950
"""Characters that the smallest picture takes in a page."""

OF_POSITIONS, OF_WHOLES = 0.1, 0.5
"""Shares of a viewer for displacements, and at most for the smallest pictures of the whole object and probe."""

AS_TEXT = 4 / 3
"""Characters that a byte of a picture takes in a page."""


def _seen_of(tensors: Sequence[str]) -> list[str]:
    """Return which of a run's tensors there are images of, in the order in which they are shown."""
    return [one.key for kind in (IMAGES, INTENSITY) for one in drawn_as(kind) if one.key in tensors]


def _is_intensity(layer: Layer) -> bool:
    return quantity_of(layer.tensor).drawn_as == INTENSITY


class Still(NamedTuple):
    """A picture that is seen without the script: its address, its title, and what it shows in words (`alt`)."""

    uri: str
    title: str
    alt: str


@dataclass(frozen=True)
class Viewer:
    """What the script shows (`data`, as JSON has it), `stills` for where it does not run.

    `notice`: what is to be told about the device, "" for nothing.
    """

    data: dict[str, Any]
    stills: list[Still]
    notice: str


@dataclass
class _View:
    """One thing to look at: the strips of its image and its differences, and its window from `low` to `high`.

    `sizes` of the images (x, y) in px by iteration; `doubling`: how far the difference over the last doubling reaches,
    NaN where it is not known.
    """

    strips: dict[str, Strip]
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    low: float = math.nan
    high: float = math.nan
    doubling: float = math.nan


def checkpoints_in(most: float, tensors: Sequence[str]) -> int:
    """Return how many checkpoints a viewer of so many characters can show at most, of a run that has these tensors."""
    kinds = len(KINDS) * len(_seen_of(tensors))
    return min(MOST_CHECKPOINTS, int(OF_WHOLES * most / (max(kinds, 1) * OF_PICTURE)))


def viewer_of(frames: Frames, device: str, most: float, progress: Progress = lambda done, total: None) -> Viewer:
    """Make the viewer of a run, which takes no more than about `most` characters of a page.

    Of slices and modes, as many are shown one by one as there is room for. `device` and `progress` as of
    `analysis.run.analyze_run`. Raises what `Frames.read` does.
    """
    on, notice = choose_device(device)
    found, failed = or_on_cpu(partial(_viewer, frames, most, progress), on)
    return Viewer(*found, failed or notice)


def _viewer(frames: Frames, most: float, progress: Progress, device: str) -> tuple[dict[str, Any], list[Still]]:
    seen: list[Frame] = []
    frames, of_pictures = _with_room(frames, most), (1 - OF_POSITIONS) * most / AS_TEXT
    with Workers(2) as workers:
        views = _views(frames, of_pictures)
        for _, images in frames.samples(device):
            for layer, image in images.items():
                _widen(views[layer], layer, image)
        for frame in frames.read(device):
            for kind, images in frame.pictures:
                for layer, image in images.items():
                    if layer in views:  # the last part of the run says how many slices there are
                        _add(views[layer], layer, kind, frame.header.niter, image, workers)
                        if kind == HALF and not seen:
                            views[layer].doubling = _reach(image)
                for layer in images:
                    if layer in views:
                        views[layer].strips[kind].finish()  # the next pictures take their memory
            seen.append(frame._replace(pictures=iter(())))
            progress(len(seen), len(frames.niters))
    fit_together(_strips(views), of_pictures - _size_of_stills(views))
    at = {frame.header.niter: frame for frame in reversed(seen)}
    parts = [[at[header.niter] for header in part if header.niter in at] for part in frames.chosen]
    seen = [frame for part in parts for frame in part]
    shown = {layer: view for layer, view in views.items() if view.strips[IMAGE].pictures}
    data = {
        "checkpoints": sum(map(len, frames.run.parts)),
        "reduced": any(_is_reduced(view) for view in shown.values()),
        "niters": [frame.header.niter for frame in seen],
        "halves": [frame.half for frame in seen],
        "dx": [_short(frame.header.dx) for frame in seen],
        "views": [_view_data(layer, view, seen) for layer, view in shown.items()],
        "scales": SCALES,
        "middle": MIDDLE,
        "reach": REACH,
        "positions": positions_data([part for part in parts if part], _arrows(most)),
    }
    return data, [_still(layer, view, frames) for layer, view in shown.items() if layer.number is None]


def _with_room(frames: Frames, most: float) -> Frames:
    """Return what to look at with no more single slices and modes than there is room for: half of it for each."""
    checkpoints, tensors = max(len(frames.niters), 1), frames.run.tensors
    rest = (1 - OF_POSITIONS) * most / OF_PICTURE - checkpoints * len(KINDS) * len(_seen_of(tensors))
    of_slice = checkpoints * len(KINDS) * max(sum(quantity_of(name).is_object for name in tensors), 1)
    return replace(
        frames,
        most_slices=min(frames.most_slices, int(rest / 2 / of_slice)),
        most_modes=min(frames.most_modes, int(rest / 2 / checkpoints)),
    )


def _size_of_stills(views: dict[Layer, _View]) -> int:
    """Return the bytes of the last pictures, which are in the page twice."""
    strips = [view.strips[IMAGE].pictures for layer, view in views.items() if layer.number is None]
    return sum(len(pictures[max(pictures)]) for pictures in strips if pictures)


def _views(frames: Frames, most: float) -> dict[Layer, _View]:
    """Return a view for each layer; of `most` bytes each of its pictures has its share, of which it may take less."""
    wholes = [Layer(name) for name in _seen_of(frames.run.tensors)]
    layers = [
        Layer(whole.tensor, number)
        for whole in wholes
        for number in (None, *(frames.modes() if _is_intensity(whole) else frames.slices()))
    ]
    of_group: dict[Group, list[Layer]] = {}
    for layer in layers:
        for kind in _kinds(layer):
            of_group.setdefault(_group(layer, kind), []).append(layer)
    pictures = {
        group: Pictures(len(frames.niters) * len(of_one), _pixels(of_one[0], frames))
        for group, of_one in of_group.items()
    }
    choices = {group: Choice(share) for group, share in shared_out(most, pictures).items()}
    return {layer: _View({kind: Strip(choices[_group(layer, kind)]) for kind in _kinds(layer)}) for layer in layers}


def _group(layer: Layer, kind: str) -> Group:
    return Group(layer.tensor, layer.number is None, kind)


def _kinds(layer: Layer) -> Sequence[str]:
    return (IMAGE,) if _is_intensity(layer) and layer.number else KINDS


def _strips(views: dict[Layer, _View]) -> Iterable[Strip]:
    return [strip for view in views.values() for strip in view.strips.values()]


def _finite(image: np.ndarray) -> np.ndarray:
    """Return what is finite of an image's values, of very many only some."""
    some = image.reshape(-1)[:: max(image.size // ENOUGH_PIXELS, 1)]
    return np.asarray(some[np.isfinite(some)])


def _reach(difference: np.ndarray) -> float:
    """Return how far a difference reaches on either side of 0, but for its largest values, NaN where none is finite."""
    finite = _finite(difference)
    return float(np.percentile(np.abs(finite), WITHIN)) if finite.size else math.nan


def _widen(view: _View, layer: Layer, image: np.ndarray) -> None:
    """Widen a view's window so that an image is in it, all but its darkest and its brightest pixels."""
    finite = _finite(image)
    if not finite.size:
        return
    low, high = np.percentile(finite, (100 - BRIGHTEST, BRIGHTEST)).tolist()
    if _is_intensity(layer):
        low, high = 0.0, float(finite.max())
    view.low, view.high = (float(np.nanmin([view.low, low])), float(np.nanmax([view.high, high])))


def _add(view: _View, layer: Layer, kind: str, niter: int, image: np.ndarray, workers: Workers) -> None:
    """Have an image made into a picture of a view."""
    if kind == IMAGE:
        if math.isnan(view.low):  # of none of the samples anything was finite
            _widen(view, layer, image)
        view.sizes[niter] = image.shape[1], image.shape[0]
        levels_of = partial(levels_in, low=view.low, high=view.high)
    else:
        levels_of = partial(levels_about_zero, top=_top(layer, view))
    view.strips[kind].add(niter, image, levels_of, workers)


def _top(layer: Layer, view: _View) -> float:
    """Return what the largest level of a difference means: the contrast; of the probe, its peak."""
    return 1.0 if _is_intensity(layer) else view.high - view.low


def _view_data(layer: Layer, view: _View, seen: Sequence[Frame]) -> dict[str, Any]:
    niters = [frame.header.niter for frame in seen]
    top, is_probe = _top(layer, view), _is_intensity(layer)
    return {
        "tensor": layer.tensor,
        "number": layer.number,
        "intensity": is_probe,
        "name": quantity_of(layer.tensor).image_title,
        "of": _of(layer, seen[-1].header),
        "unit": quantity_of(layer.tensor).values_unit,
        "low": 0 if is_probe else _short(view.low, 6),
        "high": 1 if is_probe else _short(view.high, 6),
        "top": _short(top),
        "scale": _scale(view.doubling / top if top > 0 else math.nan),
        "sizes": [view.sizes.get(niter) for niter in niters],
        "shares": _shares(layer.number, seen) if is_probe and layer.number else None,
        **{
            kind: {
                "pictures": [data_uri(strip.pictures[niter]) if niter in strip.pictures else None for niter in niters],
                "unknown": [strip.unknown.get(niter, 0) for niter in niters],
            }
            for kind, strip in view.strips.items()
        },
    }


def _pixels(layer: Layer, frames: Frames) -> int:
    """Return how many pixels an image of the last checkpoint has."""
    first = frames.chosen[-1][0]
    if _is_intensity(layer):
        return math.prod(first.probe_shape)
    return math.prod(region_of_run(first, frames.run.tensors).shape_in(first.shapes[layer.tensor])[-2:])


def _of(layer: Layer, header: Header) -> str:
    """Say of how much of a tensor an image is."""
    count = header.shapes[layer.tensor][0 if _is_intensity(layer) else 1]
    if _is_intensity(layer):
        return f"mode {layer.number} of {count}" if layer.number else f"sum of {count} modes" if count > 1 else ""
    modes = f"mean of {header.shapes[layer.tensor][0]} object modes" if header.shapes[layer.tensor][0] > 1 else ""
    whole = f"{quantity_of(layer.tensor).over_slices} of"
    slices = f"slice {layer.number} of {count}" if layer.number else f"{whole} {count} slices" if count > 1 else ""
    return ", ".join(filter(None, [slices, modes]))


def _shares(mode: int, seen: Sequence[Frame]) -> list[float | None]:
    """Return the share of the probe's intensity that is in a mode, by frame."""
    return [_short(frame.shares[mode - 1]) if mode <= len(frame.shares) else None for frame in seen]


def _arrows(most: float) -> int:
    """Return of how many positions displacements are written down, so that they take a tenth of `most` characters."""
    return int(min(max(OF_POSITIONS * most / (MOST_CHECKPOINTS * len(KINDS) * OF_PAIR), 20), MOST))


def _scale(share: float) -> float:
    """Return the least of the scales that a difference stays within, the largest where that is not known."""
    return min((scale for scale in SCALES if scale >= share), default=SCALES[0])


def _short(number: float, digits: int = 4) -> float | None:
    """Return a number as it is worth writing down, None where it is not finite."""
    return float(f"{number:.{digits}g}") if math.isfinite(number) else None


def _is_reduced(view: _View) -> bool:
    """Say whether the pictures of a view have fewer pixels than what they are of."""
    niter, picture = next(iter(view.strips[IMAGE].pictures.items()))
    return decoded(picture).shape[::-1] != view.sizes[niter]


def _still(layer: Layer, view: _View, frames: Frames) -> Still:
    """Return the last picture of a view for those who see it without the script."""
    picture = view.strips[IMAGE].pictures
    niter = max(picture)
    title = f"{quantity_of(layer.tensor).image_title} at iteration {niter}"
    what = _of(layer, frames.last)
    width, height = view.sizes[niter]
    return Still(data_uri(picture[niter]), title, f"{title}{f', {what}' if what else ''}, {height} × {width} px")
