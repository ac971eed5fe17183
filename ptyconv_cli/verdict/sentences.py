"""The verdict in words: one sentence a quantity, and what to do."""

import math

from ptyconv_cli.results.doublings import QUANTITY, Doubling, Doublings

MORE, MUCH_MORE = 1.25, 1.75
"""Times the change of the doubling before from which on the words say so."""


def amount(key: str, relative: float) -> str:
    """Return a change of a quantity with its unit and what it is measured by, as "23 % of the object's contrast"."""
    quantity = QUANTITY[key]
    return " ".join(filter(None, [short_amount(key, relative), quantity.of]))


def short_amount(key: str, relative: float) -> str:
    """Return a change of a quantity with its unit alone, as "23 %" or "0.35 px"."""
    return f"{rounded(relative)} {QUANTITY[key].unit}"


def rounded(number: float) -> str:
    """Return a number with two digits, as people read it: 0.35, 3.4, 23, 230; < 0.01 for what is less."""
    if not math.isfinite(number):
        return "?"
    if abs(number) < 0.01:
        return "0" if number == 0 else "< 0.01"
    digits = 0 if abs(number) >= 9.95 else 1 if abs(number) >= 0.995 else 2
    return f"{number:.{digits}f}".removesuffix(".0")


def of_quantity(key: str, found: Doublings) -> str:
    """Say what became of a quantity that has not converged, over the last doubling."""
    label = QUANTITY[key].label
    if found.state == "broken":
        return f"the {label} {found.reason} since iteration {found.since}."
    if found.too_few:
        return f"there is too little of the {label} to align, and nothing else to judge by."
    if found.state == "insufficient":
        return "too early to tell: it takes checkpoints at about a quarter, half and all of the iterations."
    last = found.points[-1]
    if found.state == "jittering":
        return f"since iteration {last.since} the {label} jitters about a point, by {amount(key, found.size or 0.0)}."
    changed = f"{interval(last)} the {label} changed by {amount(key, last.relative)}"
    if found.state == "step-limited":
        return f"{changed}, and less than before only because its learning rate fell."
    return f"{changed}, {_compared(key, found)}{_outlook(key, found)}."


def interval(last: Doubling) -> str:
    """Return from where to where a change is."""
    return f"from iteration {last.since} to {last.niter}"


def _compared(key: str, found: Doublings) -> str:
    how = "more than" if found.growth > MORE else "about as much as" if found.state == "drifting" else "less than"
    before = found.points[-1].relative / found.growth if found.growth else math.nan
    return f"{how} over the doubling before ({short_amount(key, before)})"


def _outlook(key: str, found: Doublings) -> str:
    """Say when it will be within the tolerance, or, of what drifts, when it was quietest."""
    if found.reaches is not None:
        return f"; at this pace within {short_amount(key, found.tolerance)} by iteration {found.reaches}"
    if found.state == "drifting" and found.quietest and moved_away(found):
        return f"; quietest at {found.quietest.niter} ({short_amount(key, found.quietest.relative)})"
    return ""


def moved_away(found: Doublings) -> bool:
    """Say whether a quantity changes clearly more now than where it was quietest."""
    return found.quietest is not None and found.points[-1].relative > MORE * found.quietest.relative


def of_driver(key: str, found: Doublings) -> str:
    """Say how much more another quantity moved than before, which may be what moves the object."""
    label = QUANTITY[key].label
    begin = label.capitalize() if key == "probe_pos_shifts" else f"The {label}"
    verb = "moved" if key == "probe_pos_shifts" else "changed"
    return f"{begin} {verb} by {amount(key, found.points[-1].relative)}, {_times(found.growth)} before."


def of_step_limited(keys: list[str]) -> str:
    """Say which quantities change less only because their learning rates fell."""
    labels = " and ".join(QUANTITY[key].label for key in keys)
    return f"The {labels} only followed the learning rate, which fell."


def _times(growth: float) -> str:
    if growth < MORE:
        return "about as much as"
    if growth < MUCH_MORE or growth > 100:
        return "more than" if growth > 100 else f"{growth:.1f} times as much as"
    return "twice as much as" if growth < 2.5 else f"{growth:.0f} times as much as"


def of_converged(quantities: dict[str, Doublings]) -> str:
    """Say by how much the last doubling changed each quantity of a run that has converged."""
    moved = {key: found for key, found in quantities.items() if found.points}
    parts = [f"{QUANTITY[key].label} by {short_amount(key, found.points[-1].relative)}" for key, found in moved.items()]
    listed = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    return f"{interval(next(iter(moved.values())).points[-1])} it changed no more than tolerated: {listed}."


def advice(state: str, key: str, found: Doublings, drivers: list[str]) -> str:
    """Say in one line what to do about a run."""
    label = QUANTITY[key].label
    if state == "converged":
        return "stop, if the result is right: it no longer changes, which does not say that it is correct"
    if state == "broken":
        return f"stop: start again from a checkpoint before iteration {found.since}, with a smaller learning rate"
    if found.too_few:
        return "look at the raw changes: analyze -v prints them"
    if state == "insufficient":
        return "continue, and ask again after about twice the iterations"
    if state == "jittering":
        return f"lower the learning rate of the {label}: more iterations alone will not calm it"
    if state == "step-limited":
        return f"continue with a constant learning rate: as it is, the {label} merely moves in smaller steps"
    if drivers:
        driver = QUANTITY[drivers[0]].label
        quiet = f" from iteration {found.quietest.niter} on" if found.quietest and moved_away(found) else ""
        return f"look at the learning rate of the {driver}: lower it, or keep the {driver} fixed{quiet}"
    if state == "converging" and found.reaches is not None:
        return f"continue: about {found.reaches - found.points[-1].niter} more iterations"
    if state == "converging":
        return "continue only with a larger learning rate: at this pace it takes too long"
    if found.quietest and moved_away(found):
        return f"stop: compare with the checkpoint of iteration {found.quietest.niter}, and lower the learning rate"
    return "stop, or change the settings: more iterations will move it as much again"
