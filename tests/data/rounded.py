"""Round the tensors of runs to what a judgement needs, so that many fit in the repository.

    python tests/data/rounded.py RUN OUT [ITERATION ...]

Copies HDF5 checkpoints (any engine's; in other folders of the run, too), and rounds objects and probes to between a
300th and a 600th of their RMS about the mean, so that changes are right to 0.15 % of it. Objects are 0 where they are
more than 8 px from the scanned region. What is smaller, and other files, stay as they are. Of files with an iteration
in their names only the given ones, by default all.
"""

import re
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np

from ptyconv_cli.checkpoints.headers import read_header
from ptyconv_cli.checkpoints.opening import snapshots_in
from ptyconv_cli.quantities import of_object
from ptyconv_cli.results.run_analysis import scanned_region

STEPS = 300
"""Per RMS about the mean, at least."""

MARGIN = 8
"""Pixels around the scanned region that are kept."""

SMALL = 1000
"""Numbers that are not worth rounding."""


def rounded(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    spread = float(np.sqrt(np.mean(abs(finite - finite.mean()) ** 2))) if finite.size else 0.0
    if not spread:
        return values
    step = 2.0 ** np.floor(np.log2(spread / STEPS))  # a power of two, so that the last bits are zeros
    if np.iscomplexobj(values):
        found = (np.round(values.real / step) + 1j * np.round(values.imag / step)) * step
    else:
        found = np.round(values / step) * step
    return found.astype(values.dtype)


def is_large(item: h5py.Dataset) -> bool:
    positions = item.ndim == 2 and min(item.shape) <= 3
    return item.dtype.kind in "fc" and item.ndim >= 2 and item.size >= SMALL and not positions


def region_in(path: Path) -> tuple[tuple[int, ...], tuple[slice, slice]]:
    """The shape (y, x) of a file's object, and the part of it that is kept."""
    header = read_header(snapshots_in(path)[-1], of_object())
    shape = next(header.shapes[name][-2:] for name in of_object() if name in header.shapes)
    region = scanned_region(header.crop_pos, header.probe_shape).within(shape).moved((0, 0), MARGIN).inside(shape)
    return shape, region.slices[1:]


def without_margin(values: np.ndarray, shape: tuple[int, ...], kept: tuple[slice, slice]) -> np.ndarray:
    if values.shape[-2:] != shape:
        return values
    found = np.zeros_like(values)
    found[(..., *kept)] = values[(..., *kept)]
    return found


def copy(source: h5py.Group, target: h5py.Group, shape: tuple[int, ...], kept: tuple[slice, slice]) -> None:
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if name == "convergence_iters":  # the engine's record of changes is of what was not rounded
            continue
        if isinstance(item, h5py.Group):
            copy(item, target.create_group(name), shape, kept)
        elif is_large(item):
            values = without_margin(rounded(item[()]), shape, kept)
            made = target.create_dataset(name, data=values, shuffle=True, compression="gzip", compression_opts=9)
            made.attrs.update(item.attrs)
        elif item.size and item.size > SMALL and item.dtype.kind in "fiu":
            made = target.create_dataset(name, data=item[()], shuffle=True, compression="gzip", compression_opts=9)
            made.attrs.update(item.attrs)
        else:
            source.copy(item, target, name)


def main(run: Path, out: Path, wanted: set[int]) -> None:
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        digits = re.findall(r"\d+", path.stem)
        if wanted and digits and int(digits[-1]) not in wanted:
            continue
        target = out / path.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        if h5py.is_hdf5(path):
            shape, kept = region_in(path)
            with h5py.File(path) as file, h5py.File(target, "w") as made:
                copy(file, made, shape, kept)
        else:
            shutil.copyfile(path, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), {int(one) for one in sys.argv[3:]})
