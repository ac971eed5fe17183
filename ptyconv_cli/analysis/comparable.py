"""A run read for its pictures: which of its checkpoints can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ptyconv_cli.checkpoints.chain import Selection, comparable_parts, on_one_axis, read_chain, tensors_of
from ptyconv_cli.checkpoints.headers import Header, check_that_enough_are_left
from ptyconv_cli.results.run_analysis import LeftOut


@dataclass(frozen=True)
class Comparable:
    """The `parts` of a run, in each of which all checkpoints can be compared, and the `tensors` that they all have.

    `folder` of the run; files `left_out`, to which may be added; `remarks` on the chain and the tensors.
    """

    folder: Path
    tensors: tuple[str, ...]
    parts: list[list[Header]]
    left_out: list[LeftOut]
    remarks: list[str]

    def notices(self, known: Sequence[LeftOut] = ()) -> list[str]:
        """Return the remarks, and which files were left out but for those that are `known` already, for the user."""
        said = {(Path(file.file).name, file.niter) for file in known}
        new = [file for file in self.left_out if (Path(file.file).name, file.niter) not in said]
        return [*self.remarks, *map(left_out_text, new)]


def left_out_text(file: LeftOut) -> str:
    """Return the warning that a file was left out."""
    return f"{file.file} was left out: {file.reason}."


def read_comparable(run_dir: Path, asked: Selection, chain: Sequence[Path] | str) -> Comparable:
    """Read the headers of a run; parameters and errors as of `analysis.run.analyze_run`."""
    runs = read_chain(run_dir, asked, chain)
    tensors, remarks = tensors_of(runs, asked)
    runs = on_one_axis(runs)
    headers = [header for run in runs for header in run.headers]
    left_out = [file for run in runs for file in run.left_out]
    check_that_enough_are_left(run_dir, headers, asked.every, left_out)
    parts, _ = comparable_parts(headers, tensors)
    return Comparable(runs[-1].folder, tensors, parts, left_out, remarks)
