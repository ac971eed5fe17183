"""In what runs differ that are compared in a picture: learning rates, data, slices. As words."""

from collections.abc import Mapping

from ptyconv_cli.pictures.words import listed, name_of
from ptyconv_cli.results.history import Curve
from ptyconv_cli.results.refined import never_refined
from ptyconv_cli.results.run_analysis import Results
from ptyconv_cli.results.series import OF_OBJECT

MOST_VALUES = 4
"""Different values that are listed."""


def rates_that_differ(runs: Mapping[str, Results]) -> dict[str, str]:
    """Return what to say of each run's learning rates, by label: of those that differ, "" where none do."""
    rates = {label: _rates(run) for label, run in runs.items()}
    first = next(iter(rates.values()), {})
    shared = [tensor for tensor in first if all(tensor in found for found in rates.values())]
    differing = [tensor for tensor in shared if len({found[tensor] for found in rates.values()}) > 1]
    said = {}
    for label, found in rates.items():
        texts = [found[tensor] for tensor in differing]
        if differing == shared and len(set(texts)) == 1:
            said[label] = f"learning rate {texts[0]}"
        else:
            each = [f"{name_of(tensor)} {text}" for tensor, text in zip(differing, texts, strict=True)]
            said[label] = f"learning rate: {listed(each)}" if each else ""
    return said


def _rates(run: Results) -> dict[str, str]:
    found, fixed = run.engine.learning_rates if run.engine else {}, never_refined(run.points, run.dx)
    return {tensor: "not refined" if tensor in fixed else _rate(curve) for tensor, curve in found.items() if curve}


def _rate(curve: Curve) -> str:
    first, last = (f"{value:.3g}" for _, value in (curve[0], curve[-1]))
    return first if first == last else f"{first} to {last}"


def data_that_differ(runs: Mapping[str, Results], *, with_losses: bool) -> str:
    """Return a sentence on sizes that differ, and `with_losses` what follows for these; "" where none are known to."""
    differing = []
    for what in ("slices", "scan positions", "probe modes", "object modes", "probe size", "object size"):
        known = [sizes[what] for sizes in map(_sizes, runs.values()) if what in sizes]
        values = list(dict.fromkeys(known))
        if len(values) > 1:
            differing.append(f"{what} ({listed(values, MOST_VALUES)})")
    so = ": their losses are not comparable" if with_losses else ""
    return f"The runs differ in {listed(differing)}{so}." if differing else ""


def _sizes(run: Results) -> dict[str, str]:
    """Return the sizes that are known of a run's last checkpoint, each by its name."""
    shapes = run.shapes
    of_object = next((shapes[name] for name in OF_OBJECT if name in shapes), ())
    of_probe, of_positions = shapes.get("probe", ()), shapes.get("probe_pos_shifts", ())
    found = {}
    if len(of_object) == 4:
        modes, slices, height, width = of_object
        found = {"slices": str(slices), "object modes": str(modes), "object size": f"{height} × {width} px"}
    if len(of_probe) == 3:
        modes, height, width = of_probe
        found |= {"probe modes": str(modes), "probe size": f"{height} × {width} px"}
    return found | ({"scan positions": str(of_positions[0])} if of_positions else {})
