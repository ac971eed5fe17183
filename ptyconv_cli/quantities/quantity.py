"""What there is to know of a quantity, with what holds for most: the other modules of this folder say what differs.

To add one, see docs/development.md. Loads neither torch nor numpy, so that `--help` and `plot` are quick: what computes
is imported where it is called.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptyconv_cli.results.history import Curve, EngineHistories
from ptyconv_cli.results.run_analysis import Change, Region, RemovedAmbiguities
from ptyconv_cli.results.text import length_unit

if TYPE_CHECKING:
    from ptyconv_cli.metrics.arrays import Array
    from ptyconv_cli.metrics.sketch import Distances, Places, Sketch, Values
    from ptyconv_cli.metrics.snapshot import Pair

CONTRAST, PIXELS, MRAD = "%", "px", "mrad"
"""The units that a change per doubling is given in."""

ANGSTROM = "Å"

AS_MUCH = 3.0
"""The factor of a quantity's last change per doubling within which the next one lies: docs/verdict.md."""

IMAGES, INTENSITY, ARROWS = "images", "intensity", "arrows"
"""How a quantity is drawn in maps and on pages: its slices, its intensity, or where each position went."""


@dataclass(frozen=True)
class Series:
    """One series of changes between consecutive checkpoints, or snapshots of a live model.

    `key` is its name in `convergence_iters`, `tensor` the key of the quantity that it is of, `label` its name for
    people, `unit` its unit ("" where it has none) and `mask` the voxels that it averages over ("background",
    "foreground", or "" where there is no mask).
    """

    key: str
    tensor: str
    label: str
    unit: str
    mask: str = ""


class Quantity:
    """Something of a run that is followed and judged. What a class does not say of itself is as here.

    Names:

    - `key`, as PtyRAD has it; `label` for people, which may be `plural`; `short_names` that users may type instead.
    - `engine_key`: under which engines record its learning rate, "" for the key; `rate_label`: the head of that in a
      table of studies.

    Judging:

    - `unit` of its change per doubling, default `tolerance` in that unit, `of`: what 100 % are, "" for another unit.
    - `forecast`: the factor of the last change per doubling within which the next one lay in 90 % of the moments of
      every engine, None where that was not tried.
    - `is_object`: whether it is the object's, by which a run is judged first. `own`: what is ambiguous of each slice of
      that (see `metrics.planes`). `ambiguity`: what is removed from its change, where no numbers say that.

    Tensors, which checkpoints hold:

    - `axes`, none of what an engine's record alone has; `is_complex`; `is_optional`: whether most runs have none.
    - `wraps`: whether some engines know it only up to full turns; `has_total`: whether it is an intensity, which may
      vanish; `stored_if_fixed`: whether files may hold it where it is not refined.
    - `on_host`: whether there are so few numbers that a GPU is not worth it; `by_rows`: whether what counts as a voxel
      is all that a tensor (N, n) holds of one of N.
    - `series_unit` and `series_label` of its changes, `distance_unit` of the distances between checkpoints; "" for no
      unit, the `label`, and the unit of the changes.

    Pictures:

    - `drawn_as`, "" where nothing is to be seen of it; `in_first_row`: of the dashboard.
    - `image_title`, `change_title`: of an image of it, and of its change; `map_values`, `profile_values`: what the
      numbers of a map and of a profile are; `values_unit` of these; `over_slices`: whether an image of all slices is
      their "sum" or "mean"; `page_shares`: of a page's room, for images of all of it, and of single slices or modes.
    """

    key = label = engine_key = rate_label = ""
    plural = False
    short_names: tuple[str, ...] = ()

    unit, tolerance, of = CONTRAST, 5.0, "of itself"
    forecast: float | None = None
    is_object = False
    own = ""
    ambiguity = "nothing: it has no ambiguities"

    axes: tuple[str, ...] = ()
    is_complex = is_optional = wraps = has_total = stored_if_fixed = on_host = by_rows = False
    series_unit = series_label = distance_unit = ""

    drawn_as = image_title = change_title = map_values = profile_values = values_unit = over_slices = ""
    in_first_row = False
    page_shares = (1, 1)

    # Names

    @property
    def title(self) -> str:
        """Its label at the beginning of a line."""
        return f"{self.label[0].upper()}{self.label[1:]}"

    @property
    def recorded_as(self) -> str:
        """The name under which engines record its learning rate, and from when to when it is optimised."""
        return self.engine_key or self.key

    @property
    def names(self) -> tuple[str, ...]:
        """All names that users may type."""
        return (self.key, *self.short_names)

    @property
    def series(self) -> tuple[Series, ...]:
        """The series of its changes; none of what is judged by the engine's record."""
        return (Series(self.key, self.key, self.series_label or self.label, self.series_unit),) if self.axes else ()

    # From checkpoints and models to numbers

    def of_model(self, model: Any) -> Any:
        """Return its tensor in a live model (see `metrics.snapshot.Model`); raise ValueError where it has none."""
        if self.key not in model.optimizable_tensors:
            has = ", ".join(model.optimizable_tensors)
            raise ValueError(f"the model has no tensor {self.key}; it has {has}")
        return model.optimizable_tensors[self.key]

    def is_in(self, model: Any) -> bool:
        """Say whether a live model has it, or must have it: where nothing is asked for, it is followed then."""
        return not self.is_optional or self.key in model.optimizable_tensors

    def problem(self, tensor: Any) -> str:
        """Say what is wrong with a tensor of a live model, which nothing has checked, "" for nothing."""
        if not hasattr(tensor, "detach"):
            return f"expected a tensor, found a {type(tensor).__name__}"
        if tensor.is_meta:
            return "has no numbers (it is on the device meta)"
        kind = str(tensor.dtype).removeprefix("torch.")
        if kind == "bool" or tensor.is_complex() != self.is_complex:
            return f"expected {'complex' if self.is_complex else 'real'} numbers, found {kind}"
        shape = tuple(tensor.shape)
        fits = len(shape) == len(self.axes) and 0 not in shape and (self.axes[-1] != "2" or shape[-1] == 2)
        return "" if fits else f"expected ({', '.join(self.axes)}), found {shape}"

    def copied(self, array: "Array") -> "Array":
        """Return what is compared of a live tensor, in memory of its own."""
        from ptyconv_cli.metrics.snapshot import copied

        return copied(array)

    def prepared(self, array: "Array") -> "Array":
        """Return what is compared of a tensor that was read, whose memory may be used."""
        return array

    def shape_compared(self, shape: Sequence[int], region: Region) -> tuple[int, ...]:
        """Return the shape of what is compared of a tensor of this shape; ValueError where the region is empty."""
        return region.shape_in(shape) if self.is_object else tuple(shape)

    def size_of(self, rms: float, dx: float) -> float:
        """Return the size of its values, by which rounding is known; `rms` of what is compared, `dx` in Å."""
        return rms

    def size_in_frame(self, rms: float, mean: float, dx: float) -> float:
        """Return the size of its values in the unit of the aligned distances; `mean` of all values, if known."""
        return self.size_of(rms, dx)

    def size_of_changes(self, dx: float) -> float:
        """Return the size of the values that its raw changes are relative to, by which rounding is known."""
        return 1.0

    def sizes(self, shape: Sequence[int]) -> dict[str, str]:
        """Return what its shape says of a run in words, by name, as {"slices": "20"}."""
        return {}

    def as_image(self, image: Any, lit: Any = None) -> Any:
        """Return an image (y, x) of what is compared as people look at it; `lit` by the scan (y, x), None for all."""
        return image

    def as_image_of_change(self, image: Any) -> Any:
        """Return an image (y, x) of a change of what is compared as people look at it."""
        return image

    # Changes

    def changes(self, pair: "Pair") -> dict[str, Change]:
        """Return the changes of its series between two snapshots, by key.

        The aligned ones are NaN where there is too little to align.
        """
        import numpy as np

        with np.errstate(all="ignore"):  # what is not finite gives NaN, which tells
            if pair.in_frame and self.too_few_to_align(pair.now.shape):
                found = self.changed(pair._replace(in_frame=None))
                return {key: change._replace(aligned=math.nan) for key, change in found.items()}
            return self.changed(pair)

    def changed(self, pair: "Pair") -> dict[str, Change]:
        """Return the changes as `changes` does, of what can be aligned: by default the RMS, of which all counts."""
        from ptyconv_cli.metrics.arrays import rms

        change = rms(pair.now - pair.before)
        return {self.key: Change(change, None, *((change, RemovedAmbiguities(0.0)) if pair.in_frame else ()))}

    def framed(self, values: "Array", in_frame: Any = None, lit: Any = None) -> Any:
        """Return what is aligned of a tensor: as it is `in_frame`, by default as it is; `lit` by the scan (y, x)."""
        return values if in_frame is None else in_frame

    def too_few_to_align(self, shape: Sequence[int]) -> bool:
        """Say whether its ambiguities explain any change of it, so that an aligned one would always be 0.

        `shape` of what is compared, as of `shape_compared`.
        """
        return False

    def strength(self, places: "Places", sketch: "Sketch") -> float:
        """Return by which factor it bears on the intensity behind the object, which may vanish; NaN of others.

        Of all quantities that have one, the product knows no scale that goes from one to another.
        """
        return math.nan

    def contrast(self, values: Any) -> float | None:
        """Return what its change is measured by, of a tensor as `framed`; None where that is the size of a pixel."""
        from ptyconv_cli.metrics.arrays import numbers

        moments = self.moments(values)
        return self.contrast_of(values, numbers(moments)) if moments else None

    def moments(self, values: Any) -> "list[Array]":
        """Return of what numbers the contrast is, where the values are; none where it is the size of a pixel."""
        from ptyconv_cli.metrics.arrays import namespace, precise, total

        values = namespace(values).astype(values, precise(values))
        return [total(values * values)]

    def contrast_of(self, values: Any, moments: Sequence[float]) -> float:
        """Return the contrast of a tensor, whose `moments` are known."""
        return math.sqrt(moments[0] / math.prod(values.shape))

    # Distances between checkpoints, of some of the numbers

    def places(self, shape: Sequence[int], lit: Any = None) -> "Places":
        """Return at which places it is sketched; `shape` as of `shape_compared`, `lit` by the scan (y, x)."""
        from ptyconv_cli.metrics.sketch import Places

        return Places(tuple(shape), rows=self.by_rows)

    def distances(self, places: "Places", later: "Sketch", earlier: "Sequence[Values]", dx: float) -> "Distances":
        """Return its RMS distances from earlier snapshots; `dx` in Å per px.

        The aligned ones are NaN where there is too little to align.
        """
        import numpy as np

        from ptyconv_cli.metrics.sketch import Distances

        if not earlier:
            return Distances([], [])
        with np.errstate(all="ignore"):  # a distance from what is not finite is a NaN that tells, not an accident
            found = self.distances_between(places, later, earlier, dx)
        unknown = [math.nan] * len(earlier)
        return found._replace(aligned=unknown) if self.too_few_to_align(places.shape) else found

    def distances_between(
        self, places: "Places", later: "Sketch", earlier: "Sequence[Values]", dx: float
    ) -> "Distances":
        """Return the distances as `distances` does, of what can be aligned: by default, of which all counts."""
        from ptyconv_cli.metrics.sketch import Distances, differences

        found = differences(later, earlier)
        return Distances(found, found)

    def scale_of_raw(self, total: float, voxels: int) -> float:
        """Return what raw distances are divided by to be shown; `total` over all voxels of the last checkpoint."""
        return 1.0

    # What only the engine's record has

    def curves(self, engine: EngineHistories) -> list[Curve]:
        """Return the curves by which it is judged, none of a tensor, or where nothing was recorded."""
        return []

    def contrast_of_curves(self, curves: Sequence[Curve], last: int) -> float:
        """Return what a change of the curves up to iteration `last` is measured by."""
        return 1.0

    def recorded(self, engine: EngineHistories) -> tuple[str, dict[str, Curve]]:
        """Return the label of the axis and the curves that its panel shows of the engine's record, by label."""
        return "", {}


def is_constant(curve: Curve) -> bool:
    """Say whether all values of a curve are the same but for rounding."""
    values = [value for _, value in curve]
    return not values or within_rounding((value - values[0]) / (abs(values[0]) or 1) for value in values)


ROUNDING = 3e-7
"""Of a value's size: what float32, with 6e-8 for one rounding, makes of a value that stays as it is."""


def within_rounding(changes: Any, scale: float = 1.0) -> bool:
    """Say whether changes of values whose size is `scale` are all rounding; False of none at all, and of a NaN."""
    sizes = [abs(change) for change in changes]
    return bool(sizes) and all(math.isfinite(size) and size <= ROUNDING * scale for size in sizes)


def in_unit_of_length(curves: Mapping[str, Curve]) -> tuple[str, dict[str, Curve]]:
    """Return curves in Å in the unit that suits them, and its name."""
    size, unit = length_unit(max((at for curve in curves.values() for _, at in curve), default=0.0))
    return unit, {label: [(niter, at / size) for niter, at in curve] for label, curve in curves.items()}
