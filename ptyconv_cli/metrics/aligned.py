"""The aligned change: a change after removing the ambiguities that the data cannot constrain. Pure functions.

To first order each ambiguity of ptychography adds a known field to the change from one snapshot to the next. Every
function here fits those fields to the change by least squares, and returns the residual and the ambiguities removed.
Formulas: docs/metrics.md.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptyconv_cli.metrics import planes as on_cpu
from ptyconv_cli.metrics.arrays import Array, in_single, is_numpy, namespace, numbers, precise, products, total
from ptyconv_cli.metrics.framed import Framed
from ptyconv_cli.metrics.planes import (
    CHANGE,
    FACTOR,
    GRADIENT_X,
    GRADIENT_Y,
    OFFSET,
    OWN,
    RAMP_X,
    RAMP_Y,
    Planes,
    Residual,
)
from ptyconv_cli.results.run_analysis import RemovedAmbiguities

Matrix = NDArray[np.float64]

SMALLEST = 1e-12
"""A combination of fields that is weaker than this, relative to the strongest one, counts as 0.

The fields come from float32 numbers, whose rounding is about 1e-14 of this quadratic measure.
"""


@np.errstate(all="ignore")  # infinities give NaN, which is the right answer
def fit(products: Matrix, with_targets: Matrix, ties: Matrix | None = None) -> Matrix:
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


def fit_planes(products: Matrix, with_targets: Matrix, ties: Matrix | None = None) -> tuple[Matrix, Matrix, Matrix]:
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


def equal_sums(groups: int, members: int) -> Matrix | None:
    """Return the ties that make coefficients (groups · members) sum to the same in every group; None for one group."""
    if groups == 1:
        return None
    ties: Any = np.repeat(np.eye(groups), members, axis=1)
    return np.asarray(ties[1:] - ties[0])


def null_space(ties: Matrix) -> Matrix:
    """Return an orthonormal basis (fields, free combinations) of the coefficients that fulfil all ties."""
    _, sizes, directions = np.linalg.svd(ties)
    return np.asarray(directions[len(sizes) :].T)


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def align_object(
    current: Framed, previous: Framed, dx: float, chunk: int | None = None, square: float | None = None
) -> tuple[Residual, RemovedAmbiguities]:
    """Align the change of a phase in rad, or of 1 - amplitude in its own units, both in the frame of the run.

    `dx` in Å per px.

    Both lose a lateral shift that is common to all slices; the phase also loses a constant per slice and a linear ramp
    on the first slice; the amplitude a factor per slice, whose product over the slices is the same for every object
    mode. Only lit voxels count. About `chunk` voxels are worked on at a time. `square`: the sum of squares of the
    change as it is in files, of which a share is removed; None where that is the one in the frame.
    """
    (omodes, slices, *place), own = current.shape, current.own
    now, before = (in_single(one.values).reshape(-1, *place) for one in (current, previous))
    planes = Planes(own, now, before, slices, current.light)
    common = [GRADIENT_Y, GRADIENT_X, *([RAMP_Y, RAMP_X] if own == OFFSET else [])]
    sums, sample = _way(now).products(planes, chunk)
    in_units = _in_units(sums, current.units, previous.units) if own == FACTOR else sums
    of_fields = in_units[:, [OWN, *common]]
    ties = equal_sums(omodes, slices) if own == FACTOR else None
    of_slices, shared, _ = fit_planes(of_fields[:, :, [OWN, *common]], of_fields[:, :, [CHANGE]], ties)
    factors = dict(zip(common, shared[:, 0].tolist(), strict=True))
    of_change = float(sums[:, CHANGE, CHANGE].sum()) if square is None else square
    share = _share_of_planes(in_units, of_slices[:, 0], factors, previous.units, of_change)
    shift = _shift(2 * shared[:2, 0], dx)  # 2: of twice the gradients
    ratio = previous.units / current.units
    if own == FACTOR:
        own_fields = of_slices[:, 0] * ratio + ratio - 1
        left = Residual(planes, own_fields, factors, ratio, previous.units, sample)
        scale = (-own_fields).reshape(omodes, slices)  # of 1 - amplitude, whose change is minus that of the amplitude
        return left, RemovedAmbiguities(share, shift, scale=scale.tolist())
    left = Residual(planes, of_slices[:, 0], factors, ratio, previous.units, sample)
    ramp = (factors[RAMP_Y] / dx, factors[RAMP_X] / dx)
    return left, RemovedAmbiguities(share, shift, offset=of_slices.reshape(omodes, slices).tolist(), ramp=ramp)


def first_order_shift(current: Framed, previous: Framed) -> tuple[float, float]:
    """Return by how many px (y, x) the fit would move a part of an object, to first order and however far."""
    (_, slices, *place), own = current.shape, current.own
    now, before = (in_single(one.values).reshape(-1, *place) for one in (current, previous))
    planes = Planes(own, now, before, slices, current.light)
    fields = [OWN, GRADIENT_Y, GRADIENT_X, *([RAMP_Y, RAMP_X] if own == OFFSET else [])]
    sums = _way(now).products(planes, None).sums[:, fields]
    found = fit_planes(sums[:, :, fields], sums[:, :, [CHANGE]])[1]
    return _shift(2 * found[:2, 0], 1.0)


def _in_units(sums: Matrix, units: Matrix, units_before: Matrix) -> Matrix:
    """Return the products of fields and change (plane, 6, 6) of amplitudes a in units u: the change is a'/u' - a/u."""
    to_units = np.zeros_like(sums)
    for field in (OWN, GRADIENT_Y, GRADIENT_X):
        to_units[:, field, field] = 1 / units
    to_units[:, CHANGE, CHANGE] = 1 / units_before
    to_units[:, CHANGE, OWN] = 1 / units_before - 1 / units
    return np.asarray(to_units @ sums @ to_units.swapaxes(1, 2))


def _share_of_planes(in_units: Matrix, own: Matrix, common: Mapping[int, float], units: Matrix, square: float) -> float:
    """Return the share of a change's norm that was removed, from the products in units, and the `square` without."""
    left = np.zeros((len(own), in_units.shape[1]))
    left[:, CHANGE], left[:, OWN] = 1, -own
    for field, factor in common.items():
        left[:, field] = -factor
    return _share(float((np.einsum("pi,pij,pj->p", left, in_units, left) * units**2).sum()), square)


def whole(residual: Residual) -> Array:
    """Return what the fit leaves of an object's change, whole (plane, y, x)."""
    found: Array = _way(residual.planes.current).whole(residual)
    return found


def _way(array: Array) -> Any:
    """Return the module that goes over the planes of such an array."""
    if is_numpy(array):
        return on_cpu
    from ptyconv_cli.metrics import planes_gpu

    return planes_gpu


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def align_probe(current: Array, previous: Array, dx: float) -> tuple[Array, RemovedAmbiguities]:
    """Align the change of the probe intensity (y, x): normalize both intensities, and remove a lateral shift.

    The residual is that of intensities whose total is 1; NaN where one has no intensity. `dx`: pixel size in Å.
    """
    xp = namespace(current)
    current, previous = (xp.astype(array, precise(array)) for array in (current, previous))
    total, total_before = xp.sum(current), xp.sum(previous)
    now = current / total
    change, whole = now - previous / total_before, (current - previous) / total_before
    gradients = _gradient_y(now), _gradient_y(now.T).T
    rows = xp.stack([xp.reshape(array, (-1,)) for array in (*gradients, change, whole)])
    *squares, sum_now, sum_before = numbers([*xp.reshape(products(rows), (-1,)), total, total_before])
    sums = np.reshape(squares, (4, 4))
    factors = fit(sums[:2, :2], sums[:2, 2:3])[:, 0]
    left = change - float(factors[0]) * gradients[0] - float(factors[1]) * gradients[1]
    share = _share(sums[2, 2] - factors @ sums[:2, 2], sums[3, 3])
    scale = sum_now / sum_before - 1 if sum_before else math.nan
    return left, RemovedAmbiguities(share, _shift(factors, dx), scale=[[scale]])


def _gradient_y(values: Array) -> Array:
    """Return the gradient along y of values (y, x), per px, as numpy.gradient has it; 0 of a single row."""
    if values.shape[0] == 1:
        return namespace(values).zeros_like(values)
    inside = (values[2:, :] - values[:-2, :]) / 2
    return namespace(values).concat([values[1:2, :] - values[:1, :], inside, values[-1:, :] - values[-2:-1, :]])


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def align_positions(current: Array, previous: Array, dx: float) -> tuple[Array, RemovedAmbiguities]:
    """Align the change of positions (N, 2) in px, y first: remove the mean displacement; `dx` in Å per px."""
    xp = namespace(current)
    change = xp.astype(current - previous, precise(current))
    mean = xp.mean(change, axis=0)
    left = change - mean
    y, x, *squares = numbers([mean[0], mean[1], xp.sum(left * left), xp.sum(change * change)])
    return left, RemovedAmbiguities(_share(*squares), (dx * y, dx * x))


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def align_weights(current: Array, previous: Array) -> tuple[Array, RemovedAmbiguities]:
    """Align the change of the weights of modes (N, mode): remove what other modes, sums of these, explain.

    Modes P and weights w give the same probes as modes A⁻¹P and weights wA, of any A that can be inverted: the change
    is fitted by w times a matrix (mode, mode), which holds for changes of any size.
    """
    now = np.asarray(current, np.float64)
    change = now - np.asarray(previous, np.float64)
    left = change - now @ fit(now.T @ now, now.T @ change)
    return left, RemovedAmbiguities(_share(float((left * left).sum()), float((change * change).sum())))


def _shift(of_gradients: Array, dx: float) -> tuple[float, float]:
    """Return the shift (y, x) in Å from the coefficients of the gradients: a shift s is a change -s · gradient."""
    y, x = (-dx * of_gradients).tolist()
    return y, x


def _share(square_left: float, square: float) -> float:
    """Return the fraction of the change's norm that was removed, from the squared norms after and before."""
    if square == 0:
        return 0.0
    share = 1 - math.sqrt(max(square_left, 0.0) / square)
    return share if math.isnan(share) else max(share, 0.0)


@np.errstate(all="ignore")  # what is not finite gives NaN, which tells
def rms_displacement(displacements: Array, dx: float) -> float:
    """Return the RMS of displacements (N, 2) in px, in Å; `dx` in Å per px."""
    return dx * math.sqrt(float(total(displacements * displacements)) / len(displacements))


def explain_any_change(own: str, shape: Sequence[int]) -> bool:
    """Say whether the fields explain any change of an object (omode, slice, y, x), so that nothing would be left."""
    omodes, slices, height, width = shape
    values = np.random.default_rng(0).normal(size=(omodes, slices, height, width))  # of which all have the rank
    fields = np.stack([field.ravel() for field in _fields_of(own, values)])
    ties = equal_sums(omodes, slices) if own == FACTOR else None
    if ties is not None:
        fields = null_space(np.pad(ties, ((0, 0), (0, len(fields) - omodes * slices)))).T @ fields
    return bool(np.linalg.matrix_rank(fields) == math.prod(shape))


def _fields_of(own: str, values: Array) -> Iterator[Array]:
    """Yield the fields that are fitted to a change (omode, slice, y, x), those of the planes first."""
    for plane in np.ndindex(values.shape[:2]):
        field = np.zeros_like(values)
        field[plane] = 1 if own == OFFSET else values[plane]
        yield field
    for axis in (2, 3):
        if values.shape[axis] > 1:
            yield np.gradient(values, axis=axis)
        if own == OFFSET:
            ramp = np.zeros_like(values)
            ramp[:, 0] = np.indices(values.shape)[axis][:, 0]
            yield ramp
