"""The command `ptyconv frc`: down to which detail a run, or two runs, agree, over the iterations."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from ptyconv_cli.cli.console import left_out, progress_bar, say, warnings_text, wrote_text
from ptyconv_cli.cli.options import CHECKPOINTS, PATH, QUIET, all_of, checked, with_earlier
from ptyconv_cli.cli.outputs import explained
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.quantities import of_object, quantity_of
from ptyconv_cli.results.files import check_writable, write_whole
from ptyconv_cli.results.frc import (
    FRC_NAME,
    FRC_PICTURE_NAME,
    Frc,
    FrcPoint,
    check_threshold,
    frc_json,
    size_of,
    some_of,
)
from ptyconv_cli.results.text import length_unit, listed, rounded, shortened, text_width, wrapped

ROWS = 8
"""The most iterations in the table that is printed."""

LONGEST = 24
"""Characters of a run's name."""


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="RUN_A [RUN_B]")
@click.option(
    "-o", "--output", type=PATH, help="Folder for the results.  [default: the run's own; of two runs this one]"
)
@click.option(
    "-t",
    "--tensor",
    type=click.Choice([name for key in of_object() for name in quantity_of(key).names]),
    default="objp",
    show_default=True,
    metavar="objp|obja",
    help="The object's phase (objp, or phase) or amplitude (obja, or amplitude).",
)
@click.option(
    "--slice",
    "slice_number",
    type=click.IntRange(min=1),
    metavar="K",
    help="Only this slice, from 1 on.  [default: the sum over all]",
)
@click.option("--halves", is_flag=True, help="Half-bit threshold, for two halves of one data set.")
@click.option(
    "--threshold",
    metavar="NUMBER",
    callback=checked(lambda text: None if text is None else check_threshold(text)),
    help="A constant threshold, such as 0.143 or 0.5.  [default: the one-bit curve]",
)
@all_of(CHECKPOINTS)
@click.option("--no-plot", is_flag=True, help="Draw no picture.")
@QUIET
def frc(
    paths: tuple[Path, ...],
    output: Path | None,
    halves: bool,
    threshold: str | None,
    chain: str | None,
    names: str | None,
    no_plot: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Say down to which detail a run has converged, or two runs agree.

    Of one run, the pictures of its object at half and at all of its iterations are compared, by Fourier ring
    correlation. Of two runs of one place, such as two scans or two halves of one, those at the same iterations: where
    the two agree best, and whether what came after can be reproduced.

    RUN is a folder with the checkpoints of a run, or one above it, or a file. Of two, a file with one checkpoint is
    compared as it is.

    \b
    Files written:
      frc.json   all results
      frc.png    the curves, and what they amount to over the iterations
    """
    from ptyconv_cli.analysis.frc import frc as correlate
    from ptyconv_cli.cli.outputs import only_run, place_of

    if halves and threshold:
        raise click.UsageError("--halves is the half-bit threshold: not together with --threshold")
    if chain is None and len(paths) > 2:
        raise click.UsageError("give one run or two")
    given, earlier = with_earlier(paths if chain else paths[:1], chain)
    runs = [only_run(path, names) for path in (given, *(() if chain else paths[1:]))]
    folder = output or (place_of(runs[0]) if len(runs) == 1 else Path())
    check_writable(folder)
    with progress_bar("pairs", hidden=quiet) as progress:
        found = correlate(
            *runs,
            threshold="half-bit" if halves else threshold or "one-bit",
            chain=earlier,
            names=names,
            progress=progress,
            **options,
        )
    written, problems = _write(found, folder, not no_plot)
    if not quiet:
        say(_summary(found))
        say(wrote_text(written))
        say("\n" + "\n".join(_table(found)) + "\n")
        say("\n".join(line for sentence in found.answer for line in wrapped(sentence, text_width())))
    warnings = [*found.warnings, *problems]
    if warnings:
        say(("" if quiet else "\n") + warnings_text(warnings), err=True)


def _write(found: Frc, folder: Path, picture: bool) -> tuple[list[Path], list[str]]:
    """Write the results into a folder; return the files, and what went wrong with the picture."""
    written = [folder / FRC_NAME]
    write_whole({written[0]: frc_json(found)})
    if not picture:
        return written, []
    place = folder / FRC_PICTURE_NAME
    try:
        with explained(place):
            from ptyconv_cli.pictures.frc import draw_frc

            write_whole({place: draw_frc(found, "png")})
    except PtyconvError as error:
        old = "; the one there is of an earlier run" if place.is_file() else ""
        return written, [f"{error}{old}. The numbers were written all the same."]
    return [*written, place], []


def _summary(found: Frc) -> str:
    niters = [point.niter for point in found.points]
    kind = "doubling" if len(found.names) == 1 else "pair"
    count = f"{len(niters)} {kind}{'' if len(niters) == 1 else 's'}"
    up_to = f"iterations {niters[0]} to {niters[-1]}" if len(niters) > 1 else f"iteration {niters[0]}"
    height, width = found.points[-1].overlap
    per_unit, unit = length_unit(max(height, width) * found.dx)
    across = " × ".join(rounded(pixels * found.dx / per_unit) for pixels in (height, width))
    size = f"{height} × {width} px ({across} {unit})"
    per_unit, unit = found.unit
    shift = ", ".join(f"{part + 0:.2f}" for part in np.round(np.divide(found.points[-1].shift, per_unit), 2))
    beside = f", shifted by ({shift}) {unit}" if found.of_two else ""
    names = listed([shortened(name, LONGEST) for name in found.names])
    lines = [f"{names}: {count}, {up_to}", f"{found.shows}, {size} compared{beside}"]
    return "\n".join(line for text in lines for line in wrapped(text, text_width()))


def _table(found: Frc) -> list[str]:
    rows = [("iterations", "detail down to", "mean ring correlation", "correlation")]
    for point in some_of(found.points, ROWS):
        which = f"{point.niter}"
        if not found.of_two:
            which = f"{point.other} → {point.niter}"
        elif point.other != point.niter and not found.reference:
            which = f"{point.niter} and {point.other}"
        rows.append((which, _down_to(point, found.unit), f"{point.area:.3f}", f"{point.correlation:.4f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = sum(sum(widths[:count]) + 3 * (count - 1) <= text_width() for count in range(1, len(widths) + 1))
    lines = ["   ".join(cell.rjust(width) for cell, width in zip(row, widths[:shown], strict=False)) for row in rows]
    return lines + left_out(len(widths) - shown, FRC_NAME)


def _down_to(point: FrcPoint, unit: tuple[float, str]) -> str:
    if not point.finite or point.resolution is None:
        return "-"
    return size_of(point.resolution, unit) + (" (pixel limit)" if point.is_down_to_limit else "")
