"""The aligned change in float64 with explicit fields and a dense least-squares solver: slow, and got another way."""

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


def residual(change: np.ndarray, fields: list[np.ndarray]) -> np.ndarray:
    if not fields:
        return change
    basis = np.stack([field.ravel() for field in fields], 1)
    found = np.linalg.lstsq(basis, change.ravel(), rcond=None)[0]
    return change - (basis @ found).reshape(change.shape)


def difference(name: str, current: np.ndarray, previous: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The change of what is aligned, and its fields."""
    if name == "probe":
        current, previous = current / current.sum(), previous / previous.sum()
    if name == "probe_pos_shifts":
        columns = [np.zeros(current.shape), np.zeros(current.shape)]
        columns[0][:, 0], columns[1][:, 1] = 1, 1
        return current - previous, columns
    return current - previous, fields_of(name, current)


def aligned_change(
    name: str, current: np.ndarray, previous: np.ndarray, dx: float, percentiles=(15, 85)
) -> dict[str, float]:
    """The aligned values of a tensor's series: of 1 - amplitude, phase, intensity or positions as float64 arrays."""
    left = np.abs(residual(*difference(name, current, previous)))
    if name == "probe":
        return {name: left.sum()}
    if name == "probe_pos_shifts":
        return {name: dx * np.sqrt((left**2).sum(-1).mean())}
    low, high = np.percentile(current, percentiles)
    masks = {f"{name}_bg": current < low, f"{name}_fg": current > high}
    return {key: left[mask].mean() if mask.any() else 0.0 for key, mask in masks.items()}
