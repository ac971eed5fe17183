"""Options that several commands share, and the checks of their values."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import click

from ptyconv_cli.checkpoints.chain import AUTO
from ptyconv_cli.checkpoints.discovery import check_pattern
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.quantities import QUANTITIES, tensors
from ptyconv_cli.quantities.settings import DEFAULT_PERCENTILES, check_percentile_range, check_tensors, check_tolerances

DEFAULTS = [f"{quantity.names[-1]}={quantity.tolerance:g}{quantity.unit}" for quantity in QUANTITIES]
"""The tolerances that hold where none are given."""


def everything(text: str) -> Callable[[Any], Any]:
    """Return the option --all, whose help is `text`."""
    return click.option("--all", "everything", is_flag=True, help=text)


QUIET = click.option("-q", "--quiet", is_flag=True, help="Print nothing but warnings and errors.")
"""Of every command that says what it found."""

PATH = click.Path(readable=False, path_type=Path)
"""Paths are checked later, with exit code 1 for what is wrong."""


def output_file(suffixes: Sequence[str], default: str) -> Callable[[Any], Any]:
    """Return the option -o of a command that writes one file; `default`: where it goes otherwise."""
    said = f"Where to write: a folder, or a name that ends in {alternatives(suffixes)}.  [default: {default}]"
    return click.option("-o", "--output", type=PATH, help=said)


def alternatives(names: Sequence[str]) -> str:
    """Return names as alternatives: ".png, .pdf or .svg"."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def placed(output: Path | None, default: Path, suffixes: Sequence[str]) -> Path:
    """Return the file that -o asks for: of a folder, which need not be there yet, the one with the default's name.

    Raises BadParameter for a name with another suffix than there are.
    """
    if output is None:
        return default
    if output.is_dir() or (not output.suffix and not output.exists()):
        return output / default.name
    if output.suffix.lower() not in suffixes:
        raise click.BadParameter(
            f"{output}: the name must end in {alternatives(suffixes)}, or be that of a folder", param_hint="-o"
        )
    return output


def checked(check: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Turn a check that raises ValueError into an option's callback."""

    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return callback


def completing(names: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return a shell completion of the last name in a comma-separated list."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [before + comma + name for name in names if name.startswith(last)]

    return complete


def _check_device(name: str) -> str:
    from ptyconv_cli.metrics.device import check_device_name  # what it loads is for commands that compute

    return check_device_name(name)


def _names_of_tensors() -> str:
    """Return what --tensors takes, as "obja (or amplitude)"."""
    named = [(one.key, " or ".join(one.short_names)) for one in tensors()]
    return ", ".join(f"{key} (or {short})" if short else key for key, short in named)


def _split_tensors(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else check_tensors([name.strip() for name in text.split(",") if name.strip()])


def _split_tolerances(texts: tuple[str, ...]) -> dict[str, str]:
    """Return tolerances by quantity from texts like objp=2%; raise ValueError for others."""
    bare = [text for text in texts if "=" not in text]
    if bare:
        raise ValueError(f"{bare[0]!r}: expected NAME=TOLERANCE, as phase=2%")
    found = {name: given for name, _, given in (text.partition("=") for text in texts)}
    check_tolerances(found)
    return found


def all_of(options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Give a command several options."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


NAMES = click.option(
    "--names",
    metavar="PATTERN",
    callback=checked(check_pattern),
    help="How the files are named, with a star for the iteration: 'state_iter*.h5'. By default they are found by their "
    "content, those of PtyRAD and phaser also by their names.",
)
"""Of every command that looks for checkpoints."""

CHECKPOINTS = (
    click.option(
        "--every", type=click.IntRange(min=1), metavar="N", help="Use only iterations that are multiples of N."
    ),
    click.option(
        "--select",
        metavar="RUN|PATTERN",
        help="Use only files whose names match a pattern such as 'model_iter00*', or, in a folder with several runs, "
        "the run with this number, as ls shows it.",
    ),
    NAMES,
    click.option(
        "--chain",
        metavar="FIRST|auto",
        help="Put resumed runs on one axis of iterations, in order: --chain FIRST SECOND ...; or let ptyconv find the "
        "earlier runs beside it: --chain auto FOLDER.",
    ),
    click.option("--strict", is_flag=True, help="Stop at a file that cannot be read, instead of leaving it out."),
)
"""Options that say which checkpoints, by the names of `analyze_run`'s parameters."""

READING = (
    click.option(
        "-t",
        "--tensors",
        callback=checked(_split_tensors),
        shell_complete=completing([name for quantity in tensors() for name in quantity.names]),
        help=f"Tensors to analyze, separated by commas, out of {_names_of_tensors()}.  [default: all that the run has]",
    ),
    click.option(
        "--percentiles",
        "percentile_range",
        nargs=2,
        type=float,
        default=DEFAULT_PERCENTILES,
        show_default=True,
        metavar="LOW HIGH",
        callback=checked(check_percentile_range),
        help="Voxels below percentile LOW are background, above HIGH foreground.",
    ),
    *CHECKPOINTS,
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]|mps",
        callback=checked(_check_device),
        shell_complete=completing(("auto", "cpu", "cuda", "mps")),
        help="Where to compute.",
    ),
)
"""Options of every command that reads checkpoints, by the names of `analyze_run`'s parameters."""


JUDGING = (
    click.option(
        "--tol",
        "tolerances",
        multiple=True,
        metavar="NAME=TOLERANCE",
        callback=checked(_split_tolerances),
        shell_complete=completing([f"{name}=" for quantity in QUANTITIES for name in quantity.names]),
        help="How much a doubling of the iterations may change what counts as converged, as phase=2% (of the object's "
        "contrast) or positions=0.05px (or 0.02Å); also by the names of --tensors. May be given several times.  "
        f"[default: {', '.join(DEFAULTS)}]",
    ),
)
"""Options of every command that gives a verdict, by the names of `analyze_run`'s parameters."""


RESULTS = click.option(
    "--results",
    type=PATH,
    metavar="FOLDER",
    help="Folder with the results of an earlier analyze.  [default: the run's own]",
)
"""Of commands that go on from there."""

CLUSTER = (
    click.option(
        "--dask",
        "address",
        metavar="ADDRESS",
        help="Have the runs of a study analyzed by the workers of the Dask scheduler at this address, such as "
        "tls://node01:8786.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Have the runs of a study analyzed by N processes on this machine.",
    ),
)
"""Options of every command that works on many runs, by the names of `where_to`'s parameters."""


class Where(NamedTuple):
    """The workers that do many runs: those of the Dask scheduler at an `address`, or so many `workers` here."""

    address: str | None
    workers: int | None

    def __str__(self) -> str:
        return "--workers" if self.address is None else "--dask"


DASK = "pip install 'ptyconv[dask]'"

ONE_FOLDER = "{folder}: {where} is for runs in several folders, and this has one, which is analyzed here\n"


def where_to(address: str | None, workers: int | None) -> Where | None:
    """Return which workers were asked for, None for none; raise PtyconvError where Dask is needed, and not there."""
    if address is None and workers is None:
        return None
    if address is not None and workers is not None:
        raise click.UsageError("give either --dask or --workers")
    where = Where(address, workers)
    if address is not None and find_spec("distributed") is None:  # which is not loaded by that
        raise PtyconvError(f"{where} needs Dask: {DASK}")
    return where


def with_earlier(paths: tuple[Path, ...], chain: str | None) -> tuple[Path, Sequence[Path] | str]:
    """Return the folder to analyze, and the folders of the runs before it, or `AUTO` to find them."""
    *before, run_dir = paths
    if before and chain in (None, AUTO):
        raise click.UsageError("give one folder; to join runs that were resumed: --chain FIRST SECOND ...")
    return run_dir, AUTO if chain == AUTO else [] if chain is None else [Path(chain), *before]
