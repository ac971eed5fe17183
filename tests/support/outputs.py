"""What a command has written."""

import csv
import json
from pathlib import Path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


PICTURES = {"convergence.png", "trajectory.png"}
OUTPUTS = {"convergence_iters.json", "convergence_report.json", "convergence.csv"} | PICTURES


def runs_listed(said: str) -> list[str]:
    """Return what `ptyconv ls` said of the runs, below the head of its table: a long path has a line of its own."""
    lines = said.splitlines()
    return lines[next(number for number, line in enumerate(lines) if line.startswith("run ")) + 1 :]


def names(folder):
    return {path.name for path in folder.iterdir() if path.name != ".ptyconv"}


def strict_json(path):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def results_in(root: Path) -> dict[str, bytes]:
    """The results of all runs, without what is hidden."""
    return {name: content for name, content in contents(root).items() if "/." not in f"/{name}" and "hdf5" not in name}
