"""Which voxels the scan lit, and which scan positions are stray. With numpy only. Formulas: docs/metrics.md."""

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.results.run_analysis import Region

ENOUGH = 0.1
"""Share of the median light in the scanned region from which on a voxel counts as lit."""

FAR = 3.0
"""Times the 95 % range, from the scan's median, beyond which a position is stray."""


def light(
    corners: NDArray[np.integer],
    intensity: NDArray[np.floating],
    region: Region,
    around: tuple[int, int] | None = None,
) -> NDArray[np.float64]:
    """Return the probe's intensity summed over all positions, in a region (y, x) of the object.

    `corners` (N, 2): the top-left corners of the probe windows in object pixels, y first; `intensity` (y, x) of the
    probe, in any unit; `around`: the size (y, x) of an object that windows wrap around, None where they do not.
    """
    corners = corners[_reach(corners, intensity, region)] if around is None else corners % around
    if not len(corners):
        return np.zeros([stop - start for start, stop in zip(region[::2], region[1::2], strict=True)])
    first = corners.min(0) if around is None else np.zeros(2, int)
    hits = np.zeros(tuple(corners.max(0) - first + 1))
    np.add.at(hits, tuple((corners - first).T), 1.0)
    size = [one + other - 1 for one, other in zip(hits.shape, intensity.shape, strict=True)]
    quick = [_quick(extent) for extent in size]
    total = np.fft.irfft2(np.fft.rfft2(hits, quick) * np.fft.rfft2(intensity, quick), quick)[: size[0], : size[1]]
    beyond = [
        (start - begin, stop - begin)
        for begin, start, stop in zip(first.tolist(), region[::2], region[1::2], strict=True)
    ]
    if around is not None:
        total = _wrapped(total, around)
    pads = [(max(0, -low), max(0, high - extent)) for (low, high), extent in zip(beyond, total.shape, strict=True)]
    return np.asarray(np.pad(total, pads)[_cut(region, first, pads)])


def _reach(corners: NDArray[np.integer], intensity: NDArray[np.floating], region: Region) -> NDArray[np.bool_]:
    """Return which windows reach a region; of others, however far away, no light is there."""
    starts, stops = np.array(region[::2]), np.array(region[1::2])
    return np.asarray(((corners < stops) & (corners + intensity.shape > starts)).all(1))


def _quick(size: int) -> int:
    """Return a size, at least as large, whose Fourier transforms are quick: a product of 2, 3 and 5."""
    found = size
    while True:
        left = found
        for factor in (2, 3, 5):
            while left % factor == 0:
                left //= factor
        if left == 1:
            return found
        found += 1


def _wrapped(total: NDArray[np.float64], around: tuple[int, int]) -> NDArray[np.float64]:
    """Return what is beyond the end of an object added to its begin (y, x)."""
    times = [-(-extent // size) for extent, size in zip(total.shape, around, strict=True)]
    pads = [(0, count * size - extent) for count, size, extent in zip(times, around, total.shape, strict=True)]
    folded = np.pad(total, pads).reshape(times[0], around[0], times[1], around[1])
    return np.asarray(folded.sum((0, 2)))


def _cut(region: Region, first: NDArray[np.integer], pads: list[tuple[int, int]]) -> tuple[slice, ...]:
    """Return where a region is in an array that begins at `first`, but for what it was padded by."""
    ranges = zip(region[::2], region[1::2], first.tolist(), pads, strict=True)
    return tuple(slice(start - begin + before, stop - begin + before) for start, stop, begin, (before, _) in ranges)


def lit(
    corners: NDArray[np.integer],
    intensity: NDArray[np.floating],
    region: Region,
    around: tuple[int, int] | None = None,
) -> NDArray[np.bool_] | None:
    """Return which voxels (y, x) of a region the scan lit; None where that is all of them, or nothing is known.

    Parameters as of `light`.
    """
    if not np.isfinite(intensity).all():
        return None
    if _surely_lit(corners, intensity, region, around):
        return None
    found = light(corners, intensity, region, around)
    middle = float(np.median(found))
    enough = found >= ENOUGH * middle
    return None if middle <= 0 or enough.all() else enough


SURELY, COARSE = 2.0, 8
"""Times what is enough that a coarse look must see for all voxels to be lit; and its pixels a side of a probe."""


def _surely_lit(
    corners: NDArray[np.integer],
    intensity: NDArray[np.floating],
    region: Region,
    around: tuple[int, int] | None,
) -> bool:
    """Say whether a coarse look sees enough light everywhere, which is so of most scans, and soon done.

    Of a sparse scan it overlooks gaps that are narrower than its pixels.
    """
    step = min(intensity.shape) // COARSE
    if step < 2 or around is not None:
        return False
    height, width = (size // step * step for size in intensity.shape)
    coarse = intensity[:height, :width].reshape(height // step, step, width // step, step).sum((1, 3))
    ends = [-(-end // step) if part % 2 else end // step for part, end in enumerate(region)]
    found = light(corners // step, coarse, Region(*ends))
    return bool((found >= SURELY * ENOUGH * np.median(found)).all() and np.median(found) > 0)


def stray(corners: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which of the scan positions (N, 2) are far from the scan: beyond `FAR` times the 95 % range."""
    away = np.hypot(*(corners - np.median(corners, axis=0)).T)
    return np.asarray(away > FAR * np.percentile(away, 95))
