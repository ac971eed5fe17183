"""The picture of Fourier ring correlations over the iterations."""

import math

import numpy as np

from ptyconv_cli.pictures.drawing import (
    FEW,
    STYLES,
    ShortNumbers,
    picture,
    set_iteration_ticks,
    set_linear,
    titles_height,
    write_instead,
    write_titles,
)
from ptyconv_cli.pictures.mpl import Axes, Figure, LogNorm, MaxNLocator, colormaps, the_same_for_everyone
from ptyconv_cli.results.frc import Frc, some_of

WIDTH, PANELS = 11.0, 5.3
"""Inches of the picture's width, and of the height of its panels with their labels."""

MOST_CURVES = 24
"""Curves that can be told apart; of more points some are drawn, spread evenly over the logarithm of the iteration."""

COLOURS = "viridis"

HALVES = "Of each iteration and the one at half of it. High: what is there at half of the iterations stays."

RUNS = "Of two runs at the same iteration. Falling: what they find from then on is not reproducible."

ONE_PICTURE = "Of one picture and each iteration of a run."

PAIR = "Of two pictures."


@the_same_for_everyone
def draw_frc(frc: Frc, file_format: str) -> bytes:
    """Return the picture in `file_format` (png, pdf or svg): the curves; resolution and area over the iterations."""
    lines = [" ".join(frc.answer), _caption(frc)]
    above = titles_height(WIDTH, lines) + 0.55
    height = above + PANELS
    figure = Figure(figsize=(WIDTH, height), dpi=120)
    write_titles(figure, " and ".join(frc.names), f": Fourier ring correlation, {frc.shows}", lines)
    bottom, top = 0.65 / height, 1 - above / height
    curves = figure.add_axes((0.07, bottom, 0.4, top - bottom))
    _draw_curves(figure, curves, frc)
    middle = (bottom + top) / 2
    resolution = figure.add_axes((0.66, middle + 0.02, 0.32, top - middle - 0.02))
    alike = figure.add_axes((0.66, bottom, 0.32, middle - bottom - 0.06))
    _draw_resolution(resolution, frc)
    _draw_alike(alike, frc)
    return picture(figure, file_format)


def _caption(frc: Frc) -> str:
    if len(frc.points) == 1:
        return PAIR if frc.of_two else HALVES
    return (ONE_PICTURE if frc.reference else RUNS) if frc.of_two else HALVES


def _draw_curves(figure: Figure, axes: Axes, frc: Frc) -> None:
    """Draw the correlation over the frequency, a curve for each iteration, and the threshold."""
    shown = frc.points if len(frc.points) <= MOST_CURVES else some_of(frc.points, MOST_CURVES)
    points = [point for point in shown if point.finite]
    if not points:
        write_instead(axes, "no picture is finite")
        return
    first, last = max(points[0].niter, 1), points[-1].niter
    norm, colours = LogNorm(first, max(last, first * 1.01)), colormaps[COLOURS]
    for point in points:
        dots = "o" if len(point.frc) <= FEW else ""
        axes.plot(point.frequencies, point.frc, color=colours(norm(max(point.niter, 1))), marker=dots, markersize=3)
    longest = max(points, key=lambda point: point.frequencies[-1])
    axes.plot(longest.frequencies, longest.threshold, color="0.25", linestyle="--", label=f"threshold: {frc.threshold}")
    axes.legend(loc="lower left", fontsize=9)
    lowest = min(0.0, *(min(filter(math.isfinite, point.frc), default=0.0) for point in points))
    axes.set(xlim=(0, longest.frequencies[-1]), ylim=(max(lowest, -1) - 0.02, 1.02), ylabel="ring correlation")
    axes.grid(alpha=0.25)
    _label_lengths(axes, longest.frequencies[0] * 0.999, longest.frequencies[-1], frc.unit)
    if last > first:
        _colour_bar(figure, axes, first, last)


def _label_lengths(axes: Axes, lowest: float, highest: float, unit: tuple[float, str]) -> None:
    """Label the axis, from lowest to highest 1/Å, with the detail in a unit below and with the frequency above."""
    size, name = unit
    above = axes.secondary_xaxis("top", functions=(lambda x: np.multiply(x, size), lambda x: np.divide(x, size)))
    above.set_xlabel(f"spatial frequency (1/{name})")
    above.xaxis.set_major_formatter(ShortNumbers())
    finest, coarsest = 1 / highest / size, 1 / lowest / size
    lengths = [length for length in _round_lengths(finest) if finest / 1.001 <= length <= coarsest]
    axes.set_xticks([1 / length / size for length in lengths], [f"{length:g}" for length in lengths])
    axes.set_xlabel(f"detail ({name})")


ROUND = (1, 1.2, 1.5, 2, 3, 5, 7)
"""First digits of the lengths that are written along the axis."""


def _round_lengths(finest: float) -> list[float]:
    """Return lengths with few digits, from the finest up to some multiple of it, not too near each other."""
    found: list[float] = []
    power = 10.0 ** math.floor(math.log10(finest))
    candidates = sorted({round(digit * scale, 12) for scale in (power, 10 * power) for digit in ROUND})
    for length in candidates:
        far_apart = not found or 1 / found[-1] - 1 / length > 0.08 / finest
        if length >= finest and far_apart:
            found.append(length)
    return found


def _colour_bar(figure: Figure, axes: Axes, first: float, last: float) -> None:
    """Draw which colours the iterations have, from the first to the last, on a logarithmic scale."""
    box = axes.get_position()
    bar = figure.add_axes((box.x1 + 0.012, box.y0, 0.012, box.height))
    bar.imshow(np.linspace(0, 1, 256)[:, None], cmap=COLOURS, aspect="auto", origin="lower", extent=(0, 1, 0, 1))
    niters = _round_iterations(first, last)
    places = [math.log(niter / first) / math.log(last / first) for niter in niters]
    bar.set(xticks=[], ylabel="iteration")
    bar.set_yticks(places, [f"{niter:g}" for niter in niters])
    bar.yaxis.set_label_position("right")
    bar.yaxis.tick_right()


def _round_iterations(first: float, last: float) -> list[float]:
    moments = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    found = [digit * 10.0**power for power in moments for digit in (1, 2, 5)]
    return [niter for niter in found if first <= niter <= last] or [first, last]


def _draw_resolution(axes: Axes, frc: Frc) -> None:
    """Draw down to which detail the correlation is above the threshold, over the iterations."""
    axes.set_title("Detail above the threshold", fontsize=11)
    size, unit = frc.unit
    axes.set_ylabel(f"down to ({unit})")
    known = [point for point in frc.points if point.finite and point.resolution is not None]
    colour, _ = STYLES[0]
    if not known:
        write_instead(axes, "nothing is above it")
        return
    sizes = [(point.resolution or math.nan) / size for point in known]
    axes.plot([point.niter for point in known], sizes, color=colour, marker="o", markersize=4)
    limit = known[-1].limit / size
    axes.axhline(limit, color="0.5", linestyle=":", linewidth=1)
    axes.annotate("pixel limit", (0.99, limit), (0, 3), xycoords=axes.get_yaxis_transform(), ha="right", fontsize=8,
                  textcoords="offset points", color="0.35")  # fmt: skip
    axes.set_ylim(0.9 * limit, max(1.1 * max(sizes), 1.5 * limit))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(ShortNumbers())
    _over_iterations(axes, frc)
    axes.tick_params(labelbottom=False)


def _draw_alike(axes: Axes, frc: Frc) -> None:
    """Draw the area under the curves, and the correlation of the pictures, over the iterations."""
    axes.set_title("How alike the pictures are", fontsize=11)
    niters = [point.niter for point in frc.points]
    series = (
        ("mean ring correlation", [point.area for point in frc.points], frc.best_by_area),
        ("correlation", [point.correlation for point in frc.points], frc.best_by_correlation),
    )
    for (label, values, best), (colour, dashes) in zip(series, STYLES, strict=False):
        axes.plot(niters, values, color=colour, linestyle=dashes, marker="o", markersize=3, label=label)
        if frc.of_two and best and len(niters) > 1:
            value = best.area if label.startswith("mean") else best.correlation
            axes.plot([best.niter], [value], "o", markersize=9, fillstyle="none", color=colour)
    set_linear(axes)
    axes.legend(
        fontsize=9, loc="best", title="circle: best" if frc.of_two and len(niters) > 1 else None, title_fontsize=8
    )
    axes.set_xlabel("iteration")
    _over_iterations(axes, frc)


def _over_iterations(axes: Axes, frc: Frc) -> None:
    niters = [point.niter for point in frc.points]
    if len(niters) > 1:
        beside = 0.03 * (niters[-1] - niters[0])
        axes.set_xlim(niters[0] - beside, niters[-1] + beside)
    if len(niters) == 1:
        axes.set_xticks(niters)
    else:
        set_iteration_ticks(axes.xaxis)
    axes.grid(alpha=0.25)
