"""The aligned change in float64 with explicit fields and a dense least-squares solver: slow, and got another way.

Wherever nothing was moved: in the frame of the run a phase has neither ramp nor offsets, and an amplitude its own unit.
`lit` (y, x): the voxels of an object that count, None for all.
"""

import numpy as np


def fields_of(name: str, tensor: np.ndarray) -> list[np.ndarray]:
    """Every field that an ambiguity adds to the change of a tensor, as arrays like it; the gradients come last."""
    fields = []
    if name == "objp":
        omodes, slices, height, width = tensor.shape
        for omode, level in np.ndindex(omodes, slices):
            fields.append(np.zeros(tensor.shape))
            fields[-1][omode, level] = 1
        for ramp in (np.arange(height)[:, None] + 0 * np.arange(width), 0 * np.arange(height)[:, None] + range(width)):
            fields.append(np.zeros(tensor.shape))
            fields[-1][:, 0] = ramp
    if name == "obja":
        fields += amplitude_fields(1 - tensor)
    for axis in (-2, -1):
        if tensor.shape[axis] > 1:
            fields.append(np.gradient(tensor, axis=axis))
    return fields


def amplitude_fields(amplitude: np.ndarray) -> list[np.ndarray]:
    """Fields that factors of slices add, when their sum over the slices is the same for all object modes.

    A basis of such coefficients, written out: 1 on the first slice of every mode, and for each other slice of each mode
    1 on it and -1 on the first slice of the same mode.
    """
    omodes, slices = amplitude.shape[:2]
    coefficients = [np.zeros((omodes, slices))]
    coefficients[0][:, 0] = 1
    for omode in range(omodes):
        for level in range(1, slices):
            coefficients.append(np.zeros((omodes, slices)))
            coefficients[-1][omode, level], coefficients[-1][omode, 0] = 1, -1
    return [of_slice[..., None, None] * amplitude for of_slice in coefficients]


def residual(change: np.ndarray, fields: list[np.ndarray], lit: np.ndarray | None = None) -> np.ndarray:
    """What is left of a change, everywhere, of fields that are fitted where it is lit."""
    if not fields:
        return change
    counts = np.ones(change.shape, bool) if lit is None else np.broadcast_to(lit, change.shape)
    basis = np.stack([field.ravel() for field in fields], 1)
    found = np.linalg.lstsq(basis[counts.ravel()], change[counts], rcond=None)[0]
    return change - (basis @ found).reshape(change.shape)


def units_of(amplitude: np.ndarray, lit: np.ndarray | None = None) -> np.ndarray:
    """What the amplitude of each plane is measured in (omode, slice, 1, 1): its mean.

    But object modes are weighed against each other: the product of the slices' units is that of the mean mode.
    """
    lit = np.ones(amplitude.shape[-2:], bool) if lit is None else lit
    found = np.array([[plane[lit].mean() for plane in of_mode] for of_mode in amplitude])
    whole = np.mean([np.prod(of_mode) for of_mode in found])
    for of_mode in found:
        each = np.exp((np.log(abs(whole)) - np.log(abs(of_mode)).sum()) / len(of_mode))
        of_mode *= each
    return np.where(found > 0, found, 1)[..., None, None]


def in_frame(name: str, tensor: np.ndarray, lit: np.ndarray | None = None) -> np.ndarray:
    """A phase, or 1 - amplitude, as the masks of the aligned change see it."""
    if name == "objp":
        fields, gradients = fields_of(name, tensor), sum(size > 1 for size in tensor.shape[-2:])
        return residual(tensor, fields[: len(fields) - gradients], lit)
    return 1 - (1 - tensor) / units_of(1 - tensor, lit)


def difference(
    name: str, current: np.ndarray, previous: np.ndarray, lit: np.ndarray | None = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The change of what is aligned, and its fields."""
    if name == "probe":
        current, previous = current / current.sum(), previous / previous.sum()
    if name == "obja":
        current, previous = (in_frame(name, tensor, lit) for tensor in (current, previous))
    if name == "probe_pos_shifts":
        columns = [np.zeros(current.shape), np.zeros(current.shape)]
        columns[0][:, 0], columns[1][:, 1] = 1, 1
        return current - previous, columns
    return current - previous, fields_of(name, current)


def aligned_change(
    name: str,
    current: np.ndarray,
    previous: np.ndarray,
    dx: float,
    percentiles=(15, 85),
    lit: np.ndarray | None = None,
) -> dict[str, float]:
    """The aligned values of a tensor's series: of 1 - amplitude, phase, intensity or positions as float64 arrays."""
    if name == "probe":
        return {name: np.abs(residual(*difference(name, current, previous))).sum()}
    if name == "probe_pos_shifts":
        left = residual(*difference(name, current, previous))
        return {name: dx * np.sqrt((left**2).sum(-1).mean())}
    lit = np.ones(current.shape[-2:], bool) if lit is None else lit
    left = np.abs(residual(*difference(name, current, previous, lit), lit))[..., lit]
    values = in_frame(name, current, lit)[..., lit]
    low, high = np.percentile(values, percentiles)
    masks = {f"{name}_bg": values < low, f"{name}_fg": values > high}
    return {key: left[mask].mean() if mask.any() else 0.0 for key, mask in masks.items()}
