"""The commands whose output README and docs show: runs them, and writes what they print into the pages.

python tests/support/shown.py
"""

import re
import shutil
from pathlib import Path

import long_runs
from click.testing import CliRunner
from runs import ROOT

from ptyconv_cli.cli.main import main as ptyconv

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r"(?<=```console\n)\$ ptyconv (.*)\n((?:.*\n)*?)(?=```)")


def prepare(folder: Path) -> None:
    """Put what the shown commands need into a folder that they are run in."""
    for name in ("sample_data", "tests"):
        (folder / name).symlink_to(ROOT / name)


def output(command: str, folder: Path) -> str:
    """What a command prints in a folder, which is the current one; long runs that it names are put there first."""
    for name in long_runs.NAMES:
        if re.search(rf" {name}\b", command) and not (folder / name).exists():
            long_runs.unpack(name, folder / name)
    arguments = command.split()
    device = [] if arguments[0] in ("ls", "plot", "frc") else ["--device", "cpu"]
    return CliRunner(env={"COLUMNS": "80"}).invoke(ptyconv, [*arguments, *device], catch_exceptions=False).stdout


def main() -> None:
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        os.chdir(folder)
        for page in PAGES:
            text = page.read_text()
            page.write_text(SHOWN.sub(lambda match: f"$ ptyconv {match[1]}\n{output(match[1], folder)}", text))
        os.chdir(ROOT)
        for path in folder.iterdir():
            if path.is_symlink():
                path.unlink()
        shutil.rmtree(folder / "demo_output", ignore_errors=True)


if __name__ == "__main__":
    main()
