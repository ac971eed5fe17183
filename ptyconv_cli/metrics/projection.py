"""The least-squares fit of a change by a few known fields, from their products (sums over the voxels) alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMALLEST = 1e-12
"""A combination of fields that is weaker than this, relative to the strongest one, counts as 0.

The fields come from float32 numbers, whose rounding is about 1e-14 of this quadratic measure.
"""


@np.errstate(all="ignore")  # infinities give NaN, which is the right answer
def fit(products: Array, with_targets: Array, ties: Array | None = None) -> Array:
    """Return the least-squares coefficients (fields, targets) of the fields for each target.

    `products` (fields, fields) of the fields with each other, `with_targets` (fields, targets) of the fields with the
    targets; `ties` (conditions, fields): linear combinations of coefficients that must be 0. A field that vanishes gets
    0; where fields depend on each other, the smallest coefficients are returned. NaN where a product is not finite.
    """
    if not np.isfinite(products).all():
        return np.full_like(with_targets, np.nan)
    free = np.eye(len(products)) if ties is None else null_space(ties)
    products, with_targets = free.T @ products @ free, free.T @ with_targets
    sizes = np.sqrt(np.maximum(np.diag(products), 0))[:, None]
    sizes[sizes == 0] = 1  # a field that vanishes; its products are 0
    strengths, combinations = np.linalg.eigh(products / (sizes * sizes.T))
    counted = strengths > SMALLEST * strengths.max(initial=0)
    combinations, strengths = combinations[:, counted], strengths[counted, None]
    return np.asarray(free @ (combinations @ (combinations.T @ (with_targets / sizes) / strengths) / sizes))


def fit_planes(products: Array, with_targets: Array, ties: Array | None = None) -> tuple[Array, Array, Array]:
    """Fit targets that consist of planes: field 0 has a coefficient of its own for each plane, the others are common.

    `products` (planes, fields, fields) and `with_targets` (planes, fields, targets) are sums over one plane each;
    `ties` (conditions, planes) as of `fit`, for the coefficients of field 0.

    Returns the coefficients of the planes' own fields (planes, targets), those of the common fields (fields - 1,
    targets), and how much of each target's square the fit explains (targets).
    """
    planes, fields = products.shape[:2]
    whole = np.zeros((planes + fields - 1,) * 2)
    whole[:planes, :planes] = np.diag(products[:, 0, 0])
    whole[:planes, planes:] = products[:, 0, 1:]
    whole[planes:, :planes] = products[:, 0, 1:].T
    whole[planes:, planes:] = products[:, 1:, 1:].sum(0)
    right = np.concatenate([with_targets[:, 0], with_targets[:, 1:].sum(0)])
    if ties is not None:
        ties = np.pad(ties, ((0, 0), (0, fields - 1)))
    found = fit(whole, right, ties)
    return found[:planes], found[planes:], (right * found).sum(0)


def equal_sums(groups: int, members: int) -> Array | None:
    """Return the ties that make coefficients (groups · members) sum to the same in every group; None for one group."""
    if groups == 1:
        return None
    ties: Any = np.repeat(np.eye(groups), members, axis=1)
    return np.asarray(ties[1:] - ties[0])


def null_space(ties: Array) -> Array:
    """Return an orthonormal basis (fields, free combinations) of the coefficients that fulfil all ties."""
    _, sizes, directions = np.linalg.svd(ties)
    return np.asarray(directions[len(sizes) :].T)
