"""Moves planes of an object, and modes of a probe, by fractions of a pixel, by Fourier. With numpy or torch."""

import math
from collections.abc import Sequence

import numpy as np

from ptyconv_cli.metrics.arrays import Array, device_of, has_double, is_numpy, namespace, numpy_type
from ptyconv_cli.metrics.device import beside
from ptyconv_cli.results.frame import Shift

MARGIN = 16
"""Pixels around a region that are read, too, where it is to be moved: what lies there goes into its edges."""


def moved(planes: Array, shift: Shift) -> Array:
    """Return planes p(y + shift_y, x + shift_x), periodic, of (..., y, x) real or complex, by Fourier.

    Of real planes the highest frequency of an even size, which has no sign, is left real; of complex ones moving back
    gives the very same planes again.
    """
    xp = namespace(planes)
    is_complex = xp.isdtype(planes.dtype, "complex floating")
    found = xp.fft.fftn(planes, axes=(-2, -1))
    for axis in (-2, -1):
        if shift[axis]:
            found = found * _phases(planes, axis, shift[axis], is_complex)
    found = xp.fft.ifftn(found, axes=(-2, -1))
    return found if is_complex else xp.real(found)


def _phases(planes: Array, axis: int, part: float, is_complex: bool) -> Array:
    """Return the factors of the Fourier transform along an axis that move planes by so many pixels."""
    size = planes.shape[axis]
    factors = np.exp(2j * math.pi * np.fft.fftfreq(size) * part)
    if size % 2 == 0 and not is_complex:
        factors[size // 2] = factors[size // 2].real
    there = namespace(planes).asarray(factors.astype(_complex(planes)), device=device_of(planes))
    return namespace(planes).reshape(there, (size, 1) if axis == -2 else (size,))


def _complex(planes: Array) -> str:
    """Return numpy's name for the complex numbers of the precision of planes."""
    return "complex128" if numpy_type(planes) in ("float64", "complex128") else "complex64"


Beyond = tuple[tuple[int, int], tuple[int, int]]
"""Pixels before and after the known ones, along y and along x."""


def mirrored(planes: Array, beyond: Beyond) -> Array:
    """Return planes (..., y, x) continued beyond their ends of y and of x by so many pixels, mirrored there."""
    xp = namespace(planes)
    for axis, (before, after) in zip((-2, -1), beyond, strict=True):
        if before or after:
            size = planes.shape[axis]
            at = np.arange(-before, size + after) % (2 * size)
            at = np.minimum(at, 2 * size - 1 - at)
            planes = xp.take(planes, beside(at, planes), axis=planes.ndim + axis)
    return planes


LARGE = 1 << 18
"""Voxels of planes from which on Fourier transforms would take too long."""


def moved_inside(planes: Array, shift: Shift) -> Array:
    """Return real planes (plane, y, x) moved as `moved` does, of planes with a `MARGIN` all around, which is cut off.

    By Fourier; large ones by a sinc under a Kaiser window, which takes a tenth of the time, and does all but the finest
    detail, of more than 0.44 periods per px, as well. By a pixel at most.
    """
    sizes = [size - 2 * MARGIN for size in planes.shape[1:]]
    if math.prod(planes.shape) >= LARGE:
        return _by_kernels(planes, shift, sizes)
    xp = namespace(planes)
    mean = xp.mean(planes, axis=(-2, -1), keepdims=True)
    falls = [_fall(planes, size) for size in planes.shape[1:]]
    found = moved((planes - mean) * (xp.reshape(falls[0], (-1, 1)) * falls[1]), shift) + mean
    return found[:, MARGIN : MARGIN + sizes[0], MARGIN : MARGIN + sizes[1]]


def _fall(planes: Array, size: int) -> Array:
    """Return a window (size) that is 1, and falls to 0 over the outer half of the margin at each end.

    So that what is beyond opposite edges, which are one in a Fourier transform, does not mix.
    """
    at = np.arange(size) + 0.5
    share = np.clip(np.minimum(at, size - at) / (MARGIN / 2), 0, 1)
    values = (0.5 - 0.5 * np.cos(math.pi * share)).astype(numpy_type(planes))
    return beside(values, planes)


def _by_kernels(planes: Array, shift: Shift, sizes: Sequence[int]) -> Array:
    """Move planes by products of matrices, block by block."""
    xp, (height, width) = namespace(planes), sizes
    kernels = [_kernel(planes, part) for part in shift]
    found = xp.empty((len(planes), height, width), dtype=planes.dtype, device=device_of(planes))
    # Memory that is used again: new memory is slow.
    along_y = xp.empty((height, width + 2 * MARGIN), dtype=kernels[0].dtype, device=device_of(planes))
    for plane, out in zip(planes, found, strict=True):
        _move(plane.T, kernels[0], along_y.T)
        _move(along_y, kernels[1], out)
    return found


BLOCK = 64
"""Pixels along an axis that are worked out at a time."""

STEEP = 6.0
"""The parameter of Kaiser's window: larger, and what is fine is smoothed more, but less is left beside it."""


def _kernel(planes: Array, part: float) -> Array:
    """Return what a block of pixels is multiplied by to move it along an axis (BLOCK + 2 · MARGIN, BLOCK).

    In float64 on a GPU, for there products of less precise numbers may have been allowed.
    """
    distance = np.arange(BLOCK + 2 * MARGIN)[:, None] - MARGIN - np.arange(BLOCK) - part
    inside = np.clip(1 - (distance / (MARGIN + 1 - abs(part))) ** 2, 0, None)  # nowhere beyond the margin
    values = np.sinc(distance) * np.i0(STEEP * np.sqrt(inside)) * (inside > 0)
    values = (values / values.sum(0)).astype(
        planes.dtype if is_numpy(planes) else "float64" if has_double(planes) else "float32"
    )
    return beside(values, planes)


def _move(lines: Array, kernel: Array, out: Array) -> None:
    """Write lines (line, pixel), with a margin at both ends, moved along themselves to `out`, without it."""
    xp, size = namespace(lines), out.shape[1]
    lines = lines if lines.dtype == kernel.dtype else xp.astype(lines, kernel.dtype)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        of_block = kernel[: stop - start + 2 * MARGIN, : stop - start]
        _multiply(lines[:, start : stop + 2 * MARGIN], of_block, out[:, start:stop])


LINES = 32
"""Lines that are multiplied at a time: larger products would be shared by threads, which takes longer than it saves."""


def _multiply(lines: Array, kernel: Array, out: Array) -> None:
    """Write lines (line, pixel) times a kernel (pixel, pixel of the block) to `out`."""
    if not is_numpy(lines):
        out[...] = lines @ kernel
        return
    whole = len(lines) // LINES * LINES
    out[:whole].reshape(-1, LINES, out.shape[1])[...] = lines[:whole].reshape(-1, LINES, lines.shape[1]) @ kernel
    out[whole:] = lines[whole:] @ kernel
